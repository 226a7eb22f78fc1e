"""Audio augmentation on numpy segments: what microphones, rooms and machines do to speech."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from training.data.clips import SAMPLE_RATE_HZ

Rng = np.random.Generator


def _root_mean_square(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples * samples) + 1e-12))


def stretch(audio: np.ndarray, rate: float, samples: int) -> np.ndarray:
    """Return the first `samples` of `audio` played `rate` times as fast, silence past its end."""
    span = int(samples * rate) + 2
    piece = np.pad(audio[:span], (0, max(0, span - len(audio))))
    if rate != 1.0:
        positions = np.arange(samples) * rate
        whole = positions.astype(np.int64)
        part = (positions - whole).astype(np.float32)
        piece = piece[whole] * (1 - part) + piece[whole + 1] * part
    return np.ascontiguousarray(piece[:samples], dtype=np.float32)


def make_noise(samples: int, rng: Rng) -> np.ndarray:
    """Return non-speech noise `[samples]` of root mean square 1: of one source or of two."""
    noise = _draw_noise(samples, rng)
    if rng.random() < 0.3:
        noise = noise + 10.0 ** rng.uniform(-0.75, 0.0) * _draw_noise(samples, rng)
        noise /= _root_mean_square(noise)
    return noise


def _draw_noise(samples: int, rng: Rng) -> np.ndarray:
    """Return the noise of one source `[samples]` of root mean square 1.

    Six kinds, drawn at random: colored hiss (fan, air), a harmonic hum with drift (mains, engine),
    music, clicks and thumps (door, steps), whines that climb and fall with every move (servo), and
    hiss that swells and fades (traffic). Those with tones, which are the likest to a voice, come
    more often.
    """
    kind = rng.choice(6, p=(0.1, 0.1, 0.3, 0.1, 0.3, 0.1))
    time = np.arange(samples) / SAMPLE_RATE_HZ
    if kind == 0:
        noise = _colored(samples, rng.uniform(0.0, 2.0), rng)
    elif kind == 1:
        base_hz = rng.uniform(40.0, 900.0)
        drift = 1.0 + 0.15 * rng.standard_normal() * np.sin(2 * np.pi * rng.uniform(0.1, 1) * time)
        phase = 2 * np.pi * np.cumsum(base_hz * drift) / SAMPLE_RATE_HZ
        noise = np.zeros(samples)
        for harmonic in range(1, rng.integers(2, 12)):
            noise += rng.uniform(0.1, 1.0) / harmonic * np.sin(harmonic * phase)
        noise += 0.2 * _colored(samples, 1.0, rng)
    elif kind == 2:
        noise = _music(samples, rng)
    elif kind == 3:
        noise = 0.02 * _colored(samples, 1.0, rng)
        for _ in range(rng.integers(2, 14)):
            start = int(rng.integers(samples))
            length = min(samples - start, int(SAMPLE_RATE_HZ * rng.uniform(0.005, 0.25)))
            decay = np.exp(-np.arange(length) / (SAMPLE_RATE_HZ * rng.uniform(0.002, 0.05)))
            noise[start : start + length] += (
                rng.uniform(0.2, 1.0) * decay * _colored(length, rng.uniform(0.0, 2.0), rng)
            )
    elif kind == 4:
        noise = _servo(samples, rng)
    else:
        swell = 0.5 + 0.5 * np.sin(2 * np.pi * (rng.uniform(0.1, 2.0) * time + rng.uniform()))
        noise = _colored(samples, rng.uniform(0.0, 1.5), rng) * swell
    return (noise / _root_mean_square(noise)).astype(np.float32)


def _colored(samples: int, slope: float, rng: Rng) -> np.ndarray:
    """Noise whose power falls as 1 / f^slope, unit root mean square."""
    return _hiss(samples, rng, lambda bins, _: np.maximum(bins, 2.0) ** (-slope / 2.0))


def _resonate(samples: int, rng: Rng) -> np.ndarray:
    """Hiss in the band of a housing's resonance, of root mean square 1: much like a fricative."""

    def resonance(bins: np.ndarray, bin_hz: float) -> np.ndarray:
        center_hz = 10.0 ** rng.uniform(2.5, 3.75)
        width_hz = center_hz * rng.uniform(0.1, 0.6)
        return np.asarray(np.exp(-(((bins * bin_hz - center_hz) / width_hz) ** 2)))

    return _hiss(samples, rng, resonance)


