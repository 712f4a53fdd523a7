"""A saved report of `gcx correlate` in the place of its checkpoint: anyone may have written it, so it is checked."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path, PurePath
from typing import Any, NoReturn

from gcx import limits
from gcx.contract import from_mapping
from gcx.errors import CheckpointError, LimitError, UsageError
from gcx.inputs import REPORT
from gcx.results import Kernels, LayerResult, Report
from gcx.settings import Settings
from gcx.version import SCHEMA

LARGEST_SE = 1e6
"""Far beyond any jackknife error of a mean of r^2; its square is still a number."""
COMPARED_SETTINGS = ("measure", "weights", "fold_sign", "fold_scale")
"""Settings that change what is compared; a saved report must have been made with the same ones."""


def saved_report(model: Any) -> Report | None:
    """The report that a file holds; None where it is something else (an index of shards is JSON too).

    Raises:
        CheckpointError: of another schema, or damaged.
        LimitError: larger than `REPORT_BYTES`.
    """
    if isinstance(model, Report):
        return model
    if not isinstance(model, (str, os.PathLike)) or PurePath(model).suffix.lower() != REPORT:
        return None
    path = os.fspath(model)
    try:
        if not Path(path).is_file():
            return None  # the reader says what is wrong with it
        with Path(path).open("rb") as stream:
            content = stream.read(limits.REPORT_BYTES + 1)
    except (OSError, ValueError):
        return None
    if len(content) > limits.REPORT_BYTES:
        raise LimitError(f"is larger than limits.REPORT_BYTES = {limits.REPORT_BYTES}", path=path)
    cure = "make it by `gcx correlate MODEL --export report.json`"
    try:
        data = json.loads(content, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    if not (isinstance(data, Mapping) and "gcx" in data and "models" in data):
        return None
    if data.get("schema") != SCHEMA:
        raise CheckpointError("is a report of another schema than this gcx reads", path=path, cure=cure)
    try:
        return from_mapping(Report, data)
    except ValueError as error:
        raise CheckpointError(f"is no report as gcx writes it: {error}", path=path, cure=cure) from error


def checked_report(report: Report, model: Any, settings: Settings) -> Report:
    """Refuse a report that cannot be compared with what these settings measure.

    Raises:
        UsageError: of something else than checkpoints, with other settings, or of some layers only.
        CheckpointError: it holds impossible numbers.
    """
    path = model if isinstance(model, str) else None
    for derived, what in ((report.comparison, "a comparison"), (report.track, "a training run")):
        if derived is not None:
            raise UsageError(f"is the report of {what}", path=path, cure="give the JSON report of `gcx correlate`")
    if not report.models:
        raise UsageError("is a report of no model", path=path)
    if any(len(result.measured) < result.coverage.measured for result in report.models):
        raise UsageError("holds some of its layers only", path=path, cure="save it again without --top")
    for layer in (layer for result in report.models for layer in result.measured):
        if not _is_possible(layer):
            raise CheckpointError("holds impossible numbers", path=path, tensor=layer.name)
    for name in COMPARED_SETTINGS:
        theirs, ours = getattr(report.settings, name), getattr(settings, name)
        if theirs != ours:
            option = "--" + name.replace("_", "-")
            raise UsageError(
                f"was made with {option} {_said(theirs)}, and this run has {_said(ours)}",
                path=path,
                cure="use the same settings for both",
            )
    return report


def _is_possible(layer: LayerResult) -> bool:
    """Whether what is computed with can be: a report may have been written by anyone."""
    shape, within = layer.weight_shape, layer.within
    if len(shape) < 3 or min(*shape, layer.groups) < 1 or layer.parameters != prod(shape):
        return False
    if not all(abs(kernels.delta or 0.0) <= 1 for kernels in _kernels_of(layer)):
        return False
    for side in (layer.within, layer.across):
        if side is not None and not (0 <= (side.mean_r2 or 0.0) <= 1 and 0 <= (side.null_permuted_r2 or 0.0) <= 1):
            return False
    return within is None or 0 <= (within.se or 0.0) <= LARGEST_SE


def _kernels_of(layer: LayerResult) -> Iterator[Kernels]:
    """The kernel measure over the layer's groups and over those it was cut into."""
    if layer.kernels is not None:
        yield layer.kernels
    if layer.virtual_groups is not None and layer.virtual_groups.kernels is not None:
        yield layer.virtual_groups.kernels


def _said(value: object) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
