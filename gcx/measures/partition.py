"""A dense layer cut into groups that it does not have: a negative control, or the groups of the layer that reads it.

All filters of a dense layer read the same channels, so r is defined for every pair, and the order of the filters is
arbitrary: parts in natural order must show no contrast.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gcx.measures.filters import FilterPairs
from gcx.measures.kernels import DeltaState, delta_pvalue, measure_kernels
from gcx.measures.moments import CHUNK
from gcx.measures.nulls import permutation_pvalue
from gcx.results import Kernels, Partition


def measure_partition(
    pairs: FilterPairs,
    rows: tuple[NDArray[Any], NDArray[np.bool_]] | None,
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
        rows: as `kernels.unit_rows` gives them for the dense layer; None for 1x1 kernels.
        parts: number of parts, of N/parts filters in natural order.
        source, consumer: where the parts come from.
        n_resamples, seed, name: of the permutation tests, which deal the filters to the parts at random.

    Returns:
        mean_r2 within and across the parts, their contrast with a one-sided p-value, and the kernel measure.
    """
    n = pairs.dead.size
    within = across = contrast = pvalue = None
    if pairs.within is not None:
        alive = ~pairs.dead.ravel()
        flat = pairs.units.reshape(n, -1)[alive]
        r2 = np.clip(flat @ flat.T, -1.0, 1.0) ** 2
        np.fill_diagonal(r2, 0.0)
        state = _ContrastState(r2, np.repeat(np.arange(parts), n // parts)[alive])
        within, across, contrast = state.means(np.arange(len(flat)))
        if contrast is not None:
            pvalue = permutation_pvalue(contrast, state.contrasts, len(flat), n_resamples, [seed, parts])
    return Partition(
        groups=parts,
        source=source,
        consumer=consumer,
        within_mean_r2=within,
        across_mean_r2=across,
        contrast=contrast,
        contrast_pvalue=pvalue,
        kernels=None if rows is None else _part_kernels(rows, parts, n_resamples, seed, name),
    )


def _part_kernels(
    rows: tuple[NDArray[Any], NDArray[np.bool_]], parts: int, n_resamples: int, seed: int, name: str
) -> Kernels:
    units, live = rows
    record, state = measure_kernels(units.reshape(parts, -1, *units.shape[2:]), live.reshape(parts, -1))
    return record if state is None else _tested(record, state, n_resamples, seed, name)


def _tested(record: Kernels, state: DeltaState, n_resamples: int, seed: int, name: str) -> Kernels:
    return replace(record, pvalue=delta_pvalue(state, n_resamples, seed, name), n_resamples=n_resamples)


class _ContrastState:
    """r^2 of all pairs (diagonal 0) and the part of each filter."""

    def __init__(self, r2: NDArray[Any], part: NDArray[Any]) -> None:
        self._r2, self._part = r2, part
        sizes = np.bincount(part)
        self._total = float(r2.sum())
        self._n_same = int((sizes * (sizes - 1)).sum())
        self._n_different = len(part) * (len(part) - 1) - self._n_same

    def means(self, order: NDArray[Any]) -> tuple[float | None, float | None, float | None]:
        """mean r^2 within and across the parts, and their difference, with filters dealt in `order`."""
        same = float(self._same(order[None])[0])
        within = same / self._n_same if self._n_same else None
        across = (self._total - same) / self._n_different if self._n_different else None
        return within, across, None if within is None or across is None else within - across

    def contrasts(self, orders: NDArray[Any]) -> NDArray[Any]:
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
