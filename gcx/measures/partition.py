"""A dense layer cut into groups that it does not have: a negative control, or the groups of the layer that reads it.

All filters of a dense layer read the same channels, so r is defined for every pair, and the order of the filters is
arbitrary: parts in natural order must show no contrast.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gcx import limits
from gcx.measures.filters import FilterPairs
from gcx.measures.kernels import KernelMoments, delta_pvalue, layer_key, measure_kernels
from gcx.measures.moments import CHUNK
from gcx.measures.nulls import permutation_pvalue
from gcx.measures.pairs import pairs_within
from gcx.measures.saturation import measure_saturation
from gcx.results import Kernels, Partition, Saturation


def measure_partition(
    pairs: FilterPairs,
    moments: KernelMoments | None,
    shares: NDArray[Any] | None,
    parts: int,
    source: Literal["virtual", "induced"],
    *,
    consumer: str | None,
    n_resamples: int,
    seed: int,
    name: str,
) -> Partition:
    """Contrast the parts of a dense layer.

    Args:
        pairs: the dense layer's unit filters (1, N, c, k); `parts` divides N.
        moments: of the dense layer's kernels; None for 1x1 kernels.
        shares: (n,) saturation of the live filters; None unless the layer reads three channels.
        parts: number of parts, of N/parts filters in natural order.
        source, consumer: where the parts come from.
        n_resamples, seed, name: of the permutation tests, which deal the filters to the parts at random.

    Returns:
        mean_r2 within and across the parts, their contrast with a one-sided p-value (None beyond `limits.OVERLAPS`
        filters), the kernel measure, and colour.
    """
    live = (~pairs.dead).reshape(parts, -1).sum(axis=1)
    n = int(live.sum())
    n_within = int((live * (live - 1)).sum()) // 2
    n_across = n * (n - 1) // 2 - n_within
    within = across = contrast = pvalue = None
    if pairs.within is not None:
        flat = pairs.units.reshape(parts, -1, prod(pairs.units.shape[2:]))
        sum_within = pairs_within(flat, pairs.dead.reshape(parts, -1)).sum_r2
        within = min(1.0, sum_within / n_within) if n_within else None
        across = min(1.0, max(0.0, pairs.within.sum_r2 - sum_within) / n_across) if n_across else None
        if within is not None and across is not None:
            contrast = within - across
            pvalue = _contrast_pvalue(pairs, parts, n_resamples, layer_key(seed, name))
    return Partition(
        groups=parts,
        source=source,
        consumer=consumer,
        within_mean_r2=within,
        across_mean_r2=across,
        contrast=contrast,
        contrast_pvalue=pvalue,
        kernels=None if moments is None else _part_kernels(moments.cut(parts), n_resamples, seed, name),
        saturation=None if shares is None else _part_colours(shares, pairs, parts, n_resamples, layer_key(seed, name)),
    )


def _part_colours(
    shares: NDArray[Any], pairs: FilterPairs, parts: int, n_resamples: int, key: list[int]
) -> Saturation | None:
    alive = ~pairs.dead.ravel()
    return measure_saturation(shares, np.repeat(np.arange(parts), len(alive) // parts)[alive], n_resamples, key)


def _part_kernels(moments: KernelMoments, n_resamples: int, seed: int, name: str) -> Kernels:
    record, state = measure_kernels(moments)
    if state is None:
        return record
    return replace(record, pvalue=delta_pvalue(state, n_resamples, seed, name), n_resamples=n_resamples)


def _contrast_pvalue(pairs: FilterPairs, parts: int, n_resamples: int, key: list[int]) -> float | None:
    n = pairs.dead.size
    if n > limits.OVERLAPS:
        return None
    alive = ~pairs.dead.ravel()
    flat = pairs.units.reshape(n, -1)
    r2 = flat @ flat.T
    np.square(r2, out=r2)
    np.fill_diagonal(r2, 0.0)
    if not alive.all():
        r2 = r2[np.ix_(alive, alive)]
    state = _ContrastState(r2, np.repeat(np.arange(parts), n // parts)[alive])
    observed = float(state.contrasts(np.arange(len(r2))[None])[0])
    return permutation_pvalue(observed, state.contrasts, len(r2), n_resamples, key)


class _ContrastState:
    """r^2 of all pairs (diagonal 0) and the part of each filter."""

    def __init__(self, r2: NDArray[Any], part: NDArray[Any]) -> None:
        self._r2, self._part = r2, part
        sizes = np.bincount(part)
        self._total = float(r2.sum())
        self._n_same = int((sizes * (sizes - 1)).sum())
        self._n_different = len(part) * (len(part) - 1) - self._n_same

    def contrasts(self, orders: NDArray[Any]) -> NDArray[Any]:
        """mean r^2 within minus across the parts, with filters dealt in each order."""
        same = self._same(orders)
        return same / self._n_same - (self._total - same) / self._n_different

    def _same(self, orders: NDArray[Any]) -> NDArray[Any]:
        """Sum of r^2 over ordered pairs of one part, per order: y^T R y for the indicator y of each part."""
        n = len(self._part)
        indicators = (self._part[:, None] == np.arange(self._part.max() + 1)).astype(np.float64)
        parts = indicators.shape[1]
        same = np.empty(len(orders))
        step = max(1, CHUNK // (n * parts))
        for start in range(0, len(orders), step):
            some = orders[start : start + step]
            dealt = np.empty((len(some), n, parts))
            # order[place] is the filter that stands at a place: it takes the part of that place.
            dealt[np.arange(len(some))[:, None], some] = indicators
            columns = dealt.transpose(1, 0, 2).reshape(n, -1)
            sums = np.einsum("nx,nx->x", columns, self._r2 @ columns)
            same[start : start + step] = sums.reshape(len(some), parts).sum(axis=1)
        return same
