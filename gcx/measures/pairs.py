"""Every pair of filters once, in blocks: what has no closed form (|r|, the largest, histograms), in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcx import limits
from gcx.settings import Measure

BINS = 101
"""Histogram bins over [-1, 1]; odd, so that one is centred on 0."""


def unit_filters(filters: NDArray[Any], measure: Measure, dead: NDArray[np.bool_]) -> NDArray[Any]:
    """Filters centred (Pearson) or not (cosine), of unit norm; zero where degenerate.

    Args:
        filters: (groups, filters_per_group, c, k), finite.
        measure: "pearson" or "cosine".
        dead: (groups, filters_per_group), True where degenerate.

    Returns:
        A new float64 array of the same shape; inner products over the last two axes are r.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(1, 2, 3, 4))
    >>> z = unit_filters(x, "pearson", np.zeros((1, 2), bool)).reshape(2, 12)
    >>> bool(np.isclose(z[0] @ z[1], np.corrcoef(x.reshape(2, 12))[0, 1]))
    True
    """
    largest = np.maximum(filters.max(axis=(2, 3), keepdims=True), -filters.min(axis=(2, 3), keepdims=True))
    units = filters / np.where(largest > 0, largest, 1.0)
    if measure == "pearson":
        units -= units.mean(axis=(2, 3), keepdims=True)
    norms = np.sqrt(np.einsum("gnck,gnck->gn", units, units))
    units *= np.divide(1.0, norms, out=np.zeros_like(norms), where=~dead & (norms > 0))[:, :, None, None]
    return units


@dataclass
class PairStatistics:
    """Running sums over pairs; each pair is seen once, degenerate filters add zeros that no count includes."""

    n_filters: int
    bins: bool = False
    sum_r: float = 0.0
    sum_r2: float = 0.0
    sum_abs_r: float = 0.0
    max_abs_r: float = 0.0
    max_abs_pair: tuple[int, int] | None = None
    """None while every r is exactly 0."""
    row_r2: NDArray[Any] = field(init=False)
    """(N,): sum of r^2 over the pairs of each filter."""
    counts: NDArray[np.int64] | None = field(init=False)

    def __post_init__(self) -> None:
        self.row_r2 = np.zeros(self.n_filters)
        self.counts = np.zeros(BINS, dtype=np.int64) if self.bins else None

    def add(self, r: NDArray[Any], rows: NDArray[Any], columns: NDArray[Any], live: NDArray[np.bool_] | None) -> None:
        """Take in a batch of tiles.

        Args:
            r: (batch, a, b); entries that are no pair of this kind are 0. Overwritten.
            rows: (batch, a) output channels of the rows; columns: (batch, b).
            live: (batch, a, b) or broadcastable: which entries are pairs (for histograms), None for all.
        """
        np.clip(r, -1.0, 1.0, out=r)
        if self.counts is not None:
            values = r if live is None else r[np.broadcast_to(live, r.shape)]
            places = np.minimum(((values.ravel() + 1.0) * (0.5 * BINS)).astype(np.int64), BINS - 1)
            self.counts += np.bincount(places, minlength=BINS)
        self.sum_r += float(r.sum())
        np.abs(r, out=r)
        self.sum_abs_r += float(r.sum())
        self._largest(r, rows, columns)
        np.multiply(r, r, out=r)
        by_row, by_column = r.sum(axis=2), r.sum(axis=1)
        self.sum_r2 += float(by_row.sum())
        np.add.at(self.row_r2, rows.ravel(), by_row.ravel())
        np.add.at(self.row_r2, columns.ravel(), by_column.ravel())

    def _largest(self, size: NDArray[Any], rows: NDArray[Any], columns: NDArray[Any]) -> None:
        """Keep the largest |r|; of equal ones the first pair, so that blocks do not show in the answer."""
        place = np.unravel_index(int(size.argmax()), size.shape)
        value = float(size[place])
        pair = (int(rows[place[0], place[1]]), int(columns[place[0], place[2]]))
        first = self.max_abs_pair is not None and value == self.max_abs_r and pair < self.max_abs_pair
        if value > self.max_abs_r or first:
            self.max_abs_r, self.max_abs_pair = value, pair


def pairs_within(units: NDArray[Any], dead: NDArray[np.bool_], *, bins: bool = False) -> PairStatistics:
    """Statistics over pairs i < j of filters of one group.

    Args:
        units: (groups, n, d) unit filters, zero where dead.
        dead: (groups, n).
        bins: count a histogram too.
    """
    groups, n, _ = units.shape
    found = PairStatistics(groups * n, bins)
    block = min(n, limits.BLOCK)
    batch = max(1, limits.BLOCK**2 // (block * block))
    upper = np.triu(np.ones((block, block), dtype=bool), 1)
    for first in range(0, groups, batch):
        some = slice(first, min(groups, first + batch))
        offsets = n * np.arange(some.start, some.stop)[:, None]
        for i in range(0, n, block):
            for j in range(i, n, block):
                left, right = units[some, i : i + block], units[some, j : j + block]
                r = left @ right.swapaxes(1, 2)
                pair = ~dead[some, i : i + block, None] & ~dead[some, None, j : j + block]
                if i == j:
                    triangle = upper[: r.shape[1], : r.shape[2]]
                    r *= triangle
                    pair = pair & triangle
                rows, columns = np.arange(i, i + r.shape[1]), np.arange(j, j + r.shape[2])
                found.add(r, offsets + rows, offsets + columns, pair)
    return found


def pairs_across(units: NDArray[Any], dead: NDArray[np.bool_], *, bins: bool = False) -> PairStatistics:
    """Statistics over pairs i < j of filters of different groups, slot against slot; arguments as `pairs_within`."""
    groups, n, d = units.shape
    flat, gone = units.reshape(groups * n, d), dead.ravel()
    number = np.repeat(np.arange(groups), n)
    found = PairStatistics(groups * n, bins)
    block = min(groups * n, limits.BLOCK)
    for i in range(0, len(flat), block):
        for j in range(i, len(flat), block):
            r = flat[i : i + block] @ flat[j : j + block].T
            left, right = number[i : i + block], number[j : j + block]
            pair = ~gone[i : i + block, None] & ~gone[None, j : j + block]
            if right[0] <= left[-1]:
                # Rows come before columns, so a later group is also what keeps each pair once.
                later = left[:, None] < right[None, :]
                r *= later
                pair &= later
            rows, columns = np.arange(i, i + r.shape[0]), np.arange(j, j + r.shape[1])
            found.add(r[None], rows[None], columns[None], pair[None])
    return found


def correlation_blocks(filters: NDArray[Any], measure: Measure) -> Iterator[NDArray[Any]]:
    """Row blocks of the full matrix of r, slot against slot, as float64 (rows, out_channels); NaN where degenerate.

    Args:
        filters: (groups, filters_per_group, c, k), finite.
        measure: "pearson" (equal to `np.corrcoef` of the flattened filters) or "cosine".

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(2, 3, 2, 4))
    >>> r = np.concatenate(list(correlation_blocks(x, "pearson")))
    >>> bool(np.allclose(r, np.corrcoef(x.reshape(6, 8))))
    True
    """
    from gcx.measures.degenerate import degenerate_filters

    dead = degenerate_filters(filters)
    groups, n, c, k = filters.shape
    flat = unit_filters(filters, measure, dead).reshape(groups * n, c * k)
    gone = dead.ravel()
    for start in range(0, len(flat), limits.BLOCK):
        r = np.clip(flat[start : start + limits.BLOCK] @ flat.T, -1.0, 1.0)
        r[np.arange(len(r)), start + np.arange(len(r))] = 1.0
        r[gone[start : start + limits.BLOCK]] = np.nan
        r[:, gone] = np.nan
        yield r
