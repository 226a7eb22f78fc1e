"""The topic `phones` of a running node: lips meet by it, and nonsense is counted."""

from __future__ import annotations

import array
import json
import time

import pytest

from ros_processes import running
from streamed_speech import speech

pytestmark = pytest.mark.usefixtures("ros")

RATE_HZ = 16000
HOSTILE = (
    "",
    "{",
    "[]",
    '{"phones": []}',
    '{"stamp": {"sec": -1, "nanosec": 0}, "phones": []}',
    '{"stamp": {"sec": 1e400, "nanosec": 0}, "phones": []}',
    '{"stamp": {"sec": 1, "nanosec": 0}, "phones": [["p", 0]]}',
    '{"stamp": {"sec": 1, "nanosec": 0}, "phones": [["ʘ", 0, 1]]}',
    '{"stamp": {"sec": 1, "nanosec": 0}, "phones": [["p", 1, 0]]}',
    '{"stamp": {"sec": 1, "nanosec": 0}, "phones": [[null, 0, 1]]}',
    '{"stamp": {"sec": 1, "nanosec": 0}, "phones": ' + 9999 * "[" + 9999 * "]" + "}",
    '"' + 2_000_000 * "x" + '"',
)


@pytest.fixture(scope="module")
def stage(listener, tiny, tmp_path_factory):
    log = tmp_path_factory.mktemp("phones") / "log"
    options = {"model": tiny, "idle_motion": False, "frame_rate": 50.0}
    with running("talker_node", log, **options, sample_rate_hz=RATE_HZ):
        from diagnostic_msgs.msg import DiagnosticArray
        from sensor_msgs.msg import JointState
        from std_msgs.msg import Int16MultiArray, String

        heard = (
            listener.hear(JointState, "/blendshapes"),
            listener.hear(DiagnosticArray, "/diagnostics"),
        )
        phones = listener.node.create_publisher(String, "/phones", 100)
        audio = listener.node.create_publisher(Int16MultiArray, "/audio", 1000)
        listener.meet(phones)
        listener.meet(audio)
        yield listener, *heard, phones, audio, log
    assert "Traceback" not in log.read_text()


def count(diagnostics, kind):
    for _, message in reversed(diagnostics):
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            if kind in values:
                return int(values[kind])
    return 0


def test_lips_meet_where_the_phones_say_so(stage):
    from std_msgs.msg import Int16MultiArray, MultiArrayDimension, String

    listener, frames, diagnostics, phones, audio, _ = stage
    begin_ns = time.time_ns() + 300_000_000
    stamp = {"sec": begin_ns // 10**9, "nanosec": begin_ns % 10**9}
    rows = [["a", 0.0, 0.6], ["m", 0.6, 0.8], ["a", 0.8, 1.5]]
    phones.publish(String(data=json.dumps({"stamp": stamp, "phones": rows})))
    pcm = (speech(1.5, RATE_HZ) * 32767).astype("int16")
    message = Int16MultiArray(data=array.array("h", pcm.tobytes()))
    label = MultiArrayDimension(label=f"stamp_ns={begin_ns}", size=len(pcm))
    message.layout.dim.append(label)
    time.sleep(0.1)
    audio.publish(message)

    def is_shut(message):
        at_s = (message.header.stamp.sec * 10**9 + message.header.stamp.nanosec - begin_ns) / 1e9
        weights = dict(zip(message.name, message.position, strict=True))
        jaw, close = weights["jawOpen"], weights["mouthClose"]
        return 0.6 <= at_s <= 0.77 and jaw > 0.01 and jaw == pytest.approx(close, abs=1e-6)

    listener.spin_until(lambda: any(is_shut(message) for _, message in frames))
    listener.spin_until(lambda: len(diagnostics) > 0)
    assert count(diagnostics, "wrong_phones") == count(diagnostics, "refused_phones") == 0


def test_nonsense_is_counted_told_once_and_frames_go_on(stage):
    from std_msgs.msg import String

    listener, frames, diagnostics, phones, _, log = stage
    for text in HOSTILE:
        phones.publish(String(data=text))
    listener.spin_until(lambda: count(diagnostics, "refused_phones") == len(HOSTILE))
    assert log.read_text().count("a message of phones makes no sense") == 1
    before = len(frames)
    listener.spin_until(lambda: len(frames) > before + 5)
