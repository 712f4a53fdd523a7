"""Within-group correlation of two layers at one number of channels per filter: the only fair reading of a difference.

Fewer channels per filter give larger correlations by themselves, so the denser layer is cut down to the other's
channels, at random and many times, before the two are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

from gcx.comparing.arms import Arm
from gcx.comparing.pairing import Pair
from gcx.results import LayerResult

WEIGHTS_NEEDED = "weights needed: the arm of the denser layer is a saved report"


@dataclass(frozen=True)
class Value:
    """Mean r^2 of one run and how well it is known."""

    value: float
    se: float | None
    freedom: int


@dataclass(frozen=True)
class EqualDimension:
    """Both sides of one pair at one number of channels; a value per run, or none and the reason."""

    channels: int | None
    n_draws: int
    reference: tuple[Value, ...] = ()
    candidate: tuple[Value, ...] = ()
    note: str | None = None


def equal_dimension(reference: Arm, candidate: Arm, pairs: Sequence[Pair]) -> list[EqualDimension]:
    """Bring every pair to equal dimension; weights are read again only where the channels differ.

    Raises:
        CheckpointError: weights cannot be read again.
    """
    channels = [_channels(pair) for pair in pairs]
    sides = []
    for arm, layers in (
        (reference, [pair.reference for pair in pairs]),
        (candidate, [pair.candidate for pair in pairs]),
    ):
        sides.append(_values(arm, layers, channels))
    return [
        _put_together(number, pair, channels[number], sides[0][number], sides[1][number], reference.settings.n_draws)
        for number, pair in enumerate(pairs)
    ]


def _channels(pair: Pair) -> int | None:
    """Channels per filter that both can be measured at; None where the kernels differ in size."""
    ours, theirs = pair.reference[0].weight_shape, pair.candidate[0].weight_shape
    return min(ours[1], theirs[1]) if ours[2:] == theirs[2:] else None


def _put_together(
    _: int,
    pair: Pair,
    channels: int | None,
    ours: tuple[Value, ...] | str,
    theirs: tuple[Value, ...] | str,
    draws: int,
) -> EqualDimension:
    if channels is None:
        return EqualDimension(None, 0, note="dimension_matched is null: the kernels differ in size")
    cut = {pair.reference[0].weight_shape[1], pair.candidate[0].weight_shape[1]} != {channels}
    for side in (ours, theirs):
        if isinstance(side, str):
            return EqualDimension(channels, draws if cut else 0, note=f"dimension_matched holds null: {side}")
    return EqualDimension(channels, draws if cut else 0, tuple(ours), tuple(theirs))  # type: ignore[arg-type]


def _values(
    arm: Arm, layers: Sequence[tuple[LayerResult, ...]], channels: Sequence[int | None]
) -> list[tuple[Value, ...] | str]:
    """Per pair the values of every run of one arm, or why there are none."""
    cut = {
        number
        for number, (runs, wanted) in enumerate(zip(layers, channels, strict=True))
        if wanted is not None and runs[0].weight_shape[1] > wanted
    }
    found: list[list[Value | None]] = [[] for _ in layers]
    for run in range(len(arm.runs)):
        drawn = _drawn(arm, run, {number: layers[number][run] for number in cut}, channels) if arm.has_weights else {}
        for number, runs in enumerate(layers):
            found[number].append(drawn.get(number) if number in cut else _as_measured(runs[run]))
    values: list[tuple[Value, ...] | str] = []
    for number, runs_found in enumerate(found):
        known = tuple(value for value in runs_found if value is not None)
        if number in cut and not arm.has_weights:
            values.append(WEIGHTS_NEEDED)
        elif len(known) < len(runs_found):
            values.append("no two live filters in a group, or r is +-1 by construction")
        else:
            values.append(known)
    return values


def _as_measured(layer: LayerResult) -> Value | None:
    within = layer.within
    if within is None or within.mean_r2 is None:
        return None
    return Value(within.mean_r2, within.se, layer.out_channels - layer.degenerate_filters - 1)


def _drawn(
    arm: Arm, run: int, wanted: dict[int, LayerResult], channels: Sequence[int | None]
) -> dict[int, Value | None]:
    """Random channel subsets of the denser layers of one run."""
    from gcx.measures import matched_mean_r2

    if not wanted:
        return {}
    found: dict[int, Value | None] = {}
    settings = arm.settings
    with arm.layers(run) as layers:
        for number, layer in wanted.items():
            key = [settings.seed, crc32(layer.name.encode("utf-8", "surrogatepass")), run]
            kept = channels[number] or 1
            estimate = matched_mean_r2(layers[layer.name].filters(), kept, settings.measure, settings.n_draws, key)
            found[number] = None if estimate is None else Value(estimate.value, estimate.se, estimate.freedom)
    return found
