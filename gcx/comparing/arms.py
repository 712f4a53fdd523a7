"""One side of a comparison: a checkpoint, a folder, a glob (several files are repeated runs), or a saved report."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from gcx.assembly import Assembly, GlobOption, assemble, check_globs, is_chosen
from gcx.conv_layer import ConvLayer
from gcx.errors import UsageError
from gcx.inputs import models_of
from gcx.measuring import Extras, measure_model
from gcx.pipeline import located, open_model, shown_path
from gcx.results import LayerResult, ModelResult, SkippedLayer
from gcx.saved_report import checked_report, saved_report
from gcx.settings import Settings
from gcx.words import plural

Role = Literal["reference", "candidate"]
ROLES: tuple[Role, Role] = ("reference", "candidate")


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

    role: Role | None
    """None where it is compared with nothing."""
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


def read_arm(role: Role | None, given: Any, settings: Settings, extras: Extras) -> Arm:
    """Measure every run of an arm, or take its saved report.

    Args:
        role: which side it is; None of none.
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
        report = saved_report(model)
        if report is not None:
            runs += [Run(_only_chosen(result, own), None) for result in checked_report(report, model, own).models]
            continue
        with open_model(model, own, extras) as checkpoint, located(checkpoint):
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


def _own_groups(role: Role | None, groups: tuple[tuple[str, int], ...]) -> Iterator[tuple[str, int]]:
    for pattern, count in groups:
        arm, colon, rest = pattern.partition(":")
        if role is None or not colon or arm not in ROLES:
            yield pattern, count
        elif arm == role:
            yield rest, count


def _only_chosen(result: ModelResult, settings: Settings) -> ModelResult:
    return replace(result, layers=tuple(layer for layer in result.layers if is_chosen(_names(layer), settings)))


def _names(layer: LayerResult | SkippedLayer) -> tuple[str, ...]:
    return (layer.name, *layer.tied) if isinstance(layer, LayerResult) else (layer.name,)


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
    return f"{'×'.join(map(str, layer.weight_shape))} in {plural(layer.groups, 'group')}"
