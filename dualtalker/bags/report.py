"""Writes what was found in one bag, or in two side by side: table, JSON, page with pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dualtalker.bags.evaluation import LIVE, BagEvaluation, measure_bag
from dualtalker.bags.live_run import LEAD_KEY
from dualtalker.evaluation import (
    FIGURES,
    Columns,
    Figure,
    Picture,
    Recording,
    Report,
    ReportOptions,
    draw_pictures,
    measure_motions,
    write_report,
)
from dualtalker.rig import Rig

# What a bag tells beside accuracy; conventions in `live_run`.
BAG_FIGURES: tuple[Figure, ...] = (
    Figure(
        "equal frames", "live frames bit-equal to the replay's",
        "share of the recorded frames that the replay has for the same instant",
    ),
    Figure(
        "equal mouths", "the same of jaw, lips and tongue",
        "blinks and glances also depend on when the talker was started",
    ),
    Figure("frames", "frames that depict the audio", "", digits=0),
    Figure(
        "missing frames", "frames missing", "absent from the grid of 1 / frame rate",
        better="lower", digits=0,
    ),
    Figure(
        "jitter p50 ms", "frame-interval jitter, p50 (ms)",
        "|time between the receipt of two frames - 1 / frame rate|", better="lower", digits=2,
    ),
    Figure("jitter p99 ms", "frame-interval jitter, p99 (ms)", "", better="lower", digits=2),
    Figure("stated ms", "stated latency (ms)", "lookahead, hop, resampler", digits=1),
    Figure(
        "beyond p50 ms", "latency beyond the stated, p50 (ms)",
        "receipt less (instant heard + stated latency); heard from the latest start on for which "
        "no chunk came before it was due", better="lower", digits=2,
    ),
    Figure("beyond p99 ms", "latency beyond the stated, p99 (ms)", "", better="lower", digits=2),
    Figure(
        "latency p50 ms", "from stamp to receipt, p50 (ms)", "where both are of one clock",
        better="lower", digits=1,
    ),
    Figure("latency p99 ms", "from stamp to receipt, p99 (ms)", "", better="lower", digits=1),
    Figure(
        "gaps", "gaps in the audio", "holes and jumps of the stamps", better="lower", digits=0
    ),
    Figure(
        "dropped chunks", "audio dropped (chunks)", "queue full, or heard already",
        better="lower", digits=0,
    ),
    Figure(
        "refused messages", "messages refused", "empty, compressed, NaN or undecodable",
        better="lower", digits=0,
    ),
    Figure(
        "late frames", "frames late or not shown",
        "overdue, or of a time whose idle frames had been sent", better="lower", digits=0,
    ),
    Figure("backend errors", "failures of the model", "", better="lower", digits=0),
    Figure(
        "real-time factor", "real-time factor",
        "compute time per second of audio; of the replay on this machine", better="lower",
    ),
    Figure(
        "piece p99 ms", "compute time of a 20 ms piece, p99 (ms)", "the last thousand",
        better="lower", digits=2,
    ),
)  # fmt: skip


def write_bag_report(
    out: Path | None, evaluation: BagEvaluation, rig: Rig, video_s: float
) -> Report:
    """Report one bag, with one model or several."""
    columns = _measure(evaluation, rig)
    options = _options(columns, f"Evaluation of {evaluation.path.name}", video_s)
    options.facts = describe(evaluation)
    options.details = detail(evaluation)
    pictures = _draw(evaluation, rig, options) if out else []
    return write_report(out, columns, [evaluation.recording.name], pictures, options)


def write_comparison(
    out: Path | None, pair: Mapping[str, BagEvaluation], rig: Rig, video_s: float
) -> Report:
    """Report two bags side by side; `pair` is by name."""
    columns: Columns = {}
    for name, evaluation in pair.items():
        for contestant, figures in _measure(evaluation, rig).items():
            columns[_join(name, contestant)] = figures
    options = _options(columns, f"Comparison of {' and '.join(pair)}", video_s)
    options.facts = {
        f"{name}: {key}": text
        for name, evaluation in pair.items()
        for key, text in describe(evaluation).items()
    }
    options.details = {"bags": {name: detail(found) for name, found in pair.items()}}
    pictures: list[Picture] = []
    if out is not None:
        if video_s > 0:
            pictures.append(_film_both(pair, rig, video_s))
        for name, evaluation in pair.items():
            own = replace(options, video_s=0.0, filmed=tuple(evaluation.motions))
            pictures += [
                replace(picture, heading=f"{name}: {picture.heading}")
                for picture in _draw(evaluation, rig, own)
            ]
    names = [evaluation.recording.name for evaluation in pair.values()]
    return write_report(out, columns, names, pictures, options)


def _join(name: str, contestant: str) -> str:
    return f"{name} {LIVE}" if contestant == LIVE else name


def _measure(evaluation: BagEvaluation, rig: Rig) -> Columns:
    more = measure_bag(evaluation)
    return {
        name: {**measure_motions([evaluation.recording], [motion], rig), **more.get(name, {})}
        for name, motion in evaluation.motions.items()
    }


def _options(columns: Columns, title: str, video_s: float) -> ReportOptions:
    """Only what was measured is in the table: a bag has no trials in noise, for example."""
    measured = {key for figures in columns.values() for key in figures}
    known = tuple(f for f in (*FIGURES, *BAG_FIGURES) if f.key in measured)
    return ReportOptions(
        title=title,
        subject=next(iter(columns)),
        filmed=tuple(columns),
        video_s=video_s,
        figures=known,
    )


def _draw(evaluation: BagEvaluation, rig: Rig, options: ReportOptions) -> list[Picture]:
    motions = {name: [motion] for name, motion in evaluation.motions.items()}
    pictures = draw_pictures([evaluation.recording], motions, rig, options)
    timing = evaluation.timing
    if timing is not None and len(timing.times_s) > 1:
        from dualtalker.evaluation import draw_timing

        plot = draw_timing(timing.times_s, timing.beyond_ms, timing.intervals_ms)
        text = "Left: each frame's latency beyond the stated. Right: how evenly they came."
        pictures.append(Picture("Timing of the live run", text, "svg", plot))
    return pictures


def _film_both(pair: Mapping[str, BagEvaluation], rig: Rig, video_s: float) -> Picture:
    """All faces of both bags in one picture, from where each one's audio begins."""
    from dualtalker.evaluation import film_side_by_side

    (first_name, first), *_ = pair.items()
    frames = min(evaluation.recording.frames for evaluation in pair.values())
    tracks: dict[str, np.ndarray] = {}
    for name, evaluation in pair.items():
        if evaluation.recording.reference is not None:
            tracks[f"{name} reference"] = evaluation.recording.reference
        for contestant, motion in evaluation.motions.items():
            tracks[_join(name, contestant)] = motion
    shown = Recording(
        name="both",
        audio=first.recording.audio,
        sample_rate_hz=first.recording.sample_rate_hz,
        fps=first.recording.fps,
        frames=frames,
    )
    film = film_side_by_side(shown, tracks, rig, video_s)
    text = f"Each bag from its beginning; the sound is that of {first_name}."
    return Picture("Side by side", text, "mp4", film)


