"""Reading files and decoding PCM: every good format round-trips, every bad one is told apart."""

from __future__ import annotations

import array
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker import animate
from dualtalker.audio import (
    AudioFormat,
    AudioStream,
    check_samples,
    find_peak,
    mix_to_mono,
    open_audio,
    read_audio,
    read_message,
    scale_samples,
)
from dualtalker.audio.pcm import decode_pcm
from dualtalker.errors import AudioError

SAMPLES = np.random.default_rng(0).uniform(-0.9, 0.9, 4000).astype(np.float32)


def encode(samples, sample_format):
    """Encode float samples by the definition of each format, independently of the decoder."""
    kind, order = sample_format[:-2], "<" if sample_format.endswith("LE") else ">"
    if kind.startswith("F"):
        return samples.astype(f"{order}f{int(kind[1:]) // 8}").tobytes()
    bits = 24 if kind == "S24_32" else int(kind[1:])
    whole = np.round(samples.astype(np.float64) * (2 ** (bits - 1) - 1)).astype(np.int64)
    if kind.startswith("U"):
        whole += 2 ** (bits - 1)
    width = 4 if kind == "S24_32" else bits // 8
    byteorder = "little" if order == "<" else "big"
    mask = 2**bits - 1  # the fourth byte of S24_32 is padding
    return b"".join(int(value & mask).to_bytes(width, byteorder) for value in whole)


FORMATS = [
    f"{kind}{order}"
    for kind in ("S16", "U16", "S24", "S24_32", "S32", "U32", "F32", "F64")
    for order in ("LE", "BE")
]


def decode_mono(data, sample_format):
    return mix_to_mono(decode_pcm(data, sample_format, 1))[0]


@pytest.mark.parametrize("sample_format", [*FORMATS, "S8LE", "U8LE"])
def test_pcm_formats_decode(sample_format):
    decoded = decode_mono(encode(SAMPLES, sample_format), sample_format)
    assert decoded.dtype == np.float32
    tolerance = 0.02 if "8" in sample_format else 1e-4
    np.testing.assert_allclose(decoded, SAMPLES, atol=tolerance)


def test_a_name_without_byte_order_is_little_endian():
    raw = encode(SAMPLES, "S16LE")
    np.testing.assert_allclose(decode_mono(raw, "s16"), SAMPLES, atol=1e-4)


def test_messages_of_other_kinds_decode_alike():
    raw = encode(SAMPLES, "S16LE")
    expected = decode_pcm(raw, "S16LE", 1)
    for data in (memoryview(raw), bytearray(raw), np.frombuffer(raw, np.uint8)):
        np.testing.assert_array_equal(decode_pcm(data, "S16LE", 1), expected)
    as_words = np.frombuffer(raw, "<i2")
    np.testing.assert_array_equal(decode_pcm(as_words, "S16LE", 1), expected)


def test_channels_are_averaged():
    six = np.stack([SAMPLES * gain for gain in (1, 0, 1, 0.5, 0.5, 0)], axis=1)
    decoded = decode_pcm(six.astype("<f4").tobytes(), "F32LE", 6)
    np.testing.assert_array_equal(decoded, six.astype(np.float32))
    np.testing.assert_allclose(mix_to_mono(decoded)[0], SAMPLES * 0.5, atol=1e-6)


@pytest.mark.parametrize("sample_format", ["mp3", "opus", "flac", "OGG"])
def test_compressed_formats_are_named_as_such(sample_format):
    with pytest.raises(AudioError, match="compressed"):
        decode_pcm(b"\0" * 64, sample_format, 1)


@pytest.mark.parametrize("sample_format", ["", "S12LE", "wave", "S16XE", "int16"])
def test_unknown_formats_list_the_known_ones(sample_format):
    with pytest.raises(AudioError, match="S24_32LE"):
        decode_pcm(b"\0" * 64, sample_format, 1)


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=200), channels=st.integers(1, 8), kind=st.sampled_from(FORMATS))
def test_compressed_or_random_bytes_never_crash(data, channels, kind):
    """An MP3 packet on a raw topic has an odd size or decodes to noise; either way no crash."""
    try:
        decoded = decode_pcm(data, kind, channels)
    except AudioError:
        return
    assert decoded.ndim == 2 and decoded.shape[1] == channels
    mono = mix_to_mono(decoded)[0]
    assert mono.ndim == 1 and np.isfinite(mono).all() and np.abs(mono).max(initial=0) <= 1


