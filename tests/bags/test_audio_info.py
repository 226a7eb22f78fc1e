"""What ros-drivers' AudioInfo tells of bytes that tell nothing: to a node, and in a bag."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import numpy as np
import pytest

from bag_messages import START_NS, open_audio, write_topics
from dualtalker.audio import INFO_TYPE, SAMPLE_FORMATS, AudioFormat, read_info
from dualtalker.bags import find_types
from dualtalker.errors import AudioError

NOTHING = {"channels": 0, "sample_rate": 0, "sample_format": "", "coding_format": ""}
# Fields that no reader understands, and what is said of them.
WRONG = (
    ({"coding_format": "mp3"}, "format:=wave"),
    ({"sample_format": "S12LE"}, "S12LE"),
    ({"sample_rate": 100}, "100"),
    ({"channels": 200}, "200 channels"),
)


def info(**fields):
    return SimpleNamespace(**{**NOTHING, **fields})


def bag_with(folder, *infos):
    """A bag of a second of bytes beside messages of AudioInfo, each given by its fields."""
    audio_type = "audio_common_msgs/msg/AudioData"
    message = find_types(audio_type).types[audio_type](data=np.zeros(640, np.uint8))
    return write_topics(folder / "bag", {**topic_of(audio_type, message), **topic_of_infos(infos)})


def topic_of(audio_type, message):
    return {"/audio": (audio_type, [(START_NS + i * 20_000_000, message) for i in range(50)])}


def topic_of_infos(infos):
    told = find_types(INFO_TYPE).types[INFO_TYPE]
    messages = [
        (START_NS + i, told(**{**NOTHING, "bitrate": 0, **fields}))
        for i, fields in enumerate(infos)
    ]
    return {"/audio_info": (INFO_TYPE, messages)}


@pytest.mark.parametrize("sample_format", SAMPLE_FORMATS)
def test_fields_that_say_nothing_are_left_to_the_parameters(sample_format):
    own = AudioFormat(22050, 2, "S24LE")
    assert read_info(info(), own) == own
    told = {"channels": 1, "sample_rate": 48000, "coding_format": "WAVE"}
    assert read_info(info(**told), own) == AudioFormat(48000, 1, "S24LE")
    told["sample_format"] = sample_format.lower()
    assert read_info(info(**told), own) == AudioFormat(48000, 1, sample_format)


@pytest.mark.parametrize(("fields", "says"), WRONG)
def test_what_no_reader_understands_is_refused(fields, says):
    with pytest.raises(AudioError, match=says):
        read_info(info(**fields), AudioFormat())


@pytest.mark.parametrize(
    "fields", [{}, {"channels": 2}, {"sample_rate": 8000}, {"sample_format": "u8"}]
)
def test_a_bag_is_read_as_the_node_would(tmp_path, fields):
    audio = open_audio(bag_with(tmp_path, fields), rate_hz=16000)
    assert audio.format == read_info(info(**{**fields, "sample_rate": 16000}), AudioFormat())
    assert audio.format_source == "/audio_info and the command line"


@pytest.mark.parametrize(("fields", "says"), WRONG)
def test_in_a_bag_too_it_changes_nothing_and_is_told(tmp_path, caplog, fields, says):
    with caplog.at_level(logging.WARNING, "dualtalker"):
        audio = open_audio(bag_with(tmp_path, fields, fields))
    assert (audio.format, audio.format_source) == (AudioFormat(), "the talker's defaults")
    (line,) = caplog.messages
    assert says in line and "/audio_info" in line and line.endswith("it changes nothing")


def test_the_first_that_is_understood_counts(tmp_path, caplog):
    audio = open_audio(bag_with(tmp_path, {"coding_format": "mp3"}, {"sample_format": "S16BE"}))
    assert audio.format == AudioFormat(sample_format="S16BE")
    assert "'mp3'" in caplog.text


def test_it_tells_nothing_of_arrays_that_have_their_own_labels(tmp_path):
    """The node listens to it for ros-drivers' bytes alone."""
    type_name = "std_msgs/msg/UInt8MultiArray"
    types = find_types(type_name).types
    layout = types["std_msgs/msg/MultiArrayLayout"](dim=[], data_offset=0)
    message = types[type_name](layout=layout, data=np.zeros(640, np.uint8))
    topics = {**topic_of(type_name, message), **topic_of_infos([{"channels": 2}])}
    assert open_audio(write_topics(tmp_path / "bag", topics)).format == AudioFormat()
