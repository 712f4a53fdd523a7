"""Differences of two samples: Welch's t, and the exact permutation of runs over arms."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, islice
from math import comb, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcx.measures.beta import beta_tail, t_quantile
from gcx.measures.degenerate import degenerate_filters
from gcx.measures.nulls import TIE
from gcx.measures.pairs import unit_filters
from gcx.settings import Measure

ARRANGEMENTS = 20_000
"""Arrangements of runs that are all visited; beyond, as many random ones stand for them."""


def t_pvalue(t: float, freedom: float) -> float:
    """Two-sided tail of Student's t: P(|T| >= |t|), since t^2/(freedom + t^2) ~ Beta(1/2, freedom/2).

    >>> round(t_pvalue(2.228139, 10), 6)
    0.05
    """
    return beta_tail(t * t / (freedom + t * t), 0.5 * freedom)


def welch(change: float, se: tuple[float, float], freedom: tuple[int, int]) -> tuple[tuple[float, float], float] | None:
    """95 % interval and two-sided p-value of a difference of two independent estimates.

    Args:
        change: the difference.
        se: standard errors of the two, >= 0.
        freedom: their degrees of freedom.

    Returns:
        ((low, high), pvalue), freedom by Welch and Satterthwaite; None where a freedom is below 1, or nothing varies
        and yet they differ.

    >>> (low, high), pvalue = welch(1.0, (0.3, 0.4), (9, 9))
    >>> round(low, 3), round(high, 3), round(pvalue, 3)
    (-0.056, 2.056, 0.062)
    """
    if min(freedom) < 1:
        return None
    first, second = se[0] ** 2, se[1] ** 2
    spread = first + second
    if spread == 0:
        return ((0.0, 0.0), 1.0) if change == 0 else None
    # Scaled by the larger, since squares of tiny variances would vanish.
    larger = max(first, second)
    a, b = first / larger, second / larger
    effective = (a + b) ** 2 / (a * a / freedom[0] + b * b / freedom[1])
    half = t_quantile(effective) * sqrt(spread)
    return (change - half, change + half), t_pvalue(change / sqrt(spread), effective)


def runs_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of a mean over runs by Student's t; None with less than two runs.

    >>> low, high = runs_interval([1.0, 2.0, 3.0])
    >>> round(low, 3), round(high, 3)
    (-0.484, 4.484)
    """
    if len(values) < 2:
        return None
    runs = np.asarray(values, dtype=np.float64)
    half = t_quantile(len(runs) - 1) * float(runs.std(ddof=1)) / sqrt(len(runs))
    middle = float(runs.mean())
    return middle - half, middle + half