def describe(evaluation: BagEvaluation) -> dict[str, str]:
    """Return what was evaluated, and what is to be known about it, as lines to read."""
    audio, first = evaluation.audio, evaluation.first
    known = f"{audio.times.rate_hz} Hz" + (
        "" if audio.times.stamps_ns is not None else ", no stamps: time is that of arrival"
    )
    if audio.format.channel is not None:
        known += f", channel {audio.format.channel}"
    facts = {
        "bag": str(evaluation.path),
        "audio": f"{audio.topic} ({audio.type_name}), {first.duration_s:.2f} s, {known}",
    }
    if evaluation.phones:
        facts["phones"] = evaluation.phones
    for name, made in evaluation.replays.items():
        path = made.bundle.onnx_path
        facts[name] = (
            f"{path.name} {made.bundle.digest[:12]} on {made.backend}, {made.fps:g} frames/s"
        )
        healed = {key: count for key, count in made.counters.items() if count}
        if healed:
            facts[f"{name} counted"] = _list(healed)
    facts["reference"] = _describe_reference(evaluation)
    facts[LIVE] = _describe_run(evaluation)
    return facts


def _describe_reference(evaluation: BagEvaluation) -> str:
    reference = evaluation.reference
    if reference is None:
        return "none, so no accuracy: give --reference TOPIC or CSV"
    end_s = evaluation.start_s + evaluation.recording.frames / evaluation.recording.fps
    return (
        f"{reference.source}; judged from {evaluation.start_s:.2f} to {end_s:.2f} s of the audio"
    )


