"""One layer's filters -> all of its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcx import limits
from gcx.measures.degenerate import degenerate_filters, own_scale
from gcx.measures.filters import FilterPairs, across_record, filter_pairs, within_record
from gcx.measures.kernels import DeltaState, KernelMoments, kernel_moments, measure_kernels
from gcx.measures.notes import filter_notes, kernel_notes
from gcx.measures.partition import measure_partition
from gcx.measures.picture import make_distribution, make_picture
from gcx.measures.saturation import COLOURS, saturation
from gcx.measures.statistics import measure_statistics
from gcx.results import Across, Distribution, Kernels, KernelStatistics, Partition, Picture, Within
from gcx.settings import Measure

PARTITION_RESAMPLES = 999
SAMPLE = 2**17
"""Pairs of a block of 1024 x 1024 that a distribution counts where no picture wants them all."""


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
    distribution: Distribution | None
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
    cluster: bool = False,
    distribution: bool = False,
    seed: int = 0,
    name: str = "",
    overwrite: bool = False,
) -> LayerMeasures:
    """Measure one convolution.

    Args:
        filters: (groups, filters_per_group, channels_per_group, k) float64, finite, k = prod(kernel_size); the largest
            |w| is best near 1.
        measure: centred or not.
        virtual_groups: cut a dense layer into as many parts, as a negative control.
        induced: (parts, name of the reading layer) to cut a dense layer by.
        picture: make a `Picture` too; with `cluster`, in the order of a clustering within the groups.
        distribution: make a `Distribution` too: of all pairs where there is a picture, else of a part of them.
        seed, name: of permutation tests.
        overwrite: the filters may be overwritten, which saves a second array of their size; the numbers are the same.

    >>> import numpy as np
    >>> found = measure_layer(np.random.default_rng(0).normal(size=(4, 8, 4, 9)))
    >>> found.within.n_pairs, found.across.n_pairs, found.notes
    (112, 384, ())
    """
    groups, _, _, k = shape = filters.shape
    dead = degenerate_filters(filters)
    statistics = measure_statistics(filters)
    # From here on the scale of a filter says nothing.
    filters = own_scale(np.asarray(filters, dtype=np.float64), overwrite=overwrite)
    moments, degenerate_kernels = kernel_moments(filters) if k > 1 else (None, None)
    kernels, state = measure_kernels(moments) if moments is not None else (None, None)
    cut = groups == 1 and bool(virtual_groups or induced)
    shares = saturation(filters[0][~dead[0]]) if cut and filters.shape[2] == COLOURS else None
    most = None if picture else SAMPLE
    pairs = filter_pairs(filters, dead, measure, bins=picture or distribution, most=most)
    del filters
    within, across = within_record(pairs), across_record(pairs)
    cuts = _Cuts(pairs, moments, shares, seed, name)
    virtual = cuts.cut(virtual_groups, "virtual", None) if virtual_groups and groups == 1 else None
    by_reader = cuts.cut(induced[0], "induced", induced[1]) if induced and groups == 1 else None
    notes = [*filter_notes(shape, measure, within, across), *kernel_notes(shape, kernels, statistics), *cuts.notes]
    return LayerMeasures(
        within=within,
        across=across,
        kernels=kernels,
        kernel_statistics=statistics,
        degenerate_filters=int(np.count_nonzero(dead)),
        degenerate_kernels=degenerate_kernels,
        virtual=virtual,
        induced=by_reader,
        picture=make_picture(pairs, moments, cluster=cluster) if picture else None,
        distribution=make_distribution(pairs) if distribution else None,
        delta_state=state,
        notes=tuple(notes),
    )


class _Cuts:
    """Partitions of one dense layer."""

    def __init__(
        self, pairs: FilterPairs, moments: KernelMoments | None, shares: NDArray[Any] | None, seed: int, name: str
    ) -> None:
        self._pairs, self._moments, self._shares, self._seed, self._name = pairs, moments, shares, seed, name
        self.notes: list[str] = []

    def cut(self, parts: int, source: Any, consumer: str | None) -> Partition | None:
        n = self._pairs.dead.size
        if n % parts or parts > n:
            self.notes.append(f"{source} groups: {parts} does not divide {n} filters")
            return None
        found = measure_partition(
            self._pairs,
            self._moments,
            self._shares,
            parts,
            source,
            consumer=consumer,
            n_resamples=PARTITION_RESAMPLES,
            seed=self._seed,
            name=self._name,
        )
        if found.contrast is None:
            self.notes.append(f"{source} groups: contrast is null: no two live filters in a part, or no two parts")
        elif found.contrast_pvalue is None:
            self.notes.append(f"{source} groups: contrast_pvalue is null: more than {limits.OVERLAPS} filters")
        return found
