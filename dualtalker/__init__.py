"""dualtalker: speech in, a moving face out, at frame rate. The runtime: no torch, no rclpy."""

__version__ = "0.1.0"
