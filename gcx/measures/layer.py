"""One layer's filters -> all of its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcx.measures.degenerate import degenerate_filters
from gcx.measures.filters import FilterPairs, across_record, filter_pairs, within_record
from gcx.measures.kernels import DeltaState, measure_kernels, unit_rows
from gcx.measures.partition import measure_partition
from gcx.measures.picture import make_picture
from gcx.measures.statistics import measure_statistics
from gcx.results import Across, Kernels, KernelStatistics, Partition, Picture, Within
from gcx.settings import Measure

PARTITION_RESAMPLES = 999

Rows = tuple[NDArray[Any], NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class LayerMeasures:
    """Every number of one layer but its p-value, whose number of draws depends on the other layers."""

    within: Within | None
    across: Across | None
    kernels: Kernels | None
    kernel_statistics: KernelStatistics
    degenerate_filters: int
    degenerate_kernels: int | None
    virtual: Partition | None
    induced: Partition | None
    picture: Picture | None
    delta_state: DeltaState | None
    """For `kernels.delta_pvalue`; None where the layer has no delta."""
    notes: tuple[str, ...]
    """Why something is null."""


def measure_layer(
    filters: NDArray[Any],
    *,
    measure: Measure = "pearson",
    virtual_groups: int | None = None,
    induced: tuple[int, str] | None = None,
    picture: bool = False,
    seed: int = 0,
    name: str = "",
) -> LayerMeasures:
    """Measure one convolution.

    Args:
        filters: (groups, filters_per_group, channels_per_group, k) float64, finite, k = prod(kernel_size); the largest
            |w| is best near 1.
        measure: centred or not.
        virtual_groups: cut a dense layer into as many parts, as a negative control.
        induced: (parts, name of the reading layer) to cut a dense layer by.
        picture: make a `Picture` too.
        seed, name: of permutation tests.

    >>> import numpy as np
    >>> found = measure_layer(np.random.default_rng(0).normal(size=(4, 8, 4, 9)))
    >>> found.within.n_pairs, found.across.n_pairs, found.notes
    (112, 384, ())
    """
    groups, k = filters.shape[0], filters.shape[3]
    dead = degenerate_filters(filters)
    statistics = measure_statistics(filters)
    rows: Rows | None = None
    kernels, state, degenerate_kernels = None, None, None
    if k > 1:
        units, live, degenerate_kernels = unit_rows(filters)
        kernels, state = measure_kernels(units, live)
        # Kept only where something will read them: they are as large as the weight itself.
        rows = (units, live) if picture or (groups == 1 and (virtual_groups or induced)) else None
        del units
    pairs = filter_pairs(filters, dead, measure, bins=picture)
    within, across = within_record(pairs), across_record(pairs)
    cuts = _Cuts(pairs, rows, seed, name)
    virtual = cuts.cut(virtual_groups, "virtual", None) if virtual_groups and groups == 1 else None
    by_reader = cuts.cut(induced[0], "induced", induced[1]) if induced and groups == 1 else None
    notes = [*_notes(filters.shape, measure, within, across), *cuts.notes]
    return LayerMeasures(
        within=within,
        across=across,
        kernels=kernels,
        kernel_statistics=statistics,
        degenerate_filters=int(np.count_nonzero(dead)),
        degenerate_kernels=degenerate_kernels,
        virtual=virtual,
        induced=by_reader,
        picture=make_picture(pairs, rows) if picture else None,
        delta_state=state,
        notes=tuple(notes),
    )


class _Cuts:
    """Partitions of one dense layer."""

    def __init__(self, pairs: FilterPairs, rows: Rows | None, seed: int, name: str) -> None:
        self._pairs, self._rows, self._seed, self._name = pairs, rows, seed, name
        self.notes: list[str] = []

    def cut(self, parts: int, source: Any, consumer: str | None) -> Partition | None:
        n = self._pairs.dead.size
        if n % parts or parts > n:
            self.notes.append(f"{source} groups: {parts} does not divide {n} filters")
            return None
        return measure_partition(
            self._pairs,
            self._rows,
            parts,
            source,
            consumer=consumer,
            n_resamples=PARTITION_RESAMPLES,
            seed=self._seed,
            name=self._name,
        )


def _notes(shape: tuple[int, ...], measure: Measure, within: Within | None, across: Across | None) -> list[str]:
    """Why something is null, each a short sentence."""
    groups, n, c, k = shape
    notes = []
    if n == 1:
        notes.append(
            "within is null: one filter per group" if groups > 1 else "within is null: the layer has one filter"
        )
    elif within is not None and within.n_pairs == 0:
        notes.append("within has no values: no pair of filters is left")
    if c * k == 1:
        notes.append("correlations have no values: a filter of one number has no direction")
    elif c * k - (measure == "pearson") < 2:
        notes.append(f"correlations have no values: filters of {c * k} numbers, so r is ±1 by construction")
    elif c == 1:
        notes.append("null_permuted_r2 is null: one channel per group, so there is no order to permute")
    if groups == 1:
        notes.append("across is null: the layer has one group")
    elif across is not None and across.n_pairs == 0:
        notes.append("across has no values: no pair of filters is left")
    if within is not None and within.mean_r2 is not None and within.ci95 is None:
        notes.append("ci95 is null: too few pairs for a jackknife")
    if k == 1:
        notes.append("kernels is null: a 1x1 kernel has no direction")
    elif groups == 1:
        notes.append("kernels.delta is null: the layer has one group")
    elif n == 1:
        notes.append("kernels.delta is null: one filter per group")
    return notes
