"""The packets of `livelink://`, read by the rules of receivers that we did not write."""

from __future__ import annotations

import logging
import socket
import struct
import time

import numpy as np
import pytest

from dualtalker.arkit import ARKIT_INDEX, ARKIT_NAMES
from dualtalker.errors import OutputError
from dualtalker.outputs import open_output, outputs_open
from dualtalker.stream import Frame

# What Unreal refuses: FAppleARKitLiveLinkSource's least and largest packet.
LEAST, LARGEST = 264, 774


def make_frame(index=0, head=None, seed=0):
    weights = np.random.default_rng(seed).random(52, np.float32)
    return Frame(index, index / 60, None, weights, False, head)


@pytest.fixture
def receiver():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        found.settimeout(5)
        yield found


def read_packet(data):
    """As public receivers do: field after field, nothing may be left."""
    place = 0

    def take(form):
        nonlocal place
        [value] = struct.unpack_from(form, data, place)
        place += struct.calcsize(form)
        return value

    def take_text():
        return take(f"{take('>i')}s").decode("utf-8")

    version, device, subject = take(">B"), take_text(), take_text()
    told = [take(form) for form in (">i", ">f", ">i", ">i")]
    values = [take(">f") for _ in range(take(">B"))]
    assert place == len(data) and LEAST <= len(data) <= LARGEST
    return version, device, subject, told, values


def test_a_packet_is_what_unreal_reads(receiver):
    output = open_output(f"livelink://127.0.0.1:{receiver.getsockname()[1]}/My%20Robot")
    frame = make_frame(head=np.array([0.1, -0.2, 0.3], np.float32))
    output.send(frame)
    version, device, subject, (number, part, rate, below), values = read_packet(
        receiver.recv(4096)
    )
    assert (version, device, subject, rate, below) == (6, "dualtalker", "My Robot", 60, 1)
    assert abs(number + part - time.time() % 86400 * 60) < 600 and 0 <= part < 1
    np.testing.assert_array_equal(np.float32(values[:52]), frame.weights)  # ARKit's order
    np.testing.assert_array_equal(np.float32(values[52:55]), np.float32([-0.2, 0.1, 0.3]))
    assert len(values) == 61 and ARKIT_NAMES[17] == "jawOpen" and ARKIT_INDEX["tongueOut"] == 51
    assert output.counters == {"sent": 1, "full": 0, "unreachable": 0, "bad_frames": 0}
    output.close()


def test_nobody_there_is_counted_and_told_once(caplog, receiver):
    port = receiver.getsockname()[1]
    receiver.close()
    with outputs_open([f"livelink://127.0.0.1:{port}"]) as [output], caplog.at_level(logging.INFO):
        began_s = time.monotonic()
        for index in range(200):
            output.send(make_frame(index))
        assert time.monotonic() - began_s < 2.0
        assert output.counters["unreachable"] > 50 and sum(output.counters.values()) == 200
    assert len([line for line in caplog.records if "unreachable" in line.message.lower()]) <= 1
    assert len(caplog.records) == 1


def test_a_full_socket_blocks_no_frame(receiver):
    output = open_output(f"livelink://127.0.0.1:{receiver.getsockname()[1]}")

    class Full:
        def send(self, data):
            raise BlockingIOError

        def close(self):
            pass

    output.close()
    output._socket = Full()
    for index in range(3):
        output.send(make_frame(index))
    assert output.counters["full"] == 3 and output.counters["sent"] == 0


def test_a_receiver_that_reads_nothing_holds_nobody_up(receiver):
    with outputs_open([f"livelink://127.0.0.1:{receiver.getsockname()[1]}"]) as [output]:
        began_s = time.monotonic()
        for index in range(5000):
            output.send(make_frame(index))
        assert time.monotonic() - began_s < 5.0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["weights", "head"])
def test_what_is_no_number_is_not_sent(receiver, where, value):
    frame = make_frame(head=np.zeros(3, np.float32))
    getattr(frame, where)[1] = value
    with outputs_open([f"livelink://127.0.0.1:{receiver.getsockname()[1]}"]) as [output]:
        output.send(frame)
        output.send(make_frame(seed=3))
        assert output.counters["bad_frames"] == output.counters["sent"] == 1
    assert np.isfinite(read_packet(receiver.recv(4096))[-1]).all()


@pytest.mark.parametrize(
    "address",
    [
        *("", "livelink", "livelink://", "livelink://:11111", "livelink://127.0.0.1:99999"),
        *(
            "livelink://127.0.0.1:port",
            "livelnk://127.0.0.1",
            "http://127.0.0.1",
            "127.0.0.1:11111",
        ),
        *("livelink://no.such.host.invalid", "livelink://[::1", "livelink://" + "a" * 300),
        *("livelink://127.0.0.1/" + "a" * 200, "livelink://a\0b"),
    ],
)
def test_addresses_that_mean_none_are_refused(address):
    with pytest.raises(OutputError):
        open_output(address)
