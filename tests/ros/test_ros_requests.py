"""Requests that make no sense, to the services of nodes: refused, and the node lives on."""

from __future__ import annotations

import numpy as np
import pytest

from ros_processes import running
from ros_stage import AUDIO_TYPE, Stage

NODES = {
    "talker_node": {"audio_type": AUDIO_TYPE},
    "recorder_node": {"topics": "[nothing]"},
}
UNKNOWN_TYPES = (10, 77, 255)

pytestmark = pytest.mark.usefixtures("ros")


def call(listener, kind, name, **fields):
    client = listener.node.create_client(kind, name)
    listener.spin_until(client.service_is_ready)
    future = client.call_async(kind.Request(**fields))
    listener.spin_until(future.done)
    listener.node.destroy_client(client)
    return future.result()


def value(name, type_, **fields):
    from rcl_interfaces.msg import Parameter, ParameterValue

    return Parameter(name=name, value=ParameterValue(type=type_, **fields))


def reasons(results):
    return [None if result.successful else result.reason for result in results]


@pytest.fixture(params=["single", "events"])
def stage(request, listener, tiny, tmp_path):
    if request.param == "events":
        pytest.importorskip("rclpy.experimental", reason="this rclpy has no EventsExecutor")
    parameters = {"model": tiny, "executor": request.param, **NODES["talker_node"]}
    namespace = f"/asked_{request.param}"
    log = tmp_path / "node.log"
    with running("talker_node", log, [f"__ns:={namespace}"], **parameters) as process:
        stage = Stage(listener, namespace, process)
        listener.spin_until(lambda: len(stage.faces) > 3)
        yield stage
        stage.faces.clear()
        listener.spin_until(lambda: len(stage.faces) > 3)
    assert "Traceback" not in log.read_text()


def test_lifecycle_requests_that_the_state_does_not_allow(stage):
    """All 256 ids and odd labels but those that an active node can follow."""
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState, GetState

    name = f"{stage.namespace}/talker"
    allowed = {Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVE_SHUTDOWN}
    asked = [(number, "") for number in range(256) if number not in allowed]
    asked += [(4, "configure"), (4, "nonsense"), (4, "transition_success"), (4, "ä\n" * 99)]
    for number, label in asked:
        transition = Transition(id=number, label=label)
        answer = call(stage.listener, ChangeState, f"{name}/change_state", transition=transition)
        assert not answer.success, (number, label)
    state = call(stage.listener, GetState, f"{name}/get_state").current_state
    assert state.label == "active"
    transition = Transition(id=Transition.TRANSITION_DEACTIVATE)
    answer = call(stage.listener, ChangeState, f"{name}/change_state", transition=transition)
    assert answer.success
    transition = Transition(label="activate")
    assert call(stage.listener, ChangeState, f"{name}/change_state", transition=transition).success


def test_a_style_of_no_type(stage):
    from rcl_interfaces.srv import SetParameters

    name = f"{stage.namespace}/talker/set_style"
    for unknown in UNKNOWN_TYPES:
        for beside in ([], [value("intensity", 3, double_value=0.5)]):
            parameters = [*beside, value("style", unknown)]
            answer = call(stage.listener, SetParameters, name, parameters=parameters)
            assert len(answer.results) == len(parameters)
            assert all(str(unknown) in reason for reason in reasons(answer.results))
    assert float(stage.status()[2]["intensity"]) == 1.0, "all or nothing"


