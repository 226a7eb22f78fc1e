"""The ROS 2 nodes of dualtalker: speech on topics in, a moving face on topics out."""
