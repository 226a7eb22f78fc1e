"""The ROS 2 nodes, one a module; import the node that you want."""