def welch_runs(reference: Sequence[float], candidate: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of mean(candidate) - mean(reference) by Welch's t; None with less than two runs on a side.

    >>> low, high = welch_runs([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])
    >>> round(low, 3), round(high, 3)
    (-1.267, 3.267)
    """
    if min(len(reference), len(candidate)) < 2:
        return None
    sides = [np.asarray(side, dtype=np.float64) for side in (reference, candidate)]
    errors = [float(side.std(ddof=1)) / sqrt(len(side)) for side in sides]
    change = float(sides[1].mean() - sides[0].mean())
    found = welch(change, (errors[0], errors[1]), (len(sides[0]) - 1, len(sides[1]) - 1))
    return None if found is None else found[0]


def runs_pvalue(reference: Sequence[float], candidate: Sequence[float], key: Sequence[int]) -> float:
    """Two-sided exact permutation p-value of the difference of means: runs dealt to the arms in every way.

    Beyond 20,000 ways as many random ones are taken, and p is (1 + hits)/(1 + draws).

    >>> round(runs_pvalue([1, 2, 3, 4], [5, 6, 7, 8], [0]) * 70)
    2
    """
    values = np.asarray([*reference, *candidate], dtype=np.float64)
    n, total = len(reference), float(values.sum())
    observed = _difference(float(values[:n].sum()), total, n, len(values))
    ways = comb(len(values), n)
    tie = TIE * max(1.0, abs(observed))
    if ways <= ARRANGEMENTS:
        chosen = np.array(list(islice(combinations(range(len(values)), n), ways)))
        sums = values[chosen].sum(axis=1)
        return float(np.mean(np.abs(_difference(sums, total, n, len(values))) >= abs(observed) - tie))
    rng = np.random.default_rng(list(key))
    orders = rng.permuted(np.broadcast_to(values, (ARRANGEMENTS, len(values))), axis=1)
    hits = np.count_nonzero(
        np.abs(_difference(orders[:, :n].sum(axis=1), total, n, len(values))) >= abs(observed) - tie
    )
    return float(1 + hits) / (1 + ARRANGEMENTS)


def smallest_pvalue(reference: int, candidate: int) -> float:
    """The smallest p-value that `runs_pvalue` can give for so many runs.

    >>> round(smallest_pvalue(4, 4), 4), smallest_pvalue(1, 4)
    (0.0286, 0.2)
    """
    ways = comb(reference + candidate, reference)
    if ways > ARRANGEMENTS:
        return 1 / (1 + ARRANGEMENTS)
    # With arms of one size the mirrored arrangement is as extreme as the one at hand.
    return (2 if reference == candidate else 1) / ways


def _difference(first: Any, total: float, n: int, all_runs: int) -> Any:
    return (total - first) / (all_runs - n) - first / n


def lineage_z(
    reference: NDArray[Any], candidate: NDArray[Any], dead: NDArray[np.bool_]
) -> tuple[float | None, NDArray[Any]]:
    """Whether filters of one index belong together: their mean r beyond that of filters of different index.

    Independent training runs number their filters at random, so that r of same-index pairs has the law of all pairs.

    Args:
        reference, candidate: (groups, n, d) unit filters of two layers of one shape.
        dead: (groups, n), degenerate in either.

    Returns:
        (mean r_ii - mean r_ij) / (sd r_ij / sqrt(N)), over pairs of one group where it has three filters or more, else
        over all pairs: about N(0, 1) for independent runs; None with less than three live filters or where nothing
        varies. And (N,) r_ii, NaN where dead.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(1, 16, 50))
    >>> x /= np.linalg.norm(x, axis=2, keepdims=True)
    >>> z, r = lineage_z(x, x, np.zeros((1, 16), bool))
    >>> z > 20, bool(np.allclose(r, 1))
    (True, True)
    """
    groups, n, _ = reference.shape
    own = np.where(dead, np.nan, np.einsum("gnd,gnd->gn", reference, candidate)).ravel()
    if n < 3:
        reference, candidate, dead = (x.reshape(1, groups * n, *x.shape[2:]) for x in (reference, candidate, dead))
    alive = ~dead
    count, sum_r, sum_r2 = 0, 0.0, 0.0
    for left, right, live in zip(reference, candidate, alive, strict=True):
        first, second = left[live], right[live]
        if len(first) < 2:
            continue
        for start in range(0, len(first), 1024):
            r = first[start : start + 1024] @ second.T
            r[np.arange(len(r)), start + np.arange(len(r))] = 0.0
            sum_r += float(r.sum())
            sum_r2 += float(np.vdot(r, r))
        count += len(first) * (len(first) - 1)
    known = own[~np.isnan(own)]
    if count < 6 or len(known) < 3:
        return None, own
    mean = sum_r / count
    variance = max(0.0, sum_r2 / count - mean * mean)
    if variance == 0:
        return None, own
    return float((known.mean() - mean) / sqrt(variance / len(known))), own


def measure_lineage(
    reference: NDArray[Any], candidate: NDArray[Any], measure: Measure
) -> tuple[float | None, list[float | None]]:
    """`lineage_z` of two layers of one shape (groups, n, c, k), and r of each filter with itself, None if degenerate.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(1, 16, 4, 9))
    >>> z, r = measure_lineage(x, x.copy(), "pearson")
    >>> z > 20, r[0]
    (True, 1.0)
    """
    same = np.array_equal(reference, candidate)
    dead = degenerate_filters(reference) | degenerate_filters(candidate)
    flat = [unit_filters(filters, measure, dead).reshape(*dead.shape, -1) for filters in (reference, candidate)]
    z, own = lineage_z(flat[0], flat[1], dead)
    # r of a filter with itself is 1, whatever rounding makes of it.
    return z, [None if np.isnan(r) else 1.0 if same else max(-1.0, min(1.0, float(r))) for r in own]
