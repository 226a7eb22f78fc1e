"""Augmentation keeps timing, bounds and determinism."""

from __future__ import annotations

import numpy as np
import pytest

from training.data import augmentation


def click(samples: int = 16000, at: int = 8000) -> np.ndarray:
    audio = np.zeros(samples, np.float32)
    audio[at : at + 160] = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(160) / 16000)
    return audio


@pytest.mark.parametrize("seed", range(30))
def test_any_draw_is_finite_bounded_and_repeatable(seed: int) -> None:
    first = augmentation.augment(click(), np.random.default_rng(seed))
    again = augmentation.augment(click(), np.random.default_rng(seed))
    np.testing.assert_array_equal(first, again)
    assert first.dtype == np.float32 and first.shape == (16000,)
    assert np.isfinite(first).all() and np.abs(first).max() <= 1.0


@pytest.mark.parametrize("seed", range(10))
def test_room_and_band_do_not_move_the_sound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for change in (augmentation.add_room, augmentation.limit_band):
        changed = change(click().astype(float), rng)
        energy = np.convolve(changed**2, np.ones(160), "same")
        assert abs(int(np.argmax(energy)) - 8080) < 160  # within 10 ms


def test_a_room_echoes_more_from_afar() -> None:
    rests: dict[bool, list[float]] = {False: [], True: []}
    for seed in range(60):
        for far, found in rests.items():
            changed = augmentation.add_room(
                click().astype(float), np.random.default_rng(seed), far
            )
            # What sounds when the click and the next 20 ms are over, against the click.
            found.append((changed[8480:] ** 2).sum() / (changed[8000:8160] ** 2).sum())
    assert max(rests[False]) < 0.9 and max(rests[True]) > 1.0
    assert min(rests[False]) < 0.02 and min(rests[True]) < 0.02


@pytest.mark.parametrize("seed", range(10))
def test_a_second_voice_stays_fainter(seed: int) -> None:
    time_s = np.arange(16000) / 16000
    voice = (0.3 * np.sin(2 * np.pi * 220 * time_s)).astype(np.float32)
    other = 0.01 * np.sin(2 * np.pi * 1330 * time_s)
    alone = augmentation.augment(voice, np.random.default_rng(seed))
    both = augmentation.augment(voice, np.random.default_rng(seed), beside=other)
    assert both.shape == alone.shape and np.abs(both).max() <= 1.0
    assert not np.array_equal(alone, both)
    spectrum = np.abs(np.fft.rfft(both.astype(np.float64)))
    assert spectrum[1330] < spectrum[220]


@pytest.mark.parametrize("seed", range(20))
def test_noise_has_unit_power_and_differs(seed: int) -> None:
    noise = augmentation.make_noise(16000, np.random.default_rng(seed))
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(1.0, rel=1e-3)
    other = augmentation.make_noise(16000, np.random.default_rng(seed + 100))
    assert not np.array_equal(noise, other)


@pytest.mark.parametrize("seed", range(12))
def test_a_servo_pauses_and_its_pitch_follows_its_level(seed: int) -> None:
    servo = augmentation._servo(16000 * 8, np.random.default_rng(seed))
    frames = servo[: 400 * 320].reshape(400, 320)
    level = np.sqrt(np.mean(frames**2, axis=1))
    assert level.min() < 0.35 * level.max()  # it moves and rests
    power = np.abs(np.fft.rfft(frames * np.hanning(320), axis=1)) ** 2
    pitch = power.argmax(axis=1)
    moving = level > np.quantile(level, 0.6)
    assert len(np.unique(pitch[moving])) > 1  # it glides


def test_mu_law_is_close_and_coarse() -> None:
    ramp = np.linspace(-1, 1, 4001)
    coded = augmentation.compress_mu_law(ramp)
    assert np.abs(coded - ramp).max() < 0.03
    assert len(np.unique(coded)) <= 256


def test_silence_and_background_survive() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        assert np.isfinite(augmentation.augment(np.zeros(4000, np.float32), rng)).all()
        background = augmentation.make_background(4000, rng)
        assert background.shape == (4000,) and np.abs(background).max() <= 1.0


def test_a_whisper_keeps_the_syllables_and_has_no_voice() -> None:
    time_s = np.arange(48000) / 16000
    syllables = np.maximum(0.0, np.sin(2 * np.pi * 3 * time_s))
    voice = sum(np.sin(2 * np.pi * 150 * h * time_s) / h for h in range(1, 20))
    spoken = syllables * voice
    whispered = augmentation.whisper(spoken, np.random.default_rng(0))
    assert len(whispered) == len(spoken) and np.isfinite(whispered).all()
    blocks = [np.sqrt((x.reshape(-1, 480) ** 2).mean(1)) for x in (spoken, whispered)]
    assert np.corrcoef(blocks)[0, 1] > 0.8

    def periodicity(sound: np.ndarray) -> float:
        lag = 16000 * 2 // 150  # two periods of the voice
        return float(np.corrcoef(sound[:-lag], sound[lag:])[0, 1])

    assert periodicity(spoken) > 0.8 and abs(periodicity(whispered)) < 0.2
    again = augmentation.whisper(spoken, np.random.default_rng(0))
    assert np.array_equal(whispered, again)
