"""The order-free measure: squared cosine of unit kernels over all kernel pairs of two filters.

For filter i, M_i = mean of u u^T over its live unit kernels u; the mean squared cosine between the kernels of filters i
and j is <M_i, M_j>_F. Nothing in it depends on which channel holds which kernel, on signs, or on scales.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from gcx import limits
from gcx.measures.degenerate import unit_kernels
from gcx.measures.moments import CHUNK, moment_features, parts_of
from gcx.measures.nulls import permutation_pvalue
from gcx.results import Kernels

WIDEST_MOMENT = 64
MOMENTS = 2**24
"""Kernels of more than WIDEST_MOMENT numbers have k x k moments only while those of a layer are at most this many
numbers (128 MiB): for one 31x31 kernel they would take 4 MB a filter, and the kernels themselves 8 kB."""
GRAM_PRODUCTS = 10**11
"""Multiply-adds that the Gram matrix of wide kernels may take: some ten seconds."""
JITTER = 1e-10
"""Added to <M_i, M_i> where overlaps are factored, so that rounding leaves them positive; no pair i != j sees it."""


@dataclass(frozen=True, eq=False)
class KernelMoments:
    """All that the kernel measure needs of a layer's kernels: small beside the weight, and kept when that is gone."""

    features: NDArray[Any]
    """(groups, n, p), f_i . f_j = <M_i, M_j>_F for i != j, 0 where a filter has no live kernel."""
    live: NDArray[np.bool_]
    """(groups, n): filters with a live kernel."""

    def cut(self, parts: int) -> KernelMoments:
        """The same filters in `parts` parts of equal size, in their order."""
        return KernelMoments(self.features.reshape(parts, -1, self.features.shape[-1]), self.live.reshape(parts, -1))


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
        """delta of each assignment: `orders` (draws, live filters) deals the filters to the groups in turn.

        The pairs of one group are |sum of f|^2 less each f's own, so a draw costs O(N p) and not O(N^2).
        """
        own = float(np.einsum("ip,ip->", self.features, self.features))
        step = max(1, CHUNK // self.features.size)
        same = np.empty(len(orders))
        for first in range(0, len(orders), step):
            sums = self._group_sums(self.features.take(orders[first : first + step], axis=0))
            same[first : first + step] = np.einsum("bgp,bgp->b", sums, sums) - own
        n_same, n_different = self.pairs
        return same / n_same - (self.total - same) / n_different

    def _group_sums(self, dealt: NDArray[Any]) -> NDArray[Any]:
        """(draws, groups, p) from (draws, live filters, p)."""
        if (self.sizes == self.sizes[0]).all():  # ten times as fast as reduceat
            return np.asarray(dealt.reshape(len(dealt), len(self.sizes), self.sizes[0], -1).sum(axis=2))
        return np.add.reduceat(dealt, np.concatenate([[0], np.cumsum(self.sizes)[:-1]]), axis=1)

    @property
    def pairs(self) -> tuple[int, int]:
        """Ordered pairs of the same group, and of different groups."""
        return _ordered_pairs(self.sizes)


def kernel_moments(filters: NDArray[Any]) -> tuple[KernelMoments | None, int]:
    """Moments of the live unit kernels of every filter, and how many kernels are degenerate.

    Args:
        filters: (groups, n, c, k), k > 1, finite.

    Returns:
        The moments; None only for kernels beyond 8x8 of which there are too many for either route.

    >>> import numpy as np
    >>> filters = np.random.default_rng(0).normal(size=(2, 4, 3, 9))
    >>> filters[1, 3] = 0.0
    >>> moments, degenerate = kernel_moments(filters)
    >>> moments.features.shape, int(moments.live.sum()), degenerate
    ((2, 4, 45), 7, 3)
    """
    groups, n, c, k = filters.shape
    p = k * (k + 1) // 2
    wide = k > WIDEST_MOMENT and groups * n * p > MOMENTS
    features = None if wide else np.empty((groups, n, p))
    live, n_alive = np.empty((groups, n), dtype=bool), 0
    for some, which in parts_of(groups, n, c * k if wide else c * k + k * k):
        rows, alive = _rows(filters[some, which])
        live[some, which] = alive.any(axis=-1)
        n_alive += int(np.count_nonzero(alive))
        if features is not None:
            features[some, which] = moment_features(rows)
    if features is None and groups * n <= limits.OVERLAPS and (groups * n * c) ** 2 * k <= GRAM_PRODUCTS:
        features = _factored_overlaps(filters)
    return None if features is None else KernelMoments(features, live), groups * n * c - n_alive


def measure_kernels(moments: KernelMoments) -> tuple[Kernels, DeltaState | None]:
    """Mean squared cosine of kernels between filters of the same group and of different groups, and their difference.

    Returns:
        The record without p-values, all in [0, 1] (delta in [-1, 1]), None where there is no such pair; and what the
        p-value needs, None where there is no delta. Invariant to the order of filters within groups, of channels
        (within each filter), of groups, to sign, filter scale, and input-channel scale. O(N c k^2).
        Source: the moment identity sum_ab (u_a . v_b)^2 = <U^T U, V^T V>_F.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(2, 4, 3, 9))
    >>> found, state = measure_kernels(kernel_moments(x)[0])
    >>> 0 < found.same_group < 1 and state.sizes.tolist() == [4, 4]
    True
    """
    features, sizes = moments.features, moments.live.sum(axis=1)
    n_same, n_different = _ordered_pairs(sizes)
    sums = features.sum(axis=1)
    everything = sums.sum(axis=0)
    in_groups = float(np.einsum("gp,gp->", sums, sums))
    same_sum = in_groups - float(np.einsum("gnp,gnp->", features, features))
    different_sum = float(everything @ everything) - in_groups
    same = _share(same_sum, n_same)
    different = _share(different_sum, n_different)
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
    live = features[moments.live]
    if len(live) < live.shape[1]:  # every draw reads them all
        live = _factored(live @ live.T)
    return record, DeltaState(features=live, sizes=sizes[sizes > 0], total=same_sum + different_sum)


def delta_pvalue(state: DeltaState, n_resamples: int, seed: int, name: str) -> float:
    """One-sided p-value of delta: filters are dealt to the groups at random, sizes kept.

    The unit is the filter: permuting kernels instead calls every trained layer significant. The draws are those of
    `layer_key(seed, name)`, and more draws only add to them, so choosing layers changes no p-value but for how many.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(2, 4, 3, 9))
    >>> x[1] = np.abs(x[1])
    >>> delta_pvalue(measure_kernels(kernel_moments(x)[0])[1], 999, seed=0, name="conv") < 0.1
    True
    """
    n = len(state.features)
    observed = float(state.deltas(np.arange(n)[None])[0])
    return permutation_pvalue(observed, state.deltas, n, n_resamples, layer_key(seed, name))


def layer_key(seed: int, name: str) -> list[int]:
    """Seed of a layer's random draws: its own, whichever other layers are measured.

    >>> layer_key(0, "conv1")
    [0, 285681077]
    """
    return [seed, crc32(name.encode("utf-8", "surrogatepass"))]


def group_matrix(moments: KernelMoments) -> NDArray[Any]:
    """Mean <M_i, M_j> between groups, (m, m), m <= limits.PICTURE; the diagonal leaves i = j out; NaN without a pair.

    With more groups than that, an entry is the mean over the pairs of groups of its tile that have a number.

    >>> filters = np.zeros((2, 2, 1, 4))
    >>> filters[0, :, 0, 0] = filters[1, :, 0, 1] = 1.0  # one kernel each, at right angles to the other group's
    >>> group_matrix(kernel_moments(filters)[0]).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    sizes = moments.live.sum(axis=1)
    known, pairs = sizes > 0, sizes * (sizes - 1)
    sums = moments.features.sum(axis=1)
    own = np.einsum("gnp,gnp->g", moments.features, moments.features)
    squares = np.einsum("gp,gp->g", sums, sums)
    means = sums / np.maximum(sizes, 1)[:, None]
    starts = np.arange(0, len(sizes), ceil(len(sizes) / limits.PICTURE))
    tiles, counts = np.add.reduceat(means, starts, axis=0), np.add.reduceat(known.astype(float), starts)
    # Off the diagonal the mean over a tile of <mean M, mean M> is one product of sums; a group with itself is apart.
    matrix, number = tiles @ tiles.T, np.outer(counts, counts)
    itself = np.divide(squares - own, pairs, out=np.zeros(len(sizes)), where=pairs > 0)
    correction = itself - squares / np.maximum(sizes, 1) ** 2
    matrix[np.diag_indices(len(starts))] += np.add.reduceat(correction, starts)
    number[np.diag_indices(len(starts))] += np.add.reduceat((pairs > 0).astype(float) - known, starts)
    return np.asarray(np.divide(matrix, number, out=np.full_like(matrix, np.nan), where=number > 0))


def _rows(filters: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Rows whose second moment is M_i: live unit kernels over the root of their number; and which kernels are alive."""
    rows, alive = unit_kernels(filters)
    rows /= np.sqrt(np.maximum(alive.sum(axis=-1), 1))[..., None, None]
    return rows, alive


def _ordered_pairs(sizes: NDArray[np.int64]) -> tuple[int, int]:
    n = int(sizes.sum())
    same = int((sizes * (sizes - 1)).sum())
    return same, n * (n - 1) - same


def _share(total: float, n_pairs: int) -> float | None:
    """A mean of squared cosines; what rounding adds beyond [0, 1] is taken off."""
    return min(1.0, max(0.0, total / n_pairs)) if n_pairs else None


def _factored_overlaps(filters: NDArray[Any]) -> NDArray[Any] | None:
    """Features of wide kernels, (groups, n, N), from the Gram matrix of all kernels: N c k numbers, not N k^2."""
    groups, n, c, k = filters.shape
    if groups * n > limits.OVERLAPS:
        return None
    flat = _rows(filters)[0].reshape(groups * n * c, k)
    overlaps = np.empty((groups * n, groups * n))
    step = max(1, CHUNK // (groups * n * c * c))
    for start in range(0, groups * n, step):
        gram = flat[start * c : (start + step) * c] @ flat.T
        gram *= gram
        overlaps[start : start + step] = gram.reshape(-1, c, groups * n, c).sum(axis=(1, 3))
    return _factored(overlaps).reshape(groups, n, -1)


def _factored(overlaps: NDArray[Any]) -> NDArray[Any]:
    """(N, N) features of overlaps (N, N), which are overwritten."""
    overlaps[np.diag_indices(len(overlaps))] += JITTER
    return np.asarray(np.linalg.cholesky(overlaps))
