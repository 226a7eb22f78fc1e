"""What a rig's mouth can do: how far it opens, and whether its lips meet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dualtalker.arkit import expand
from dualtalker.rig import VISEMES, Rig

# Lips count as shut within this share of the gap in /a/: landmarks are vertices a little behind
# the skin that touches, up to 9 % on human meshes whose lips meet.
_SHUT_SHARE = 0.1
_LEAST_OPENING = 0.05  # of the mouth's width: a jaw that opens less does nothing one can see


@dataclass(frozen=True)
class Mouth:
    """Gaps between the lips (m), by their landmarks; negative where lips press."""

    width_m: float
    rest_m: float
    gaps_m: dict[str, float]  # of each of `VISEMES`

    @property
    def opens(self) -> bool:
        """Whether /a/ parts the lips by anything to be seen."""
        return self.gaps_m["AA"] - self.rest_m > _LEAST_OPENING * self.width_m

    @property
    def shuts(self) -> bool:
        """Whether the lips meet in /p b m/."""
        return self._is_shut(self.gaps_m["PP"])

    @property
    def meets_at_rest(self) -> bool:
        """Whether the lips of the still face meet."""
        return self._is_shut(self.rest_m)

    def _is_shut(self, gap_m: float) -> bool:
        return gap_m <= _SHUT_SHARE * max(self.gaps_m["AA"], 0.0) + 1e-9


def measure_mouth(rig: Rig) -> Mouth:
    """Measure the lips of a rig in the sounds of `VISEMES`."""
    faces = np.stack([expand({}), *map(expand, VISEMES.values())])
    rest_m, *gaps_m = map(float, rig.lip_gap(faces))
    width_m = float(np.ptp(rig.neutral[rig.lip_vertices, 0])) if len(rig.lip_vertices) else 0.0
    return Mouth(width_m, rest_m, dict(zip(VISEMES, gaps_m, strict=True)))
