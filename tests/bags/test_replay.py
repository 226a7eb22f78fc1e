"""Replays: the node's frames whatever the clock does; reports of bags, models and runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bag_messages import RATE_HZ, face_message, int16_message, run, write_topics
from dualtalker.arkit import ARKIT_NAMES
from dualtalker.audio import AudioFormat
from dualtalker.bags import (
    Bag,
    BagMessage,
    BagOptions,
    GivenFormat,
    Motion,
    ReplaySettings,
    describe,
    evaluate_bag,
    find_types,
    write_bag,
)
from dualtalker.bags.audio import read_bag_audio
from dualtalker.bags.evaluation import assemble_sound, hold_frames, measure_bag
from dualtalker.bags.replay import Heard, replay
from dualtalker.bags.writing import START_NS
from dualtalker.delivery import PLAYOUT_MARGIN_S
from dualtalker.errors import BagError
from dualtalker.model import load_bundle
from dualtalker.options import TalkerOptions
from dualtalker.stream import animate
from tiny_bundle import make_tiny_bundle
from tiny_rig import tiny_rig, write_obj_folder

pytest.importorskip("rosbags", reason="needs pip install 'dualtalker[bag]'")

CHUNK_NS = 20_000_000
STRING = "std_msgs/msg/String"


def speech(duration_s, seed=0):
    rng = np.random.default_rng(seed)
    count = round(duration_s * RATE_HZ)
    noise = rng.uniform(-0.5, 0.5, count) * np.sin(np.arange(count) * 8 / RATE_HZ) ** 2
    return (np.round(noise * 32768) / 32768).astype(np.float32)


@pytest.fixture(scope="module")
def bundle(tiny):
    return load_bundle(tiny)


@pytest.fixture(scope="module")
def stamped(tmp_path_factory):
    """Return the stamped messages of two seconds of speech, and their format."""
    path = tmp_path_factory.mktemp("bag") / "b.mcap"
    write_bag(path, speech(2.0), RATE_HZ)
    with Bag(path) as bag:
        audio = read_bag_audio(bag, None, GivenFormat())
    return audio.messages, audio.format


def play(stamped, bundle, messages=None, lead_frames=None, talker=None, **changes):
    settings_ = ReplaySettings(model=bundle, talker=talker or TalkerOptions(), **changes)
    return replay(messages or stamped[0], stamped[1], settings_, lead_frames=lead_frames)


def test_a_replay_is_the_animation_of_its_audio(stamped, bundle):
    made = play(stamped, bundle, talker=TalkerOptions(idle_motion=False))
    whole = animate(speech(2.0), RATE_HZ, model=bundle, idle_motion=False)
    spoken = made.times_s < 2.0 - 1e-9
    np.testing.assert_allclose(made.times_s[spoken], whole.times_s, atol=1e-8)
    # The node fades in from its idle face within 60 ms, and hears the sound in pieces.
    later = whole.times_s > 0.07
    np.testing.assert_allclose(made.weights[spoken][later], whole.weights[later], atol=1e-5)
    assert made.duration_s == pytest.approx(2.0)
    assert made.first_stamp_ns == START_NS
    assert sum(made.counters.values()) == 0
    assert made.latency_s == pytest.approx(0.1)
    sound, rate_hz = assemble_sound(made.heard)
    assert rate_hz == RATE_HZ
    np.testing.assert_array_equal(sound, speech(2.0))


def told(rows, at_ns=START_NS, stamp_ns=START_NS):
    """A message of phones as a bag holds it, received at `at_ns`."""
    stamp = {"sec": stamp_ns // 10**9, "nanosec": stamp_ns % 10**9}
    text = json.dumps({"stamp": stamp, "phones": rows})
    return BagMessage(at_ns, find_types(STRING).types[STRING](data=text))


# Where the speech is faint its lips are shut.
CONTACTS_S = [k * np.pi / 8 for k in range(1, 5)]
ROWS = [
    row
    for at_s in CONTACTS_S
    for row in (["a", at_s - 0.3, at_s - 0.06], ["p", at_s - 0.06, at_s + 0.06])
]


def test_phones_of_the_bag_are_told_as_they_came(stamped, bundle):
    calm = ReplaySettings(model=bundle, talker=TalkerOptions(idle_motion=False))
    made = replay(*stamped, calm, phones=[told(ROWS)])
    whole = animate(speech(2.0), RATE_HZ, model=bundle, idle_motion=False, phones=ROWS)
    spoken, later = made.times_s < 2.0 - 1e-9, whole.times_s > 0.07
    np.testing.assert_allclose(made.weights[spoken][later], whole.weights[later], atol=1e-5)
    assert sum(made.counters.values()) == 0
    without = play(stamped, bundle, talker=calm.talker)
    assert np.abs(made.weights - without.weights).max() > 0.01
    # Told too late they change nothing, and what makes no sense is counted.
    last_ns = stamped[0][-1].received_ns
    phones = [told(ROWS, last_ns), told([["ʘ", 0, 1]], START_NS + 5), told([["p", 0]], last_ns)]
    late = replay(*stamped, calm, phones=phones)
    np.testing.assert_array_equal(late.weights, without.weights)
    assert late.counters["refused_phones"] == 2
    assert late.counters["late_phones"] == len(ROWS)


def test_a_bag_tells_the_phones_of_its_talker(tmp_path, tiny, bundle):
    samples = speech(2.0)
    audio = [
        (START_NS + i * CHUNK_NS, int16_message(samples[i * 320 : (i + 1) * 320] * 32768))
        for i in range(100)
    ]
    others = (STRING, [told([["ʘ", 0, 1]])])
    topics = {
        "/audio": ("std_msgs/msg/Int16MultiArray", audio),
        "/bob/phones": others,
        "/megaphones": others,
        "/phones": (STRING, [told(ROWS)]),
    }
    path = write_topics(tmp_path / "talk", topics)
    found = evaluate_bag(path, BagOptions(), {"replay": tiny})
    assert found.phones == "/phones" and describe(found)["phones"] == "/phones"
    messages = [BagMessage(*pair) for pair in audio]
    same = replay(
        messages, AudioFormat(), ReplaySettings(model=bundle), phones=[told(ROWS, START_NS)]
    )
    np.testing.assert_array_equal(found.first.weights, same.weights)
    assert found.first.counters["refused_phones"] == 0
    without = replay(messages, AudioFormat(), ReplaySettings(model=bundle))
    assert np.abs(same.weights - without.weights).max() > 0.01


@settings(max_examples=15, deadline=None)
@given(
    late_ms=st.lists(st.floats(0, 60), min_size=100, max_size=100),
    paced=st.booleans(),
    shift_s=st.sampled_from([0.0, -3600.0, 1e6]),
)
def test_when_messages_come_changes_no_frame(stamped, bundle, late_ms, paced, shift_s):
    """Jitter of the network, bursts, another clock: the same frames at the same stamps."""
    usual = play(stamped, bundle, playout_delay_s=0.3)
    arrivals_ns = [
        message.received_ns + round((late / 1e3 + shift_s) * 1e9)
        for message, late in zip(stamped[0][1:], late_ms, strict=False)
    ]
    first_ns = stamped[0][0].received_ns + round(shift_s * 1e9)
    times_ns = np.maximum.accumulate([first_ns, *arrivals_ns])
    messages = [
        BagMessage(int(at_ns), message.message)
        for at_ns, message in zip(times_ns, stamped[0], strict=True)
    ]
    made = play(stamped, bundle, messages, paced=paced, playout_delay_s=0.3)
    spoken = int(2.0 * 30)
    np.testing.assert_array_equal(made.weights[:spoken], usual.weights[:spoken])
    assert np.abs(made.stamps_ns[:spoken] - usual.stamps_ns[:spoken]).max() <= 1


@pytest.mark.parametrize("lead_frames", [0, 1, 7, 30, 10_000_000])
def test_idle_life_goes_by_the_frames_before_the_audio(stamped, bundle, lead_frames):
    made = play(stamped, bundle, lead_frames=lead_frames, talker=TalkerOptions(fps=60.0))
    assert made.lead_frames == lead_frames
    assert made.frames[0].frame.index == lead_frames
    assert made.frames[0].stamp_ns == START_NS
    assert made.counters["skipped_frames"] == made.counters["stale_frames"] == 0
    same = play(stamped, bundle, lead_frames=lead_frames, talker=TalkerOptions(fps=60.0))
    np.testing.assert_array_equal(made.weights, same.weights)


def test_bad_messages_are_counted_and_the_rest_is_heard(stamped, bundle):
    messages = list(stamped[0])
    broken = int16_message([])
    messages[0:0] = [BagMessage(messages[0].received_ns - 5, broken)]
    messages.insert(20, BagMessage(messages[20].received_ns, broken))
    made = play(stamped, bundle, messages)
    assert made.counters["empty_messages"] == 2
    np.testing.assert_array_equal(made.weights, play(stamped, bundle).weights)
    with pytest.raises(BagError, match="none of 2 audio messages"):
        play(stamped, bundle, [BagMessage(1, broken), BagMessage(2, broken)])


def test_lost_messages_are_gaps(stamped, bundle):
    messages = [m for i, m in enumerate(stamped[0]) if not 40 <= i < 50]
    made = play(stamped, bundle, messages)
    assert made.counters["gaps"] == 1
    sound, _ = assemble_sound(made.heard)
    assert not sound[40 * 320 : 50 * 320].any() and sound[39 * 320 : 40 * 320].any()
    whole = measure_bag_of(made)
    assert whole["missing frames"] == 0 and whole["gaps"] == 1


def measure_bag_of(made):
    from types import SimpleNamespace

    figures = measure_bag(SimpleNamespace(replays={"replay": made}, run=None, timing=None))
    return figures["replay"]


def test_pieces_of_another_rate_fit_in(bundle):
    layout = [(START_NS, np.full(320, 8000)), (START_NS + CHUNK_NS, np.full(320, 8000))]
    messages = [BagMessage(at_ns, int16_message(pcm)) for at_ns, pcm in layout]
    made = replay(messages, AudioFormat(rate_hz=16000), ReplaySettings(model=bundle))
    half = type(made.heard[0])(made.heard[1].begin_ns, np.full(160, 0.5, np.float32), 8000)
    sound, rate_hz = assemble_sound([made.heard[0], half])
    assert (len(sound), rate_hz) == (640, 16000)
    np.testing.assert_allclose(sound[320:], 0.5)


def test_pieces_from_before_the_first_are_left_out(bundle):
    """A message that was overtaken by the first one begins before it."""
    layout = [(START_NS + CHUNK_NS, 8000), (START_NS, 16000), (START_NS + 2 * CHUNK_NS, 8000)]
    heard = [
        Heard(at_ns, np.full(320, level / 32768, np.float32), 16000) for at_ns, level in layout
    ]
    sound, _ = assemble_sound(heard)
    np.testing.assert_allclose(sound, np.full(640, 8000 / 32768))
    early = Heard(START_NS + CHUNK_NS // 2, np.full(320, 0.5, np.float32), 16000)
    sound, _ = assemble_sound([heard[0], early])
    np.testing.assert_allclose(sound[:160], 0.5)
    assert len(sound) == 320


def test_frames_are_held_where_one_is_missing():
    weights = np.arange(5, dtype=np.float32)[:, None] * np.ones((1, 52), np.float32)
    times_s = np.array([0.1, 0.2, 0.4, 0.5, 0.0])  # in any order
    held = hold_frames(times_s, weights, np.arange(6) / 10, 10.0)
    assert held[:, 0].tolist() == [4, 0, 1, 1, 2, 3]


# ---- Evaluation ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rig")
    write_obj_folder(folder, tiny_rig())
    return folder


@pytest.fixture(scope="module")
def truth(tiny):
    """What the tiny model makes of the speech: a reference that it can meet."""
    animation = animate(speech(3.0), RATE_HZ, model=tiny, fps=30.0, idle_motion=False)
    return Motion(animation.times_s, animation.weights)


def evaluate(bag, out, tiny, rig, *options):
    arguments = ["evaluate", *([bag] if bag else []), "-o", out, "--rig", rig, *options]
    if "--compare" not in options or bag is None:
        arguments += ["--model", tiny]
    status = run(*arguments)
    return status, json.loads((out / "report.json").read_text()) if status == 0 else None


def test_a_motion_that_is_met_has_the_best_figures(tmp_path, tiny, rig, truth, capsys):
    write_bag(tmp_path / "b.db3", speech(3.0), RATE_HZ, truth)
    status, report = evaluate(tmp_path / "b.db3", tmp_path / "out", tiny, rig, "--video-s", "0.5")
    assert status == 0
    figures = report["figures"]["replay"]
    assert figures["jaw r"] > 0.99 and figures["lip gap r"] > 0.99
    assert abs(figures["offset ms"]) < 2 and figures["lip gap error mm"] < 0.5
    assert figures["frames"] == 90 and figures["missing frames"] == 0
    assert 0 < figures["real-time factor"]
    assert report["audio"]["topic"] == "/audio" and report["reference"].startswith("/reference")
    assert report["judged_frames"] == 90 and report["live"] is None
    said = capsys.readouterr().out
    assert "no blendshapes were recorded" in said and "| jaw opening r |" in said
    page = (tmp_path / "out" / "report.html").read_text()
    assert "data:video/mp4;base64," in page and "<svg" in page
    sources = re.findall(r'(?:src|href)="([^"#]{1,20})', page)
    assert all(source.startswith("data:") for source in sources)


def test_a_late_reference_is_measured(tmp_path, tiny, rig, truth):
    csv = tmp_path / "truth.csv"
    lines = [f"{t:.6f},{w[17]:.6f}" for t, w in zip(truth.times_s, truth.weights, strict=True)]
    csv.write_text("time_s,jawOpen\n" + "\n".join(lines) + "\n")
    write_bag(tmp_path / "b.mcap", speech(3.0), RATE_HZ)
    options = ["--reference", csv, "--reference-offset-ms", "100", "--video-s", "0"]
    _, report = evaluate(tmp_path / "b.mcap", tmp_path / "out", tiny, rig, *options)
    # The reference comes 100 ms late, so the face is that early; the sound before is not judged.
    assert report["figures"]["replay"]["offset ms"] == pytest.approx(-100, abs=5)
    assert report["judged_from_s"] == pytest.approx(0.1)
    assert report["reference"] == str(csv)


def test_a_reference_beside_the_audio_is_named(tmp_path, tiny, truth):
    late = Motion(truth.times_s + 60, truth.weights)
    write_bag(tmp_path / "b.mcap", speech(3.0), RATE_HZ, late)
    with pytest.raises(BagError, match=r"from 60\.00 to .*--reference-offset-ms"):
        evaluate_bag(tmp_path / "b.mcap", BagOptions(), {"replay": tiny})


def live_bag(path, tiny, drop=(), change=0.0, late_ms=0.0):
    """Write a bag as a talker's run leaves it: audio without stamps, faces 130 ms later."""
    samples = speech(3.0)
    audio = [
        (START_NS + i * CHUNK_NS, int16_message(samples[i * 320 : (i + 1) * 320] * 32768))
        for i in range(150)
    ]
    messages = [BagMessage(*pair) for pair in audio]
    settings_ = ReplaySettings(model=load_bundle(tiny))
    made = replay(messages, AudioFormat(), settings_)
    delay_ns = round((made.latency_s + PLAYOUT_MARGIN_S) * 1e9 + late_ms * 1e6)
    faces = [
        (timed.depicted_ns + delay_ns, face_message(ARKIT_NAMES, row, timed.stamp_ns))
        for k, (timed, row) in enumerate(zip(made.frames, made.weights + change, strict=True))
        if k not in drop
    ]
    joint_state = "sensor_msgs/msg/JointState"
    topics = {
        "/audio": ("std_msgs/msg/Int16MultiArray", audio),
        "/blendshapes": (joint_state, faces),
    }
    return write_topics(path, topics)


