"""The order-free measure: squared cosine of unit kernels over all kernel pairs of two filters.

For filter i, M_i = mean of u u^T over its live unit kernels u; the mean squared cosine between the kernels of filters i
and j is <M_i, M_j>_F. Nothing in it depends on which channel holds which kernel, on signs, or on scales.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from gcx.measures.degenerate import unit_kernels
from gcx.measures.moments import CHUNK, moment_features, second_moment_pair_sums
from gcx.measures.nulls import permutation_pvalue
from gcx.results import Kernels

WIDEST_MOMENT = 64
"""Beyond this k, k x k moments cost more than the kernels themselves (a 31x31 kernel would take 7 MB a filter)."""


@dataclass(frozen=True, eq=False)
class DeltaState:
    """What the p-value of delta needs of a layer once its weights are gone: filters in the order of their groups."""

    features: NDArray[Any]
    """(live filters, p), f_i . f_j = <M_i, M_j>_F."""
    sizes: NDArray[np.int64]
    """Live filters of each group that has any."""
    total: float
    """Sum of <M_i, M_j> over ordered pairs i != j."""

    def deltas(self, orders: NDArray[Any]) -> NDArray[Any]:
        """delta of each assignment: `orders` (draws, live filters) deals the filters to the groups in turn."""
        own = float(np.einsum("ip,ip->", self.features, self.features))
        starts = np.concatenate([[0], np.cumsum(self.sizes)[:-1]])
        step = max(1, CHUNK // self.features.size)
        same = np.empty(len(orders))
        for first in range(0, len(orders), step):
            sums = np.add.reduceat(self.features[orders[first : first + step]], starts, axis=1)
            same[first : first + step] = np.einsum("bgp,bgp->b", sums, sums) - own
        n_same, n_different = self.pairs
        return same / n_same - (self.total - same) / n_different

    @property
    def pairs(self) -> tuple[int, int]:
        """Ordered pairs of the same group, and of different groups."""
        n = int(self.sizes.sum())
        same = int((self.sizes * (self.sizes - 1)).sum())
        return same, n * (n - 1) - same


def unit_rows(filters: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_], int]:
    """Rows whose second moment is M_i: live unit kernels over the root of their number.

    Args:
        filters: (groups, n, c, k), k > 1.

    Returns:
        Rows of the same shape; (groups, n) which filters have a live kernel; how many kernels are degenerate.
    """
    unit, alive = unit_kernels(filters)
    n_alive = alive.sum(axis=-1)
    unit /= np.sqrt(np.maximum(n_alive, 1))[..., None, None]
    return unit, n_alive > 0, int(alive.size - n_alive.sum())


def measure_kernels(rows: NDArray[Any], live: NDArray[np.bool_]) -> tuple[Kernels, DeltaState | None]:
    """Mean squared cosine of kernels between filters of the same group and of different groups, and their difference.

    Args:
        rows, live: as `unit_rows` gives them.

    Returns:
        The record without p-values, all in [0, 1] (delta in [-1, 1]), None where there is no such pair; and what the
        p-value needs, None where there is no delta. Invariant to the order of filters within groups, of channels
        (within each filter), of groups, to sign, filter scale, and input-channel scale. O(N c k^2).
        Source: the moment identity sum_ab (u_a . v_b)^2 = <U^T U, V^T V>_F.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(2, 4, 3, 9))
    >>> found, state = measure_kernels(*unit_rows(x)[:2])
    >>> 0 < found.same_group < 1 and state.sizes.tolist() == [4, 4]
    True
    """
    sizes = live.sum(axis=1)
    n = int(sizes.sum())
    n_same = int((sizes * (sizes - 1)).sum())
    n_different = n * (n - 1) - n_same
    if rows.shape[3] <= WIDEST_MOMENT:
        sums = second_moment_pair_sums(rows)
        same_sum, different_sum = float(sums.within.sum()), sums.across
        overlaps = None
    else:
        overlaps = _overlaps(rows.reshape(-1, *rows.shape[2:]))
        number = np.repeat(np.arange(len(rows)), rows.shape[1])
        mates = number[:, None] == number[None, :]
        same_sum = float(overlaps.sum(where=mates) - np.trace(overlaps))
        different_sum = float(overlaps.sum(where=~mates))
    same = same_sum / n_same if n_same else None
    different = different_sum / n_different if n_different else None
    delta = None if same is None or different is None else same - different
    record = Kernels(
        same_group=same,
        different_groups=different,
        delta=delta,
        pvalue=None,
        pvalue_adjusted=None,
        n_resamples=None,
    )
    if delta is None:
        return record, None
    flat = rows.reshape(-1, *rows.shape[2:])[live.ravel()]
    features = moment_features(flat) if overlaps is None else _factor(overlaps[np.ix_(live.ravel(), live.ravel())])
    return record, DeltaState(features=features, sizes=sizes[sizes > 0], total=same_sum + different_sum)


def delta_pvalue(state: DeltaState, n_resamples: int, seed: int, name: str) -> float:
    """One-sided p-value of delta: filters are dealt to the groups at random, sizes kept.

    The unit is the filter: permuting kernels instead calls every trained layer significant. The seed is
    [seed, crc32(name)], so that choosing layers changes no p-value.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(2, 4, 3, 9))
    >>> x[1] = np.abs(x[1])
    >>> delta_pvalue(measure_kernels(*unit_rows(x)[:2])[1], 999, seed=0, name="conv") < 0.1
    True
    """
    n = len(state.features)
    observed = float(state.deltas(np.arange(n)[None])[0])
    key = [seed, crc32(name.encode("utf-8", "surrogatepass"))]
    return permutation_pvalue(observed, state.deltas, n, n_resamples, key)


def group_matrix(rows: NDArray[Any], live: NDArray[np.bool_]) -> NDArray[Any]:
    """Mean <M_i, M_j> between groups, (groups, groups); the diagonal leaves i = j out; NaN where there is no pair."""
    groups, _, _, k = rows.shape
    sizes = live.sum(axis=1)
    features = np.empty((groups, k * (k + 1) // 2))
    own = np.empty(groups)
    for number, group in enumerate(rows):
        each = moment_features(group)
        features[number] = each.sum(axis=0)
        own[number] = np.einsum("ip,ip->", each, each)
    sums = features @ features.T
    pairs = np.outer(sizes, sizes).astype(np.float64)
    sums[np.diag_indices(groups)] -= own
    pairs[np.diag_indices(groups)] -= sizes
    return np.asarray(np.divide(sums, pairs, out=np.full_like(sums, np.nan), where=pairs > 0))


def _overlaps(rows: NDArray[Any]) -> NDArray[Any]:
    """(N, N) <M_i, M_j> from rows (N, c, k), by the Gram matrix of the kernels: for large k."""
    n, c, k = rows.shape
    flat = rows.reshape(n * c, k)
    found = np.empty((n, n))
    step = max(1, CHUNK // (n * c * c))
    for start in range(0, n, step):
        gram = flat[start * c : (start + step) * c] @ flat.T
        found[start : start + step] = (gram * gram).reshape(-1, c, n, c).sum(axis=(1, 3))
    return found


def _factor(overlaps: NDArray[Any]) -> NDArray[Any]:
    """Features f with f f^T = overlaps (positive semidefinite)."""
    values, vectors = np.linalg.eigh(overlaps)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))
