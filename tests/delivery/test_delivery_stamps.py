"""A stamp that strays alone does not cut the speech, however long its message. No ROS in here."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dualtalker.audio import AudioChunk
from dualtalker.delivery import Delivery
from dualtalker.stream import Talker
from simulated_delivery import RATE_HZ, microphone, simulate, speak


def shifted(arrivals, at, shift_s):
    """Have one message's stamp be off by `shift_s`."""
    at_ns, chunk = arrivals[at]
    stamp_ns = chunk.stamp_ns + round(shift_s * 1e9)
    return [
        *arrivals[:at],
        (at_ns, AudioChunk(chunk.samples, RATE_HZ, stamp_ns)),
        *arrivals[at + 1 :],
    ]


@settings(max_examples=20, deadline=None)
@given(
    chunk_s=st.sampled_from([0.02, 0.032, 0.1, 0.4]),
    shift_s=st.floats(-0.99, -0.061),
    place=st.floats(0.3, 0.8),
    paced=st.booleans(),
)
@example(chunk_s=0.4, shift_s=-0.5, place=0.796875, paced=True)  # the last one: no next tells
@example(chunk_s=0.4, shift_s=-0.5, place=0.796875, paced=False)
def test_a_stamp_that_goes_back_alone_moves_no_sample(tiny, chunk_s, shift_s, place, paced):
    arrivals = list(microphone(speak(2.5), 0.5, chunk_s, True))
    straight = simulate(Delivery(Talker(tiny), paced=paced), arrivals, end_s=5.0)
    delivery = Delivery(Talker(tiny), paced=paced)
    arrivals = shifted(arrivals, round(place * len(arrivals)), shift_s)
    strayed = simulate(delivery, arrivals, end_s=5.0)
    found = {kind: n for kind, n in delivery.all_counters.items() if n}
    assert found.pop("stray_stamps") == 1
    assert not {"overlaps", "gaps", "clock_offsets", "late_chunks"} & set(found)
    np.testing.assert_array_equal(strayed.indices, straight.indices)
    spoken = ~straight.idle & ~strayed.idle
    # Where messages are long the next comes too late for its last frames: they idle.
    assert spoken.sum() >= (~straight.idle).sum() - np.ceil(chunk_s * 30)
    np.testing.assert_array_equal(strayed.weights[spoken], straight.weights[spoken])
