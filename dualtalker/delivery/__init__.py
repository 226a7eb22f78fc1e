"""When frames go out: audio as it arrives in, frames as they are due out. No ROS in here.

`delivery` has the plan; `arrivals`, `placement`, `backlog` and `delay` each know one thing.
"""

from dualtalker.delivery.delay import PLAYOUT_MARGIN_S
from dualtalker.delivery.delivery import Delivery, Follower
from dualtalker.frame import TimedFrame

__all__ = ["PLAYOUT_MARGIN_S", "Delivery", "Follower", "TimedFrame"]
