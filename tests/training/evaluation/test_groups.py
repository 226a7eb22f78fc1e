"""Captured motion by source and talker: groups, intervals, and the rows that decide."""

from __future__ import annotations

import numpy as np
import pytest

from dualtalker.evaluation import Recording, Tally, tally_motions
from dualtalker.rig.robot_head import build_head
from made_recordings import make_motion, make_recording
from training.evaluation import groups


def make_recordings() -> list[Recording]:
    """One clip of a performer, three of two talkers of whom one is new, and one of rules."""
    return [
        make_recording(250, source="facegood", talker="performer"),
        make_recording(250, source="grid", talker="s01"),
        make_recording(250, source="grid", talker="s04", unseen=True),
        make_recording(250, source="grid", talker="s04", unseen=True),
        make_recording(250, source="labeled:x", talker="reader", captured=False),
    ]


def test_groups_are_sources_their_unseen_speakers_and_their_talkers() -> None:
    found = {group.name: group.members for group in groups.list_groups(make_recordings())}
    assert found == {
        "facegood": (0,),
        "grid": (1, 2, 3),
        "grid, speakers not trained on": (2, 3),
        "grid s01": (1,),
        "grid s04": (2, 3),
    }
    chosen = groups.choose_headlines(groups.list_groups(make_recordings()))
    assert [group.name for group in chosen] == ["facegood", "grid, speakers not trained on"]
    (alone,) = groups.list_groups(make_recordings()[2:])
    assert alone.name == "grid, speakers not trained on" and alone.members == (0, 1)


def test_intervals_are_over_clips_of_one_talker_and_over_talkers_of_several() -> None:
    """Talkers' clips go together: of two talkers the interval ends at the two."""

    def tally(value: float) -> Tally:
        one = Tally()
        one.add("jaw r", value)
        one.relate("jaw amplitude", value**2, 1.0)
        return one

    recordings = make_recordings()
    tallies = [tally(v) for v in (0.5, 0.8, 0.4, 0.6, 0.0)]
    by_name = {group.name: group for group in groups.list_groups(recordings)}
    both = groups.measure_group(by_name["grid"], recordings, tallies)
    assert both["jaw r"] == pytest.approx(0.6) and both["clips"] == 3 and both["talkers"] == 2
    assert (both["jaw r, low"], both["jaw r, high"]) == pytest.approx((0.5, 0.8))
    assert both["jaw amplitude"] == pytest.approx(((0.64 + 0.16 + 0.36) / 3) ** 0.5)
    own = groups.measure_group(by_name["grid s04"], recordings, tallies)
    assert (own["jaw r, low"], own["jaw r, high"]) == pytest.approx((0.4, 0.6))
    assert "jaw r, low" not in groups.measure_group(by_name["facegood"], recordings, tallies)


def test_intervals_hold_the_mean_behind_the_clips() -> None:
    """Of 40 sets of 25 clips the interval of nearly all holds what the clips were drawn around."""
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(40):
        tallies = [Tally() for _ in range(25)]
        for tally in tallies:
            tally.add("jaw r", rng.normal(0.5, 0.1))
        ends = groups.bound_figures(tallies, ["jaw r"])
        inside += ends["jaw r, low"] < 0.5 < ends["jaw r, high"]
    assert 33 <= inside <= 40
    assert ends == groups.bound_figures(tallies, ["jaw r"])


def test_shares_of_labelled_speech_are_drawn_by_speaker() -> None:
    """Two speakers: from the one's share to the other's; one: from clip to clip."""
    recordings = make_recordings()[1:4]
    tallies = [Tally() for _ in recordings]
    for tally, met in zip(tallies, (1, 4, 3), strict=True):
        tally.count("closures met", met, 4)
    ends = groups.bound_labelled(recordings, tallies, ["closures met"])
    assert list(ends.values()) == pytest.approx([1 / 4, 7 / 8])
    ends = groups.bound_labelled(recordings[1:], tallies[1:], ["closures met"])
    assert list(ends.values()) == pytest.approx([3 / 4, 1.0])


def test_rows_ask_of_each_source_what_its_unseen_speakers_show() -> None:
    recordings = make_recordings()
    motions = [make_motion(250, 1, scale=0.5)] * 5
    tallies = tally_motions(recordings, motions, build_head())
    found = groups.list_groups(recordings)
    measured = {g.name: groups.measure_group(g, recordings, tallies) for g in found}
    picked = groups.pick_headlines(found, measured)
    rows = {row.key: row for row in groups.list_headline_figures(found, list(picked))}
    gap = rows["lip gap r, grid, speakers not trained on"]
    assert (gap.required, gap.aim) == (0.66, 0.75)
    assert gap.verdict(picked[gap.key], picked[gap.counted]) == "aim met"
    jaw = rows["jaw r, facegood"]
    assert jaw.required == 0.5 and jaw.verdict(0.9, picked[jaw.counted]) == "one clip"
    assert rows["lip gap r, facegood"].required is None
    assert "lip gap r, grid, speakers not trained on, low" in picked
    # Neither performer moves the smile: nothing is asked of it.
    assert not any(key.startswith("smile") for key in rows)
    capture = groups.measure_capture(found, recordings, build_head())
    by_name = {"model": measured, "loudness": measured, groups.CAPTURED_MOTION: capture}
    table = groups.tabulate_groups(found, recordings, by_name, "model", "loudness")
    assert table.head[1:] == [
        "facegood: 1 clip, performer trained on",
        "grid: 3 clips, s01 trained on, s04 not trained on",
        "grid: 2 clips, s04 not trained on",
        "grid: 1 clip, s01 trained on",
    ]
    assert [row[0] for row in table.rows[:2]] == ["lip gap r", "… loudness"]
    assert all(len(row) == len(table.head) for row in table.rows)
