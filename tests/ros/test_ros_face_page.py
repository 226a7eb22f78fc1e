"""The whole road to the screen: speech on a topic, talker, face node, and a browser's pixels."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest

from face_pages import Face, browser_running, why_not
from ros_processes import TIMEOUT_S, running

pytestmark = [
    pytest.mark.usefixtures("ros"),
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
]


@pytest.mark.slow
def test_what_is_said_is_seen(listener, tmp_path):
    """The opening on the screen is the talker's, picture by picture, and its pixels follow it."""
    from sensor_msgs.msg import JointState

    pytest.importorskip("espeakng_loader")
    import soundfile

    from dualtalker.speech import synthesize

    speech = synthesize("Papa and Bob map a bomb. Mama, map a path.")
    soundfile.write(tmp_path / "speech.wav", speech.samples, speech.sample_rate_hz)
    faces = listener.hear(JointState, "/blendshapes")
    log = tmp_path / "face.log"
    with (
        running("face_node", log, ["audio:=/audio_synced"], port=0),
        running("talker_node", tmp_path / "talker.log", frame_rate=30.0),
        browser_running() as browser,
    ):
        listener.spin_until(lambda: "the face:" in log.read_text())
        address = re.search(r"the face: (\S+)", log.read_text())[1]
        with Face(browser, address + "?face=2d") as face:
            listener.spin_until(lambda: len(faces) > 10)
            face.wait("window.dualtalkerFace.statistics().shown > 5")
            face.watch_pixels(0.3, 0.6, 0.4, 0.35)
            before = len(faces)
            with running(
                "wav_publisher_node", tmp_path / "wav.log", file=tmp_path / "speech.wav"
            ) as publisher:
                listener.spin_until(lambda: publisher.poll() is not None, TIMEOUT_S)
            time.sleep(0.5)
            rows = face.rows()
    said = np.array([openness(message) for _, message in faces[before:]])
    shown, bright = rows[:, 3], rows[:, 4]
    assert said.max() > 0.15
    # Pictures show what the talker sent, at its widest and shut.
    assert shown.max() == pytest.approx(said.max(), abs=0.1)
    assert shown.min() == pytest.approx(said.min(), abs=0.02)
    # The wider the mouth, the darker the picture: it is shut on /p b m/, and open between them.
    assert np.corrcoef(shown, -bright)[0, 1] > 0.8
    shut = bright[shown < 0.01]
    wide = bright[shown > 0.7 * shown.max()]
    assert len(shut) > 3 and len(wide) > 3
    assert np.median(shut) > np.median(wide) + 2.0


def openness(message):
    values = dict(zip(message.name, message.position, strict=True))
    return values["jawOpen"] - values["mouthClose"]
