"""Within-group correlation of a layer cut down to fewer channels, to compare layers of unequal dimension."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcx.measures.degenerate import degenerate_filters
from gcx.measures.nulls import jackknife_of
from gcx.measures.pairs import pairs_within, unit_filters
from gcx.settings import Measure


@dataclass(frozen=True)
class Estimate:
    """A number of one run and how well it is known."""

    value: float
    se: float | None
    """Delete-one-filter jackknife, the noise of the draws included; None where a deletion leaves no pair."""
    freedom: int
    """Live filters - 1."""


def matched_mean_r2(
    filters: NDArray[Any], channels: int, measure: Measure, n_draws: int, key: Sequence[int]
) -> Estimate | None:
    """Mean r^2 within groups at fewer channels: the mean over random subsets of them.

    Each draw takes `channels` of the c channels, the same for all filters, re-centres (Pearson) and re-normalises the
    filters, and averages r^2 over all pairs of one group, pooled. The filters are not drawn.

    Args:
        filters: (groups, filters_per_group, c, k), finite.
        channels: how many of the c channels a draw keeps, 1 to c.
        measure: "pearson" or "cosine".
        n_draws: number of draws; with all channels there is but one, and it is not random.
        key: seed of `numpy.random.default_rng`.

    Returns:
        The mean over draws, in [0, 1]; None where no pair is left or r is +-1 by construction (d <= 2 for Pearson,
        d <= 1 for cosine). Unchanged by the order, sign and scale of filters; by the order of channels in expectation.
        Source: Monte Carlo over sub-blocks.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(1, 64, 32, 9))
    >>> found = matched_mean_r2(x, 8, "pearson", 20, [0])
    >>> bool(abs(found.value - 1 / 71) < 0.001)  # random filters have 1/(d-1), whatever was cut away
    True
    """
    groups, n, c, k = filters.shape
    if channels * k - (measure == "pearson") < 2 or n < 2:
        return None
    rng = np.random.default_rng(list(key))
    whole = channels >= c
    values, left_out = [], []
    seen = np.zeros(groups * n, dtype=bool)
    for _ in range(1 if whole else n_draws):
        part = filters if whole else filters[:, :, np.sort(rng.permutation(c)[:channels])]
        found = _without_each(part, measure)
        if found is None:
            continue
        value, without, alive = found
        values.append(value)
        left_out.append(without)
        seen |= alive
    if not values:
        return None
    se = None
    if not any(np.isnan(without[seen]).any() for without in left_out):
        # Means over draws of the leave-one-out values are the leave-one-out values of the mean over draws.
        se = jackknife_of(np.mean(left_out, axis=0)[seen])
        if len(values) > 1:
            se = float(np.sqrt(se**2 + np.var(values, ddof=1) / len(values)))
    return Estimate(float(np.mean(values)), se, int(seen.sum()) - 1)


def paired_se(reference: NDArray[Any], candidate: NDArray[Any], measure: Measure) -> float | None:
    """Standard error of the change of mean r^2 between two layers whose filters of one index belong together.

    Delete-one-filter jackknife of the difference, the filter deleted from both, so that what they share cancels.

    Args:
        reference, candidate: (groups, n, c, k), finite, of one shape.

    Returns:
        None where other filters are degenerate in the one than in the other, or a deletion leaves no pair.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(1, 8, 4, 9))
    >>> paired_se(x, x, "pearson")
    0.0
    """
    if reference.shape[2] * reference.shape[3] - (measure == "pearson") < 2 or reference.shape[1] < 2:
        return None
    first, second = _without_each(reference, measure), _without_each(candidate, measure)
    if first is None or second is None or not np.array_equal(first[2], second[2]):
        return None
    change = (second[1] - first[1])[first[2]]
    return None if np.isnan(change).any() else jackknife_of(change)


def _without_each(filters: NDArray[Any], measure: Measure) -> tuple[float, NDArray[Any], NDArray[np.bool_]] | None:
    """Mean r^2 within groups; the same without each filter in turn (NaN where nothing is left); who is alive."""
    groups, n, c, k = filters.shape
    dead = degenerate_filters(filters)
    live = n - dead.sum(axis=1)
    n_pairs = int((live * (live - 1) // 2).sum())
    if n_pairs == 0:
        return None
    units = unit_filters(filters, measure, dead)
    sums = pairs_within(units.reshape(groups, n, c * k), dead)
    alive = ~dead.ravel()
    lost_pairs = np.where(alive, np.repeat(live - 1, n), 0)
    left = n_pairs - lost_pairs
    without = np.divide(sums.sum_r2 - sums.row_r2, left, out=np.full(groups * n, np.nan), where=left > 0)
    return min(1.0, sums.sum_r2 / n_pairs), without, alive
