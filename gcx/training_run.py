"""The records of `gcx track`; like `results.py`, what a field means stands beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

Order = Literal["name", "mtime", "file"]
"""What checkpoints can be ordered by: the number in their name, their time of change, the number inside the file."""

EventKind = Literal["architecture", "lineage", "missing", "duplicate", "unnumbered"]

Numbers = tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedCheckpoint:
    """One checkpoint of a training run; its numbers are those of the model of the same place in `models`."""

    path: Annotated[str, "the model's path"]
    epoch: Annotated[int | None, "number of its epoch (or step), from the name or the file; null where none is known"]
    architecture: Annotated[int, "which set of layers it has, from 0: only equal ones are compared as a whole"]
    lineage: Annotated[int, "which lineage it belongs to, from 0: filters of one index belong together within one"]
    lineage_z: Annotated[
        float | None,
        "how far its filters correlate with those of one index in the checkpoint before, beyond the others; about "
        "N(0, 1) by chance; null where that is not known",
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesChange:
    """From the first to the last checkpoint of the longest lineage; descriptive: `gcx compare` tests a change."""

    first: Annotated[int, "number of the checkpoint it starts at, from 0"]
    last: Annotated[int, "number of the checkpoint it ends at"]
    mean_r2: Annotated[float | None, "last minus first mean_r2 within groups"]
    excess: Annotated[float | None, "last minus first excess within groups"]
    rises: Annotated[int, "steps from one checkpoint to the next in which mean_r2 rises"]
    steps: Annotated[int, "steps there are"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSeries:
    """One layer along training; a layer that changes its shape or groups starts another series."""

    name: Annotated[str, "the layer's name"]
    weight_shape: Annotated[tuple[int, ...], "(out_channels, in_channels/groups, *kernel_size)"]
    groups: Annotated[int, "filter groups"]
    checkpoints: Annotated[tuple[int, ...], "numbers of the checkpoints that have it, from 0; the lists go with them"]
    mean_r2: Annotated[Numbers, "within-group mean_r2"]
    null_permuted_r2: Annotated[Numbers, "its null: kernels in random channel order"]
    null_isotropic_r2: Annotated[float | None, "its other null: filters of random direction; the same all along"]
    excess: Annotated[Numbers, "mean_r2 minus its null"]
    across_mean_r2: Annotated[Numbers, "mean_r2 across groups"]
    across_null_r2: Annotated[Numbers, "its null: permuted, or isotropic where there is no channel order"]
    delta: Annotated[Numbers, "kernels.delta"]
    filter_r: Annotated[
        Numbers, "mean over filters of the correlation with the same filter in the checkpoint before, of one lineage"
    ]
    change: Annotated[SeriesChange | None, "over the longest lineage; null with less than two checkpoints of it"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSeries:
    """The whole model along training: its `summary` per checkpoint."""

    mean_r2_within: Annotated[Numbers, "mean_r2 within groups, over all pairs of all layers"]
    excess_within: Annotated[Numbers, "excess within groups, weighted by pairs"]
    null_within: Annotated[Numbers, "mean_r2_within minus excess_within: its chance"]
    mean_r2_across: Annotated[Numbers, "mean_r2 across groups"]
    excess_across: Annotated[Numbers, "excess across groups"]
    null_across: Annotated[Numbers, "mean_r2_across minus excess_across: its chance"]
    change: Annotated[SeriesChange | None, "over the longest lineage, as long as the layers stay the same"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that breaks the run, or that a reader must know of."""

    kind: Annotated[EventKind, "what it is about"]
    checkpoint: Annotated[int | None, "number of the checkpoint where it is, from 0; null for one that is missing"]
    text: Annotated[str, "the same in words"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One training run along its checkpoints; nothing is averaged over checkpoints."""

    order: Annotated[Literal["name", "mtime", "file", "given"], "what the checkpoints are ordered by"]
    checkpoints: Annotated[tuple[TrackedCheckpoint, ...], "in order; the numbers of each stand in `models`"]
    model: Annotated[ModelSeries, "the whole model"]
    series: Annotated[tuple[LayerSeries, ...], "every layer, in file order"]
    events: Annotated[tuple[Event, ...], "what breaks the run"]
    verdict: Annotated[str, "what happened, in words"]
    notes: Annotated[tuple[str, ...], "what else to know"]
