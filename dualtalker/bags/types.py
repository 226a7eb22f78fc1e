"""Message types that bags of speech and faces hold, for `rosbags`: no ROS needs to be installed.

Two unrelated packages are called `audio_common_msgs`; which of them a message is of is told by its
name, or by the definition that the bag itself carries.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dualtalker.errors import BagError

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

_MAX_CHARACTERS = 1 << 18
_MAX_LINES = 1000  # without comments
_MAX_ELEMENTS = 1024  # of arrays of fixed size, multiplied

HEADER = "std_msgs/Header header"
JOINT_STATE = "sensor_msgs/msg/JointState"

# https://github.com/ros-drivers/audio_common
ROS_DRIVERS = {
    "audio_common_msgs/msg/AudioData": "uint8[] data",
    "audio_common_msgs/msg/AudioDataStamped": f"{HEADER}\naudio_common_msgs/AudioData audio",
    "audio_common_msgs/msg/AudioInfo": (
        "uint8 channels\nuint32 sample_rate\nstring sample_format\nuint32 bitrate\n"
        "string coding_format"
    ),
}

# https://github.com/mgonzs13/audio_common
MGONZS13 = {
    "audio_common_msgs/msg/AudioData": (
        "float32[] float32_data\nint32[] int32_data\nint16[] int16_data\nint8[] int8_data\n"
        "uint8[] uint8_data"
    ),
    "audio_common_msgs/msg/AudioInfo": "int32 format\nint32 channels\nint32 rate\nint32 chunk",
    "audio_common_msgs/msg/Audio": (
        "audio_common_msgs/AudioData audio_data\naudio_common_msgs/AudioInfo info"
    ),
    "audio_common_msgs/msg/AudioStamped": f"{HEADER}\naudio_common_msgs/Audio audio",
}


def import_rosbags() -> Any:
    """Return the package `rosbags`; BagError says how to install it where it is missing."""
    try:
        import rosbags.rosbag2
        import rosbags.typesys
    except ImportError as error:
        raise BagError(
            f"bags need the package rosbags ({error}); install it: pip install 'dualtalker[bag]'"
        ) from error
    return rosbags


@lru_cache(maxsize=32)
def find_types(type_name: str, definition: str = "") -> Typestore:
    """Return a store in which `type_name` can be looked up, serialized and deserialized.

    `definition` is the text that a bag carries for the type; it counts where the type is none of
    ROS 2 Jazzy's. Without one, the two `audio_common_msgs` are known.

    Raises:
        BagError: nobody knows the type, or its definition makes no sense.
    """
    typesys = import_rosbags().typesys
    store: Typestore = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
    if type_name in store.types:
        return store
    texts = {type_name: definition} if definition else _known_layout(type_name)
    _check_definition(type_name, definition)
    try:
        for name, text in texts.items():
            store.register(_parse(typesys, text, name))
    except Exception as error:
        raise BagError(f"the definition of {type_name} cannot be read ({error})") from error
    return store


def _check_definition(type_name: str, definition: str) -> None:
    """Refuse what rosbags would need minutes or gigabytes for.

    It writes out arrays of strings, and takes half a minute for two nested parentheses.

    Raises:
        BagError: the definition is long, has large arrays, or expressions for constants.
    """
    code = re.sub(r'"(?:\\.|[^"\\])*"|#.*|//.*', "", definition)
    lines = sum(1 for line in code.splitlines() if line.strip(" ="))
    sizes = [int(size[:20]) for size in re.findall(r"[\[,<=]\s*0*(\d+)\s*[\]>]", code)]
    elements = math.prod(size or 1 for size in sizes)
    if len(definition) > _MAX_CHARACTERS or lines > _MAX_LINES or elements > _MAX_ELEMENTS:
        raise BagError(
            f"the definition of {type_name} has {len(definition)} characters, {lines} lines and "
            f"arrays of fixed size {sizes[:10]}; expected at most {_MAX_CHARACTERS}, {_MAX_LINES} "
            f"and {_MAX_ELEMENTS} elements in all"
        )
    unmarked = re.sub(r"@\w+\s*\([^()]*\)", "", code)
    if odd := re.search(r"\(|[-+~]\s*[-+~]|<[^<>]*<[^<>]*<", unmarked):
        raise BagError(f"the definition of {type_name} nests expressions ({odd[0]!r})")


def _known_layout(type_name: str) -> dict[str, str]:
    for layout in (ROS_DRIVERS, MGONZS13):
        if type_name in layout:
            return layout
    raise BagError(
        f"the bag carries no definition of {type_name}, and it is none of ROS 2 Jazzy's; record "
        "to MCAP (`ros2 bag record -s mcap`), which keeps definitions"
    )


def _parse(typesys: Any, text: str, name: str) -> Any:
    if not text.startswith("=" * 80 + "\nIDL: "):
        return typesys.get_types_from_msg(text, name)
    types: dict[str, Any] = {}
    for part in text.split("=" * 80 + "\n")[1:]:
        types.update(typesys.get_types_from_idl(part.split("\n", 1)[1]))
    return types
