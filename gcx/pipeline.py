"""path + Settings -> Report: the one flow that every command, the API and the notebooks use. It never prints."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from difflib import get_close_matches
from operator import index
from pathlib import Path
from types import NoneType
from typing import Any

from gcx.assembly import assemble, check_globs
from gcx.checkpoint import Checkpoint
from gcx.contract import from_mapping, to_mapping
from gcx.conv_layer import ConvLayer
from gcx.errors import GcxError, UsageError
from gcx.gate import check_rules, judged
from gcx.measuring import Extras, measure_model
from gcx.outcome import exit_code, listing_with_reasons, with_reasons
from gcx.results import ListedLayer, Listing, ModelListing, Report
from gcx.settings import BOUNDS, Settings


def correlate(*models: Any, settings: Settings | None = None, extras: Extras | None = None, **options: Any) -> Report:
    """Measure how correlated the convolution weights of checkpoints are, within and across filter groups.

    Args:
        models: paths of checkpoints, live `torch.nn.Module`s, or state dicts (name to torch tensor or numpy array).
        settings: the effective settings; `options` change them.
        extras: pictures, a sink for the full matrices, progress.
        options: fields of `gcx.settings.Settings`; `groups` may also be a mapping of glob to count.

    Returns:
        One `ModelResult` per model; correlations are dimensionless, in [-1, 1]. `exit_code` is 3 where no layer of a
        model has a number, a group count is ambiguous under `strict_groups`, or nothing is known about a gate; 1 where
        a gate of `fail_if` was crossed.

    Raises:
        CheckpointError: a file cannot be read.
        UsageError: an option cannot be meant: unknown, a glob that matches nothing, a count that does not divide.

    >>> import numpy as np
    >>> weights = np.random.default_rng(0).normal(size=(64, 16, 3, 3))
    >>> report = correlate({"conv.weight": weights}, groups={"conv": 2})
    >>> report.models[0].layers[0].within.n_pairs
    992
    """
    effective = effective_settings(settings, options, {"map", "filters", "n_draws", "order"})
    check_rules(effective.fail_if, comparing=False)
    extras = extras or Extras()
    results, assemblies = [], []
    for model in _at_least_one(models):
        with open_model(model, effective, extras) as checkpoint, located(checkpoint):
            assembly = assemble(checkpoint, effective)
            assemblies.append(assembly)
            if len(models) == 1:
                check_globs(assemblies)
            path = shown_path(checkpoint.path)
            measured = measure_model(path, checkpoint.format, assembly, effective, extras)
            results.append(with_reasons(measured, effective))
    check_globs(assemblies)
    report = Report(settings=effective, models=tuple(results))
    return judged(replace(report, exit_code=exit_code(results)))


def layers(*models: Any, settings: Settings | None = None, **options: Any) -> Listing:
    """List the convolutions of checkpoints, their groups and how these are known, without reading a weight.

    Args:
        models: as of `correlate`.
        settings: the effective settings; `options` change them.
        options: `groups`, `include`, `exclude`, `weights` and `strict_groups`.

    Returns:
        One `ModelListing` per model, its layers in file order. `exit_code` is 3 where a model has no convolution, or a
        group count is ambiguous under `strict_groups`.

    Raises:
        CheckpointError: a file cannot be read.
        UsageError: an option cannot be meant.

    >>> import numpy as np
    >>> listing = layers({"conv.weight": np.zeros((64, 16, 3, 3))}, groups={"conv": 2})
    >>> listing.models[0].layers[0].groups, listing.models[0].layers[0].groups_from
    (2, 'declared')
    """
    effective = effective_settings(settings, options)
    listings, assemblies = [], []
    for model in _at_least_one(models):
        with open_model(model, effective) as checkpoint, located(checkpoint):
            assembly = assemble(checkpoint, effective)
            assemblies.append(assembly)
            listing = ModelListing(
                path=shown_path(checkpoint.path),
                format=checkpoint.format,
                notes=assembly.notes,
                layers=tuple(_listed(layer) for layer in assembly.chosen),
                not_chosen=len(assembly.layers) - len(assembly.chosen),
                left_out=assembly.left_out,
            )
            listings.append(listing_with_reasons(listing, effective))
    check_globs(assemblies)
    return Listing(settings=effective, models=tuple(listings), exit_code=exit_code(listings))


def effective_settings(
    settings: Settings | None, options: Mapping[str, Any], without_effect: Collection[str] = ()
) -> Settings:
    """`settings` with `options` changed.

    Args:
        settings: those to start from.
        options: changes, by name.
        without_effect: options that the caller makes no use of, and so refuses.

    Raises:
        UsageError: an option that is unknown, of another type, out of its bounds, or without effect.
    """
    known = [field.name for field in fields(Settings)]
    for name in options:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            raise UsageError(f"unknown option {name!r}", cure=f"did you mean {close[0]!r}?" if close else None)
    if not isinstance(settings, (Settings, NoneType)):
        raise UsageError(f"settings is a {type(settings).__name__}", cure="give a gcx.settings.Settings, or options")
    found = replace(settings or Settings(), **{name: _as_stored(name, value) for name, value in options.items()})
    try:
        from_mapping(Settings, to_mapping(found))
    except ValueError as error:
        raise UsageError(f"option {error}") from None
    for name, (least, most) in BOUNDS.items():
        value = getattr(found, name)
        if value is not None and not least <= value <= (value if most is None else most):
            bounds = f"at least {least}" if most is None else f"{least} to {most}"
            raise UsageError(f"option {name} is {value}", cure=f"give {bounds}")
    if any(count < 1 for _, count in found.groups):
        raise UsageError("option groups declares a count below 1")
    for left, right in found.map:
        if left.count("*") != right.count("*"):
            raise UsageError(f"--map {f'{left}={right}'!r}: each * on the left needs one on the right")
    for name in sorted(options.keys() & set(without_effect)):
        if getattr(found, name) != getattr(Settings(), name):
            raise UsageError(f"option {name} has no effect here", cure="leave it out")
    return found


def _as_stored(name: str, value: Any) -> Any:
    """What a caller may write: for a tuple a mapping, pairs, or one text; for a whole number one of numpy's."""
    if name in {"include", "exclude", "fail_if"} and isinstance(value, str):
        return (value,)
    if name in {"groups", "map"} and isinstance(value, Mapping):
        value = value.items()
    if isinstance(value, Iterable) and not isinstance(value, str):
        return tuple(tuple(map(_plain, item)) if isinstance(item, (list, tuple)) else item for item in value)
    return _plain(value)


