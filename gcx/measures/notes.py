"""Why a number of a layer is null, each in a short sentence."""

from __future__ import annotations

from gcx.measures.statistics import ENTROPY_TAPS
from gcx.results import Across, Kernels, KernelStatistics, Within
from gcx.settings import Measure

Shape = tuple[int, ...]
"""(groups, filters_per_group, channels, k)."""


def filter_notes(shape: Shape, measure: Measure, within: Within | None, across: Across | None) -> list[str]:
    """What is null among the correlations of filters."""
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
    return notes


def kernel_notes(shape: Shape, kernels: Kernels | None, statistics: KernelStatistics) -> list[str]:
    """What is null among the measures of kernels."""
    groups, n, _, k = shape
    notes = ["sparsity is null: every weight is 0"] if statistics.sparsity is None else []
    if k == 1:
        return [*notes, "kernels is null: a 1x1 kernel has no direction, so neither evr1 nor variance_entropy is there"]
    if kernels is None:
        notes.append(f"kernels is null: too many kernels of {k} numbers")
    elif groups == 1:
        notes.append("kernels.delta is null: the layer has one group")
        if kernels.same_group is None:
            notes.append("kernels.same_group is null: no pair of filters with live kernels")
    elif n == 1:
        notes.append("kernels.delta is null: one filter per group")
    elif kernels.delta is None:
        notes.append("kernels.delta is null: too few filters with live kernels")
    if k != ENTROPY_TAPS:
        notes.append("variance_entropy is null: defined for 3x3 kernels")
    elif statistics.variance_entropy is None:
        notes.append("variance_entropy is null: all kernels are equal")
    if statistics.evr1 is None:
        notes.append("evr1 is null: every weight is 0")
    return notes
