"""Makes a rosbag2 of a recording of speech, with a reference motion if there is one. No ROS.

Times are made up: the first sample is heard at START_NS, so that the same files give the same bag.
A stamped chunk is recorded when its last sample has been heard, as by a microphone's driver; a
chunk without a stamp when its first is due, because its time is that of its arrival.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.arkit import ARKIT_NAMES
from dualtalker.bags.reading import STORAGE_SUFFIXES
from dualtalker.bags.types import JOINT_STATE, MGONZS13, ROS_DRIVERS, find_types, import_rosbags
from dualtalker.errors import BagError
from dualtalker.files import written_together

START_NS = 1_000_000_000 * 10**9
AUDIO_TOPIC = "/audio"
_INFO_TOPIC = "/audio_info"
REFERENCE_TOPIC = "/reference/blendshapes"
BAG_VERSION = 9  # of rosbag2's metadata.yaml, as Jazzy writes it

# What `dualtalker bag --audio-type` knows: name, whether messages are stamped, and of which of
# the two packages they are.
AUDIO_TYPES: dict[str, tuple[str, bool, dict[str, str]]] = {
    "AudioDataStamped": ("audio_common_msgs/msg/AudioDataStamped", True, ROS_DRIVERS),
    "AudioData": ("audio_common_msgs/msg/AudioData", False, ROS_DRIVERS),
    "AudioStamped": ("audio_common_msgs/msg/AudioStamped", True, MGONZS13),
    "Int16MultiArray": ("std_msgs/msg/Int16MultiArray", False, {}),
}
_PORTAUDIO_INT16 = 8


@dataclass(frozen=True)
class Motion:
    """A reference: times in seconds after the first sample [frames], weights [frames, 52]."""

    times_s: np.ndarray
    weights: np.ndarray


def write_bag(
    path: Path,
    samples: np.ndarray,
    rate_hz: int,
    motion: Motion | None = None,
    *,
    audio_type: str = "AudioDataStamped",
    chunk_s: float = 0.02,
    storage: str = "",
    start_ns: int = START_NS,
) -> None:
    """Write mono samples [n] in [-1, 1] as 16-bit PCM, and the motion, to a bag at `path`.

    A path ending in .mcap or .db3 becomes that one file; any other a folder with metadata.yaml,
    whose `storage` is mcap (default) or sqlite3. The first sample is heard at `start_ns`.

    Raises:
        BagError: the path exists, or an option is none of those possible.
    """
    if audio_type not in AUDIO_TYPES:
        raise BagError(f"audio type {audio_type!r}; expected one of {', '.join(AUDIO_TYPES)}")
    if not 0.001 <= chunk_s <= 60:
        raise BagError(f"chunks of {chunk_s * 1e3:g} ms; expected 1 to 60000 ms")
    if len(samples) == 0:
        raise BagError("the recording holds no samples; nothing to write")
    plugin = _choose_plugin(path, storage)
    if path.exists():
        raise BagError(f"{path} exists already; remove it or choose another name")
    with written_together(path) as folder:
        made = folder / path.stem
        messages = _make_audio(samples, rate_hz, audio_type, chunk_s, start_ns)
        _write(made, plugin, [*messages, *_make_reference(motion, start_ns)])
        if path.suffix in STORAGE_SUFFIXES:
            os.replace(made / f"{made.name}{path.suffix}", folder / path.name)


def _choose_plugin(path: Path, storage: str) -> Any:
    plugins = import_rosbags().rosbag2.StoragePlugin
    by_name = {"mcap": plugins.MCAP, "sqlite3": plugins.SQLITE3}
    by_suffix = {".mcap": "mcap", ".db3": "sqlite3"}
    implied = by_suffix.get(path.suffix, "")
    wanted = storage or implied or "mcap"
    if wanted not in by_name or (implied and wanted != implied):
        raise BagError(
            f"storage {storage!r} for {path.name}; expected {' or '.join(by_name)}, and the one "
            "that the file's ending says"
        )
    return by_name[wanted]


# (time of recording in ns, topic, type, message, store of its types)
_Entry = tuple[int, str, str, Any, Any]


def _write(folder: Path, plugin: Any, entries: list[_Entry]) -> None:
    writer_class = import_rosbags().rosbag2.Writer
    with writer_class(folder, version=BAG_VERSION, storage_plugin=plugin) as writer:
        connections: dict[str, Any] = {}
        for received_ns, topic, type_name, message, store in sorted(entries, key=lambda e: e[0]):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, type_name, typestore=store)
            data = store.serialize_cdr(message, type_name)
            writer.write(connections[topic], received_ns, data)


def _make_audio(
    samples: np.ndarray, rate_hz: int, audio_type: str, chunk_s: float, start_ns: int
) -> Iterator[_Entry]:
    type_name, stamped, _ = AUDIO_TYPES[audio_type]
    store = find_types(type_name)
    # 2**15 both ways, as `decode_pcm` reads it: 16-bit recordings come back bit for bit.
    pcm = np.clip(np.rint(np.asarray(samples, np.float64) * 32768), -32768, 32767).astype("<i2")
    if type_name in ROS_DRIVERS:
        yield _make_info(rate_hz, start_ns)
    size = max(round(rate_hz * chunk_s), 1)
    for first in range(0, len(pcm), size):
        chunk = pcm[first : first + size]
        stamp_ns = start_ns + first * 10**9 // rate_hz
        end_ns = start_ns + (first + len(chunk)) * 10**9 // rate_hz
        message = _make_chunk(store.types, type_name, chunk, rate_hz, stamp_ns)
        yield end_ns if stamped else stamp_ns, AUDIO_TOPIC, type_name, message, store


def _make_info(rate_hz: int, start_ns: int) -> _Entry:
    """What ros-drivers' audio_capture tells beside its bytes, once."""
    type_name = "audio_common_msgs/msg/AudioInfo"
    store = find_types(type_name)
    message = store.types[type_name](
        channels=1,
        sample_rate=rate_hz,
        sample_format="S16LE",
        bitrate=16 * rate_hz,
        coding_format="WAVE",
    )
    return start_ns, _INFO_TOPIC, type_name, message, store


