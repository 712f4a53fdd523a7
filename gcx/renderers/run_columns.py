"""The tables of `gcx track`: its checkpoints, and the series of every layer."""

from __future__ import annotations

from dataclasses import dataclass
from os.path import commonprefix

from gcx.renderers.cells import NOTHING, Cell, Column, decimal, root, shape_text
from gcx.renderers.curves import SeriesRow, evenly, rms, shown_series, stretches, trend_bars
from gcx.results import ModelResult, Report
from gcx.training_run import Numbers, Track

ROWS = 40
"""Checkpoints of a table at most: of more, evenly chosen ones; the JSON and the CSV have all."""
TREND = "track.series.trend"
"""The one column that is a drawing."""


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """One checkpoint of a run with its numbers."""

    number: int
    track: Track
    model: ModelResult
    name: str
    """Its path beneath the folder that all share."""


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
    text = trend_bars(rms(values), stretches(row.track, row.series))
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
