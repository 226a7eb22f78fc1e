"""Phones find their audio on the node's clock, whatever clock it is stamped by."""

from __future__ import annotations

import json

import pytest

from dualtalker.delivery import Delivery
from dualtalker.errors import SpeechError
from dualtalker.face import JAW_OPEN, MOUTH_CLOSE
from dualtalker.stream import MAX_PHONES, Talker
from simulated_delivery import START_NS, chunks_of, simulate, speak

ROWS = [("a", 0.0, 0.5), ("m", 0.5, 0.6), ("a", 0.6, 1.0)]


@pytest.fixture
def make(tiny):
    def make_delivery(**options):
        return Delivery(Talker(tiny, fps=50, idle_motion=False), **{"paced": True, **options})

    return make_delivery


def shut_s(sent, stamps_ns=0):
    """Stamps of frames with shut lips, from the first to the last, in seconds."""
    shut = ~sent.idle & (sent.weights[:, MOUTH_CLOSE] == sent.weights[:, JAW_OPEN])
    times_s = sent.stamps_s[shut] - stamps_ns / 1e9
    return (times_s.min(), times_s.max()) if shut.any() else None


def tell(delivery, stamp_s, rows=ROWS):
    return lambda now_ns: delivery.phones.add(rows, START_NS + round(stamp_s * 1e9))


def is_near(span_s, wanted_s):
    return span_s is not None and span_s == pytest.approx(wanted_s, abs=0.025)


@pytest.mark.parametrize("told_s", [0.1, 0.95, 1.3])
@pytest.mark.parametrize("offset_s", [0.0, -3600.0, 0.5])
def test_phones_meet_their_audio_by_its_own_stamps(make, told_s, offset_s):
    """Before the audio, and while it is spoken; also where the source's clock is another."""
    delivery = make()
    audio = chunks_of(speak(1.5), 1.0, offset_s=offset_s)
    orders = [(told_s, tell(delivery, 1.0 + offset_s))]
    sent = simulate(delivery, audio, end_s=3.5, orders=orders)
    assert is_near(shut_s(sent), (1.5 + offset_s, 1.575 + offset_s))
    assert delivery.all_counters["wrong_phones"] == 0


def test_audio_without_stamps_is_met_at_its_arrival(make):
    delivery = make()
    audio = chunks_of(speak(1.5), 1.0, stamped=False)
    sent = simulate(delivery, audio, end_s=3.5, orders=[(0.98, tell(delivery, 0.99))])
    assert is_near(shut_s(sent), (1.49, 1.565))


def test_a_burst_has_its_phones(make):
    delivery = make()
    audio = [(START_NS + 10**9, chunk) for _, chunk in chunks_of(speak(1.5), 1.0)]
    sent = simulate(delivery, audio, end_s=3.5, orders=[(0.99, tell(delivery, 1.0))])
    assert is_near(shut_s(sent), (1.5, 1.575))


def test_an_utterance_that_takes_the_place_of_another_brings_its_own_phones(make):
    delivery = make(replace_utterances=True)
    old = [(START_NS + 10**9, chunk) for _, chunk in chunks_of(speak(4.0), 1.0)]
    new = [(START_NS + 2 * 10**9, chunk) for _, chunk in chunks_of(speak(1.5, seed=1), 2.0)]
    orders = [
        (0.9, tell(delivery, 1.0, [("a", 0.0, 3.0), ("m", 3.0, 3.1)])),
        (1.9, tell(delivery, 2.0)),
    ]
    sent = simulate(delivery, [*old, *new], end_s=6.0, orders=orders)
    assert is_near(shut_s(sent), (2.5, 2.575))


@pytest.mark.parametrize(("reset_s", "wanted_s"), [(0.5, None), (0.05, (1.5, 1.575))])
def test_a_new_stream_forgets_phones_told_by_the_old_ones_clock(make, reset_s, wanted_s):
    """Those told after its begin are its own."""
    delivery = make()
    orders = sorted([(reset_s, delivery.begin_stream), (0.1, tell(delivery, 1.0))])
    sent = simulate(delivery, chunks_of(speak(1.5), 1.0), end_s=3.5, orders=orders)
    assert shut_s(sent) == (wanted_s and pytest.approx(wanted_s, abs=0.025))


def test_phones_whose_audio_never_comes_are_counted(make):
    delivery = make()
    orders = [(0.1, tell(delivery, at_s)) for at_s in (-20.0, 500.0, 1e6)]
    sent = simulate(delivery, chunks_of(speak(1.5), 1.0), end_s=3.5, orders=orders)
    assert shut_s(sent) is None
    assert delivery.all_counters["late_phones"] == delivery.all_counters["early_phones"] == 3


def test_what_waits_is_bounded_and_nonsense_is_refused(make):
    delivery = make()
    delivery.start(START_NS)
    for _ in range(30):
        delivery.phones.add([("p", k / 10, (k + 1) / 10) for k in range(1000)], START_NS)
    assert delivery.counters["early_phones"] == 30_000 - MAX_PHONES
    delivery.phones.add([("p", 0.5, 0.6)], START_NS)
    assert delivery.counters["early_phones"] == 30_000 - MAX_PHONES + 1000  # the oldest went
    with pytest.raises(SpeechError):
        delivery.phones.add([("ʘ", 0, 1)], START_NS)


def test_a_flood_without_audio_is_bounded(make):
    """Utterances without a phone, and phones of audio that was heard, after which none comes."""
    delivery = make()
    simulate(delivery, chunks_of(speak(1.5), 1.0), end_s=2.4)
    stamp_ns = START_NS + 2 * 10**9
    stamp = {"sec": stamp_ns // 10**9, "nanosec": stamp_ns % 10**9}
    for _ in range(100):
        delivery.phones.hear(json.dumps({"stamp": stamp, "phones": []}))
        delivery.phones.add([("p", k / 10, (k + 1) / 10) for k in range(1000)], stamp_ns)
    assert not delivery.phones._waiting
    assert sum(len(phones) for _, phones in delivery.phones._given) <= MAX_PHONES
