"""A talker node that is spoken to, steered and watched from outside."""

from __future__ import annotations

import array
import time

import numpy as np

from dualtalker.arkit import ARKIT_INDEX

RATE_HZ = 16000
CHUNK = 320
SHUT_FRAMES = 15
JAW = ARKIT_INDEX["jawOpen"]
AUDIO_TYPE = "std_msgs/msg/Int16MultiArray"


def speech(duration_s, seed=0):
    noise = np.random.default_rng(seed).uniform(-0.8, 0.8, round(duration_s * RATE_HZ))
    return noise * np.sin(np.arange(len(noise)) * 2 * np.pi * 2 / RATE_HZ) ** 2


def fill(samples, stamp=None, rate_hz=None):
    """Return a message of float samples [n], where asked for with a stamp in ns and a rate."""
    from std_msgs.msg import Int16MultiArray, MultiArrayDimension

    pcm = (samples * 32767).astype(np.int16)
    message = Int16MultiArray(data=array.array("h", pcm.tobytes()))
    told = {"stamp_ns": stamp, "sample_rate_hz": rate_hz}
    message.layout.dim = [
        MultiArrayDimension(label=f"{name}={value}", size=1, stride=1)
        for name, value in told.items()
        if value is not None
    ]
    return message


class Stage:
    """A talker in a namespace, seen and steered from outside."""

    def __init__(self, listener, namespace, process):
        from diagnostic_msgs.msg import DiagnosticArray
        from rcl_interfaces.srv import SetParameters
        from sensor_msgs.msg import JointState
        from std_msgs.msg import Empty, Int16MultiArray
        from std_srvs.srv import Trigger

        self.listener, self.namespace, self.process = listener, namespace, process
        node = listener.node
        self.faces = listener.hear(JointState, f"{namespace}/blendshapes")
        self.diagnostics = listener.hear(DiagnosticArray, "/diagnostics")
        self.audio = node.create_publisher(Int16MultiArray, f"{namespace}/audio", 1000)
        self.interruption = node.create_publisher(Empty, f"{namespace}/talker/interrupt", 10)
        self.reset = node.create_client(Trigger, f"{namespace}/talker/reset")
        self._set = node.create_client(SetParameters, f"{namespace}/talker/set_parameters")

    def await_listening(self):
        self.listener.meet(self.audio)
        self.listener.meet(self.interruption)
        self.listener.spin_until(lambda: len(self.faces) > 3)

    def burst(self, duration_s):
        for first in range(0, round(duration_s * RATE_HZ), 2 * RATE_HZ):
            self.audio.publish(fill(speech(duration_s)[first : first + 2 * RATE_HZ]))

    def stream(self, samples, done=lambda: False, rate_hz=None):
        """Send chunks of 20 ms at speaking speed; a rate that is given is told with them."""
        begun, size = time.monotonic(), (rate_hz or RATE_HZ) // 50
        for number, first in enumerate(range(0, len(samples) - size + 1, size)):
            due = begun + number / 50
            self.listener.spin_until(lambda due=due: time.monotonic() >= due, must=False)
            self.audio.publish(fill(samples[first : first + size], rate_hz=rate_hz))
            if done():
                return

    def say_at(self, begin_ns, samples):
        """Send chunks stamped from `begin_ns` on, all at once, and let them arrive."""
        for first in range(0, len(samples), CHUNK):
            stamp = begin_ns + first * 10**9 // RATE_HZ
            self.audio.publish(fill(samples[first : first + CHUNK], stamp))
        self.listener.spin(0.5)

    def hear_shut(self):
        """Listen until the mouth has been shut for half a second, longer than speech pauses."""
        heard = len(self.faces)
        self.listener.spin_until(lambda: len(self.faces) > heard + SHUT_FRAMES)
        self.listener.spin_until(lambda: self.jaw()[-SHUT_FRAMES:].max() < 0.02)

    def jaw(self, since=0):
        return np.array([message.position[JAW] for _, message in self.faces[since:]])

    def call(self, client, request):
        self.listener.spin_until(client.service_is_ready)
        future = client.call_async(request)
        self.listener.spin_until(future.done)
        return future.result()

    def set(self, **values):
        """Set parameters; return the reasons of those that were refused."""
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        changes = [Parameter(name, value=value) for name, value in values.items()]
        request = SetParameters.Request(parameters=[c.to_parameter_msg() for c in changes])
        results = self.call(self._set, request).results
        return [result.reason for result in results if not result.successful]

    def status(self):
        """Return level, message and values of the next diagnostics."""
        count = len(self.diagnostics)

        def own():
            return [
                status
                for _, message in self.diagnostics[count:]
                for status in message.status
                if status.name.startswith(self.namespace.lstrip("/"))
            ]

        self.listener.spin_until(own)
        status = own()[0]
        return status.level, status.message, {pair.key: pair.value for pair in status.values}
