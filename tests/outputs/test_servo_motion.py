"""Servos' motion: its limits hold whatever comes, and motors that lag meet their sound."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualtalker.arkit import ARKIT_INDEX
from dualtalker.outputs import Joint, ServoMotion, Servos

JAW = ARKIT_INDEX["jawOpen"]
FPS = 60.0


def make_servos(rate_hz=100.0, count=1, **fields):
    joint = {"shapes": {"jawOpen": 1.0}, "limits": (0.0, 1.0), **fields}
    joints = {f"joint_{n}": Joint(**joint) for n in range(count)}
    return Servos(joints=joints, rate_hz=rate_hz)


def face(jaw):
    values = np.zeros(55)
    values[JAW] = jaw
    return values


def syllables(times_s, seed=0):
    """A jaw that speaks: sines of 1 to 5 Hz between 0 and 1, as syllables are."""
    rng = np.random.default_rng(seed)
    rates, phases = rng.uniform(1.0, 5.0, 6), rng.uniform(0, 2 * np.pi, 6)
    waves = np.sin(2 * np.pi * np.outer(times_s, rates) + phases)
    return np.clip(0.5 + waves.sum(axis=1) / 6, 0.0, 1.0)


def run(servos, curve, early_s=0.3, duration_s=6.0, fps=FPS):
    """Positions [steps] at instants; each frame comes `early_s` before its sound is heard."""
    motion = ServoMotion(servos)
    frames = [(k / fps, curve[k]) for k in range(int(duration_s * fps))]
    steps = round((duration_s - 0.5) * servos.rate_hz)
    times_s, positions, velocities = [], [], []
    for step in range(steps):
        now_s = step / servos.rate_hz
        while frames and frames[0][0] - early_s <= now_s:
            heard_s, jaw = frames.pop(0)
            motion.add(heard_s, face(jaw), heard_s - early_s)
        positions.append(motion.advance(now_s))
        velocities.append(motion.velocities)
        times_s.append(now_s)
    return np.array(times_s), np.array(positions)[:, 0], np.array(velocities)[:, 0], motion


def turn_motor(times_s, commands, lag_s):
    """A motor of second order, critically damped: behind slow commands by `lag_s`."""
    omega, finer = 2.0 / lag_s, 20
    dt_s = (times_s[1] - times_s[0]) / finer
    x, v, shown = commands[0], 0.0, []
    for command in commands:
        for _ in range(finer):
            v += dt_s * (omega**2 * (command - x) - 2 * omega * v)
            x += dt_s * v
        shown.append(x)
    return np.array(shown)


def find_lag_s(times_s, wanted, shown):
    """By how much `shown` comes after `wanted`: where they fit best, to 1 ms."""
    shifts_s = np.arange(-0.15, 0.2501, 0.001)
    inner = slice(50, -50)
    fits = [
        np.corrcoef(wanted[inner], np.interp(times_s + shift_s, times_s, shown)[inner])[0, 1]
        for shift_s in shifts_s
    ]
    return shifts_s[int(np.argmax(fits))]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("fps", [30.0, 60.0])
def test_lips_meet_their_sound_with_a_motor_that_lags_by_100_ms(seed, fps):
    lag_s = 0.1
    curve = syllables(np.arange(400) / fps, seed)

    def measure(**fields):
        times_s, commands, _, _ = run(make_servos(**fields), curve, fps=fps)
        wanted = np.interp(times_s, np.arange(400) / fps, curve)
        return find_lag_s(times_s, wanted, turn_motor(times_s, commands, lag_s))

    assert measure() > 0.06
    assert abs(measure(lead_ms=100.0)) < 0.03
    assert abs(measure(lead_ms=100.0, speed=12.0, acceleration=400.0)) < 0.03


def test_what_comes_too_late_for_its_lead_is_told():
    curve = syllables(np.arange(400) / FPS)
    servos = make_servos(lead_ms=100.0)
    for early_s in (0.3, 0.06):
        *_, motion = run(servos, curve, early_s)
        assert motion.available_s() == pytest.approx(early_s - 1 / FPS, abs=1e-6)
    times_s, commands, _, _ = run(servos, curve, 0.06)
    wanted = np.interp(times_s, np.arange(400) / FPS, curve)
    assert find_lag_s(times_s, wanted, commands) == pytest.approx(-0.05, abs=0.012)


def test_the_lead_is_that_of_frames_that_move_a_joint_that_leads():
    """Between words frames come as late as they may."""
    joints = {
        "lid": Joint(shapes={"eyeBlink": 1.0}, limits=(0.0, 1.0)),
        "jaw": Joint(shapes={"jawOpen": 1.0}, limits=(0.0, 1.0), lead_ms=100.0),
    }
    motion = ServoMotion(Servos(joints=joints))
    for k in range(60):
        motion.add(k / FPS, face(0.5 + 0.4 * (-1) ** k), k / FPS - 2.0)
    for k in range(60, 600):
        values = face(0.1)
        values[ARKIT_INDEX["eyeBlinkLeft"]] = k % 2
        motion.add(k / FPS, values, k / FPS)
    assert motion.available_s() == pytest.approx(2.0 - 1 / FPS)
    assert motion.moving == 60


def test_without_limits_a_joint_is_where_its_face_is():
    curve = syllables(np.arange(400) / FPS)
    times_s, positions, _, _ = run(make_servos(), curve)
    np.testing.assert_allclose(
        positions, np.interp(times_s, np.arange(400) / FPS, curve), atol=1e-9
    )


def test_a_jump_is_made_at_the_limits_without_going_past():
    speed, growth = 4.0, 50.0
    servos = make_servos(speed=speed, acceleration=growth)
    curve = np.r_[np.zeros(60), np.full(340, 0.8)]
    times_s, positions, velocities, _ = run(servos, curve)
    assert positions.max() <= 0.8 + 1e-9 and positions[-1] == pytest.approx(0.8)
    assert velocities.max() == pytest.approx(speed)
    arrived_s = times_s[np.argmax(positions > 0.8 - 1e-6)] - times_s[np.argmax(positions > 0)]
    assert arrived_s == pytest.approx(0.8 / speed + speed / growth, abs=0.04)


@given(
    jaws=st.lists(st.floats(0.0, 1.0), min_size=2, max_size=40),
    speed=st.floats(0.05, 50.0),
    growth=st.floats(0.1, 2000.0),
    rate_hz=st.sampled_from([20.0, 50.0, 333.0]),
    gain=st.floats(-3.0, 3.0),
)
@settings(max_examples=80, deadline=None)
def test_no_limit_is_ever_passed(jaws, speed, growth, rate_hz, gain):
    servos = make_servos(
        rate_hz, gain=gain, speed=speed, acceleration=growth, limits=(-0.5, 0.7), lead_ms=30.0
    )
    motion, dt_s = ServoMotion(servos), 1 / rate_hz
    positions, velocities = [motion.positions[0]], [0.0]
    for step in range(len(jaws) * 8):
        if step % 4 == 0 and step // 4 < len(jaws):
            motion.add(step * dt_s, face(jaws[step // 4]), step * dt_s)
        positions.append(motion.advance(step * dt_s)[0])
        velocities.append(motion.velocities[0])
    positions, velocities = np.array(positions), np.array(velocities)
    assert positions.min() >= -0.5 and positions.max() <= 0.7
    assert np.abs(velocities).max() <= speed * (1 + 1e-9)
    assert np.abs(np.diff(velocities)).max() <= growth * dt_s * (1 + 1e-6)
    np.testing.assert_allclose(np.diff(positions), velocities[1:] * dt_s, atol=1e-9)


def test_a_frame_of_an_earlier_time_takes_the_place_of_those_after_it():
    """An interruption: what was sent ahead is void."""
    motion = ServoMotion(make_servos())
    for k in range(60):
        motion.add(1.0 + k / FPS, face(1.0), 0.9)
    motion.add(1.1, face(0.0), 1.05)
    motion.add(1.2, face(0.0), 1.15)
    shown = [float(motion.advance(1.0 + k / 100)[0]) for k in range(30)]
    assert max(shown[:10]) == 1.0 and shown[-1] == 0.0
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(shown[5:]))


def test_nothing_moves_before_a_face_and_the_last_one_stays():
    motion = ServoMotion(make_servos(offset=0.25))
    assert motion.advance(5.0).tolist() == [0.25] and motion.available_s() is None
    motion.add(5.0, face(0.5), 5.0)
    motion.advance(5.1)
    assert motion.advance(99.0).tolist() == motion.advance(99.2).tolist() == [0.75]


def test_a_pause_of_the_machine_is_no_jump_beyond_the_speed():
    motion = ServoMotion(make_servos(speed=1.0))
    motion.add(0.0, face(0.0), 0.0)
    motion.advance(0.0)
    motion.add(0.1, face(1.0), 0.1)
    assert motion.advance(0.2)[0] <= 0.2 + 1e-9
    before = motion.positions[0]
    assert motion.advance(60.0)[0] - before <= 0.01 + 1e-9


def test_time_that_goes_back_is_followed():
    motion = ServoMotion(make_servos())
    motion.add(50.0, face(0.5), 50.0)
    motion.advance(50.0)
    motion.add(2.0, face(0.25), 2.0)
    assert motion.advance(2.0).tolist() == [0.25]


def test_255_servos_take_a_small_part_of_their_time():
    servos = make_servos(50.0, count=255, speed=5.0, acceleration=90.0, lead_ms=60.0)
    motion, began_s = ServoMotion(servos), time.process_time()
    for step in range(200):
        motion.add(step / 50, face(step % 7 / 7), step / 50)
        motion.advance(step / 50)
    assert time.process_time() - began_s < 1.0  # of 4 s