def test_a_recorded_run_is_judged(tmp_path, tiny, rig):
    bag = live_bag(tmp_path / "b", tiny, drop=(10, 11, 40), late_ms=20.0)
    _, report = evaluate(bag, tmp_path / "out", tiny, rig, "--video-s", "0")
    figures = report["figures"]["live"]
    assert figures["missing frames"] == 3 and figures["frames"] == 87
    # Planned is the stated latency and 5 ms; 20 ms were added.
    assert figures["beyond p50 ms"] == pytest.approx(25, abs=0.2)
    assert figures["latency p50 ms"] == pytest.approx(125, abs=0.2)
    assert figures["jitter p50 ms"] == pytest.approx(0, abs=0.1)
    assert figures["jitter p99 ms"] > 30, "of the dropped ones"
    assert figures["equal frames"] == 1.0
    equality = report["live"]["equality"]
    assert equality["identical"] == equality["compared"] >= 87
    assert report["live"]["heard_all_audio"] is False, "nobody recorded /diagnostics"


def test_a_run_that_differs_is_told_with_reasons(tmp_path, tiny, rig, capsys):
    bag = live_bag(tmp_path / "b", tiny, change=0.001)
    _, report = evaluate(bag, tmp_path / "out", tiny, rig, "--video-s", "0")
    assert report["figures"]["live"]["equal frames"] == 0.0
    assert report["figures"]["live"]["equal mouths"] == 0.0
    assert report["live"]["equality"]["largest"] == pytest.approx(0.001, rel=1e-3)
    assert "largest difference 0.001" in capsys.readouterr().out


