"""Readers of public data sets and captures, each in its own layout."""

from __future__ import annotations

from training.datasets.regions import choose_regions, read_vertex_set
from training.datasets.sources import Inspection, MeshSource, PlannedClip

__all__ = ["Inspection", "MeshSource", "PlannedClip", "choose_regions", "read_vertex_set"]
