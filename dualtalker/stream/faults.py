"""The kinds of what goes wrong in a stream, and what each counts."""

from __future__ import annotations

KINDS = {
    "gaps": "holes in the audio, filled with silence or jumped over",
    "gap_samples": "input samples of silence put in for missing audio",
    "overlaps": "chunks that began before the one before them ended",
    "overlap_samples": "input samples dropped because their time had been heard already",
    "late_chunks": "chunks dropped whole because their time had been heard already",
    "late_frames": "frames not emitted because idle frames had taken their place",
    "stray_stamps": "stamps that strayed alone: not believed, their audio taken as seamless",
    "arrival_stamps": "stamps that run like arrivals: their audio taken as seamless",
    "reanchors": "jumps of the time stamps too large to bridge, either way",
    "skipped_frames": "frame indices passed over in a jump of time",
    "rate_changes": "changes of the sample rate in mid-stream",
    "channel_changes": "changes of the channel count in mid-stream",
    "clipped": "samples beyond full scale, clipped",
    "cancelled_audio": "samples lost because the channels are each other's inverse",
    "empty_chunks": "chunks without samples, ignored",
    "nan_chunks": "chunks refused for NaN or infinite samples",
    "bad_chunks": "chunks refused for dtype, shape or rate",
    "late_phones": "phones told when their frames were made already, ignored",
    "early_phones": "phones dropped: too many, or told too long before their time",
    "wrong_phones": "phones that are not of the sound that is heard, ignored",
    "bad_steps": "model steps that gave NaN or infinity",
}