def test_a_replay_needs_no_ros():
    """Every package of ROS is hidden: reading, replaying and reporting still import."""
    code = """
import sys

class Hide:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top in ("rclpy", "builtin_interfaces", "rpyutils") or top.endswith("_msgs"):
            raise ImportError(f"{name} is hidden")

sys.meta_path.insert(0, Hide())
import dualtalker.bags
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_two_models_side_by_side(tmp_path, tiny, rig, truth):
    other = make_tiny_bundle(tmp_path, seed=3, name="other")
    write_bag(tmp_path / "b.mcap", speech(3.0), RATE_HZ, truth)
    options = ["--compare", tiny, other, "--video-s", "0.2"]
    _, report = evaluate(tmp_path / "b.mcap", tmp_path / "out", tiny, rig, *options)
    assert list(report["figures"]) == ["tiny", "other"]
    assert report["figures"]["tiny"]["jaw r"] > report["figures"]["other"]["jaw r"]
    models = {name: made["model_sha256"] for name, made in report["replays"].items()}
    assert models["tiny"] != models["other"]


def test_two_bags_side_by_side(tmp_path, tiny, rig, truth):
    write_bag(tmp_path / "monday.mcap", speech(3.0), RATE_HZ, truth)
    live_bag(tmp_path / "tuesday", tiny)
    options = ["--compare", tmp_path / "monday.mcap", tmp_path / "tuesday", "--video-s", "0.2"]
    _, report = evaluate(None, tmp_path / "out", tiny, rig, *options)
    assert list(report["figures"]) == ["monday", "tuesday", "tuesday live"]
    assert report["figures"]["tuesday live"]["equal frames"] == 1.0
    assert set(report["bags"]) == {"monday", "tuesday"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("data:video/mp4;base64,") == 1
    assert "tuesday: Timing of the live run" in page
