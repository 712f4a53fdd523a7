"""Correlation of filters, within groups and across, each against both nulls."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcx.measures.beta import largest_r_pvalue, largest_r_quantile, t_quantile
from gcx.measures.moments import PairSums
from gcx.measures.nulls import Isotropic, jackknife_se, permuted_pair_sums
from gcx.measures.pairs import PairStatistics, pairs_across, pairs_within, unit_filters
from gcx.results import Across, GroupWithin, Within
from gcx.settings import Measure


@dataclass(frozen=True, eq=False)
class FilterPairs:
    """Unit filters of a layer, and the sums over their pairs that the records are made of."""

    units: NDArray[Any]
    """(groups, n, c, k), unit norm, zero where degenerate."""
    dead: NDArray[np.bool_]
    dimension: int
    """D of the isotropic null: d - 1 for Pearson, d for cosine."""
    permuted: PairSums | None
    """N1; None where a group has one channel: there is no order to permute."""
    within: PairStatistics | None
    across: PairStatistics | None


def filter_pairs(
    filters: NDArray[Any], dead: NDArray[np.bool_], measure: Measure, *, bins: bool = False, most: int | None = None
) -> FilterPairs:
    """Correlate the filters of a layer.

    Args:
        filters: (groups, n, c, k), finite; they are overwritten.
        dead: (groups, n), the degenerate ones, which are left out.
        measure: "pearson" or "cosine".
        bins: count a histogram of r too, of about `most` pairs of every block.

    Returns:
        Sums over pairs; none where every r would be +-1 by construction (d <= 2 for Pearson, d <= 1 for cosine).

    >>> filters = np.random.default_rng(0).normal(size=(2, 4, 3, 9))
    >>> found = filter_pairs(filters, np.zeros((2, 4), dtype=bool), "pearson")
    >>> found.dimension, found.units.shape, bool(0 < found.within.sum_r2 < 12)
    (26, (2, 4, 3, 9), True)
    """
    groups, n, c, k = filters.shape
    dimension = c * k - (measure == "pearson")
    units = unit_filters(filters, measure, dead, overwrite=True)
    if dimension < 2:
        return FilterPairs(units, dead, dimension, None, None, None)
    flat = units.reshape(groups, n, c * k)
    return FilterPairs(
        units,
        dead,
        dimension,
        permuted=permuted_pair_sums(units) if c > 1 else None,
        within=pairs_within(flat, dead, bins=bins, most=most) if n > 1 else None,
        across=pairs_across(flat, dead, bins=bins, most=most) if groups > 1 else None,
    )


def within_record(pairs: FilterPairs) -> Within | None:
    """Pairs of filters of one group; None where a group has one filter.

    Formulas: mean_r2 = mean of r^2 over live pairs pooled over groups; null_isotropic_r2 = 1/D; null_permuted_r2 by
    `nulls.permuted_pair_sums`; ci95 = mean_r2 +- t(.975, N - 1) se. Ranges: r^2 in [0, 1], z unbounded.
    Unchanged by the order of filters, a common order of channels, sign and scale of filters. Source of the interval:
    the delete-one jackknife of a U-statistic, Arvesen (1969), Ann. Math. Stat. 40, 2076.

    >>> filters = np.random.default_rng(0).normal(size=(1, 8, 4, 9))
    >>> filters[0, 1] = -2 * filters[0, 0]
    >>> found = within_record(filter_pairs(filters, np.zeros((1, 8), dtype=bool), "pearson"))
    >>> found.n_pairs, found.max_abs_pair, round(found.max_abs_r, 6)
    (28, (0, 1), 1.0)
    """
    n = pairs.dead.shape[1]
    if n == 1:
        return None
    live = n - pairs.dead.sum(axis=1)
    group_pairs = live * (live - 1) // 2
    n_pairs = int(group_pairs.sum())
    sums = pairs.within
    if sums is None or n_pairs == 0:
        return _empty_within(n_pairs, pairs)
    law = Isotropic(pairs.dimension)
    mean_r2 = min(1.0, sums.sum_r2 / n_pairs)
    permuted = None if pairs.permuted is None else float(pairs.permuted.within.sum()) / (2 * n_pairs)
    alive = ~pairs.dead.ravel()
    se = jackknife_se(sums.sum_r2, n_pairs, sums.row_r2[alive], np.repeat(live - 1, n)[alive])
    half = None if se is None else t_quantile(int(alive.sum()) - 1) * se
    return Within(
        n_pairs=n_pairs,
        mean_r=min(1.0, max(-1.0, sums.sum_r / n_pairs)),
        mean_r2=mean_r2,
        rms_r=sqrt(mean_r2),
        mean_abs_r=min(1.0, sums.sum_abs_r / n_pairs),
        max_abs_r=sums.max_abs_r,
        max_abs_pair=sums.max_abs_pair or _first_pair(pairs.dead),
        null_isotropic_r2=law.mean_r2,
        null_isotropic_mean_abs_r=law.mean_abs_r,
        null_isotropic_max_abs_r=largest_r_quantile(pairs.dimension, n_pairs),
        max_abs_pvalue=largest_r_pvalue(sums.max_abs_r, pairs.dimension, n_pairs),
        null_permuted_r2=permuted,
        excess=mean_r2 - (law.mean_r2 if permuted is None else permuted),
        excess_over="isotropic" if permuted is None else "permuted",
        ci95=None if half is None else (mean_r2 - half, mean_r2 + half),
        se=se,
        z_isotropic=law.z(mean_r2, n_pairs),
        per_group=tuple(_group_record(pairs, number, int(count)) for number, count in enumerate(group_pairs)),
    )


def across_record(pairs: FilterPairs) -> Across | None:
    """Pairs of filters of different groups, channel slot against channel slot; None for a dense layer.

    Not invariant to the order of channels within a group, which is arbitrary; null_permuted_r2 is the average over all
    orders: Hoeffding (1951), Ann. Math. Stat. 22, 558. With one channel per group there is no order, and the number
    stands for itself. Ranges: r^2 in [0, 1].

    >>> filters = np.random.default_rng(0).normal(size=(2, 4, 1, 9))
    >>> found = across_record(filter_pairs(filters, np.zeros((2, 4), dtype=bool), "pearson"))
    >>> found.n_pairs, found.order_free, found.null_permuted_r2
    (16, True, None)
    """
    groups, n = pairs.dead.shape
    if groups == 1:
        return None
    live = n - pairs.dead.sum(axis=1)
    n_pairs = int((live.sum() ** 2 - (live**2).sum()) // 2)
    order_free = pairs.units.shape[2] == 1
    sums = pairs.across
    if sums is None or n_pairs == 0:
        law = Isotropic(pairs.dimension) if pairs.dimension > 1 else None
        return Across(
            n_pairs=n_pairs,
            mean_r2=None,
            rms_r=None,
            mean_abs_r=None,
            max_abs_r=None,
            null_isotropic_r2=law.mean_r2 if law else None,
            null_isotropic_mean_abs_r=law.mean_abs_r if law else None,
            null_permuted_r2=None,
            order_free=order_free,
        )
    law = Isotropic(pairs.dimension)
    mean_r2 = min(1.0, sums.sum_r2 / n_pairs)
    return Across(
        n_pairs=n_pairs,
        mean_r2=mean_r2,
        rms_r=sqrt(mean_r2),
        mean_abs_r=min(1.0, sums.sum_abs_r / n_pairs),
        max_abs_r=sums.max_abs_r,
        null_isotropic_r2=law.mean_r2,
        null_isotropic_mean_abs_r=law.mean_abs_r,
        null_permuted_r2=None if pairs.permuted is None else pairs.permuted.across / (2 * n_pairs),
        order_free=order_free,
    )


def _group_record(pairs: FilterPairs, number: int, n_pairs: int) -> GroupWithin:
    if n_pairs == 0 or pairs.within is None:
        return GroupWithin(group=number, n_pairs=0, mean_r2=None, null_permuted_r2=None)
    n = pairs.dead.shape[1]
    r2 = min(1.0, float(pairs.within.row_r2[number * n : (number + 1) * n].sum()) / (2 * n_pairs))
    permuted = None if pairs.permuted is None else float(pairs.permuted.within[number]) / (2 * n_pairs)
    return GroupWithin(group=number, n_pairs=n_pairs, mean_r2=r2, null_permuted_r2=permuted)


def _first_pair(dead: NDArray[np.bool_]) -> tuple[int, int]:
    """The first pair of live filters of one group: the largest where every r is 0."""
    group = int(np.flatnonzero((~dead).sum(axis=1) > 1)[0])
    first, second = np.flatnonzero(~dead[group])[:2] + group * dead.shape[1]
    return int(first), int(second)


def _empty_within(n_pairs: int, pairs: FilterPairs) -> Within:
    """Pairs without a number: none is left, or r is +-1 by construction."""
    law = Isotropic(pairs.dimension) if pairs.dimension > 1 else None
    return Within(
        n_pairs=n_pairs,
        mean_r=None,
        mean_r2=None,
        rms_r=None,
        mean_abs_r=None,
        max_abs_r=None,
        max_abs_pair=None,
        null_isotropic_r2=law.mean_r2 if law else None,
        null_isotropic_mean_abs_r=law.mean_abs_r if law else None,
        null_isotropic_max_abs_r=None,
        max_abs_pvalue=None,
        null_permuted_r2=None,
        excess=None,
        excess_over=None,
        ci95=None,
        se=None,
        z_isotropic=None,
    )