def _plain(value: Any) -> Any:
    return index(value) if hasattr(value, "__index__") and not isinstance(value, bool) else value


@contextmanager
def open_model(model: Any, settings: Settings, extras: Extras | None = None) -> Iterator[Checkpoint]:
    """Open a path, a live module or a state dict as a Checkpoint."""
    if isinstance(model, (str, os.PathLike)):
        from gcx.readers import read_checkpoint

        checkpoint = read_checkpoint(os.fspath(model), weights=settings.weights)
    elif isinstance(model, Mapping):
        from gcx.readers.base import ReadOptions
        from gcx.readers.module import from_state_dict

        checkpoint = from_state_dict(model, ReadOptions(settings.weights))
    elif hasattr(model, "named_modules"):
        from gcx.readers.module import from_module

        checkpoint = from_module(model)
    else:
        raise UsageError(
            f"cannot read what is of type {type(model).__name__}", cure="give a path, a torch.nn.Module or a state dict"
        )
    with checkpoint:
        if extras is not None and extras.opened is not None:
            for path in checkpoint.files:
                extras.opened(path)
        yield checkpoint


def shown_path(path: str) -> str:
    """The path for a report: as typed; an absolute one relative to the current folder, else its base name.

    >>> shown_path("runs/a.pt"), shown_path("/somewhere/else/a.pt")
    ('runs/a.pt', 'a.pt')
    """
    if not Path(path).is_absolute():
        return path
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except (ValueError, OSError):  # elsewhere, or the current folder is gone
        return Path(path).name


@contextmanager
def located(checkpoint: Checkpoint) -> Iterator[None]:
    """Add the file to every error on the way out."""
    try:
        yield
    except GcxError as error:
        if not isinstance(error, UsageError):
            error.located(path=checkpoint.path)
        raise


def _at_least_one(models: tuple[Any, ...]) -> tuple[Any, ...]:
    if not models:
        raise UsageError("no model given", cure="name a checkpoint")
    return models


def _listed(layer: ConvLayer) -> ListedLayer:
    return ListedLayer(
        name=layer.name,
        weight_shape=layer.weight_shape,
        stored_shape=layer.stored_shape if layer.transposed else None,
        in_channels=layer.in_channels,
        out_channels=layer.out_channels,
        groups=layer.groups,
        filters_per_group=layer.filters_per_group,
        transposed=layer.transposed,
        parameters=layer.parameters,
        groups_from=layer.groups_from,
        groups_confidence=layer.groups_confidence,
        groups_evidence=layer.groups_evidence,
        groups_alternatives=layer.groups_alternatives,
        tied=layer.tied,
        notes=layer.notes,
        problem=layer.problem,
    )
