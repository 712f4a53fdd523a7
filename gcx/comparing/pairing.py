"""Matched layers with every run's numbers."""

from __future__ import annotations

from dataclasses import dataclass

from gcx.comparing.arms import Arm
from gcx.comparing.matching import Match, match_layers, unmeasured
from gcx.comparison import Unmatched
from gcx.results import LayerResult, SkippedLayer


@dataclass(frozen=True)
class Pair:
    """A matched pair of layers; one result per run."""

    match: Match
    reference: tuple[LayerResult, ...]
    candidate: tuple[LayerResult, ...]


def pair_layers(reference: Arm, candidate: Arm) -> tuple[tuple[Pair, ...], tuple[Unmatched, ...]]:
    """Match the layers that every run of each arm has measured.

    Raises:
        UsageError: --map cannot be meant.
    """
    ours, lost = _in_every_run(reference)
    theirs, lost_too = _in_every_run(candidate)
    matches, unmatched = match_layers(
        {name: layers[0] for name, layers in ours.items()},
        {name: layers[0] for name, layers in theirs.items()},
        reference.settings.map,
    )
    pairs = tuple(Pair(match, ours[match.reference], theirs[match.candidate]) for match in matches)
    return pairs, (*unmeasured("reference", lost), *unmeasured("candidate", lost_too), *unmatched)


def _in_every_run(arm: Arm) -> tuple[dict[str, tuple[LayerResult, ...]], dict[str, str]]:
    """Layers by name with one result per run; and why a layer of some run is not among them."""
    runs = [{layer.name: layer for layer in run.result.layers} for run in arm.runs]
    found: dict[str, tuple[LayerResult, ...]] = {}
    lost: dict[str, str] = {}
    for name in dict.fromkeys(name for run in runs for name in run):
        layers = []
        for run, known in zip(arm.runs, runs, strict=True):
            layer = known.get(name)
            if isinstance(layer, SkippedLayer):
                lost.setdefault(name, f"skipped in {run.result.path}: {layer.reason}")
            elif layer is None:
                lost.setdefault(name, f"not in {run.result.path}")
            else:
                layers.append(layer)
        if name not in lost:
            found[name] = tuple(layers)
    return found, lost