@pytest.mark.parametrize("channels", [0, -1, 65, True])
def test_impossible_channel_counts_are_refused(channels):
    with pytest.raises(AudioError, match="channels"):
        decode_pcm(b"\0" * 64, "S16LE", channels)


def test_non_finite_pcm_is_refused():
    for value in (np.nan, np.inf, -np.inf):
        with pytest.raises(AudioError, match="NaN or infinite"):
            decode_pcm(np.array([0.0, value], "<f4").tobytes(), "F32LE", 1)


@pytest.mark.parametrize("data", ["text", 12, None, np.array(["a"]), np.array([None])])
def test_data_that_is_not_bytes_is_refused(data):
    with pytest.raises(AudioError, match="expected"):
        read_message(SimpleNamespace(data=data), AudioFormat())


@pytest.mark.parametrize(
    ("subtype", "rate_hz"),
    [
        ("PCM_U8", 8000),
        ("PCM_16", 16000),
        ("PCM_24", 44100),
        ("PCM_32", 48000),
        ("FLOAT", 96000),
        ("DOUBLE", 192000),
    ],
)
def test_wav_of_every_width_and_rate(tmp_path, subtype, rate_hz):
    path = tmp_path / "a.wav"
    soundfile.write(path, SAMPLES, rate_hz, subtype=subtype)
    read, read_rate_hz = read_audio(path)
    assert read_rate_hz == rate_hz and read.dtype == np.float32
    np.testing.assert_allclose(read, SAMPLES, atol=0.01 if subtype == "PCM_U8" else 1e-4)


def test_six_channels_of_a_file_are_averaged(tmp_path):
    path = tmp_path / "six.wav"
    soundfile.write(path, np.tile(SAMPLES[:, None], 6), 48000, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(path)[0], SAMPLES, atol=1e-6)


def test_corrupt_empty_and_missing_files(tmp_path):
    corrupt, empty, bare = tmp_path / "corrupt.wav", tmp_path / "empty.wav", tmp_path / "bare.wav"
    corrupt.write_bytes(np.random.default_rng(0).bytes(5000))
    empty.write_bytes(b"")
    soundfile.write(bare, np.zeros(0), 16000)
    with pytest.raises(AudioError, match=r"not readable as audio.*ffmpeg"):
        read_audio(corrupt)
    with pytest.raises(AudioError, match="not readable as audio"):
        read_audio(empty)
    with pytest.raises(AudioError, match="no samples"):
        read_audio(bare)
    with pytest.raises(AudioError, match="no such file"):
        read_audio(tmp_path / "missing.wav")


LONG = np.tile(SAMPLES, 100)  # 25 s at 16 kHz


def write_long(tmp_path, samples):
    path = tmp_path / "long.wav"
    soundfile.write(path, samples, 16000, subtype="FLOAT")
    return path


def test_blocks_of_a_file_are_the_whole_of_it(tmp_path):
    path = write_long(tmp_path, LONG)
    stream = open_audio(path)
    blocks = list(stream.blocks)
    assert stream.rate_hz == 16000 and stream.expected == len(LONG)
    assert len(blocks) > 2 and max(map(len, blocks)) < len(LONG) / 2
    np.testing.assert_array_equal(np.concatenate(blocks), read_audio(path)[0])


def test_a_fault_beyond_the_first_block_shows_where_it_is_read(tmp_path):
    samples = LONG.copy()
    samples[-1] = np.nan
    stream = open_audio(write_long(tmp_path, samples))
    with pytest.raises(AudioError, match="NaN or infinite"):
        list(stream.blocks)


def test_a_face_of_blocks_is_that_of_the_samples(tiny, tmp_path):
    path = write_long(tmp_path, LONG)
    of_blocks = animate(open_audio(path), model=tiny, head_motion=True)
    of_samples = animate(LONG, 16000, model=tiny, head_motion=True)
    np.testing.assert_array_equal(of_blocks.weights, of_samples.weights)
    np.testing.assert_array_equal(of_blocks.head, of_samples.head)
    assert of_blocks.duration_s == of_samples.duration_s == 25.0


