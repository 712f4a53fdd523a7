"""The layers as CSV, one row each, for spreadsheets and data frames: every number of the JSON in full precision."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from gcx.comparison import LayerComparison
from gcx.contract import meanings, to_mapping
from gcx.renderers.escape import csv_text
from gcx.renderers.options import RenderOptions
from gcx.results import LayerResult, ListedLayer, Listing, Report
from gcx.training_run import Track

_PAIRS = {"ci95": ("low", "high"), "change_ci95": ("low", "high"), "max_abs_pair": ("first", "second")}
"""Keys that hold two numbers become two columns, `within.ci95.low` and so on."""
_SHAPES = frozenset({"weight_shape", "stored_shape"})
_PLACES = ("epoch", "architecture", "lineage", "lineage_z")
"""Where in a training run a checkpoint stands."""
_ELSEWHERE = "within.per_group"
"""One row per group would be another table; it stands in the JSON."""


class Csv:
    """One row per layer, the same columns in every file, skipped layers with their reason."""

    name = "csv"
    suffixes: tuple[str, ...] = (".csv",)
    binary = False
    needs_pictures = False

    def render(self, report: Report, options: RenderOptions) -> str:
        """Every layer of every model; of a comparison every pair; of a run with epoch and lineage."""
        if report.comparison is not None:
            pairs = ((report.comparison.candidate, to_mapping(layer)) for layer in report.comparison.layers)
            return _written(layer_keys(LayerComparison), pairs)
        if report.track is not None:
            return _written((*_PLACES, *layer_keys(LayerResult, also="reason")), _tracked(report, report.track))
        rows = ((model.path, to_mapping(layer)) for model in report.models for layer in model.layers)
        return _written(layer_keys(LayerResult, also="reason"), rows)

    def render_listing(self, listing: Listing, options: RenderOptions) -> str:
        """Every convolution of every model."""
        rows = ((model.path, to_mapping(layer)) for model in listing.models for layer in model.layers)
        return _written(layer_keys(ListedLayer), rows)


def _tracked(report: Report, track: Track) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every layer of every checkpoint, with where in the run it stands."""
    for model, checkpoint in zip(report.models, track.checkpoints, strict=True):
        place = {key: getattr(checkpoint, key) for key in _PLACES}
        yield from ((model.path, place | to_mapping(layer)) for layer in model.layers)


@cache
def layer_keys(record: type, also: str | None = None) -> tuple[str, ...]:
    """The columns: dotted keys of the JSON of one layer; a key of skipped layers only goes after the second."""
    keys = [key for key in meanings(record) if not key.startswith(_ELSEWHERE)]
    keys = [key for key in keys if not any(other.startswith(f"{key}.") for other in keys)]
    if also is not None:
        keys.insert(2, also)
    return tuple(column for key in keys for column in _columns_of(key))


def _columns_of(key: str) -> Iterator[str]:
    ends = _PAIRS.get(key.rpartition(".")[2])
    yield from (f"{key}.{end}" for end in ends) if ends else (key,)


def _written(keys: Sequence[str], rows: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(("model", *keys))
    for path, layer in rows:
        writer.writerow((csv_text(path), *(_value(layer, key) for key in keys)))
    return out.getvalue()


def _value(layer: Mapping[str, Any], key: str) -> str | float:
    """One cell: text escaped, numbers as they are, null as an empty cell."""
    value: Any = layer
    for part in key.split("."):
        if isinstance(value, list):
            ends = next(ends for ends in _PAIRS.values() if part in ends)
            value = value[ends.index(part)]
        else:
            value = None if value is None else value.get(part)
    if value is None:
        return ""
    if isinstance(value, list):
        return csv_text(("x" if key.rpartition(".")[2] in _SHAPES else "; ").join(map(str, value)))
    if isinstance(value, bool):
        return str(value).lower()
    return csv_text(value) if isinstance(value, str) else value
