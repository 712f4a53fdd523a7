"""One side of a comparison: a checkpoint, a folder, a glob (several files are repeated runs), or a saved report."""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path, PurePath
from typing import Any, Literal, NoReturn

from gcx import limits
from gcx.assembly import Assembly, GlobOption, assemble, check_globs, is_chosen
from gcx.contract import from_mapping
from gcx.conv_layer import ConvLayer
from gcx.errors import CheckpointError, LimitError, UsageError
from gcx.measuring import Extras, measure_model
from gcx.pipeline import located, open_model, shown_path
from gcx.results import Kernels, LayerResult, ModelResult, Report
from gcx.settings import Settings
from gcx.version import SCHEMA

Role = Literal["reference", "candidate"]
ROLES: tuple[Role, Role] = ("reference", "candidate")

REPORT = ".json"
LARGEST_SE = 1e6
"""Far beyond any jackknife error of a mean of r^2; its square is still a number."""
COMPARED_SETTINGS = ("measure", "weights", "fold_sign", "fold_scale")
"""Settings that change what is compared; a saved report must have been made with the same ones."""


@dataclass(frozen=True)
class Run:
    """One run of an arm."""

    result: ModelResult
    model: Any
    """What to open again for the weights; None for a saved report."""
    epoch: int | None = None
    """When it was saved, where the file says so."""


@dataclass(frozen=True)
class Arm:
    """One side of a comparison."""

    role: Role
    shown: str
    """As typed."""
    settings: Settings
    """With the declared groups of this arm only."""
    runs: tuple[Run, ...]
    assemblies: tuple[Assembly, ...]
    """To check that every glob matched; none for saved reports."""

    @property
    def has_weights(self) -> bool:
        return all(run.model is not None for run in self.runs)

    @contextmanager
    def layers(self, number: int) -> Iterator[dict[str, ConvLayer]]:
        """The convolutions of one run by name, their weights readable while the block lasts."""
        with open_model(self.runs[number].model, self.settings) as checkpoint, located(checkpoint):
            yield {layer.name: layer for layer in assemble(checkpoint, self.settings).chosen}


def read_arm(role: Role, given: Any, settings: Settings, extras: Extras) -> Arm:
    """Measure every run of an arm, or take its saved report.

    Args:
        role: which side it is.
        given: a path, a folder, a glob, a live module, a state dict, a `Report`, or a list of those.
        settings: of the whole comparison; `reference:` or `candidate:` before a glob of `groups` is for that arm only.

    Raises:
        UsageError: nothing is there, a saved report has other settings, or the runs are no runs of one network.
        CheckpointError: a file cannot be read.
    """
    own = replace(settings, groups=tuple(_own_groups(role, settings.groups)))
    runs: list[Run] = []
    assemblies: list[Assembly] = []
    for model in models_of(given):
        report = _saved_report(model)
        if report is not None:
            runs += [Run(_only_chosen(result, own), None) for result in _checked(report, model, own).models]
            continue
        with open_model(model, own) as checkpoint, located(checkpoint):
            assembly = assemble(checkpoint, own)
            path = shown_path(checkpoint.path)
            result = measure_model(path, checkpoint.format, assembly, own, extras)
            runs.append(Run(result, model, checkpoint.epoch))
        assemblies.append(assembly)
    arm = Arm(role, _shown(given, runs), own, tuple(runs), tuple(assemblies))
    _check_runs(arm)
    return arm


def check_arm_globs(arms: Sequence[Arm], settings: Settings) -> None:
    """Refuse a glob that matched no layer: of both arms, or of the one it was declared for.

    Raises:
        UsageError: names the option and the layer that it may have meant.
    """
    shared = {pattern for pattern, _ in settings.groups}
    everywhere: list[Assembly] = []
    for arm in arms:
        own = {GlobOption("--groups", glob, count) for glob, count in arm.settings.groups if glob not in shared}
        check_globs([replace(one, unmatched=one.unmatched & own) for one in arm.assemblies])
        everywhere += (replace(one, unmatched=one.unmatched - own) for one in arm.assemblies)
    check_globs(everywhere)


def natural(path: str) -> list[tuple[bool, int, str]]:
    """A sort key under which run 2 comes before run 10.

    >>> sorted(["run10.pt", "run2.pt", "a.pt"], key=natural)
    ['a.pt', 'run2.pt', 'run10.pt']
    """
    parts = re.split(r"([0-9]+)", path)
    return [(True, int(part[:1000]), part) if k % 2 else (False, 0, part) for k, part in enumerate(parts)]


