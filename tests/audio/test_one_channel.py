"""One channel of several, wherever speech comes from: as if the others were not there."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from dualtalker.audio import (
    AudioFormat,
    ChannelError,
    pick_channel,
    read_audio,
    read_channel,
    read_info,
    read_message,
)
from dualtalker.cli.main import main
from dualtalker.errors import AudioError, DualtalkerError

RATE_HZ = 16000


def array_of(count, duration_s=0.6):
    """Samples [n, count] of a microphone array: every channel hears something else."""
    return np.random.default_rng(count).uniform(-0.9, 0.9, (round(duration_s * RATE_HZ), count))


@given(st.integers(0, 63), st.sampled_from([int, str, np.int64]))
def test_an_index_is_a_number_or_a_text(index, kind):
    assert read_channel(kind(index)) == index


@given(
    st.one_of(
        st.integers(max_value=-1),
        st.integers(min_value=64),
        st.booleans(),
        st.floats(),
        st.none(),
        st.lists(st.integers(0, 3)),
        st.text().filter(lambda text: text != "mix" and not text.isdigit()),
        st.sampled_from(["٣", "²", "9" * 5000, "-0", "+1", " 1", "Mix"]),
    )
)
def test_all_else_is_refused_saying_what_is_expected(value):
    with pytest.raises(AudioError, match="expected mix, or an index from 0 to 63"):
        read_channel(value)


def test_mix_is_all_channels():
    samples = array_of(3)
    assert read_channel("mix") is None and pick_channel(samples, None) is samples


@given(st.integers(1, 8), st.integers(0, 63))
def test_a_channel_is_there_or_named_as_missing(count, channel):
    samples = array_of(count, 0.01)
    if channel < count:
        np.testing.assert_array_equal(pick_channel(samples, channel), samples[:, channel])
        return
    with pytest.raises(ChannelError, match=f"found {count} channels, but channel {channel} is"):
        pick_channel(samples, channel)


def test_mono_has_channel_0():
    samples = array_of(1)[:, 0]
    assert pick_channel(samples, 0) is samples
    with pytest.raises(ChannelError):
        pick_channel(samples, 1)


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg"])
def test_a_recording(tmp_path, ending):
    path = tmp_path / f"array.{ending}"
    soundfile.write(path, array_of(6), RATE_HZ)
    whole = np.clip(soundfile.read(path, dtype="float32")[0], -1, 1)  # ogg overshoots
    for channel in range(6):
        np.testing.assert_array_equal(read_audio(path, channel=channel)[0], whole[:, channel])
    with pytest.raises(AudioError, match=r"array.*found 6 channels, but channel 6"):
        read_audio(path, channel=6)


def test_messages_of_any_format():
    pcm = (array_of(6) * 32767).astype(np.int16)
    for data, given_format in (
        (pcm, AudioFormat(channels=6, channel=4)),
        (pcm.view(np.uint8), AudioFormat(channels=6, channel=4)),
        (pcm.astype(np.float32), AudioFormat(channels=6, channel=4)),
    ):
        chunk = read_message(SimpleNamespace(data=np.ravel(data)), given_format)
        np.testing.assert_array_equal(chunk.samples, pcm[:, 4])
    with pytest.raises(ChannelError):
        read_message(SimpleNamespace(data=np.ravel(pcm)), AudioFormat(channels=2, channel=4))


def test_audio_info_does_not_change_the_channel():
    info = {"coding_format": "wave", "sample_format": "", "channels": 6, "sample_rate": 0}
    told = read_info(SimpleNamespace(**info), AudioFormat(channel=5))
    assert told == AudioFormat(channels=6, channel=5)


def read_weights(path):
    with path.open(newline="") as file:
        _, *rows = csv.reader(file)
    return np.array(rows, dtype=float)[:, 1:]


@pytest.fixture
def recordings(tmp_path):
    """A recording of six channels, and one of the fourth alone."""
    samples = array_of(6)
    soundfile.write(tmp_path / "array.wav", samples, RATE_HZ)
    soundfile.write(tmp_path / "alone.wav", samples[:, 3], RATE_HZ)
    return tmp_path


def test_animate(tiny, recordings, capsys):
    for name, options in (("array", ["--channel", "3"]), ("alone", [])):
        words = ["animate", str(recordings / f"{name}.wav"), "-o", str(recordings)]
        assert main([*words, "--model", str(tiny), *options]) == 0
    alone, array = (read_weights(recordings / f"{name}.csv") for name in ("alone", "array"))
    np.testing.assert_array_equal(array, alone)
    capsys.readouterr()
    for channel, says in (("6", "found 6 channels"), ("left", "'left' for a channel")):
        status = main([*words[:1], str(recordings / "array.wav"), "-o", "x", "--channel", channel])
        assert status == 2 and says in capsys.readouterr().err


def test_bag_and_evaluate(tiny, recordings, capsys):
    pytest.importorskip("rosbags", reason="needs pip install 'dualtalker[bag]'")
    from bag_messages import int16_message, run, write_topics
    from dualtalker.bags import Bag, BagOptions, GivenFormat, evaluate_bag
    from dualtalker.bags.audio import read_bag_audio
    from dualtalker.bags.writing import START_NS

    pcm = (array_of(6) * 32767).astype(np.int16)

    def write(name, samples):
        messages = [
            (
                START_NS + first * 10**9 // RATE_HZ,
                int16_message(samples[first : first + 320].ravel()),
            )
            for first in range(0, len(samples), 320)
        ]
        topics = {"/audio": ("std_msgs/msg/Int16MultiArray", messages)}
        return write_topics(recordings / name, topics)

    array, alone = write("array", pcm), write("alone", pcm[:, 3])
    heard = evaluate_bag(
        array, BagOptions(given=GivenFormat(channels=6, channel=3)), {"replay": tiny}
    )
    expected = evaluate_bag(alone, BagOptions(), {"replay": tiny})
    np.testing.assert_array_equal(heard.first.weights, expected.first.weights)
    capsys.readouterr()
    options = ["--channels", "6", "--model", tiny, "--video-s", "0"]
    assert run("evaluate", array, "-o", recordings / "r", "--channel", "3", *options) == 0
    assert "channel 3" in capsys.readouterr().out
    assert run("evaluate", array, "-o", recordings / "r", "--channel", "6", *options) == 2
    assert "found 6 channels, but channel 6" in capsys.readouterr().err

    to = recordings / "made.mcap"
    assert run("bag", recordings / "array.wav", to, "--channel", "3") == 0
    with Bag(to) as bag:
        audio = read_bag_audio(bag, None, GivenFormat())
    chunks = [read_message(message, audio.format).samples for _, message in audio.messages]
    expected, _ = soundfile.read(recordings / "alone.wav", dtype="int16")
    np.testing.assert_array_equal(np.concatenate(chunks)[:, 0], expected)


@pytest.mark.parametrize(("channel", "heard"), [(2, [2]), (None, [0, 1, 2])])
def test_a_live_face_hears_it(channel, heard):
    from dualtalker.devices import Block
    from dualtalker.display.live import Microphone

    pushed = []
    face = SimpleNamespace(push=lambda *arguments: pushed.append(arguments))
    microphone = Microphone(face, channels=3, channel=channel)
    pcm = (array_of(3, 0.02) * 32767).astype(np.int16)
    stream = SimpleNamespace(rate_hz=RATE_HZ, latency_s=0.0)
    for number in range(50):  # its clock needs some before it tells the time
        at_s = 100 + number * 0.02
        microphone._on_block(stream, Block(pcm.tobytes(), len(pcm), at_s + 0.02, at_s, False))
    expected = (pcm[:, heard] / np.float32(32768)).mean(axis=1)
    np.testing.assert_allclose(pushed[-1][0], expected, atol=1e-6)
    for channels, missing in ((3, 3), (1, 1), (0, None), (-1, 0)):
        with pytest.raises(DualtalkerError):
            Microphone(face, channels=channels, channel=missing)
