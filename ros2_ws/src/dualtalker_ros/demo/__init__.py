"""A demo of the whole road on ROS 2: nodes, a recording, what it measures, pictures."""
