"""What `gcx track` adds to every output: tables of checkpoints and of series, sentences around them, and curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from os.path import commonprefix

from gcx.renderers.cells import NOTHING, Cell, Column, decimal, root, shape_text
from gcx.renderers.distribution import BARS
from gcx.renderers.prose import Kind, Line, coverage_text, named, plural, skipped_text
from gcx.results import ModelResult, Report
from gcx.training_run import LayerSeries, Numbers, Track

SPARK = 24
"""Steps of a sparkline at most: of more checkpoints, evenly chosen ones."""
ROWS = 40
"""Checkpoints of a table at most: of more, evenly chosen ones; the JSON and the CSV have all."""
FLAT = 0.02
"""A range of less than this share of the largest value is drawn flat."""
TREND = "track.series.trend"
"""The one column that is a drawing."""
ORDER = {
    "name": "the number in the name",
    "file": "the number inside the file",
    "mtime": "when the files were changed",
    "given": "as given",
}
UNNUMBERED = "by name; neither names nor files hold a number"


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """One layer along training, with the run it is of."""

    series: LayerSeries
    track: Track


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """One checkpoint of a run with its numbers."""

    number: int
    track: Track
    model: ModelResult
    name: str
    """Its path beneath the folder that all share."""


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
        y=_rms(values),
        chance=_rms(chance),
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


def _rms(values: Numbers) -> Numbers:
    return tuple(root(value) for value in values)


def _end(values: Numbers, at: int) -> Cell:
    known = [value for value in values if value is not None]
    return Cell(decimal(root(known[at]) if known else None))


def _null(row: SeriesRow) -> Cell:
    known = [value for value in row.series.null_permuted_r2 if value is not None]
    has_pairs = any(value is not None for value in row.series.mean_r2)
    null = known[-1] if known else row.series.null_isotropic_r2 if has_pairs else None
    return Cell(decimal(root(null)), "faint")


def _trend(row: SeriesRow) -> Cell:
    values, within = shown_series(row)
    text = trend_bars(_rms(values), stretches(row.track, row.series))
    return Cell(text if within or not text else f"{text} °")


def _last(values: Numbers, places: int = 4) -> Cell:
    known = [value for value in values if value is not None]
    return Cell(decimal(known[-1] if known else None, places, sign=True))


SERIES_COLUMNS: tuple[Column[SeriesRow], ...] = (
    Column(
        "name",
        "layer",
        "the layer's name in the checkpoints",
        lambda c: Cell(c.series.name, "name"),
        right=False,
        folds=True,
    ),
    Column(
        "weight_shape",
        "shape",
        "shape of the weight: out_channels × in_channels/groups × kernel size",
        lambda c: Cell(shape_text(c.series.weight_shape)),
        right=False,
        level=3,
    ),
    Column("groups", "groups", "filter groups", lambda c: Cell(str(c.series.groups))),
    Column(
        "track.series.first_rms_r",
        "first",
        "rms r within groups at the first checkpoint",
        lambda c: _end(c.series.mean_r2, 0),
        band="rms r within groups",
    ),
    Column(
        TREND,
        "along training",
        "rms r within groups (° across, where no group has a pair) from checkpoint to checkpoint, between its least "
        "and its largest value; | where another lineage begins",
        _trend,
        right=False,
        band="rms r within groups",
        level=1,
        only_if_any=True,
    ),
    Column(
        "track.series.last_rms_r",
        "last",
        "rms r within groups at the last checkpoint",
        lambda c: _end(c.series.mean_r2, -1),
        band="rms r within groups",
    ),
    Column(
        "track.series.last_chance",
        "chance",
        "what the kernels of the last checkpoint alone give: root of null_permuted_r2",
        _null,
        band="rms r within groups",
    ),
    Column(
        "track.series.change.rises",
        "rises",
        "in how many of the steps from one checkpoint to the next mean_r2 rises, within the longest lineage",
        lambda c: Cell(NOTHING if c.series.change is None else f"{c.series.change.rises}/{c.series.change.steps}"),
        level=3,
    ),
    Column(
        "track.series.last_excess",
        "excess",
        "mean_r2 within groups of the last checkpoint minus its null",
        lambda c: _last(c.series.excess),
        level=2,
    ),
    Column(
        "track.series.last_across_rms_r",
        "last",
        "rms r across groups at the last checkpoint",
        lambda c: _end(c.series.across_mean_r2, -1),
        band="across groups",
        level=4,
        only_if_any=True,
    ),
    Column(
        "track.series.last_across_chance",
        "its chance",
        "rms r across groups that the last checkpoint's kernels give, averaged over all channel orders",
        lambda c: Cell(_end(c.series.across_null_r2, -1).text, "faint"),
        band="across groups",
        level=4,
        only_if_any=True,
    ),
    Column(
        "track.series.last_delta",
        "delta",
        "kernels.delta of the last checkpoint",
        lambda c: _last(c.series.delta),
        level=4,
        only_if_any=True,
    ),
    Column(
        "track.series.last_filter_r",
        "filter r",
        "how the filters of the last checkpoint correlate with themselves in the one before, on average: 1 where "
        "nothing moves any more",
        lambda c: Cell(decimal(next((r for r in reversed(c.series.filter_r) if r is not None), None))),
        level=5,
        only_if_any=True,
    ),
)
"""The layers of a run, one row per series."""


def _checkpoint(row: CheckpointRow) -> Cell:
    return Cell(row.name, "name")


def _epoch(row: CheckpointRow) -> Cell:
    epoch = row.track.checkpoints[row.number].epoch
    return Cell(NOTHING if epoch is None else str(epoch))


def _z(row: CheckpointRow) -> Cell:
    z = row.track.checkpoints[row.number].lineage_z
    return Cell(NOTHING if z is None else f"{z:.0f}" if abs(z) >= 10 else f"{z:.1f}", "faint")


def _lineage(row: CheckpointRow) -> Cell:
    if len({one.lineage for one in row.track.checkpoints}) == 1:
        return Cell("")
    return Cell(chr(ord("A") + row.track.checkpoints[row.number].lineage % 26), "unsure")


CHECKPOINT_COLUMNS: tuple[Column[CheckpointRow], ...] = (
    Column("track.checkpoints.epoch", "epoch", "number of the epoch or step, from the name or the file", _epoch),
    Column("track.checkpoints.path", "checkpoint", "the file", _checkpoint, right=False, folds=True),
    Column(
        "track.checkpoints.mean_r2_within",
        "mean r²",
        "mean_r2 within groups, over all pairs of all layers",
        lambda c: Cell(decimal(c.model.summary.mean_r2_within, 4)),
        band="within groups",
    ),
    Column(
        "track.checkpoints.excess_within",
        "over chance",
        "excess within groups, weighted by pairs",
        lambda c: Cell(decimal(c.model.summary.excess_within, 4, sign=True)),
        band="within groups",
    ),
    Column(
        "track.checkpoints.layers_above_null",
        "above",
        "layers whose 95 % interval lies above chance, of those that have one",
        lambda c: Cell(f"{c.model.summary.layers_above_null}/{c.model.summary.layers_tested}"),
        band="within groups",
        level=2,
    ),
    Column(
        "track.checkpoints.mean_r2_across",
        "mean r²",
        "mean_r2 across groups, over all pairs of all layers",
        lambda c: Cell(decimal(c.model.summary.mean_r2_across, 4)),
        band="across groups",
        level=3,
        only_if_any=True,
    ),
    Column(
        "track.checkpoints.excess_across",
        "over chance",
        "across-group mean_r2 minus its permuted null, weighted by pairs",
        lambda c: Cell(decimal(c.model.summary.excess_across, 4, sign=True)),
        band="across groups",
        level=3,
        only_if_any=True,
    ),
    Column(
        "track.checkpoints.lineage",
        "lineage",
        "which lineage it belongs to, where there are several",
        _lineage,
        right=False,
        only_if_any=True,
    ),
    Column(
        "track.checkpoints.lineage_z",
        "z",
        "how far its filters correlate with those of one index in the checkpoint before, in standard deviations beyond "
        "the others: one lineage above 5",
        _z,
        level=4,
        only_if_any=True,
    ),
)
"""The checkpoints of a run, one row each."""


def checkpoint_rows(report: Report, track: Track) -> list[CheckpointRow]:
    """Of very many checkpoints evenly chosen ones."""
    chosen = evenly(len(track.checkpoints), ROWS)
    paths = [model.path for model in report.models]
    folder = commonprefix(paths).rpartition("/")[0]  # noqa: RUF071 - cut back to a whole folder
    shared = len(folder) + 1 if folder else 0
    return [CheckpointRow(number, track, report.models[number], paths[number][shared:]) for number in chosen]


def series_rows(track: Track) -> list[SeriesRow]:
    """Every layer that has a number anywhere."""
    rows = [SeriesRow(series, track) for series in track.series]
    return [row for row in rows if any(value is not None for value in shown_series(row)[0])]


def track_lines(report: Report) -> Iterator[Line]:
    """What is to be said of a run beside its tables."""
    track = report.track
    if track is None:
        return
    yield Line("verdict", track.verdict)
    for event in track.events:
        yield Line(event.kind, event.text, "unsure")
    numbered = any(one.epoch is not None for one in track.checkpoints)
    yield Line("order", ORDER[track.order] if numbered or track.order in ("given", "mtime") else UNNUMBERED)
    if len(track.checkpoints) > ROWS:
        text = f"{ROWS} of {len(track.checkpoints)} checkpoints in the table, evenly chosen; JSON and CSV have all"
        yield Line("shown", text)
    for text in dict.fromkeys(coverage_text(model.coverage) for model in report.models):
        models = [model for model in report.models if coverage_text(model.coverage) == text]
        kind: Kind = "fact" if all(model.measured for model in models) else "unsure"
        which = "every checkpoint" if len(models) == len(report.models) else named([model.path for model in models])
        yield Line("measured", f"{text}: {which}", kind)
    silent = len(track.series) - len(series_rows(track))
    if silent:
        yield Line("no pairs", f"{plural(silent, 'layer')} without a pair of filters to compare")
    yield from _skipped(report)
    for note in dict.fromkeys((*track.notes, *(note for model in report.models for note in model.notes))):
        yield Line("note", note)
    yield Line(
        "chance",
        "rms r when each filter's kernels stand in random channel order; it moves as kernels do, so read r beside it",
        "legend",
    )
    if any(not shown_series(row)[1] for row in series_rows(track)):
        yield Line("°", "across groups, since no group has a pair: one filter per group", "legend")
    yield Line("test", "one run is one run: `gcx compare FIRST LAST` gives the change an interval and a p", "legend")


def _skipped(report: Report) -> Iterator[Line]:
    found: dict[str, list[str]] = {}
    for model in report.models:
        for skipped in model.skipped:
            found.setdefault(skipped_text(skipped), []).append(model.path)
    for text, paths in found.items():
        where = "every checkpoint" if len(paths) == len(report.models) else named(paths)
        yield Line("skipped", f"{text}: {where}", "unsure")
