"""The ROS 2 nodes of dualtalker: glue between topics and `dualtalker.Talker`, no logic of the face."""
