"""Exceptions for what a user can mend; programming errors stay Python's own."""

from __future__ import annotations


class DualtalkerError(Exception):
    """Base of all errors a user can mend; the command prints it without a traceback."""


class AudioError(DualtalkerError):
    """Audio that cannot be used: unreadable file, unknown format, NaN, wrong shape."""


class BundleError(DualtalkerError):
    """A model bundle that is missing, damaged, or does not match its own sidecar."""


class BackendError(DualtalkerError):
    """An inference engine that was asked for and cannot run here."""


class RigError(DualtalkerError):
    """A face rig that cannot be loaded or does not fit together."""


class SpeechError(DualtalkerError):
    """Speech that could not be synthesized, or phones that cannot be read."""


class MotionError(DualtalkerError):
    """A file of face motion that cannot be read or makes no sense."""


class BagError(DualtalkerError):
    """A rosbag that cannot be read, or lacks what was to be evaluated."""


class DeviceError(DualtalkerError):
    """A microphone or loudspeaker that is not there, or does not do what was asked of it."""


class OutputError(DualtalkerError):
    """A way out for frames that cannot be opened."""


class DisplayError(DualtalkerError):
    """A face display that cannot be served, or was asked for what it does not do."""


class StudyError(DualtalkerError):
    """A study of people's preference that cannot be made, answered or reported."""
