"""What chance gives: the isotropic law, the channel-permutation closed form, the jackknife, permutation tests, FDR."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, lgamma, pi, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcx.measures.moments import PairSums, second_moment_pair_sums

TIE = 1e-12
"""Two statistics this close count as equal: rounding must not decide a test."""


@dataclass(frozen=True)
class Isotropic:
    """r of two independent directions, uniform on the sphere of `dimension` D (d-1 for Pearson, d for cosine).

    Source: r^2 ~ Beta(1/2, (D-1)/2).

    >>> law = Isotropic(575)
    >>> round(law.mean_abs_r, 4), round(law.mean_r2 * 575, 12)
    (0.0333, 1.0)
    """

    dimension: int

    @property
    def mean_r2(self) -> float:
        return 1.0 / self.dimension

    @property
    def variance_r2(self) -> float:
        d = self.dimension
        return 2.0 * (d - 1) / (d * d * (d + 2))

    @property
    def mean_abs_r(self) -> float:
        half = 0.5 * self.dimension
        return exp(lgamma(half) - lgamma(half + 0.5)) / sqrt(pi)

    def z(self, mean_r2: float, n_pairs: int) -> float:
        """`mean_r2` in standard deviations; exact, since pairs are pairwise independent under this null."""
        return (mean_r2 - self.mean_r2) / sqrt(self.variance_r2 / n_pairs)


def permuted_pair_sums(units: NDArray[Any]) -> PairSums:
    """Sum of E[r^2] over ordered pairs of filters, when each filter's channels are put in independent random order.

    Per pair E r^2 = (S_i . S_j / c)^2 + <G_i, G_j>_F / (c - 1), with S_i the sum of the filter's kernels and G_i the
    second moment of its kernels about their mean; exact (Hoeffding's combinatorial mean and variance).

    Args:
        units: (groups, filters_per_group, c, k), c >= 2, each filter of unit norm (centred for Pearson, not for
            cosine), or zero to be left out.

    Returns:
        The sums per group and across. Invariant to the order of filters and of channels (in each filter on its own),
        to sign and to filter scale; not to input-channel scale.

    >>> import numpy as np
    >>> z = np.random.default_rng(0).normal(size=(1, 2, 4, 1))
    >>> z -= z.mean(axis=2, keepdims=True)
    >>> z /= np.sqrt((z**2).sum(axis=(2, 3), keepdims=True))
    >>> round(float(permuted_pair_sums(z).within[0] / 2), 12)  # 1/(d-1): for 1x1 kernels both nulls agree
    0.333333333333
    """
    c = units.shape[2]
    about_mean = second_moment_pair_sums(units, lambda part: part - part.mean(axis=2, keepdims=True))
    means = second_moment_pair_sums(units.sum(axis=2, keepdims=True) / sqrt(c))
    return PairSums(
        within=means.within + about_mean.within / (c - 1),
        across=means.across + about_mean.across / (c - 1),
    )


def jackknife_se(total: float, n_pairs: int, lost: NDArray[Any], lost_pairs: NDArray[Any]) -> float | None:
    """Standard error of a mean over pairs by deleting one filter at a time, all filters pooled.

    Args:
        total: sum over the pairs.
        n_pairs: how many.
        lost: (N,) what the sum loses with each live filter.
        lost_pairs: (N,) how many pairs go with it.

    Returns:
        sqrt((N-1)/N sum (theta_i - mean theta)^2), or None if a deletion leaves no pair.

    >>> import numpy as np
    >>> jackknife_se(3.0, 3, np.array([2.0, 2.0, 2.0]), np.array([2, 2, 2]))
    0.0
    """
    left = n_pairs - lost_pairs
    if not len(left) or (left <= 0).any():
        return None
    return jackknife_of((total - lost) / left)


def jackknife_of(without: NDArray[Any]) -> float:
    """sqrt((N-1)/N sum (theta_i - mean theta)^2) of the values without each filter in turn, (N,).

    >>> round(jackknife_of(np.array([1.0, 2.0, 3.0])), 6)  # sqrt(2/3 * 2)
    1.154701
    """
    return float(np.sqrt((len(without) - 1) * np.mean((without - without.mean()) ** 2)))


def permutation_pvalue(
    observed: float, statistic: Callable[[NDArray[Any]], NDArray[Any]], n: int, n_resamples: int, key: Sequence[int]
) -> float:
    """One-sided p-value of a statistic of ordered items, against all orders alike.

    Args:
        observed: the statistic in the order at hand.
        statistic: maps (draws, n) item orders to (draws,) values.
        n: number of items.
        n_resamples: number of random orders.
        key: seed of `numpy.random.default_rng`.

    Returns:
        (1 + #{T* >= T - 1e-12}) / (n_resamples + 1): never 0, and valid at every level.
        Source: Phipson and Smyth (2010), Stat. Appl. Genet. Mol. Biol. 9, 39.

    >>> permutation_pvalue(2.0, lambda orders: (orders[:, 0] == 2).astype(float), 3, 999, [0])
    0.001
    """
    rng = np.random.default_rng(list(key))
    hits = 0
    step = max(1, min(n_resamples, 2**18 // max(1, n)))
    for start in range(0, n_resamples, step):
        draws = min(step, n_resamples - start)
        orders = rng.permuted(np.broadcast_to(np.arange(n), (draws, n)), axis=1)
        hits += int(np.count_nonzero(statistic(orders) >= observed - TIE))
    return (1 + hits) / (n_resamples + 1)


def adjust_pvalues(pvalues: Sequence[float]) -> list[float]:
    """Benjamini-Hochberg: p-values adjusted for the false discovery rate over all of them, in their own order.

    Source: Benjamini and Hochberg (1995), J. R. Stat. Soc. B 57, 289; equal to `scipy.stats.false_discovery_control`.

    >>> adjust_pvalues([0.01, 0.04, 0.03])
    [0.03, 0.04, 0.04]
    """
    if not pvalues:
        return []
    p = np.asarray(pvalues, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return [float(value) for value in adjusted]
