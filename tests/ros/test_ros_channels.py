"""What a talker node, in its own process and on real DDS, tells of the channels of its audio."""

from __future__ import annotations

import array

import numpy as np
import pytest

from dualtalker.arkit import ARKIT_INDEX
from ros_processes import running
from simulated_delivery import RATE_HZ, speak

CHUNK = 320
JAW = ARKIT_INDEX["jawOpen"]

pytestmark = pytest.mark.usefixtures("ros")


def fill(samples):
    """Return a message of float samples [n, channels]."""
    from std_msgs.msg import Float32MultiArray, MultiArrayDimension

    message = Float32MultiArray(data=array.array("f", samples.astype(np.float32).tobytes()))
    dim = MultiArrayDimension(label="channels", size=samples.shape[1], stride=1)
    message.layout.dim = [dim]
    return message


class Talk:
    """A talker node that is spoken to, and what it says of that."""

    def __init__(self, listener, log):
        from diagnostic_msgs.msg import DiagnosticArray
        from sensor_msgs.msg import JointState
        from std_msgs.msg import Float32MultiArray

        self.listener, self.log = listener, log
        self.faces = listener.hear(JointState, "/blendshapes")
        self.diagnostics = listener.hear(DiagnosticArray, "/diagnostics")
        self.audio = listener.node.create_publisher(Float32MultiArray, "/audio", 1000)
        listener.meet(self.audio)
        self.counts = self.await_diagnostics()

    def await_diagnostics(self):
        """Return the counters of the next diagnostics, as numbers where they are."""
        self.diagnostics.clear()
        self.listener.spin_until(lambda: self.diagnostics)
        status = self.diagnostics[-1][1].status[0]
        return {pair.key: int(pair.value) for pair in status.values if pair.value.isdigit()}

    def say(self, samples):
        """Send [n, channels] in chunks, as fast as it goes; return what was counted of them."""
        for first in range(0, len(samples), CHUNK):
            self.audio.publish(fill(samples[first : first + CHUNK]))
        self.listener.spin(len(samples) / RATE_HZ + 0.5)
        before, self.counts = self.counts, self.await_diagnostics()
        return {key: count - before.get(key, 0) for key, count in self.counts.items()}


@pytest.fixture(scope="module")
def talk(listener, tiny, tmp_path_factory):
    log = tmp_path_factory.mktemp("channels") / "talker.log"
    kind = "std_msgs/msg/Float32MultiArray"
    with running("talker_node", log, model=tiny, audio_type=kind):
        yield Talk(listener, log)
    assert "Traceback" not in log.read_text()


def test_faults_of_channels_are_counted_and_told_once(talk):
    sound = speak(1.0)
    inverted = talk.say(np.stack([sound, -sound], axis=1))
    # Pieces in the pauses between syllables are no sound that could be lost.
    assert 0.8 * len(sound) < inverted["cancelled_audio"] <= len(sound)
    assert inverted["channel_changes"] == inverted["clipped"] == 0

    loud = np.stack([sound, 2 * sound], axis=1)
    beyond = talk.say(loud)
    assert beyond["clipped"] == np.count_nonzero(np.abs(loud.astype(np.float32)) > 1) > 1000
    assert beyond["channel_changes"] == beyond["cancelled_audio"] == 0

    for channels in (1, 6, 2):
        changed = talk.say(np.repeat(sound[:, None], channels, axis=1))
        assert changed["channel_changes"] == 1
        assert changed["clipped"] == changed["cancelled_audio"] == 0

    talk.say(np.stack([sound, -sound], axis=1))
    log = talk.log.read_text()
    for kind in ("cancelled_audio", "clipped", "channel_changes"):
        assert log.count(f"{kind}:") == 1, log
    assert "2 became 1 channels" in log and "one of them is inverted" in log


def test_one_channel_of_an_array(talk):
    """As a ReSpeaker sends it: the voice on one channel; one that is not there is no voice."""
    from rcl_interfaces.msg import Parameter, ParameterValue
    from rcl_interfaces.srv import SetParameters

    client = talk.listener.node.create_client(SetParameters, "/talker/set_parameters")
    talk.listener.spin_until(client.service_is_ready)

    def choose(**value):
        parameters = [Parameter(name="channel", value=ParameterValue(**value))]
        future = client.call_async(SetParameters.Request(parameters=parameters))
        talk.listener.spin_until(future.done)
        return future.result().results[0]

    def jaw():
        talk.listener.spin_until(lambda: len(talk.faces) > 30)
        return max(message.position[JAW] for _, message in talk.faces)

    sound = speak(1.0)
    array_of = np.zeros((len(sound), 6))
    array_of[:, 2] = sound
    for value, heard in (
        ({"type": 2, "integer_value": 2}, True),
        ({"type": 4, "string_value": "3"}, False),
        ({"type": 4, "string_value": "2"}, True),
    ):
        assert choose(**value).successful
        talk.faces.clear()
        assert talk.say(array_of)["missing_channels"] == 0
        assert (jaw() > 0.4) == heard

    missing = talk.say(array_of[:, :2])
    assert missing["missing_channels"] == len(sound) // CHUNK
    assert talk.log.read_text().count("found 2 channels, but channel 2 is to be heard") == 1
    for value in ({"type": 4, "string_value": "left"}, {"type": 2, "integer_value": 64}):
        refused = choose(**value)
        assert not refused.successful and "expected mix, or an index" in refused.reason
    assert "needs a value" in choose(type=0).reason
    assert choose(type=4, string_value="mix").successful
    assert talk.say(array_of[:, :2])["missing_channels"] == 0
