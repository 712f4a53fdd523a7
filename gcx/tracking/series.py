"""Checkpoints in order -> the series of every layer and of the model; nothing is averaged over checkpoints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from gcx.results import LayerResult, ModelResult
from gcx.training_run import LayerSeries, ModelSeries, Numbers, SeriesChange

Kind = tuple[str, tuple[int, ...], int]
"""Name, shape and groups: what must be equal for two layers to be one."""


@dataclass(frozen=True)
class Step:
    """One checkpoint in its place."""

    result: ModelResult
    architecture: int
    lineage: int
    z: float | None
    filter_r: Mapping[str, float | None] = field(default_factory=dict)
    """Per layer, how its filters correlate with themselves in the checkpoint before."""


def kinds_of(result: ModelResult) -> dict[Kind, LayerResult]:
    """The measured layers of a checkpoint by what makes them comparable."""
    return {(layer.name, layer.weight_shape, layer.groups): layer for layer in result.measured}


def longest_lineage(steps: Sequence[Step]) -> tuple[int, ...]:
    """Numbers of the checkpoints of the lineage with most of them, the first of equals."""
    counts = Counter(step.lineage for step in steps)
    longest = max(counts, key=lambda lineage: counts[lineage])
    return tuple(number for number, step in enumerate(steps) if step.lineage == longest)


def layer_series(steps: Sequence[Step]) -> tuple[LayerSeries, ...]:
    """Every layer along training, in the order in which they first appear."""
    main = frozenset(longest_lineage(steps))
    found: dict[Kind, list[tuple[int, LayerResult]]] = {}
    for number, step in enumerate(steps):
        for kind, layer in kinds_of(step.result).items():
            found.setdefault(kind, []).append((number, layer))
    return tuple(_one_series(kind, places, steps, main) for kind, places in found.items())


def _one_series(
    kind: Kind, places: Sequence[tuple[int, LayerResult]], steps: Sequence[Step], main: frozenset[int]
) -> LayerSeries:
    name, shape, groups = kind
    numbers = tuple(number for number, _ in places)
    within = [layer.within for _, layer in places]
    across = [layer.across for _, layer in places]
    mean_r2 = tuple(one.mean_r2 if one else None for one in within)
    excess = tuple(one.excess if one else None for one in within)
    return LayerSeries(
        name=name,
        weight_shape=shape,
        groups=groups,
        checkpoints=numbers,
        mean_r2=mean_r2,
        null_permuted_r2=tuple(one.null_permuted_r2 if one else None for one in within),
        null_isotropic_r2=next((one.null_isotropic_r2 for one in within if one), None),
        excess=excess,
        across_mean_r2=tuple(one.mean_r2 if one else None for one in across),
        across_null_r2=tuple(one.null_r2 if one else None for one in across),
        delta=tuple(layer.kernels.delta if layer.kernels else None for _, layer in places),
        filter_r=tuple(steps[number].filter_r.get(name) for number in numbers),
        change=series_change(numbers, mean_r2, excess, main),
    )


def model_series(steps: Sequence[Step]) -> ModelSeries:
    """The summaries along training; a change only where the layers stay the same."""
    summaries = [step.result.summary for step in steps]
    mean_r2 = tuple(summary.mean_r2_within for summary in summaries)
    excess = tuple(summary.excess_within for summary in summaries)
    across = tuple(summary.mean_r2_across for summary in summaries)
    excess_across = tuple(summary.excess_across for summary in summaries)
    main = longest_lineage(steps)
    alike = len({steps[number].architecture for number in main}) == 1
    numbers = tuple(range(len(steps)))
    return ModelSeries(
        mean_r2_within=mean_r2,
        excess_within=excess,
        null_within=_differences(mean_r2, excess),
        mean_r2_across=across,
        excess_across=excess_across,
        null_across=_differences(across, excess_across),
        change=series_change(numbers, mean_r2, excess, frozenset(main)) if alike else None,
    )


def series_change(
    numbers: Sequence[int], mean_r2: Sequence[float | None], excess: Sequence[float | None], main: frozenset[int]
) -> SeriesChange | None:
    """From the first to the last checkpoint of the longest lineage that has a number; None with less than two.

    >>> found = series_change((0, 1, 2, 3), (0.1, 0.3, 0.9, 0.2), (None,) * 4, frozenset({0, 1, 3}))
    >>> found.first, found.last, round(found.mean_r2, 3), found.rises, found.steps
    (0, 3, 0.1, 1, 2)
    """
    known = list(_known(numbers, mean_r2, main))
    if len(known) < 2:
        return None
    (first, before), (last, after) = known[0], known[-1]
    steps = list(pairwise(known))
    over = dict(_known(numbers, excess, main))
    return SeriesChange(
        first=first,
        last=last,
        mean_r2=after - before,
        excess=over[last] - over[first] if first in over and last in over else None,
        rises=sum(later > earlier for (_, earlier), (_, later) in steps),
        steps=len(steps),
    )


def _differences(values: Numbers, others: Numbers) -> Numbers:
    return tuple(
        None if value is None or other is None else value - other for value, other in zip(values, others, strict=True)
    )


def _known(numbers: Sequence[int], values: Sequence[float | None], main: frozenset[int]) -> Iterator[tuple[int, float]]:
    for number, value in zip(numbers, values, strict=True):
        if number in main and value is not None:
            yield number, value
