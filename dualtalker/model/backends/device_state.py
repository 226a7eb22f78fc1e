"""What one stream of audio has on the GPU: its ends and its state. Runs nothing."""

from __future__ import annotations

import numpy as np

from dualtalker.model import Sidecar
from dualtalker.model.backends.device_memory import Device, Graph

ALIGNMENT = 256  # bytes, of every tensor on the GPU: what cudaMalloc itself gives


class Slot:
    """Memory of one stream of audio: pinned ends, two sets of state tensors, recorded graphs."""

    def __init__(self, device: Device, sidecar: Sidecar) -> None:
        """Allocate what the graph of a sidecar needs; raises BackendError where none is left."""
        channels = len(sidecar.output_names)
        self.audio = device.pin((1, sidecar.input_samples))
        self.motion = device.pin((1, sidecar.graph_frames, channels))
        styles = len(sidecar.style_names)
        self.style = device.pin((1, styles)) if styles else None
        self.style_is_there = False  # on the GPU
        sizes = [self.audio.nbytes, self.motion.nbytes, 4 * styles]
        sizes += 2 * [4 * int(np.prod(state.shape)) for state in sidecar.states]
        padded = [-(-size // ALIGNMENT) * ALIGNMENT for size in sizes]
        self.size = sum(padded)
        self.base = device.allocate(self.size)
        offsets = np.concatenate([[0], np.cumsum(padded)[:-1]])
        addresses = [self.base + int(offset) for offset in offsets]
        self.audio_address, self.motion_address, self.style_address = addresses[:3]
        half = 3 + len(sidecar.states)
        self.states = (addresses[3:half], addresses[half:])
        self.turn = 0  # which of `states` is read; the other is written
        self.graphs: list[Graph | None] = [None, None]

    def close(self, device: Device) -> None:
        """Give the memory back to the device that it is of."""
        for graph in self.graphs:
            if graph is not None:
                graph.close()
        self.graphs = [None, None]
        device.free(self.base)
        for array in (self.audio, self.motion, self.style):
            if array is not None:
                device.unpin(array)


class DeviceState:
    """The state of one stream of audio, on the GPU. A step changes it in place."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
