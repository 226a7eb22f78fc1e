"""The ROS 2 nodes of dualtalker: glue between topics and `dualtalker.Talker`, no more."""