def _hiss(samples: int, rng: Rng, gain: Callable[[np.ndarray, float], np.ndarray]) -> np.ndarray:
    """White noise through a `gain` of the spectrum's bins and their width in Hz, unit rms."""
    if samples < 2:
        return np.zeros(samples)
    size = 1 << max(8, (samples - 1).bit_length())
    bins = np.arange(size // 2 + 1)
    spectrum = rng.standard_normal(len(bins)) + 1j * rng.standard_normal(len(bins))
    noise = np.fft.irfft(spectrum * gain(bins, SAMPLE_RATE_HZ / size))[:samples]
    return np.asarray(noise / _root_mean_square(noise))


def _servo(samples: int, rng: Rng) -> np.ndarray:
    """Moves with pauses between: the pitch and the level of whine and gears follow the speed.

    The joints of the robot itself, which to a network are the likest to a voice of all noises:
    harmonics that glide.
    """
    speed = np.zeros(samples)
    start = int(SAMPLE_RATE_HZ * rng.uniform(0.0, 0.5))
    while start < samples:
        length = int(SAMPLE_RATE_HZ * rng.uniform(0.15, 4.0))
        ramp = max(2, int(length * rng.uniform(0.05, 0.5)))  # trapezoid to triangle
        place = np.arange(length)
        shape = np.minimum(1.0, np.minimum(place, length - 1 - place) / ramp)
        if rng.random() < 0.5:
            shape = np.sin(0.5 * np.pi * shape)  # without jerks
        shape = shape[: samples - start] * rng.uniform(0.3, 1.0)
        speed[start : start + len(shape)] = shape
        start += length + int(SAMPLE_RATE_HZ * rng.exponential(0.4))
    still_hz, reach_hz = rng.uniform(20.0, 400.0), rng.uniform(100.0, 2500.0)
    phase = 2 * np.pi * np.cumsum(still_hz + reach_hz * speed) / SAMPLE_RATE_HZ
    whine = np.zeros(samples)
    for harmonic in range(1, int(rng.integers(2, 9))):
        ratio = harmonic * rng.choice([1.0, 1.0, 1.0, rng.uniform(0.2, 3.0)])  # a gear's
        inside = (
            still_hz + reach_hz < 0.5 * SAMPLE_RATE_HZ / ratio
        )  # no alias of what cannot sound
        whine += inside * rng.uniform(0.1, 1.0) / harmonic * np.sin(ratio * phase)
    gears = _colored(samples, rng.uniform(-1.0, 1.0), rng) * rng.uniform(0.0, 0.6)
    gears += _resonate(samples, rng) * rng.uniform(0.0, 1.0)
    return (whine + gears) * (speed + rng.uniform(0.0, 0.1)) + 0.01 * _colored(samples, 1.0, rng)


def _music(samples: int, rng: Rng) -> np.ndarray:
    """Voices of plucked and bowed instruments on one beat and in one scale, at times with drums.

    No formants and no consonants, though held tones are else like held vowels.
    """
    beat = int(SAMPLE_RATE_HZ * 60.0 / rng.uniform(50.0, 190.0))
    scale = np.sort(rng.choice(12, int(rng.integers(4, 9)), replace=False))
    noise = np.zeros(samples)
    play = _play_voice if rng.random() < 0.5 else _ring
    for _ in range(int(rng.integers(1, 6))):
        noise += rng.uniform(0.3, 1.0) * play(samples, beat, scale, rng)
    if rng.random() < 0.4:
        for start in range(int(rng.integers(beat)), samples, beat):
            length = min(samples - start, int(0.15 * SAMPLE_RATE_HZ))
            decay = np.exp(-np.arange(length) / (SAMPLE_RATE_HZ * rng.uniform(0.01, 0.06)))
            hit = rng.uniform(0.0, 1.0) * _colored(length, rng.uniform(0.0, 2.0), rng)
            noise[start : start + length] += decay * hit
    return noise


def _ring(samples: int, beat: int, scale: np.ndarray, rng: Rng) -> np.ndarray:
    """One instrument whose notes ring on into the next: a piano's, a harp's."""
    octave_hz = 55.0 * 2.0 ** rng.integers(4)
    decay_s, fall = 10.0 ** rng.uniform(-1.0, 0.4), rng.uniform(0.6, 2.0)
    step = max(1, int(beat * rng.choice([0.25, 0.5, 0.5, 1.0, 2.0])))
    partials = np.arange(1.0, rng.integers(2, 9))
    sound = np.zeros(samples)
    for start in range(int(rng.integers(step)), samples, step):
        time = np.arange(min(samples - start, int(4 * decay_s * SAMPLE_RATE_HZ))) / SAMPLE_RATE_HZ
        note_hz = octave_hz * 2.0 ** (rng.choice(scale) / 12.0 + rng.integers(3))
        struck = rng.uniform(0.3, 1.0) * np.minimum(1.0, time * 200.0) * np.exp(-time / decay_s)
        heard = np.where(partials * note_hz < 0.49 * SAMPLE_RATE_HZ, partials**-fall, 0.0)
        sound[start : start + len(time)] += struck * _add_partials(
            2 * np.pi * note_hz * time, heard
        )
    return sound


def _add_partials(phase: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Sum of sines of 1, 2, ... times a phase `[samples]`, by their levels (Horner's scheme)."""
    turn = np.exp(1j * phase)
    total = np.zeros(len(phase), complex)
    for level in levels[::-1]:
        total += level
        total *= turn
    return np.asarray(total.imag)


def _play_voice(samples: int, beat: int, scale: np.ndarray, rng: Rng) -> np.ndarray:
    """One instrument: a note or a rest after the other, all with its own attack and decay."""
    octave_hz = 55.0 * 2.0 ** rng.integers(5)
    attack_s, decay_s = 10.0 ** rng.uniform(-2.7, -0.9), 10.0 ** rng.uniform(-1.2, 0.7)
    pitch_hz, envelope = np.full(samples, octave_hz), np.zeros(samples)
    start = 0
    while start < samples:
        beats = rng.choice([0.25, 0.5, 0.5, 1.0, 1.0, 2.0, 4.0])
        end = min(samples, start + int(beat * beats) + 1)
        time = np.arange(end - start) / SAMPLE_RATE_HZ
        pitch_hz[start:end] = octave_hz * 2.0 ** (rng.choice(scale) / 12.0 + rng.integers(2))
        struck = rng.uniform(0.4, 1.0) * (rng.random() < 0.85)
        envelope[start:end] = struck * np.minimum(1.0, time / attack_s) * np.exp(-time / decay_s)
        envelope[start:end] *= np.minimum(1.0, time[::-1] / 0.02)
        start = end
    time = np.arange(samples) / SAMPLE_RATE_HZ
    depth = 0.01 * rng.uniform() * (rng.random() < 0.4)
    vibrato = 1.0 + depth * np.sin(2 * np.pi * rng.uniform(4.0, 7.0) * time)
    phase = 2 * np.pi * np.cumsum(pitch_hz * vibrato) / SAMPLE_RATE_HZ
    partials = np.arange(1.0, rng.integers(2, 12))
    levels = rng.uniform(0.3, 1.0, len(partials)) * partials ** -rng.uniform(0.6, 2.5)
    if rng.random() < 0.2:
        levels[1::2] = 0.0  # a clarinet
    highest = pitch_hz.max()
    return _add_partials(phase, levels * (partials * highest < 0.49 * SAMPLE_RATE_HZ)) * envelope


def add_room(samples: np.ndarray, rng: Rng, far: bool = False) -> np.ndarray:
    """Convolve with a synthetic room: the direct sound, then noise that decays (Polack 1988).

    It falls by 60 dB in 0.1 to 0.6 s and has up to 0.8 of the direct sound's energy. From `far`
    it falls in up to 1 s and has up to four times that energy, as at twice the critical distance.
    The direct sound is the first tap, so that nothing is delayed.
    """
    decay_s = 10.0 ** rng.uniform(-1.0, 0.0) if far else rng.uniform(0.1, 0.6)
    length = int(SAMPLE_RATE_HZ * decay_s)
    tail = rng.standard_normal(length) * np.exp(-6.9 * np.arange(length) / length)
    tail[: int(SAMPLE_RATE_HZ * rng.uniform(0.001, 0.01))] = 0.0
    level = 10.0 ** (rng.uniform(-20.0, 6.0) / 20.0) if far else rng.uniform(0.1, 0.9)
    tail *= level / np.sqrt((tail * tail).sum() + 1e-9)
    tail[0] = 1.0
    size = 1 << (len(samples) + length - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(tail, size), size)
    return wet[: len(samples)]


def limit_band(samples: np.ndarray, rng: Rng) -> np.ndarray:
    """Remove what a telephone, a small loudspeaker or a cheap microphone would."""
    low_hz = rng.uniform(20.0, 350.0)
    high_hz = rng.uniform(3000.0, 7800.0)
    frequency = np.fft.rfftfreq(len(samples), 1.0 / SAMPLE_RATE_HZ)
    gain = 1.0 / (1.0 + (low_hz / np.maximum(frequency, 1.0)) ** 4)
    gain /= 1.0 + (frequency / high_hz) ** 8
    tilt_db = rng.uniform(-6.0, 6.0) * np.log2(np.maximum(frequency, 50.0) / 1000.0) / 3.0
    return np.fft.irfft(np.fft.rfft(samples) * gain * 10.0 ** (tilt_db / 20.0), len(samples))


def compress_mu_law(samples: np.ndarray) -> np.ndarray:
    """Pass through 8-bit mu-law (ITU-T G.711), the coarsest codec a robot is likely to meet."""
    clipped = np.clip(samples, -1.0, 1.0)
    coded = np.round(127 * np.sign(clipped) * np.log1p(255 * np.abs(clipped)) / np.log(256)) / 127
    return np.sign(coded) * (256.0 ** np.abs(coded) - 1.0) / 255.0


_WHISPER_WINDOW = 128  # 8 ms: too short to tell a voice's harmonics apart


def whisper(samples: np.ndarray, rng: Rng) -> np.ndarray:
    """Return speech `[n]` without a voice: its spectrum over time, with phases at random.

    Whispering lacks low notes, so what is below some 500 Hz is taken down. Ours.
    """
    hop, window = _WHISPER_WINDOW // 2, np.hanning(_WHISPER_WINDOW + 1)[:-1]
    frames = -(-len(samples) // hop) + 1
    padded = np.pad(samples, (hop, frames * hop + _WHISPER_WINDOW - len(samples)))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, _WHISPER_WINDOW)[::hop][:frames]
    spectrum = np.abs(np.fft.rfft(pieces * window))
    spectrum[:, :4] *= (0.05, 0.1, 0.3, 0.7)
    phases = np.exp(2j * np.pi * rng.random(spectrum.shape))
    noise = np.fft.irfft(spectrum * phases) * window
    out = np.zeros(len(padded))
    for half in range(2):
        joined = noise[:, half * hop : (half + 1) * hop].ravel()
        out[half * hop : half * hop + len(joined)] += joined
    return out[hop : hop + len(samples)]


def augment(
    samples: np.ndarray, rng: Rng, far: bool = False, beside: np.ndarray | None = None
) -> np.ndarray:
    """Return a damaged copy of speech `[samples]`, float32 in [-1, 1]; timing is kept.

    From `far` there is more of the room and of noise. `beside` `[samples]` is someone else's
    speech, heard fainter than what the face says.
    """
    out = samples.astype(np.float64)
    if rng.random() < 0.05:
        out = whisper(out, rng)
    if rng.random() < 0.35:
        out = add_room(out, rng, far)
    if rng.random() < 0.35:
        out = limit_band(out, rng)
    level = _root_mean_square(out)
    if rng.random() < 0.6 and level > 1e-4:
        ratio_db = rng.uniform(3.0, 30.0 if far else 40.0)
        out = out + make_noise(len(out), rng) * level * 10.0 ** (-ratio_db / 20.0)
    else:
        out = out + rng.standard_normal(len(out)) * 10.0 ** rng.uniform(-5.0, -3.5)
    if beside is not None:
        other = add_room(beside, rng, far)
        ratio_db = rng.uniform(6.0, 30.0)
        out = out + other / _root_mean_square(other) * level * 10.0 ** (-ratio_db / 20.0)
    out *= 10.0 ** (rng.uniform(-18.0, 8.0) / 20.0)
    if rng.random() < 0.05:
        limit = np.abs(out).max() * rng.uniform(0.3, 0.8)
        out = np.clip(out, -limit, limit)
    if rng.random() < 0.05:
        out = compress_mu_law(out)
    return np.clip(out, -1.0, 1.0).astype(np.float32)


def make_background(samples: int, rng: Rng) -> np.ndarray:
    """Return a segment without speech: silence, faint hiss or noise at any level."""
    choice = rng.random()
    if choice < 0.15:
        return np.zeros(samples, dtype=np.float32)
    level = 10.0 ** rng.uniform(-4.5, -0.7)
    return np.clip(make_noise(samples, rng) * level, -1.0, 1.0).astype(np.float32)


_GRAIN = SAMPLE_RATE_HZ // 25  # 40 ms: a few periods of any voice
_OVERLAP = _GRAIN // 2


def hold_sound(audio: np.ndarray, at: int, samples: int, rng: Rng) -> np.ndarray:
    """Return speech `[n]` in which the sound around sample `at` lasts about `samples` longer.

    Grains from within 40 ms of `at` follow each other, each begun where it fits the one before
    best (WSOLA, Verhelst and Roelands 1993, held at one place). Half of all holds have a
    vibrato, all rise or fall in level. What follows `at` in `audio` follows the hold.
    """
    first, last = max(0, at - _GRAIN), min(len(audio), at + _GRAIN)
    region = audio[first:last].astype(np.float64)
    if len(region) < 2 * _GRAIN:
        return audio
    pieces, length = [region[:_OVERLAP]], 0
    tail = region[_OVERLAP:_GRAIN]
    fade = 0.5 - 0.5 * np.cos(np.pi * (np.arange(_OVERLAP) + 0.5) / _OVERLAP)
    while length < samples:
        start = _find_fit(region, tail, int(rng.integers(0, _OVERLAP + 1)))
        grain = region[start : start + _GRAIN]
        pieces.append(tail * (1 - fade) + grain[:_OVERLAP] * fade)
        tail = grain[_OVERLAP:]
        length += _OVERLAP
    start = _find_fit(region, tail, _GRAIN - _OVERLAP // 2)
    joined = tail * (1 - fade) + region[start : start + _OVERLAP] * fade
    sustained = _sing(np.concatenate([*pieces[1:], joined]), rng)
    rest = audio[first + start + _OVERLAP :]
    return np.concatenate([audio[:first], pieces[0], sustained, rest]).astype(np.float32)


def _find_fit(region: np.ndarray, tail: np.ndarray, begin: int) -> int:
    """Return where, within a grain's length from `begin` on, `region` goes on like `tail`."""
    searched = region[begin : begin + _GRAIN]
    likeness = np.correlate(searched, tail, mode="valid")
    energy = np.convolve(searched**2, np.ones(len(tail)), mode="valid")
    return begin + int(np.argmax(likeness / np.sqrt(energy + 1e-9)))


def _sing(sound: np.ndarray, rng: Rng) -> np.ndarray:
    """Give a held sound `[n]` a vibrato or none, and a level that moves."""
    time = np.arange(len(sound)) / SAMPLE_RATE_HZ
    ends = 10.0 ** (rng.uniform(-6.0, 4.0) / 20.0)
    sound = sound * ends ** np.sin(np.pi * time / time[-1])
    if rng.random() < 0.5:
        rate_hz, depth = rng.uniform(4.0, 7.0), rng.uniform(0.005, 0.04)
        # Where in the sound each sample comes from: slower and faster, at the end on time.
        turn = np.sin(2 * np.pi * rate_hz * time) * depth / (2 * np.pi * rate_hz)
        window = np.minimum(1.0, np.minimum(time, time[-1] - time) / 0.1)
        place = np.clip((time + turn * window) * SAMPLE_RATE_HZ, 0, len(sound) - 1)
        sound = np.interp(place, np.arange(len(sound)), sound)
    return sound
