"""Bags: what is written comes back in every storage and type; bad ones are named, no crash."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ros_interfaces
from bag_messages import (
    JOINT_STATE,
    RATE_HZ,
    face_message,
    int16_message,
    open_audio,
    run,
    write_topics,
)
from dualtalker.arkit import ARKIT_INDEX
from dualtalker.audio import AudioFormat, mix_to_mono, read_message
from dualtalker.bags import Bag, ChunkTimes, GivenFormat, Motion, find_types, write_bag
from dualtalker.bags.audio import read_bag_audio
from dualtalker.bags.faces import find_reference, find_run, read_faces
from dualtalker.bags.reading import find_storage
from dualtalker.bags.types import MGONZS13, ROS_DRIVERS
from dualtalker.bags.writing import AUDIO_TYPES, START_NS
from dualtalker.errors import BagError, MotionError

pytest.importorskip("rosbags", reason="needs pip install 'dualtalker[bag]'")


def tone(duration_s=1.0, rate_hz=RATE_HZ):
    pcm = np.round(9000 * np.sin(np.arange(round(duration_s * rate_hz)) * 0.05))
    return (pcm / 32768).astype(np.float32)


def motion(frames=30, fps=30.0):
    rng = np.random.default_rng(0)
    weights = rng.uniform(0, 1, (frames, 52)).astype(np.float32)
    return Motion(np.arange(frames) / fps, weights)


def audio_topic(name="/audio", count=60, step_s=0.02, size=320):
    messages = [
        (START_NS + round(i * step_s * 1e9), int16_message(np.full(size, i))) for i in range(count)
    ]
    return {name: ("std_msgs/msg/Int16MultiArray", messages)}


@pytest.mark.parametrize("ending", [".mcap", ".db3", ""])
@pytest.mark.parametrize("audio_type", AUDIO_TYPES)
def test_what_is_written_comes_back(tmp_path, audio_type, ending):
    path, samples, truth = tmp_path / f"b{ending}", tone(0.503, 22050), motion()
    write_bag(path, samples, 22050, truth, audio_type=audio_type)
    assert path.is_dir() == (ending == "")
    with Bag(path) as bag:
        audio = read_bag_audio(bag, None, GivenFormat(rate_hz=22050))
        found = find_reference(bag, None, int(audio.times.begins_ns[0]))
    chunks = [read_message(message, audio.format) for _, message in audio.messages]
    # 16-bit recordings bit for bit, stamped by the sample clock.
    heard = [mix_to_mono(chunk.samples)[0] for chunk in chunks]
    np.testing.assert_array_equal(np.concatenate(heard), samples)
    assert {chunk.rate_hz for chunk in chunks} == {22050}
    stamped = AUDIO_TYPES[audio_type][1]
    assert chunks[1].stamp_ns == (START_NS + 20_000_000 if stamped else None)
    np.testing.assert_array_equal(found.weights, truth.weights)
    np.testing.assert_allclose(found.times_s, truth.times_s, atol=1e-9)
    assert found.source == "/reference/blendshapes"


def test_audio_info_tells_the_format_of_bytes(tmp_path):
    write_bag(tmp_path / "b.mcap", tone(1.0, 48000), 48000)
    audio = open_audio(tmp_path / "b.mcap")
    assert audio.format == AudioFormat(rate_hz=48000, channels=1, sample_format="S16LE")
    assert audio.format_source == "/audio_info"
    assert audio.times.lengths_s.sum() == pytest.approx(1.0)


def test_layouts_are_those_that_ros_packages_are_built_from():
    for layout, known in (("ros_drivers", ROS_DRIVERS), ("mgonzs13", MGONZS13)):
        published = ros_interfaces.LAYOUTS[layout]["audio_common_msgs"]
        assert {name.rsplit("/", 1)[-1]: text for name, text in known.items()} == published


def test_same_files_same_bag(tmp_path):
    paths = [tmp_path / folder / "b.mcap" for folder in ("one", "two")]
    for path in paths:
        write_bag(path, tone(), RATE_HZ, motion())
        assert list(path.parent.iterdir()) == [path], "nothing is left beside it"
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"audio_type": "Mp3"}, "expected one of AudioDataStamped"),
        ({"chunk_s": 0.0}, "expected 1 to 60000 ms"),
        ({"storage": "sqlite3"}, "that the file's ending says"),
        ({"samples": np.zeros(0)}, "no samples"),
    ],
)
def test_writing_refuses_what_makes_no_sense(tmp_path, arguments, message):
    settings_ = {"samples": tone(), "rate_hz": RATE_HZ, **arguments}
    with pytest.raises(BagError, match=message):
        write_bag(tmp_path / "b.mcap", **settings_)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path):
    write_bag(tmp_path / "b", tone(), RATE_HZ)
    with pytest.raises(BagError, match="exists already"):
        write_bag(tmp_path / "b", tone(), RATE_HZ)


# ---- Bad bags -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def storages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    for ending in (".mcap", ".db3"):
        write_bag(folder / f"b{ending}", tone(0.3), RATE_HZ, motion(4))
    return folder


def read_all(path):
    with Bag(path) as bag:
        return [message for name in bag.topics for message in bag.read(name)]


@pytest.mark.parametrize("ending", [".mcap", ".db3"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damage_is_an_error_with_a_remedy_or_nothing(storages, ending, data):
    raw = bytearray((storages / f"b{ending}").read_bytes())
    if data.draw(st.booleans()):
        raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 5))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = storages / f"damaged-{os.getpid()}{ending}"
    path.write_bytes(raw)
    try:
        read_all(path)
    except BagError as error:
        assert str(path) in str(error) or "definition" in str(error) or "none of" in str(error)


@pytest.mark.parametrize("ending", [".mcap", ".db3"])
def test_a_truncated_bag_says_how_to_repair_it(storages, tmp_path, ending):
    raw = (storages / f"b{ending}").read_bytes()
    path = tmp_path / f"cut{ending}"
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(BagError, match=r"no whole bag .*mcap recover .*ros2 bag reindex"):
        read_all(path)


def test_missing_metadata(tmp_path, caplog):
    bag = tmp_path / "bag"
    write_bag(bag, tone(), RATE_HZ)
    (bag / "metadata.yaml").unlink()
    assert len(open_audio(bag).messages) == 50, "one file is read alone"
    assert "no metadata.yaml" in caplog.text
    shutil.copy(bag / "bag.mcap", bag / "bag_1.mcap")
    with pytest.raises(BagError, match=r"bag\.mcap, bag_1\.mcap.*ros2 bag reindex"):
        find_storage(bag)


def test_damaged_metadata(tmp_path):
    bag = tmp_path / "bag"
    write_bag(bag, tone(), RATE_HZ)
    for text in ("", "[", "rosbag2_bagfile_information: {version: 99}", "a: b"):
        (bag / "metadata.yaml").write_text(text)
        with pytest.raises(BagError, match="no whole bag"):
            read_all(bag)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "does not exist"),
        ("old.bag", "rosbags-convert --src"),
        ("speech.wav", "no bag by its name"),
        ("folder", "but notes.txt"),
    ],
)
def test_paths_that_are_no_bags(tmp_path, name, message):
    (tmp_path / "folder").mkdir()
    for file in ("old.bag", "speech.wav", "folder/notes.txt"):
        (tmp_path / file).write_text("x")
    with pytest.raises(BagError, match=message):
        find_storage(tmp_path / name)


def test_no_audio_topic(tmp_path):
    faces = [(START_NS, face_message(["jawOpen"], [0.5]))]
    path = write_topics(tmp_path / "b", {"/camera/joints": (JOINT_STATE, faces)})
    with pytest.raises(BagError, match=r"no audio topic: it holds /camera/joints \(sensor_msgs"):
        open_audio(path)


def test_several_audio_topics(tmp_path):
    topics = {**audio_topic("/left/mic"), **audio_topic("/right/mic")}
    path = write_topics(tmp_path / "b", topics)
    with pytest.raises(BagError, match=r"/left/mic .*/right/mic .*--audio-topic /left/mic"):
        open_audio(path)
    assert open_audio(path, "right/mic").topic == "/right/mic"
    with pytest.raises(BagError, match="no topic /front; it holds /left/mic"):
        open_audio(path, "/front")
    named = write_topics(tmp_path / "c", {**topics, **audio_topic("/robot/audio")})
    assert open_audio(named).topic == "/robot/audio"


def test_a_topic_of_another_type(tmp_path):
    faces = [(START_NS, face_message(["jawOpen"], [0.5]))]
    path = write_topics(tmp_path / "b", {**audio_topic(), "/face": (JOINT_STATE, faces)})
    with pytest.raises(BagError, match="/face has type sensor_msgs/msg/JointState; expected one"):
        open_audio(path, "/face")


def test_an_empty_topic(tmp_path):
    path = write_topics(tmp_path / "b", audio_topic(count=0))
    with pytest.raises(BagError, match="holds no message"):
        open_audio(path)


def test_a_type_that_nobody_knows():
    with pytest.raises(BagError, match="no definition of robot_msgs/msg/Ear"):
        find_types("robot_msgs/msg/Ear")
    assert "robot_msgs/msg/Ear" in find_types("robot_msgs/msg/Ear", "uint8[] data").types
    with pytest.raises(BagError, match="cannot be read"):
        find_types("robot_msgs/msg/Nose", "uint8[ data")


@pytest.mark.parametrize(("step_s", "rate_hz"), [(320 / 48000, 48000), (0.04, 8000)])
def test_a_wrong_rate_is_told_by_the_times(tmp_path, step_s, rate_hz):
    path = write_topics(tmp_path / "b", audio_topic(step_s=step_s))
    with pytest.raises(BagError, match=f"--sample-rate-hz {rate_hz}"):
        open_audio(path)
    assert open_audio(path, rate_hz=rate_hz).times.rate_hz == rate_hz
    assert open_audio(path, rate_hz=16000).times.rate_hz == 16000, "the user's word counts"


def test_bursts_tell_no_rate(tmp_path):
    path = write_topics(tmp_path / "b", audio_topic(step_s=0.0001))
    assert open_audio(path).times.rate_hz == 16000


def test_late_chunks_do_not_move_the_start():
    late_ms = np.array([300, 2, 0, 40, 1])
    received_ns = 10**9 + (20 * np.arange(5) + late_ms) * 10**6
    times = ChunkTimes(received_ns, None, np.full(5, 0.02), RATE_HZ)
    assert times.find_start_ns() == 10**9
    stamps_ns = 5 + np.array([0, 20, 60, 80, 100]) * 10**6  # one chunk was lost
    assert ChunkTimes(stamps_ns + 7, stamps_ns, np.full(5, 0.02), RATE_HZ).find_start_ns() == 12


def test_only_unusable_audio(tmp_path):
    messages = [(START_NS + i, int16_message([])) for i in range(3)]
    path = write_topics(tmp_path / "b", {"/audio": ("std_msgs/msg/Int16MultiArray", messages)})
    with pytest.raises(BagError, match=r"none of 3 audio messages can be used: .*no samples"):
        open_audio(path)


# ---- Faces --------------------------------------------------------------------------------------


def test_faces_go_by_name_in_order_of_their_stamps(tmp_path):
    messages = [
        (START_NS + 5, face_message(["mouthPucker", "jawOpen", "neck"], [0.25, 0.5, 9.0], 2000)),
        (START_NS + 6, face_message(["jawOpen"], [0.125], 1000)),
    ]
    path = write_topics(tmp_path / "b", {"/face": (JOINT_STATE, messages)})
    with Bag(path) as bag:
        faces = read_faces(bag, "/face")
    assert faces.stamps_ns.tolist() == [1000, 2000]
    assert faces.received_ns.tolist() == [START_NS + 6, START_NS + 5]
    assert faces.weights[:, ARKIT_INDEX["jawOpen"]].tolist() == [0.125, 0.5]
    assert faces.weights.sum() == pytest.approx(0.125 + 0.5 + 0.25)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (face_message(["neck"], [1.0]), "names no blendshape"),
        (face_message(["jawOpen"], [np.nan]), "NaN"),
    ],
)
def test_bad_faces_are_named(tmp_path, message, expected):
    path = write_topics(tmp_path / "b", {"/face": (JOINT_STATE, [(START_NS, message)] * 2)})
    with Bag(path) as bag, pytest.raises(BagError, match=expected):
        read_faces(bag, "/face")


def test_faces_are_told_apart(tmp_path):
    faces = [(START_NS, face_message(["jawOpen"], [0.5]))] * 2
    names = ("/bob/blendshapes", "/eve/blendshapes", "/reference/blendshapes", "/gaze")
    path = write_topics(tmp_path / "b", dict.fromkeys(names, (JOINT_STATE, faces)))
    with Bag(path) as bag:
        assert find_run(bag, None, "/bob/audio", None) == "/bob/blendshapes"
        assert find_run(bag, "eve/blendshapes", "/audio", None) == "/eve/blendshapes"
        with pytest.raises(BagError, match="--run-topic /bob/blendshapes"):
            find_run(bag, None, "/audio", None)
        assert find_run(bag, None, "/audio", "bob/blendshapes") == "/eve/blendshapes"
        assert find_reference(bag, None, START_NS).source == "/reference/blendshapes"
        with pytest.raises(BagError, match="no topic /nobody"):
            find_reference(bag, "nobody", START_NS)
        with pytest.raises(MotionError, match=r"nobody\.csv"):
            find_reference(bag, "nobody.csv", START_NS)


# ---- The command --------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", [(), ("-o",)])
def test_the_command_makes_a_bag(tmp_path, capsys, flag):
    import soundfile

    wav, csv, bag = tmp_path / "a.wav", tmp_path / "a.csv", tmp_path / "deep" / "a.mcap"
    soundfile.write(wav, tone(), RATE_HZ, subtype="PCM_16")
    csv.write_text("time_s,jawOpen\n0,0\n0.5,0.5\n1,1\n")
    assert run("bag", wav, csv, *flag, bag, "--reference-offset-ms", 250) == 0
    assert "1.00 s of audio at 16000 Hz and 3 faces" in capsys.readouterr().out
    with Bag(bag) as opened:
        found = find_reference(opened, None, START_NS)
    np.testing.assert_allclose(found.times_s, [0.25, 0.75, 1.25])


def test_the_command_names_what_is_missing(tmp_path, capsys):
    assert run("bag", "only.wav") == 2
    assert "dualtalker bag speech.wav captured.csv -o speech.mcap" in capsys.readouterr().err
    assert run("bag", "no.wav", tmp_path / "b.mcap") == 2
    assert "no.wav" in capsys.readouterr().err
    assert run("evaluate", tmp_path / "none.mcap") == 2
    assert "none.mcap does not exist" in capsys.readouterr().err
    assert run("evaluate") == 2
    assert run("evaluate", "x", "--compare", "a.onnx", "b.mcap") == 2
    assert "expected two models (.onnx) and a bag" in capsys.readouterr().err