def test_a_face_of_unknown_length_is_the_same(tiny):
    sound = AudioStream(16000, 0, iter(np.array_split(LONG, 40)))
    of_samples = animate(LONG, 16000, model=tiny)
    np.testing.assert_array_equal(animate(sound, model=tiny).weights, of_samples.weights)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_files_are_refused(tmp_path, value):
    path = tmp_path / "nan.wav"
    soundfile.write(path, np.array([0.0, value, 0.1]), 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"nan\.wav.*NaN or infinite"):
        read_audio(path)


@pytest.mark.parametrize("rate_hz", [4000, 384000])
def test_rates_out_of_range_are_refused(tmp_path, rate_hz):
    path = tmp_path / "odd.wav"
    soundfile.write(path, SAMPLES, rate_hz)
    with pytest.raises(AudioError, match="8000 to 192000"):
        read_audio(path)


@pytest.mark.parametrize(
    "dtype, silence, loudest",
    [
        (np.int8, 0, 127),
        (np.uint8, 128, 255),
        (np.int16, 0, 32767),
        (np.uint16, 32768, 65535),
        (np.int32, 0, 2**31 - 1),
        (np.uint32, 2**31, 2**32 - 1),
    ],
)
def test_integer_arrays_are_scaled(dtype, silence, loudest):
    mono, clipped = mix_to_mono(check_samples(np.array([silence, loudest], dtype)))
    assert mono[0] == 0.0 and mono[1] == pytest.approx(1.0, abs=0.01) and clipped == 0


@pytest.mark.parametrize(
    "dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.float32, np.float64]
)
def test_samples_are_scaled_exactly_and_their_peak_is_found(dtype):
    """As if all were reckoned in double precision and rounded once."""
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        samples = rng.uniform(-1.2, 1.2, (500, 2)).astype(dtype)
        wanted = np.clip(samples, -1.0, 1.0).astype(np.float32)
    else:
        limits = np.iinfo(dtype)
        samples = rng.integers(limits.min, limits.max, (500, 2), dtype, endpoint=True)
        samples[0] = limits.min, limits.max
        full = 2.0 ** (8 * samples.itemsize - 1)
        zero = 0.0 if limits.min else full
        wanted = ((samples.astype(np.float64) - zero) / full).astype(np.float32)
    scaled = scale_samples(samples)[0]
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled, wanted)
    for part in (samples, samples[3:7], samples[samples > np.median(samples)]):
        assert find_peak(part) == pytest.approx(np.abs(scale_samples(part)[0]).max(), rel=1e-6)


def test_clipping_is_counted():
    mono, clipped = mix_to_mono(np.array([[0.5, 1.5], [-3.0, 0.0]]))
    np.testing.assert_allclose(mono, [0.75, -0.5])
    assert clipped == 2


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros((2, 3, 4)),
        np.float32(0.0),
        np.zeros((2, 48000)),
        np.zeros((5, 0)),
        np.zeros(4, np.int64),
        np.zeros(4, complex),
        np.zeros(4, bool),
        np.array(["a"]),
        None,
        {"a": 1},
    ],
)
def test_unusable_arrays_are_refused(samples):
    with pytest.raises(AudioError, match="expected"):
        check_samples(samples)


@pytest.mark.parametrize(
    "make",
    [
        bytes,
        bytearray,
        memoryview,
        lambda data: memoryview(data).cast("h"),
        lambda data: array.array("B", data),
    ],
    ids=["bytes", "bytearray", "memoryview", "16-bit memoryview", "array of bytes"],
)
@pytest.mark.parametrize("count", [0, 320])
def test_bytes_are_refused_with_the_way_to_read_them(make, count):
    with pytest.raises(AudioError, match=r"np\.frombuffer\(data, np\.int16\)"):
        check_samples(make(bytes(2 * count)))


def test_arrays_and_lists_of_known_types_are_no_bytes():
    for samples in (array.array("h", [0, 16384]), array.array("f", [0, 0.5]), [0.0, 0.5]):
        np.testing.assert_array_equal(mix_to_mono(check_samples(samples))[0], [0, 0.5])


@pytest.mark.filterwarnings("error")
def test_absurd_values_are_clipped_in_silence():
    mono, clipped = mix_to_mono(np.array([1e300, -1e300, 0.0]))
    np.testing.assert_array_equal(mono, [1, -1, 0])
    assert clipped == 2
