"""Series along a training run, as curves for figures and as words of bars for text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from gcx.renderers.cells import root
from gcx.renderers.distribution import BARS
from gcx.training_run import LayerSeries, Numbers, Track

SPARK = 24
"""Steps of a sparkline at most: of more checkpoints, evenly chosen ones."""
FLAT = 0.02
"""A range of less than this share of the largest value is drawn flat."""


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """One layer along training, with the run it is of."""

    series: LayerSeries
    track: Track


def series_rows(track: Track) -> list[SeriesRow]:
    """Every layer that has a number anywhere."""
    rows = [SeriesRow(series, track) for series in track.series]
    return [row for row in rows if any(value is not None for value in shown_series(row)[0])]


def evenly(count: int, most: int) -> list[int]:
    """Places from first to last, at most so many.

    >>> evenly(3, 5), evenly(9, 3)
    ([0, 1, 2], [0, 4, 8])
    """
    if count <= most:
        return list(range(count))
    return sorted({round(k * (count - 1) / (most - 1)) for k in range(most)})


def stretches(track: Track, series: LayerSeries) -> list[list[int]]:
    """Places in a series that belong together: checkpoints of one lineage, one after the other.

    What lies between is not to be joined by a line.
    """
    found: list[list[int]] = []
    before: tuple[int, int] | None = None
    for place, number in enumerate(series.checkpoints):
        lineage = track.checkpoints[number].lineage
        if before is None or before != (number - 1, lineage):
            found.append([])
        found[-1].append(place)
        before = (number, lineage)
    return found


def positions(track: Track) -> tuple[list[int], str]:
    """Where checkpoints stand along the axis of a picture, and what the axis shows.

    Epochs where all are known and rise, else the checkpoints one after another.
    """
    epochs = [one.epoch for one in track.checkpoints]
    known = [epoch for epoch in epochs if epoch is not None]
    if len(known) == len(epochs) and all(a < b for a, b in pairwise(known)):
        return known, "epoch"
    return list(range(1, len(epochs) + 1)), "checkpoint"


@dataclass(frozen=True, slots=True)
class Curve:
    """One series over its chance, ready to be drawn."""

    title: str
    x: tuple[int, ...]
    y: Numbers
    chance: Numbers
    parts: tuple[tuple[int, ...], ...]
    """Places that a line may join."""
    within: bool

    @property
    def last(self) -> float | None:
        return next((value for value in reversed(self.y) if value is not None), None)

    @property
    def has_chance(self) -> bool:
        return any(value is not None for value in self.chance)

    @property
    def spread(self) -> float:
        """How far it moves."""
        known = [value for value in self.y if value is not None]
        return max(known) - min(known) if known else 0.0


def whole_curves(track: Track) -> list[Curve]:
    """mean r² of the whole model within and across groups, where there are pairs; lines end where layers change."""
    x = tuple(positions(track)[0])
    kinds = [(one.lineage, one.architecture) for one in track.checkpoints]
    starts = [k for k in range(len(kinds)) if k == 0 or kinds[k] != kinds[k - 1]]
    parts = tuple(tuple(range(a, b)) for a, b in pairwise([*starts, len(kinds)]))
    model = track.model
    both = (
        Curve("within groups", x, model.mean_r2_within, model.null_within, parts, within=True),
        Curve("across groups", x, model.mean_r2_across, model.null_across, parts, within=False),
    )
    return [curve for curve in both if curve.last is not None]


def layer_curve(row: SeriesRow) -> Curve:
    """rms r of one layer: within groups, or across where no group has a pair."""
    values, within = shown_series(row)
    x, _ = positions(row.track)
    chance = row.series.null_permuted_r2 if within else row.series.across_null_r2
    if all(value is None for value in chance):
        chance = (row.series.null_isotropic_r2,) * len(values)
    return Curve(
        title=row.series.name,
        x=tuple(x[number] for number in row.series.checkpoints),
        y=rms(values),
        chance=rms(chance),
        parts=tuple(map(tuple, stretches(row.track, row.series))),
        within=within,
    )


def trend_bars(values: Numbers, parts: Sequence[Sequence[int]]) -> str:
    """A series as a word of bars between its least and largest value; a blank where null, | between lineages.

    >>> trend_bars((0.1, 0.2, None, 0.4), [[0, 1], [2, 3]]), trend_bars((0.5, 0.5), [[0, 1]])
    ('▁▃| █', '▄▄')
    """
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    chosen = frozenset(evenly(len(values), SPARK))
    flat = high - low < FLAT * abs(high)
    words = []
    for part in parts:
        shown = [values[place] for place in part if place in chosen]
        words.append("".join(" " if value is None else _bar(value, low, high, flat) for value in shown))
    return "|".join(words)


def _bar(value: float, low: float, high: float, flat: bool) -> str:
    top = len(BARS) - 1
    return BARS[top // 2] if flat else BARS[round((value - low) / (high - low) * top)]


def shown_series(row: SeriesRow) -> tuple[Numbers, bool]:
    """What is drawn of a layer, and whether it is within groups: across where no group has a pair."""
    within = any(value is not None for value in row.series.mean_r2)
    return (row.series.mean_r2 if within else row.series.across_mean_r2), within


def rms(values: Numbers) -> Numbers:
    """Roots of means of squares, null where they are."""
    return tuple(root(value) for value in values)