def _own_groups(role: Role, groups: tuple[tuple[str, int], ...]) -> Iterator[tuple[str, int]]:
    for pattern, count in groups:
        arm, colon, rest = pattern.partition(":")
        if not colon or arm not in ROLES:
            yield pattern, count
        elif arm == role:
            yield rest, count


def models_of(given: Any) -> Sequence[Any]:
    """What a path, a folder, a glob, an object or a list of those stands for: one model each, files in natural order.

    Raises:
        UsageError: nothing is there.
        LimitError: more than `RUNS`.
    """
    if isinstance(given, (list, tuple)):
        models = [model for one in given for model in models_of(one)]
    elif isinstance(given, (str, os.PathLike)):
        models = _files(os.fspath(given))
    else:
        models = [given]
    if not models:
        raise UsageError("no model given", cure="name a checkpoint")
    if len(models) > limits.RUNS:
        raise LimitError(f"{len(models)} runs in one arm: more than limits.RUNS = {limits.RUNS}")
    return models


def _files(path: str) -> list[str]:
    """The files that a path, a folder or a glob names, in natural order."""
    try:
        is_folder, is_there = Path(path).is_dir(), Path(path).exists()
    except (OSError, ValueError):
        return [path]  # the reader says what is wrong with it
    if is_folder:
        return _checkpoints_in(path)
    if is_there or not glob.has_magic(path):
        return [path]
    found = sorted((name for name in glob.glob(path) if not Path(name).is_dir()), key=natural)  # noqa: PTH207 - as typed
    if not found:
        raise UsageError("matches no file", path=path, cure="quote the glob, and look at it with ls")
    return found


def _checkpoints_in(folder: str) -> list[str]:
    """The checkpoints of a folder by their suffix; its reports where it has no checkpoint."""
    from gcx.readers import READERS

    known = {suffix for reader in READERS for suffix in reader.suffixes} - {REPORT}
    try:
        names = [name for name in os.listdir(folder) if not name.startswith(".")]  # noqa: PTH208 - as typed
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror}", path=folder) from error
    paths = sorted((str(PurePath(folder, name)) for name in names), key=natural)
    files = [path for path in paths if Path(path).is_file()]
    chosen = [path for path in files if PurePath(path).suffix.lower() in known]
    chosen = chosen or [path for path in files if PurePath(path).suffix.lower() == REPORT]
    if not chosen:
        raise UsageError("holds no checkpoint", path=folder, cure="name the files by a quoted glob")
    return chosen


def _saved_report(model: Any) -> Report | None:
    """The report that a file holds; None where it is something else (an index of shards is JSON too)."""
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


def _only_chosen(result: ModelResult, settings: Settings) -> ModelResult:
    return replace(result, layers=tuple(layer for layer in result.layers if is_chosen(layer.name, settings)))


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _checked(report: Report, model: Any, settings: Settings) -> Report:
    """Refuse a report that cannot be compared with what these settings measure."""
    path = model if isinstance(model, str) else None
    for derived, what in ((report.comparison, "a comparison"), (report.track, "a training run")):
        if derived is not None:
            raise UsageError(f"is the report of {what}", path=path, cure="give the JSON report of `gcx correlate`")
    if not report.models:
        raise UsageError("is a report of no model", path=path)
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


def _shown(given: Any, runs: Sequence[Run]) -> str:
    if isinstance(given, (str, os.PathLike)):
        return shown_path(os.fspath(given))
    return runs[0].result.path + (f" and {len(runs) - 1} more" if len(runs) > 1 else "")


def _check_runs(arm: Arm) -> None:
    """Runs of one setting have layers of one kind; else a mean over them would mean nothing.

    Raises:
        UsageError: names the layer and both files.
    """
    first = {layer.name: layer for layer in arm.runs[0].result.measured}
    for run in arm.runs[1:]:
        for layer in run.result.measured:
            known = first.setdefault(layer.name, layer)
            if (known.weight_shape, known.groups) != (layer.weight_shape, layer.groups):
                raise UsageError(
                    f"the runs of the {arm.role} are not of one network: {layer.name} is {_kind(known)} in "
                    f"{arm.runs[0].result.path} and {_kind(layer)} in {run.result.path}",
                    cure="give each setting its own arm",
                )


def _kind(layer: LayerResult) -> str:
    return f"{'×'.join(map(str, layer.weight_shape))} in {layer.groups} groups"
