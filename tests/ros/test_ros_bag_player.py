"""A bag played to a talker in simulated time and recorded: nothing of the speech is lost."""

from __future__ import annotations

import json
import os
import subprocess

import numpy as np
import pytest

from dualtalker.audio import read_message
from dualtalker.bags import REFERENCE_TOPIC, Bag, GivenFormat, Motion, write_bag
from dualtalker.bags.audio import read_bag_audio
from dualtalker.bags.faces import read_faces
from dualtalker.bags.writing import START_NS
from dualtalker.cli.main import main
from dualtalker.stream import animate
from ros_processes import TIMEOUT_S, command_of, running

pytestmark = pytest.mark.usefixtures("ros", "ros_domain")

# Not the talker's own, so that only audio_info tells it.
RATE_HZ = 22050
SPEECH_S = 3.0
# Busy test machines must not make frames late.
DELAY_MS = 1500
STARVATION_MS = 1000
TOPICS = ["/audio", "audio_info", REFERENCE_TOPIC, "blendshapes", "/diagnostics"]
TYPES = ("AudioDataStamped", "AudioData")


@pytest.fixture(scope="module", params=TYPES)
def played(request, ros_domain, tiny, interfaces, tmp_path_factory):
    """Return a bag with a reference, and what was recorded while it was played."""
    folder = tmp_path_factory.mktemp(request.param)
    source, target, log = folder / "source.mcap", folder / "recorded", folder / "nodes.log"
    times_s = np.arange(round(SPEECH_S * RATE_HZ)) / RATE_HZ
    noise = np.random.default_rng(3).uniform(-0.8, 0.8, len(times_s))
    speech = noise * np.sin(2 * np.pi * 1.7 * times_s) ** 2
    face = animate(speech.astype(np.float32), RATE_HZ, model=tiny, fps=30.0, idle_motion=False)
    motion = Motion(face.times_s, face.weights)
    write_bag(source, speech, RATE_HZ, motion, audio_type=request.param)
    common = {"use_sim_time": True}
    talker = {"model": tiny, "playout_delay_ms": float(DELAY_MS)}
    talker["starvation_ms"] = float(STARVATION_MS)
    with pytest.MonkeyPatch.context() as patch:
        path = f"{interfaces['ros_drivers']}{os.pathsep}{os.environ['PYTHONPATH']}"
        patch.setenv("PYTHONPATH", path)
        with (
            running("recorder_node", log, output=target, topics=json.dumps(TOPICS), **common),
            running("talker_node", log, **talker, **common),
        ):
            player = command_of("bag_player_node", bag=source, wait_for_subscribers=2)
            done = subprocess.run(player, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr + log.read_text()
    return source, target


def read_chunks(path):
    with Bag(path) as bag:
        audio = read_bag_audio(bag, None, GivenFormat())
        times = np.array([received_ns for received_ns, _ in audio.messages])
    pieces = [read_message(message, audio.format).samples for _, message in audio.messages]
    return audio, times, np.concatenate(pieces)


def test_all_that_was_played_is_heard_in_its_time(played):
    source, target = played
    audio, times, samples = read_chunks(source)
    recorded, later, same = read_chunks(target)
    np.testing.assert_array_equal(same, samples)
    assert recorded.format == audio.format and recorded.format.rate_hz == RATE_HZ
    # By /clock, which is told anew right before each message; a busy recorder reads it later.
    delays_s = (later - times) / 1e9
    assert delays_s.min() >= -0.005 and np.median(delays_s) < 1.0


def test_time_goes_on_until_the_last_frames_are_sent(played):
    _, target = played
    with Bag(target) as bag:
        faces = read_faces(bag, "/blendshapes")
    end_s = (faces.stamps_ns[-1] - START_NS) / 1e9
    assert end_s > SPEECH_S
    # Nothing is recorded at times of another clock, nor before there was one.
    received_s = (faces.received_ns - START_NS) / 1e9
    assert received_s.min() > -3.0 and received_s.max() < SPEECH_S + 5.0


def test_the_report_of_simulated_time(played, tiny, tmp_path):
    _, target = played
    options = ["--model", tiny, "--playout-delay-ms", DELAY_MS, "--video-s", 0]
    options += ["--starvation-ms", STARVATION_MS]
    assert main([str(text) for text in ("evaluate", target, "-o", tmp_path, *options)]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["reference"] == REFERENCE_TOPIC and report["live"]["heard_all_audio"]
    figures = report["figures"]["live"]
    assert figures["missing frames"] == figures["gaps"] == 0
    # Without stamps the speech begins when a busy machine gets to it; the reference has stamps.
    if report["audio"]["type"].endswith("Stamped"):
        assert figures["jaw r"] > 0.99 and abs(figures["offset ms"]) < 20
    assert 0.95 * DELAY_MS < figures["latency p50 ms"] < 2 * DELAY_MS
    equality = report["live"]["equality"]
    assert equality["identical"] == equality["compared"] >= SPEECH_S * 30 - 1


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"bag": "/no/such/bag"}, "does not exist"),
        ({}, "no bag given"),
        ({"audio_topic": "/voice"}, "no topic /voice"),
        ({"wait_s": 0.3}, "0 of 1 subscribers of /audio"),
    ],
)
def test_errors_name_the_cause_and_end_with_1(tmp_path, parameters, says):
    if parameters and "bag" not in parameters:
        write_bag(tmp_path / "b.mcap", np.zeros(1600), 16000, audio_type="Int16MultiArray")
        parameters = {"bag": tmp_path / "b.mcap", **parameters}
    command = command_of("bag_player_node", **parameters)
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 1
    assert says in done.stdout + done.stderr and "Traceback" not in done.stderr
