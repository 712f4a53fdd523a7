"""Within-group correlation of two layers at one number of channels per filter: the only fair reading of a difference.

Fewer channels per filter give larger correlations by themselves, so the denser layer is cut down to the other's
channels, at random and many times, before the two are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcx.comparing.arms import Arm
from gcx.comparing.pairing import Pair
from gcx.results import LayerResult

if TYPE_CHECKING:
    from gcx.measures import Estimate

WEIGHTS_NEEDED = "weights needed: the arm of the denser layer is a saved report"


@dataclass(frozen=True)
class EqualDimension:
    """Both sides of one pair at one number of channels; a value per run, or none and the reason."""

    channels: int | None
    n_draws: int
    reference: tuple[Estimate, ...] = ()
    candidate: tuple[Estimate, ...] = ()
    note: str | None = None


@dataclass(frozen=True)
class _Side:
    """One side of one pair: a value per run, or the reason why there are none."""

    values: tuple[Estimate, ...] = ()
    reason: str | None = None


def equal_dimension(reference: Arm, candidate: Arm, pairs: Sequence[Pair]) -> list[EqualDimension]:
    """Bring every pair to equal dimension; weights are read again only where the channels differ.

    Raises:
        CheckpointError: weights cannot be read again.
    """
    channels = [_channels(pair) for pair in pairs]
    ours = _sides(reference, [pair.reference for pair in pairs], channels)
    theirs = _sides(candidate, [pair.candidate for pair in pairs], channels)
    draws = reference.settings.n_draws
    return [_put_together(*pair, draws) for pair in zip(pairs, channels, ours, theirs, strict=True)]


def _channels(pair: Pair) -> int | None:
    """Channels per filter that both can be measured at; None where the kernels differ in size."""
    ours, theirs = pair.reference[0].weight_shape, pair.candidate[0].weight_shape
    return min(ours[1], theirs[1]) if ours[2:] == theirs[2:] else None


def _put_together(pair: Pair, channels: int | None, ours: _Side, theirs: _Side, draws: int) -> EqualDimension:
    if channels is None:
        return EqualDimension(None, 0, note="dimension_matched is null: the kernels differ in size")
    cut = {pair.reference[0].weight_shape[1], pair.candidate[0].weight_shape[1]} != {channels}
    draws = draws if cut else 0
    reason = ours.reason or theirs.reason
    if reason is not None:
        return EqualDimension(channels, draws, note=f"dimension_matched holds null: {reason}")
    return EqualDimension(channels, draws, ours.values, theirs.values)


def _sides(arm: Arm, layers: Sequence[tuple[LayerResult, ...]], channels: Sequence[int | None]) -> list[_Side]:
    """Per pair the values of every run of one arm."""
    cut = {
        number
        for number, (runs, wanted) in enumerate(zip(layers, channels, strict=True))
        if wanted is not None and runs[0].weight_shape[1] > wanted
    }
    found: list[list[Estimate | None]] = [[] for _ in layers]
    for run in range(len(arm.runs)):
        drawn = _drawn(arm, run, {number: layers[number][run] for number in cut}, channels) if arm.has_weights else {}
        for number, runs in enumerate(layers):
            found[number].append(drawn.get(number) if number in cut else _as_measured(runs[run]))
    sides = []
    for number, (runs, values) in enumerate(zip(layers, found, strict=True)):
        known = tuple(value for value in values if value is not None)
        if number in cut and not arm.has_weights:
            sides.append(_Side(reason=WEIGHTS_NEEDED))
        elif len(known) < len(values):
            sides.append(_Side(reason=_without_pairs(runs[0])))
        else:
            sides.append(_Side(known))
    return sides


def _without_pairs(layer: LayerResult) -> str:
    if layer.filters_per_group == 1:
        return "one filter per group, so no group has a pair"
    return "no two live filters in a group, or r is +-1 by construction"


def _as_measured(layer: LayerResult) -> Estimate | None:
    within = layer.within
    if within is None or within.mean_r2 is None:
        return None
    from gcx.measures import Estimate

    return Estimate(within.mean_r2, within.se, layer.out_channels - layer.degenerate_filters - 1)


def _drawn(
    arm: Arm, run: int, wanted: dict[int, LayerResult], channels: Sequence[int | None]
) -> dict[int, Estimate | None]:
    """Random channel subsets of the denser layers of one run."""
    from gcx.measures import layer_key, matched_mean_r2

    if not wanted:
        return {}
    found: dict[int, Estimate | None] = {}
    settings = arm.settings
    with arm.layers(run) as layers:
        for number, layer in wanted.items():
            key = [*layer_key(settings.seed, layer.name), run]
            kept = channels[number] or 1
            found[number] = matched_mean_r2(layers[layer.name].filters(), kept, settings.measure, settings.n_draws, key)
    return found