@pytest.mark.parametrize("module", NODES)
def test_parameters_of_no_type_name_or_sense(listener, tiny, tmp_path, module):
    """Each is refused for itself; those beside it are set."""
    from rcl_interfaces.srv import SetParameters, SetParametersAtomically

    parameters = dict(NODES[module])
    parameters |= {"model": tiny} if module == "talker_node" else {"output": tmp_path / "bag"}
    known = {"talker_node": "max_queue_s", "recorder_node": "use_sim_time"}[module]
    good = value(known, 3, double_value=30.0)
    if module == "recorder_node":
        good = value(known, 1, bool_value=False)
    log = tmp_path / "node.log"
    name = f"/typed/{module.removesuffix('_node')}"
    with running(module, log, ["__ns:=/typed"], **parameters):
        bad = [value(known, unknown) for unknown in UNKNOWN_TYPES]
        bad += [value("", 1), value("no\x00such", 4, string_value="\x00"), value(known, 0)]
        bad += [value("use_sim_time", 4), value(known, 5, byte_array_value=[b"a"])]
        answer = call(
            listener, SetParameters, f"{name}/set_parameters", parameters=[*bad, good, *bad]
        )
        told = reasons(answer.results)
        assert told.pop(len(bad)) is None
        assert len(told) == 2 * len(bad) and all(told), told
        assert all(
            str(unknown) in reason
            for unknown, reason in zip(UNKNOWN_TYPES, told[: len(UNKNOWN_TYPES)], strict=True)
        )
        for parameter in bad:
            answer = call(
                listener,
                SetParametersAtomically,
                f"{name}/set_parameters_atomically",
                parameters=[good, parameter],
            )
            assert reasons([answer.result])[0]
        answer = call(
            listener,
            SetParametersAtomically,
            f"{name}/set_parameters_atomically",
            parameters=[good],
        )
        assert answer.result.successful
    assert "Traceback" not in log.read_text()


def test_random_values_of_every_type(stage):
    """Whatever is asked for, each request is answered, and frames go on."""
    from rcl_interfaces.srv import ListParameters, SetParameters

    listed = call(stage.listener, ListParameters, f"{stage.namespace}/talker/list_parameters")
    rng = np.random.default_rng(0)
    fields = {
        "bool_value": True,
        "integer_value": -(2**63),
        "double_value": float("nan"),
        "string_value": "\ud7ff:,\n",
        "byte_array_value": [b"\xff"],
        "integer_array_value": [2**63 - 1],
        "double_array_value": [float("inf")],
        "string_array_value": ["", "all"],
    }
    for _ in range(20):
        parameters = [
            value(name, int(rng.integers(0, 256) if rng.random() < 0.2 else rng.integers(0, 10)))
            for name in rng.permutation(listed.result.names)
        ]
        for parameter in parameters:
            for field, content in fields.items():
                setattr(parameter.value, field, content)
        for service in ("set_parameters", "set_style"):
            answer = call(
                stage.listener,
                SetParameters,
                f"{stage.namespace}/talker/{service}",
                parameters=parameters,
            )
            assert len(answer.results) == len(parameters)


@pytest.mark.parametrize("module", NODES)
def test_times_that_cannot_be_on_clock(listener, tiny, tmp_path, module):
    """Those before 1970, for which rclpy raises, and those that no stamp can tell."""
    from rcl_interfaces.srv import GetParameters
    from rosgraph_msgs.msg import Clock

    parameters = dict(NODES[module]) | {"use_sim_time": True}
    parameters |= {"model": tiny} if module == "talker_node" else {"output": tmp_path / "bag"}
    clock = listener.node.create_publisher(Clock, "/clock", 10)
    name = f"/timed/{module.removesuffix('_node')}"
    log = tmp_path / "node.log"
    with running(module, log, ["__ns:=/timed"], **parameters):
        listener.meet(clock)
        for seconds in (10, -1, -(2**31), 2**31 - 1, -5, 0, 20):
            for nanoseconds in (0, 2**32 - 1):
                message = Clock()
                message.clock.sec, message.clock.nanosec = seconds, nanoseconds
                clock.publish(message)
                listener.spin(0.05)
        service = f"{name}/get_parameters"
        assert call(listener, GetParameters, service, names=["use_sim_time"]).values
    listener.node.destroy_publisher(clock)
    assert log.read_text().count("/clock is ignored") == 1
    assert "Traceback" not in log.read_text()
