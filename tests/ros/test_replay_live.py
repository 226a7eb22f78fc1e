"""A replay gives the live node's frames bit by bit: real nodes, real DDS, a recorded bag."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from checkout import ROOT
from dualtalker.arkit import MOUTH_INDICES
from dualtalker.bags import Bag, BagMessage, GivenFormat, ReplaySettings, write_bag
from dualtalker.bags.audio import read_bag_audio
from dualtalker.bags.faces import read_faces
from dualtalker.bags.replay import replay
from dualtalker.cli.main import main
from dualtalker.model import load_bundle
from dualtalker.options import TalkerOptions
from ros_processes import TIMEOUT_S, running

pytestmark = pytest.mark.usefixtures("ros", "ros_domain")

PLAYER = ROOT / "tests" / "stand_ins" / "bag_player.py"
RATE_HZ = 16000
AUDIO_TYPE = "audio_common_msgs/msg/AudioDataStamped"
PAUSE_S = (2.0, 4.0)
# A busy test machine must neither look like a pause nor make frames late.
STARVATION_MS = 2000.0
DELAY_MS = 3000.0
# What changes frames differs between the two.
TALKERS = {
    "lively": {"frame_rate": 30.0, "idle_motion": True},
    "calm": {"frame_rate": 60.0, "idle_motion": False},
}


SPOKEN_S = 6.0
# Lips shut where the speech is faint, from a time on: told before the speech, and in its pause.
SYLLABLE_S = 0.5 / 1.7
TOLD_S = {0.0: 2.0, 4.0: 2.0}


def speech(duration_s):
    rng = np.random.default_rng(5)
    envelope = np.sin(np.arange(round(duration_s * RATE_HZ)) * 2 * np.pi * 1.7 / RATE_HZ) ** 2
    return rng.uniform(-0.8, 0.8, len(envelope)) * envelope


@pytest.fixture(scope="module")
def recorded(ros_domain, tiny, interfaces, tmp_path_factory):
    """Return a bag that was played, and the bag that was recorded meanwhile."""
    folder = tmp_path_factory.mktemp("live")
    source, target = folder / "source.mcap", folder / "recorded"
    with pytest.MonkeyPatch.context() as patch:
        path = f"{interfaces['ros_drivers']}{os.pathsep}{os.environ['PYTHONPATH']}"
        patch.setenv("PYTHONPATH", path)
        play(folder, source, target, tiny)
    return source, target


def tell(begin_ns):
    """The messages of phones: time, and text."""
    for after_s, spoken_s in TOLD_S.items():
        first = round(after_s / SYLLABLE_S) + 1
        shut_s = [k * SYLLABLE_S - after_s for k in range(first, first + int(spoken_s * 3))]
        rows = [
            row
            for at_s in shut_s
            for row in (["a", at_s - 0.2, at_s - 0.05], ["p", at_s - 0.05, at_s + 0.05])
        ]
        stamp_ns = begin_ns + round(after_s * 1e9)
        stamp = {"sec": stamp_ns // 10**9, "nanosec": stamp_ns % 10**9}
        yield stamp_ns - 500_000_000, json.dumps({"stamp": stamp, "phones": rows})


def play(folder, source, target, tiny):
    topics = [
        "audio",
        "lively/phones",
        "/diagnostics",
        *(f"{name}/blendshapes" for name in TALKERS),
    ]
    common = {
        "model": tiny,
        "starvation_ms": STARVATION_MS,
        "playout_delay_ms": DELAY_MS,
        "audio_type": AUDIO_TYPE,
    }
    remap = ["audio:=/audio"]
    log = folder / "nodes.log"
    with (
        running("recorder_node", log, output=target, topics=json.dumps(topics)),
        running("talker_node", log, [*remap, "__ns:=/lively"], **common, **TALKERS["lively"]),
        running("talker_node", log, [*remap, "__ns:=/calm"], **common, **TALKERS["calm"]),
    ):
        command = [sys.executable, PLAYER, source, AUDIO_TYPE, 1 + len(TALKERS), *PAUSE_S]
        with subprocess.Popen(map(str, command), stdout=subprocess.PIPE, text=True) as player:
            assert player.stdout.readline() == "ready\n"
            made = source.with_name("made.mcap")
            begin_ns = time.time_ns() + 3 * 10**9
            write_bag(made, speech(SPOKEN_S), RATE_HZ, start_ns=begin_ns)
            lines = [json.dumps(message) for message in tell(begin_ns)]
            source.with_suffix(".phones").write_text("\n".join(lines), "utf-8")
            made.rename(source)
            assert player.wait(TIMEOUT_S) == 0
        time.sleep(DELAY_MS / 1e3 + 2.5)  # the end of the speech, and a last diagnostics


@pytest.mark.parametrize("name", TALKERS)
def test_the_report_of_a_live_run(recorded, tiny, tmp_path, capsys, name):
    _, bag = recorded
    arguments = ["evaluate", bag, "--run-topic", f"{name}/blendshapes", "-o", tmp_path]
    arguments += ["--model", tiny, "--starvation-ms", STARVATION_MS]
    arguments += ["--playout-delay-ms", DELAY_MS, "--video-s", 0]
    if not TALKERS[name]["idle_motion"]:
        arguments.append("--no-idle-motion")
    assert main([str(argument) for argument in arguments]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    live = report["live"]
    said = capsys.readouterr().out
    assert live["heard_all_audio"], live
    assert live["equality"]["identical"] == live["equality"]["compared"], said
    assert live["equality"]["compared"] >= SPOKEN_S * TALKERS[name]["frame_rate"] - 1
    assert "bit-equal" in said and "/audio (audio_common_msgs/msg/AudioDataStamped)" in said

    assert report["phones"] == ("/lively/phones" if name == "lively" else None)
    for counters in (report["replays"]["replay"]["counters"], live["counters"]):
        assert not any(count for kind, count in counters.items() if kind.endswith("_phones"))
    figures = report["figures"]["live"]
    assert report["replays"]["replay"]["fps"] == TALKERS[name]["frame_rate"]
    assert figures["equal frames"] == 1.0
    assert figures["missing frames"] == 0.0 and figures["gaps"] == 1.0  # the pause
    # What was asked for, and what the machine adds to it.
    assert 0.95 * DELAY_MS < figures["latency p50 ms"] < 2 * DELAY_MS
    assert 0 <= figures["jitter p50 ms"] < 100
    assert figures["beyond p50 ms"] > 0.8 * DELAY_MS
    assert "Timing of the live run" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("name", TALKERS)
def test_live_frames_are_those_of_the_bag_that_was_played(recorded, tiny, name):
    """Without the recording's help: stamp by stamp, from the source alone."""
    source, target = recorded
    with Bag(source) as bag:
        audio = read_bag_audio(bag, None, GivenFormat())
    with Bag(target) as bag:
        faces = read_faces(bag, f"/{name}/blendshapes")
    first_ns = audio.messages[0].received_ns
    kept = [
        message
        for message in audio.messages
        if not PAUSE_S[0] <= (message.received_ns - first_ns) / 1e9 < PAUSE_S[1]
    ]
    settings = ReplaySettings(
        model=load_bundle(tiny),
        talker=TalkerOptions(fps=TALKERS[name]["frame_rate"], idle_motion=False),
        starvation_s=STARVATION_MS / 1e3,
    )
    lines = source.with_suffix(".phones").read_text("utf-8").splitlines()
    made = without = replay(kept, audio.format, settings)
    if name == "lively":
        told = map(json.loads, lines)
        phones = [BagMessage(at_ns, SimpleNamespace(data=text)) for at_ns, text in told]
        made = replay(kept, audio.format, settings, phones=phones)
        assert np.abs(made.weights - without.weights).max() > 0.01, "the phones are to be seen"
    live = dict(zip(faces.stamps_ns.tolist(), faces.weights, strict=True))
    spoken = [f for f in made.frames if f.depicted_ns < made.heard[0].begin_ns + SPOKEN_S * 1e9]
    # The same instants, but for the rounding of stream times to ns.
    pairs = [
        (timed.frame.weights, live[stamp_ns])
        for timed in spoken
        for stamp_ns in range(timed.stamp_ns - 2, timed.stamp_ns + 3)
        if stamp_ns in live
    ]
    assert len(pairs) == len(spoken) > 170
    channels = slice(None) if not TALKERS[name]["idle_motion"] else list(MOUTH_INDICES)
    for mine, theirs in pairs:
        if name == "lively":  # how long it had idled is not known: phones' times round elsewhere
            np.testing.assert_allclose(mine[channels], theirs[channels], atol=1e-6)
        else:
            np.testing.assert_array_equal(mine[channels], theirs[channels])
