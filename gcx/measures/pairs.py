"""Every pair of filters once, in blocks: what has no closed form (|r|, the largest, histograms), in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcx import limits
from gcx.measures.degenerate import degenerate_filters, own_scale
from gcx.measures.moments import CHUNK
from gcx.settings import Measure

BINS = 401
"""Histogram bins over [-1, 1]; odd, so that one is centred on 0; narrow enough for filters of thousands of weights."""


def unit_filters(
    filters: NDArray[Any], measure: Measure, dead: NDArray[np.bool_], *, overwrite: bool = False
) -> NDArray[Any]:
    """Filters centred (Pearson) or not (cosine), of unit norm; zero where degenerate.

    Args:
        filters: (groups, filters_per_group, c, k), finite, float64.
        measure: "pearson" or "cosine".
        dead: (groups, filters_per_group), True where degenerate.
        overwrite: work in place, without a second array of that size.

    Returns:
        An array of the same shape; inner products over the last two axes are r.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(1, 2, 3, 4))
    >>> z = unit_filters(x, "pearson", np.zeros((1, 2), bool)).reshape(2, 12)
    >>> bool(np.isclose(z[0] @ z[1], np.corrcoef(x.reshape(2, 12))[0, 1]))
    True
    """
    units = np.ascontiguousarray(own_scale(filters, overwrite=overwrite))
    flat = units.reshape(*units.shape[:2], -1)
    if measure == "pearson":
        flat -= flat.mean(axis=2, keepdims=True)
    norms = np.sqrt(np.einsum("gnd,gnd->gn", flat, flat))
    flat *= np.divide(1.0, norms, out=np.zeros_like(norms), where=~dead & (norms > 0))[:, :, None]
    return units


@dataclass
class PairStatistics:
    """Running sums over pairs; each pair is seen once, degenerate filters add zeros that no count includes."""

    n_filters: int
    bins: bool = False
    most: int | None = None
    """Entries of a tile that are counted, about: every n-th row of it stands for the others; None counts all."""
    by_filter: bool = True
    """Also sum_r and row_r2, which cost a third of the time."""
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
        self.row_r2 = np.zeros(self.n_filters if self.by_filter else 0)
        self.counts = np.zeros(BINS, dtype=np.int64) if self.bins else None

    def add(self, r: NDArray[Any], rows: NDArray[Any], columns: NDArray[Any], live: NDArray[np.bool_] | None) -> None:
        """Take in a batch of tiles.

        Args:
            r: (batch, a, b); entries that are no pair of this kind are 0. Overwritten.
            rows: (batch, a) output channels of the rows, each once; columns: (batch, b).
            live: (batch, a, b) or broadcastable: which entries are pairs (for histograms), None for all.
        """
        if self.counts is not None:
            rows_apart = slice(None, None, 1 if self.most is None else max(1, r.size // self.most))
            counted = r[:, rows_apart]
            if live is not None:
                counted = counted[np.broadcast_to(live, r.shape)[:, rows_apart]]
            self.counts += _histogram(counted)
        if self.by_filter:
            self.sum_r += float(r.sum())
        np.abs(r, out=r)
        self.sum_abs_r += float(r.sum())
        self._largest(r, rows, columns)
        if self.by_filter:
            np.multiply(r, r, out=r)
            by_row = r.sum(axis=2)
            self.sum_r2 += float(by_row.sum())
            self.row_r2[rows] += by_row
            self.row_r2[columns] += r.sum(axis=1)
        else:
            self.sum_r2 += float(np.vdot(r, r))

    def _largest(self, size: NDArray[Any], rows: NDArray[Any], columns: NDArray[Any]) -> None:
        """Keep the largest |r|; of equal ones the first pair, so that blocks do not show in the answer."""
        largest = float(size.max())
        value = min(1.0, largest)
        if value < self.max_abs_r or value == 0:
            return
        # What rounding put beyond 1 is 1, like all others there.
        first = size.argmax() if largest <= 1 else (size >= 1).argmax()
        place = np.unravel_index(int(first), size.shape)
        pair = (int(rows[place[0], place[1]]), int(columns[place[0], place[2]]))
        if value > self.max_abs_r or self.max_abs_pair is None or pair < self.max_abs_pair:
            self.max_abs_r, self.max_abs_pair = value, pair


def _histogram(r: NDArray[Any]) -> NDArray[np.int64]:
    """(BINS,) counts of r; 1 and what rounding put beyond it belong to the last bin."""
    places = r.ravel() + 1.0
    places *= 0.5 * BINS
    counts = np.bincount(places.astype(np.intp), minlength=BINS + 1).astype(np.int64)
    counts[BINS - 1] += counts[BINS]
    return counts[:BINS]


def pairs_within(
    units: NDArray[Any], dead: NDArray[np.bool_], *, bins: bool = False, most: int | None = None
) -> PairStatistics:
    """Statistics over pairs i < j of filters of one group.

    Args:
        units: (groups, n, d) unit filters, zero where dead.
        dead: (groups, n).
        bins: count a histogram too, of about `most` entries of every tile.

    >>> units = np.array([[[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]])
    >>> found = pairs_within(units, np.zeros((1, 3), dtype=bool))
    >>> round(found.sum_r2, 12), found.max_abs_r  # .6^2 + 0 + .8^2
    (1.0, 0.8)
    """
    groups, n, _ = units.shape
    found = PairStatistics(groups * n, bins, most)
    block = min(n, limits.BLOCK)
    batch = max(1, limits.BLOCK**2 // (block * block))
    upper = np.triu(np.ones((block, block), dtype=bool), 1)
    for first in range(0, groups, batch):
        some = slice(first, min(groups, first + batch))
        offsets = n * np.arange(some.start, some.stop)[:, None]
        for i in range(0, n, block):
            for j in range(i, n, block):
                r = units[some, i : i + block] @ units[some, j : j + block].swapaxes(1, 2)
                triangle = upper[: r.shape[1], : r.shape[2]] if i == j else None
                if triangle is not None:
                    r *= triangle
                pair = None
                if bins:
                    pair = ~dead[some, i : i + block, None] & ~dead[some, None, j : j + block]
                    pair = pair if triangle is None else pair & triangle
                rows, columns = np.arange(i, i + r.shape[1]), np.arange(j, j + r.shape[2])
                found.add(r, offsets + rows, offsets + columns, pair)
    return found


def pairs_across(
    units: NDArray[Any], dead: NDArray[np.bool_], *, bins: bool = False, most: int | None = None
) -> PairStatistics:
    """Statistics over pairs i < j of filters of different groups, slot against slot; arguments as `pairs_within`.

    >>> units = np.array([[[1.0, 0.0]], [[0.6, 0.8]]])
    >>> round(pairs_across(units, np.zeros((2, 1), dtype=bool)).sum_r2, 12)
    0.36
    """
    groups, n, d = units.shape
    flat, gone = units.reshape(groups * n, d), dead.ravel()
    number = np.repeat(np.arange(groups), n)
    found = PairStatistics(groups * n, bins, most, by_filter=False)
    block = min(groups * n, limits.BLOCK)
    space = np.empty(block * block)  # one array for all blocks: fresh pages cost as much as the product
    for i in range(0, len(flat), block):
        for j in range(i, len(flat), block):
            left, right = number[i : i + block], number[j : j + block]
            if left[0] == right[-1]:
                continue  # all of one group
            r = space[: len(left) * len(right)].reshape(len(left), len(right))
            np.matmul(flat[i : i + block], flat[j : j + block].T, out=r)
            pair = ~gone[i : i + block, None] & ~gone[None, j : j + block] if bins and gone.any() else None
            if right[0] <= left[-1]:
                # Rows come before columns, so a later group is also what keeps each pair once.
                later = left[:, None] < right[None, :]
                r *= later
                pair = later if pair is None else pair & later
            rows, columns = np.arange(i, i + r.shape[0]), np.arange(j, j + r.shape[1])
            found.add(r[None], rows[None], columns[None], None if pair is None else pair[None])
    return found


def correlation_blocks(filters: NDArray[Any], measure: Measure) -> Iterator[NDArray[Any]]:
    """Row blocks of the full matrix of r, slot against slot, as float64 (rows, out_channels); NaN where degenerate.

    Args:
        filters: (groups, filters_per_group, c, k), finite; left as they are, and never copied whole.
        measure: "pearson" (equal to `np.corrcoef` of the flattened filters) or "cosine".

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(2, 3, 2, 4))
    >>> r = np.concatenate(list(correlation_blocks(x, "pearson")))
    >>> bool(np.allclose(r, np.corrcoef(x.reshape(6, 8))))
    True
    """
    dead = degenerate_filters(filters).ravel()
    n = len(dead)
    flat = filters.reshape(1, n, 1, -1)
    step = max(1, min(limits.BLOCK, CHUNK // max(n, flat.shape[-1])))

    def units(start: int) -> NDArray[Any]:
        some = slice(start, start + step)
        return unit_filters(flat[:, some], measure, dead[None, some])[0, :, 0]

    for start in range(0, n, step):
        left = units(start)
        r = np.empty((len(left), n))
        for other in range(0, n, step):
            r[:, other : other + step] = left @ (left if other == start else units(other)).T
        np.clip(r, -1.0, 1.0, out=r)
        r[np.arange(len(r)), start + np.arange(len(r))] = 1.0
        r[dead[start : start + step]] = np.nan
        r[:, dead] = np.nan
        yield r