def _make_chunk(types: Any, type_name: str, pcm: np.ndarray, rate_hz: int, stamp_ns: int) -> Any:
    message_class = types[type_name]
    if type_name.startswith("std_msgs/"):
        dimension = types["std_msgs/msg/MultiArrayDimension"]
        labels = ((f"sample_rate_hz={rate_hz}", 1), ("samples", len(pcm)), ("channels", 1))
        layout = types["std_msgs/msg/MultiArrayLayout"](
            dim=[dimension(label=label, size=size, stride=size) for label, size in labels],
            data_offset=0,
        )
        return message_class(layout=layout, data=pcm)
    data_class = types["audio_common_msgs/msg/AudioData"]
    raw = np.frombuffer(pcm.tobytes(), np.uint8)
    if type_name.endswith("AudioData"):
        return message_class(data=raw)
    header = make_header(types, stamp_ns)
    if type_name.endswith("AudioDataStamped"):
        return message_class(header=header, audio=data_class(data=raw))
    data = data_class(
        float32_data=np.zeros(0, np.float32),
        int32_data=np.zeros(0, np.int32),
        int16_data=pcm,
        int8_data=np.zeros(0, np.int8),
        uint8_data=np.zeros(0, np.uint8),
    )
    info = types["audio_common_msgs/msg/AudioInfo"](
        format=_PORTAUDIO_INT16, channels=1, rate=rate_hz, chunk=len(pcm)
    )
    audio = types["audio_common_msgs/msg/Audio"](audio_data=data, info=info)
    return message_class(header=header, audio=audio)


def _make_reference(motion: Motion | None, start_ns: int) -> Iterator[_Entry]:
    if motion is None:
        return
    store = find_types(JOINT_STATE)
    nothing = np.zeros(0)
    for time_s, weights in zip(motion.times_s, motion.weights, strict=True):
        stamp_ns = start_ns + round(float(time_s) * 1e9)
        message = store.types[JOINT_STATE](
            header=make_header(store.types, stamp_ns, "face"),
            name=list(ARKIT_NAMES),
            position=np.asarray(weights, np.float64),
            velocity=nothing,
            effort=nothing,
        )
        yield stamp_ns, REFERENCE_TOPIC, JOINT_STATE, message, store


def make_header(types: Any, stamp_ns: int, frame_id: str = "") -> Any:
    """Return a std_msgs/Header of a store's types."""
    sec, nanosec = divmod(stamp_ns, 10**9)
    stamp = types["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
    return types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)
