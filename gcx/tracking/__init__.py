"""Checkpoints of one training run -> Report with a Track: the same measures along time, breaks said."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gcx.assembly import check_globs
from gcx.comparing.arms import Arm, read_arm
from gcx.errors import UsageError
from gcx.gate import check_rules, judged
from gcx.inputs import models_of
from gcx.measuring import Extras
from gcx.outcome import exit_code, with_reasons
from gcx.pipeline import effective_settings
from gcx.results import Report
from gcx.settings import Settings
from gcx.tracking.breaks import break_events, steps_of
from gcx.tracking.order import numbering_events, ordered
from gcx.tracking.series import Step, layer_series, longest_lineage, model_series
from gcx.training_run import Order, Track, TrackedCheckpoint
from gcx.words import plural


def track(*checkpoints: Any, settings: Settings | None = None, extras: Extras | None = None, **options: Any) -> Report:
    """Follow one training run along its checkpoints: how correlated its filters are, within and across groups.

    Args:
        checkpoints: paths, folders, globs, saved JSON reports of `correlate`, state dicts or live modules; two or more
            in all. Files are put in order (`order`); if there are objects among them, all stay as they are given.
        settings: the effective settings; `options` change them.
        extras: progress; `pictures` are made of the last checkpoint alone.
        options: fields of `gcx.settings.Settings`.

    Returns:
        A report whose `models` are the checkpoints in order, and whose `track` holds every layer's series, and what
        breaks the run: a changed architecture, a file of another lineage, missing epochs. Nothing is averaged over
        checkpoints. `exit_code` is 3 where a model has no measured layer, 1 where a gate of `fail_if` was crossed.

    Raises:
        CheckpointError: a file cannot be read.
        UsageError: an option cannot be meant, or there are less than two checkpoints.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> start, shared = rng.normal(size=(64, 16, 3, 3)), rng.normal(size=(16, 3, 3))
    >>> found = track(*({"conv.weight": start + epoch * shared, "epoch": epoch} for epoch in range(3))).track
    >>> [round(value, 2) for value in found.series[0].mean_r2], found.series[0].change.rises
    ([0.01, 0.24, 0.63], 2)
    """
    effective = effective_settings(settings, options, {"map", "filters", "n_draws", "virtual_groups", "induced"})
    check_rules(effective.fail_if, comparing=False)
    models = _at_least_two(models_of(list(checkpoints)))
    extras = extras or Extras()
    arms = [_read(model, effective, replace(extras, pictures=False)) for model in models]
    check_globs([assembly for arm in arms for assembly in arm.assemblies])
    paths = [os.fspath(model) if isinstance(model, (str, os.PathLike)) else None for model in models]
    places, order = ordered(paths, [arm.runs[0].epoch for arm in arms], effective.order)
    arms = [arms[place.number] for place in places]
    if extras.pictures:
        arms[-1] = _read(models[places[-1].number], effective, extras)
    found = tracked(steps_of(arms), [place.epoch for place in places], order)
    report = Report(
        settings=effective, models=tuple(with_reasons(arm.runs[0].result, effective) for arm in arms), track=found
    )
    return judged(replace(report, exit_code=exit_code(report.models)))


def tracked(steps: Sequence[Step], epochs: Sequence[int | None], order: Order | None) -> Track:
    """The track of checkpoints whose lineage is known.

    Args:
        steps: in order.
        epochs: the number of each.
        order: what they were ordered by; None where they stand as given.
    """
    paths = [step.result.path for step in steps]
    names = [path if epoch is None else f"epoch {epoch}" for path, epoch in zip(paths, epochs, strict=True)]
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    names = [f"{name} ({path})" if name in twice else name for name, path in zip(names, paths, strict=True)]
    found = Track(
        order=order or "given",
        checkpoints=tuple(
            TrackedCheckpoint(
                path=path, epoch=epoch, architecture=step.architecture, lineage=step.lineage, lineage_z=step.z
            )
            for step, path, epoch in zip(steps, paths, epochs, strict=True)
        ),
        model=model_series(steps),
        series=layer_series(steps),
        events=(*break_events(steps, names), *numbering_events(epochs, paths)),
        verdict="",
        notes=_notes(steps, order),
    )
    return replace(found, verdict=_verdict(found, names, longest_lineage(steps)))


def _verdict(track: Track, names: Sequence[str], main: Sequence[int]) -> str:
    """The run in one or two sentences; descriptive, since one run is one run."""
    n, lineages = len(track.checkpoints), len({one.lineage for one in track.checkpoints})
    if lineages == 1:
        text = f"{n} checkpoints of one lineage, {names[0]} to {names[-1]}"
    else:
        span = f"{names[main[0]]} to {names[main[-1]]}"
        text = f"{n} checkpoints of {lineages} lineages; the longest has {len(main)}, {span}"
    change = track.model.change
    if change is None or change.mean_r2 is None:
        why = "its layers change"
        if not any(value is not None for value in track.model.mean_r2_within):
            why = "no pairs within groups"
        elif len(main) < 2:
            why = "no two checkpoints are of one lineage"
        return f"{text}; the whole model is not compared along it: {why}"
    values = track.model.mean_r2_within
    before, after = values[change.first], values[change.last]
    text += f"; mean r² within groups {before:.4f} to {after:.4f}"
    text += f", larger than before in {change.rises} of {plural(change.steps, 'step')}"
    if change.excess is not None:
        over = track.model.excess_within
        text += f"; over chance {over[change.first]:+.4f} to {over[change.last]:+.4f}"
    return text


def _notes(steps: Sequence[Step], order: Order | None) -> tuple[str, ...]:
    notes = []
    if order == "mtime":
        notes.append("ordered by when the files were changed: copying or unpacking them loses that")
    if all(step.z is None for step in steps):
        notes.append("lineage is not known: weights and layers of three filters or more are needed")
    return tuple(notes)


def _read(model: Any, settings: Settings, extras: Extras) -> Arm:
    arm = read_arm(None, model, settings, extras)
    if len(arm.runs) > 1:
        raise UsageError(f"is a report of {len(arm.runs)} models", path=arm.shown, cure="save one per checkpoint")
    return arm


def _at_least_two(models: Sequence[Any]) -> Sequence[Any]:
    if len(models) < 2:
        raise UsageError(
            f"a run has two checkpoints or more, and this is {len(models)}", cure="use `gcx correlate` for one"
        )
    return models