def _describe_run(evaluation: BagEvaluation) -> str:
    """Say whether a run was recorded, and how it compares with the replay."""
    run, equality = evaluation.run, evaluation.equality
    if run is None or equality is None:
        return "no blendshapes were recorded, so nothing is known of latency and jitter"
    text = f"{run.topic}: "
    if not equality.compared:
        text += "no frame depicts an instant that the replay has a frame for"
    elif equality.identical == equality.compared:
        text += f"all {equality.compared} frames bit-equal to the replay's"
    else:
        text += (
            f"{equality.identical} of {equality.compared} frames bit-equal to the replay's, "
            f"{equality.identical_mouths} in jaw, lips and tongue; largest difference "
            f"{equality.largest:.2g} (mouth {equality.largest_mouth:.2g})"
        )
    reasons = _explain_difference(evaluation)
    if reasons and equality.identical < max(equality.compared, 1):
        text += f"; {', '.join(reasons)}"
    return text


def _explain_difference(evaluation: BagEvaluation) -> list[str]:
    """Return what may make the frames of replay and run differ."""
    run, first = evaluation.run, evaluation.first
    assert run is not None
    if not run.status:
        return ["no /diagnostics were recorded: model, frame rate and idle life are guesses"]
    reasons = []
    if not run.from_start:
        reasons.append("the talker had heard audio before the recording began")
    elif LEAD_KEY not in run.status:
        reasons.append("an older talker, which does not tell when in its stream the audio began")
    if run.status["model digest"] != first.bundle.digest:
        reasons.append(
            f"the talker ran another model ({run.status['model digest'][:12]}): --model"
        )
    if float(run.status["frame rate (Hz)"]) != first.fps:
        reasons.append(f"the talker ran at {run.status['frame rate (Hz)']} frames/s: --fps")
    lost = {
        key: count
        for key, count in run.counters.items()
        if count != first.counters.get(key, 0) and not key.startswith("short_")
    }
    if lost:
        reasons.append(f"the talker counted {_list(lost)}")
    return reasons or [
        "were its parameters others? --no-idle-motion, --no-prosody, --smoothing-ms, --style"
    ]


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{key} {count}" for key, count in counts.items())


def detail(evaluation: BagEvaluation) -> dict[str, Any]:
    """Return for the JSON what the table has no place for."""
    audio, run, equality = evaluation.audio, evaluation.run, evaluation.equality
    return {
        "bag": str(evaluation.path),
        "topics": evaluation.contents,
        "audio": {
            "topic": audio.topic,
            "type": audio.type_name,
            "messages": len(audio.messages),
            "rate_hz": audio.times.rate_hz,
            "stamped": audio.times.stamps_ns is not None,
            "format": f"{audio.format.sample_format}, from {audio.format_source}",
        },
        "phones": evaluation.phones,
        "duration_s": evaluation.first.duration_s,
        "judged_from_s": evaluation.start_s,
        "judged_frames": evaluation.recording.frames,
        "reference": evaluation.reference.source if evaluation.reference else None,
        "replays": {
            name: {
                "model": str(made.bundle.onnx_path),
                "model_sha256": made.bundle.digest,
                "backend": made.backend,
                "fps": made.fps,
                "lead_frames": made.lead_frames,
                "counters": made.counters,
            }
            for name, made in evaluation.replays.items()
        },
        "live": run
        and {
            "topic": run.topic,
            "heard_all_audio": run.from_start,
            "status": dict(run.status),
            "counters": dict(run.counters),
            "equality": equality and dict(vars(equality)),
        },
    }
