"""`dualtalker servos`: what joints will do, and limits that are asked for in a terminal."""

from __future__ import annotations

import io
import shutil

import pytest
from PIL import Image

from checkout import ROOT
from dualtalker.cli.main import main
from dualtalker.outputs import load_servos

pytest.importorskip("yaml", reason="PyYAML: extra servos, or ROS")


@pytest.fixture
def robot(tmp_path):
    return shutil.copy(ROOT / "config" / "servos_example.yaml", tmp_path / "robot.yaml")


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*arguments, answers=""):
        monkeypatch.setattr("sys.stdin", io.StringIO(answers))
        status = main(["servos", *map(str, arguments)])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def test_check_tells_what_each_joint_will_do(run, robot, tmp_path):
    picture = tmp_path / "joints.png"
    jaw = ROOT / "config" / "servos_jaw.yaml"
    status, out, _ = run("check", jaw, "-o", picture)
    assert status == 0 and "1 joint: positions on servos, 50 times a second" in out
    assert "jaw: jawOpen - mouthClose\n  0 [o====" in out
    assert "the face asks for -0.35 to 0.35, cut off by 0.35 below" in out
    # 0.35 rad at 6 rad/s and 150 rad/s^2: 58 ms of way, and 40 ms to get going and to stop.
    assert "in 98 ms" in out and "60 ms before their sound" in out and "note" not in out
    with Image.open(picture) as drawn:
        assert drawn.width == 720
    status, out, _ = run("check", robot)
    assert status == 0 and out.count("[") == 7


def test_check_warns_of_a_mouth_that_is_too_slow(run, robot):
    text = robot.read_text().replace("speed: 6.0", "speed: 1.0", 1)
    robot.write_text(text)
    assert "note: slow for speech" in run("check", robot)[1]


def test_answers_that_make_no_sense_are_asked_for_again(run, robot):
    before = robot.read_text()
    status, out, _ = run("calibrate", robot, answers="0.01\n0.3\nnan\nx\n-0.25\n\nq\n")
    assert status == 0 and "0, the offset, between them" in out  # at rest the jaw is at 0
    assert "'x' is no number" in out and "'nan' is no number" in out
    assert robot.read_text() == before.replace("[0.0, 0.35]", "[-0.25, 0.35]", 1)


def test_calibrate_keeps_comments_and_what_was_not_asked(run, robot):
    before = robot.read_text()
    robot.chmod(0o640)
    status, out, _ = run("calibrate", robot, answers="\n0.3\n-0.25\n\nq\n")
    assert status == 0 and "jaw 0 to 0.3, mouth_corner_left -0.25 to 0.4" in out
    expected = before.replace("[0.0, 0.35]", "[0, 0.3]", 1).replace("[-0.4,", "[-0.25,", 1)
    assert robot.read_text() == expected
    assert robot.stat().st_mode & 0o777 == 0o640
    assert load_servos(robot).limits.T[:3].tolist() == [[0, 0.3], [-0.25, 0.4], [-0.4, 0.4]]


def test_calibrate_of_one_joint_by_trajectories(run, robot):
    robot.write_text(robot.read_text().replace("message: positions", "message: trajectory"))
    status, out, _ = run("calibrate", robot, "--joint", "brows", answers="-0.2\n")
    assert status == 0 and "joint 1 of 1" in out
    assert 'JointTrajectory "{joint_names: [brows], points: [{positions: [VALUE]' in out
    assert "robot.yaml: as it was" in out  # nobody answered the second question


def test_swapped_limits_are_asked_for_again(run, robot):
    status, out, _ = run("calibrate", robot, "--joint", "jaw", answers="0.2\n-0.1\n-0.1\n0.2\n")
    assert status == 0 and "expected the least first" in out
    assert load_servos(robot).joints["jaw"].limits == (-0.1, 0.2)


@pytest.mark.parametrize("command", ["check", "calibrate"])
def test_what_is_no_file_of_servos_ends_in_a_line(run, robot, tmp_path, command):
    status, _, err = run(command, tmp_path / "none.yaml")
    assert status == 2 and "no such file" in err and err.count("\n") == 1
    robot.write_text(robot.read_text().replace("jawOpen", "jawOpne", 1))
    status, _, err = run(command, robot)
    assert status == 2 and "joint jaw: no blendshape 'jawOpne'; did you mean jawOpen" in err


def test_unknown_joints_and_pictures_are_refused(run, robot):
    status, _, err = run("calibrate", robot, "--joint", "jwa")
    assert status == 2 and "did you mean jaw" in err
    status, _, err = run("check", robot, "-o", "joints.gif")
    assert status == 2 and "joints.png" in err
