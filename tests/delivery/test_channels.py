"""Audio of several channels gives the face of its mono mix, bit for bit, on every road."""

from __future__ import annotations

import array
from types import SimpleNamespace as Fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker import Talker
from dualtalker.audio import AudioChunk, AudioFormat, mix_to_mono, read_message
from dualtalker.delivery import Delivery
from simulated_delivery import RATE_HZ, chunks_of, simulate, speak

SIZE = 320


def stereo(duration_s):
    """Two voices of 16-bit PCM [n, 2], unlike each other."""
    voices = np.stack([speak(duration_s, 1), 0.5 * speak(duration_s, 2)], axis=1)
    return (voices * 32767).astype(np.int16)


def as_message(samples):
    dim = [Fields(label="channels", size=samples.shape[1], stride=0)]
    return Fields(layout=Fields(dim=dim, data_offset=0), data=array.array("h", samples.tobytes()))


@pytest.mark.parametrize("size", [SIZE, 1001, 20_000])
def test_messages_of_two_channels_give_the_frames_of_their_mix(tiny, size):
    samples = stereo(1.5)
    mono, _ = mix_to_mono(samples)
    heard, mixed = Talker(tiny), Talker(tiny)
    frames, expected = [], []
    for first in range(0, len(samples), size):
        chunk = read_message(as_message(samples[first : first + size]), AudioFormat())
        assert chunk.samples.shape == (len(samples[first : first + size]), 2)
        heard.push(chunk.samples, chunk.rate_hz)
        mixed.push(mono[first : first + size], RATE_HZ)
        frames += heard.frames()
        expected += mixed.frames()
    frames, expected = frames + heard.flush(), expected + mixed.flush()
    assert len(frames) == len(expected) == 45
    for frame, other in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame.weights, other.weights)
    assert dict(heard.counters) == dict(mixed.counters)


EVENTS = st.lists(
    st.sampled_from(["lost", "twice", "window", "back", "ahead", "stray"]), min_size=1, max_size=4
)


def disturb(chunks, events):
    """Lose, repeat, lengthen and shift some of the chunks."""
    for number, event in enumerate(events):
        at = 12 * (number + 1)
        at_ns, chunk = chunks[at]
        if event == "lost":
            del chunks[at : at + 3]
        elif event == "twice":
            chunks.insert(at, (at_ns, chunk))
        elif event == "window":  # begins with the end of the chunk before
            before = chunks[at - 1][1]
            both = np.concatenate([before.samples, chunk.samples])
            chunks[at] = (at_ns, AudioChunk(both, chunk.rate_hz, before.stamp_ns))
        else:
            end = at + 1 if event == "stray" else len(chunks)
            shift_ns = {"back": -400_000_000, "ahead": 60_000_000, "stray": 100_000_000}[event]
            chunks[at:end] = [
                (when_ns, AudioChunk(c.samples, c.rate_hz, c.stamp_ns + shift_ns))
                for when_ns, c in chunks[at:end]
            ]
    return chunks


@settings(max_examples=8, deadline=None)
@given(EVENTS, st.booleans(), st.sampled_from([0.02, 0.032]))
def test_the_delivery_counts_samples_of_all_channels_as_one(tiny, events, paced, chunk_s):
    samples = stereo(2.0)
    deliveries, sent = [], []
    for sound in (samples, mix_to_mono(samples)[0]):
        deliveries.append(Delivery(Talker(tiny), paced=paced, max_queue_s=1.0))
        chunks = disturb(list(chunks_of(sound, 1.0, chunk_s=chunk_s)), events)
        burst = AudioChunk(sound, RATE_HZ, None)  # of which half finds no room
        sent.append(simulate(deliveries[-1], [*chunks, (chunks[-1][0] + 2 * 10**9, burst)], 7.0))
    for name in ("at_s", "stamps_s", "indices", "idle", "weights"):
        np.testing.assert_array_equal(getattr(sent[0], name), getattr(sent[1], name), name)
    counters = [d.all_counters for d in deliveries]
    assert counters[0] == counters[1]
    assert counters[0]["queue_drops"] == 1
    assert deliveries[0].audio_s == deliveries[1].audio_s > 2.5


def test_levels_are_those_of_the_loudest_channel():
    pytest.importorskip("rclpy", reason="the meter is imported with the talker node's parts")
    from dualtalker_ros.talker.diagnostics import LevelMeter

    meter, sine = LevelMeter(), np.sin(np.arange(1600) * 0.3)
    half = (np.stack([0.5 * sine, -0.5 * sine], axis=1) * 32768).astype(np.int16)
    meter.note(half)
    peak_db, clipping = meter.read()
    assert peak_db == pytest.approx(-6.02, abs=0.02) and clipping == 0
    meter.note(np.stack([np.full(100, 3.0), np.zeros(100)], axis=1))
    assert meter.read() == (0.0, 0.5)
