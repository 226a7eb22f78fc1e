"""The ROS 2 nodes, one a module, each with the `main` of its executable."""
