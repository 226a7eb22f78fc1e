"""Audio held back for its face: in order, never early, never lost unless counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="the queue is imported with the talker node's parts")

from dualtalker.audio import AudioChunk
from dualtalker.delivery import Delivery
from dualtalker.stream import Talker
from dualtalker_ros.talker.synced_audio import SyncedAudio

RATE_HZ = 16000
CHUNK_NS = 20_000_000


class Loudspeaker:
    """Stands in for a publisher."""

    def __init__(self, subscribers=1):
        self.subscribers, self.played = subscribers, []

    def get_subscription_count(self):
        return self.subscribers

    def publish(self, message):
        self.played.append(message)


def chunk(message, length_s=0.02):
    return AudioChunk(np.zeros(round(length_s * RATE_HZ), np.float32), RATE_HZ, None, message)


def opened(max_queue_s=60.0, subscribers=1):
    audio, loudspeaker = SyncedAudio(max_queue_s), Loudspeaker(subscribers)
    audio.open(loudspeaker)
    return audio, loudspeaker


@given(
    st.lists(st.integers(0, 60_000_000), min_size=1, max_size=40),
    st.floats(0, 0.5),
    st.integers(1_000_000, 50_000_000),
)
def test_each_goes_out_once_in_order_and_never_early(arrivals_ns, delay_s, step_ns):
    """Whatever the rhythm of arriving and of looking."""
    audio, loudspeaker = opened()
    now_ns, due_ns = 0, []
    for number, wait_ns in enumerate(arrivals_ns):
        now_ns += wait_ns
        audio.take(chunk(number), number * CHUNK_NS)
        due_ns.append(number * CHUNK_NS + round(delay_s * 1e9))
        audio.send_due(now_ns, delay_s)
        assert all(due_ns[played] <= now_ns for played in loudspeaker.played)
    while (next_ns := audio.next_due_ns(delay_s)) is not None:
        assert next_ns == due_ns[len(loudspeaker.played)]
        now_ns += step_ns
        audio.send_due(now_ns, delay_s)
    assert loudspeaker.played == list(range(len(arrivals_ns))) and audio.sent == len(arrivals_ns)
    assert audio.counters["synced_audio_drops"] == 0


@pytest.mark.parametrize(("paced", "apart_ns"), [(True, 0), (False, CHUNK_NS)])
def test_it_goes_out_with_the_frame_of_its_first_sample(tiny, paced, apart_ns):
    """Exactly, under a simulated clock; immediate frames come up to a hop before the stated."""
    talker = Talker(tiny, fps=50.0)
    delivery = Delivery(talker, paced=paced)
    audio, loudspeaker = opened()
    delivery.follower = audio
    start_ns, step_ns = 10**18, 1_000_000
    delivery.start(start_ns)
    faces_ns, sounds_ns = {}, {}
    for now_ns in range(start_ns, start_ns + 10**9, step_ns):
        number, rest = divmod(now_ns - start_ns, CHUNK_NS)
        if rest == 0 and number < 30:  # stamped, and come when they are full
            samples = np.random.default_rng(number).uniform(-0.5, 0.5, 320).astype(np.float32)
            stamp_ns = now_ns - CHUNK_NS
            delivery.add(AudioChunk(samples, RATE_HZ, stamp_ns, stamp_ns), now_ns)
        for timed in delivery.run(now_ns, 1.0):
            faces_ns[timed.depicted_ns] = now_ns
        audio.send_due(now_ns, delivery.delay_s)
        for stamp_ns in loudspeaker.played[len(sounds_ns) :]:
            sounds_ns[stamp_ns] = now_ns
    # The last frames wait until it is certain that no more audio comes.
    both = [at_ns for at_ns in list(sounds_ns)[:24] if at_ns in faces_ns]
    assert len(sounds_ns) == 30 and len(both) > 20
    assert all(0 <= sounds_ns[at_ns] - faces_ns[at_ns] <= apart_ns for at_ns in both)


def test_the_queue_is_bounded_and_drops_are_counted_and_told_once(caplog):
    audio, loudspeaker = opened(max_queue_s=0.1)
    for number in range(8):
        audio.take(chunk(number), number * CHUNK_NS)
    assert audio.counters["synced_audio_drops"] == 3
    assert caplog.text.count("synced_audio_drops: more than 0.1 s of audio wait") == 1
    audio.send_due(10**9, 0.0)
    assert loudspeaker.played == [0, 1, 2, 3, 4]
    audio.take(chunk(8), 8 * CHUNK_NS)
    audio.send_due(10**9, 0.0)
    assert loudspeaker.played[-1] == 8, "what went out makes room"


def test_without_a_subscriber_nothing_is_kept():
    audio, loudspeaker = opened(subscribers=0)
    audio.take(chunk(0), 0)
    assert audio.next_due_ns(0.1) is None
    loudspeaker.subscribers = 1
    audio.take(chunk(1), CHUNK_NS)
    audio.send_due(10**9, 0.1)
    assert loudspeaker.played == [1]


def test_what_is_forgotten_is_not_heard():
    audio, loudspeaker = opened()
    audio.take(chunk(0), 0)
    audio.forget()
    audio.send_due(10**9, 0.0)
    assert loudspeaker.played == []
    assert audio.close() is loudspeaker and audio.close() is None
    audio.take(chunk(1), 0)
    assert audio.next_due_ns(0.0) is None, "closed"


def test_a_delay_that_grows_holds_back_what_waits():
    audio, loudspeaker = opened()
    audio.take(chunk(0), 0)
    audio.send_due(100_000_000, 0.2)
    assert audio.next_due_ns(0.3) == 300_000_000
    audio.send_due(299_999_999, 0.3)
    assert loudspeaker.played == []
    audio.send_due(300_000_000, 0.3)
    assert loudspeaker.played == [0]
