"""Runs nodes as processes and listens to their topics; what is tested with them lies elsewhere."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time

from ros_handshake import Handshake

TIMEOUT_S = 60.0  # generous: machines that run tests are busy


def command_of(module, remaps=(), **parameters):
    command = [sys.executable, "-m", f"dualtalker_ros.nodes.{module}", "--ros-args"]
    for name, value in parameters.items():
        text = str(value).lower() if isinstance(value, bool) else value
        command += ["-p", f"{name}:={text}"]
    for remap in remaps:
        command += ["-r", remap]
    return command


@contextlib.contextmanager
def running(module, log, remaps=(), **parameters):
    """Start a node, its output in the file `log`; afterwards interrupt it and check its end."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command_of(module, remaps, **parameters), stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield process
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            status = process.wait(TIMEOUT_S)
        finally:
            process.kill()
            process.wait()
    assert status == 0, log.read_text()


class Listener:
    """A node of the test's own that keeps what it hears, with the time at which it came."""

    def __init__(self, name="listener"):
        import rclpy
        from rclpy.executors import SingleThreadedExecutor

        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self.node = rclpy.create_node(name, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)

    def hear(self, message_class, topic):
        """Return the list that messages of a topic go to, as (monotonic time in s, message)."""
        heard = []
        self.node.create_subscription(
            message_class, topic, lambda m: heard.append((time.monotonic(), m)), 1000
        )
        return heard

    def spin(self, duration_s):
        """Listen for some time."""
        self.spin_until(lambda: False, duration_s, must=False)

    def spin_until(self, done, timeout_s=TIMEOUT_S, must=True):
        """Listen until `done`; where it `must` happen, fail after the timeout."""
        deadline = time.monotonic() + timeout_s
        while not done():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                assert not must, f"nothing came of it within {timeout_s:g} s"
                return
            self._executor.spin_once(timeout_sec=min(left_s, 0.05))

    def meet(self, publisher, timeout_s=TIMEOUT_S):
        """Wait until listeners know a publisher of `node`, and have read all that it sent."""
        handshake = Handshake(self.node, self._executor.spin_once, publisher)
        assert handshake.meet(timeout_s), f"nobody listens to {publisher.topic_name}"
        handshake.close()

    def close(self):
        """Leave ROS."""
        import rclpy

        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)


def stamp_s(message):
    """Return a header's stamp in s; differences are good to a microsecond."""
    return message.header.stamp.sec + message.header.stamp.nanosec / 1e9


def stamp_ns(message):
    """Return a header's stamp in ns."""
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
