"""Style and intensity of a running node: its parameters and `~/set_style`, over real DDS."""

from __future__ import annotations

import subprocess
import time

import numpy as np
import pytest

from dualtalker.arkit import ARKIT_INDEX
from ros_processes import command_of, running, stamp_ns
from tiny_bundle import make_tiny_bundle

pytestmark = pytest.mark.usefixtures("ros")
JAW = ARKIT_INDEX["jawOpen"]


class Caller:
    """Sets parameters of the talker in another process."""

    def __init__(self, listener, service):
        from rcl_interfaces.srv import SetParameters

        self._listener = listener
        self._client = listener.node.create_client(SetParameters, service)
        listener.spin_until(self._client.service_is_ready)

    def __call__(self, *changes):
        """Send (name, value) pairs; return the results as (successful, reason)."""
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        messages = [Parameter(name, value=value).to_parameter_msg() for name, value in changes]
        future = self._client.call_async(SetParameters.Request(parameters=messages))
        self._listener.spin_until(future.done)
        return [(result.successful, result.reason) for result in future.result().results]


def read_parameters(listener, *names):
    from rcl_interfaces.srv import GetParameters

    client = listener.node.create_client(GetParameters, "/talker/get_parameters")
    listener.spin_until(client.service_is_ready)
    future = client.call_async(GetParameters.Request(names=list(names)))
    listener.spin_until(future.done)
    return [value.string_value or value.double_value for value in future.result().values]


@pytest.fixture(scope="module")
def talker(ros_domain, tmp_path_factory):
    """A talker process with a model of two styles."""
    folder = tmp_path_factory.mktemp("style")
    model = make_tiny_bundle(folder, styled=True)
    log = folder / "log"
    with running("talker_node", log, model=model, style="even", idle_motion=False):
        yield log


@pytest.fixture(scope="module")
def call(talker, listener):
    return Caller(listener, "/talker/set_style")


def test_the_service_sets_both_and_the_parameters_follow(talker, call, listener):
    assert call(("style", "articulate"), ("intensity", 0.5)) == [(True, "")] * 2
    assert read_parameters(listener, "style", "intensity") == ["articulate", 0.5]
    assert call(("intensity", 2)) == [(True, "")]  # a whole number is a number
    assert call(("style", "rules:0.3,captured:someone:0.7")) == [(True, "")]
    assert read_parameters(listener, "style", "intensity") == [
        "rules:0.3,captured:someone:0.7",
        2.0,
    ]
    assert "styles: default, articulate, even, rules, captured:someone" in talker.read_text()


def test_it_is_all_or_nothing(call, listener):
    call(("style", "even"), ("intensity", 1.0))
    for changes, reason in (
        ([("style", "articulate"), ("intensity", 3.0)], "intensity"),
        ([("intensity", 0.5), ("style", "loud")], "'loud' is unknown; this model has default"),
        ([("style", "articulate"), ("frame_rate", 60.0)], "expected style, intensity or both"),
        ([("style", "articulate"), ("style", "even")], "each once"),
        ([("style", 7)], "Type.STRING"),
        ([], "expected style, intensity or both"),
    ):
        results = call(*changes)
        assert len(results) == max(len(changes), 1)
        for successful, why in results:
            assert not successful and reason in why, (changes, why)
        assert read_parameters(listener, "style", "intensity") == ["even", 1.0]


def test_a_bad_parameter_is_refused_and_the_node_goes_on(talker, call, listener):
    from sensor_msgs.msg import JointState

    set_parameters = Caller(listener, "/talker/set_parameters")
    (successful, reason), *_ = set_parameters(("style", "nobody"))
    assert not successful and "this model has default, articulate" in reason
    heard = listener.hear(JointState, "blendshapes")
    listener.spin_until(lambda: len(heard) > 10)


def test_what_is_set_shows_in_the_face(talker, call, listener):
    """The tiny model talks with an open mouth; a still one differs, also between styles."""
    from sensor_msgs.msg import JointState
    from std_msgs.msg import Float32MultiArray

    faces = listener.hear(JointState, "blendshapes")
    publisher = listener.node.create_publisher(Float32MultiArray, "audio", 10)
    listener.meet(publisher)

    def face_after(*changes):
        """The mean face [52] of the same noise, once the fade to the style is over."""
        call(*changes)
        noise = 0.3 * np.random.default_rng(0).standard_normal(16000)
        # At once, so that it is said without a hole on a busy machine, too.
        publisher.publish(Float32MultiArray(data=noise.astype(np.float32).tolist()))
        begin_ns = time.time_ns()
        listener.spin_until(lambda: faces and stamp_ns(faces[-1][1]) > begin_ns + 1.5e9)
        ages_ns = [stamp_ns(message) - begin_ns for _, message in faces]
        said = [0.4e9 < age_ns < 0.9e9 for age_ns in ages_ns]
        positions = [message.position for _, message in faces]
        return np.mean(np.array(positions)[said], axis=0)

    still = face_after(("style", "default"), ("intensity", 0.0))
    assert still[JAW] == 0.0
    face = {name: face_after(("style", name), ("intensity", 1.0)) for name in ("rules", "even")}
    assert min(mean[JAW] for mean in face.values()) > 0.05
    assert np.abs(face["rules"] - face["even"]).mean() > 0.02


def test_a_style_that_the_model_has_not_stops_the_start(ros_domain, tiny):
    command = command_of("talker_node", model=tiny, style="natural")
    ended = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, text=True
    )
    assert ended.returncode == 1
    assert "cannot configure: style 'natural': this model has one style" in ended.stdout
