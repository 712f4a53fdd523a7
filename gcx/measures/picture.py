"""What a figure needs of one layer, reduced so that it can be kept for every layer of a model."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcx import limits
from gcx.measures.beta import beta_tail
from gcx.measures.filters import FilterPairs
from gcx.measures.kernels import KernelMoments, group_matrix
from gcx.measures.moments import CHUNK
from gcx.measures.pairs import BINS
from gcx.results import Distribution, Picture

NEGLIGIBLE = 1e-15
"""A probability that no picture shows."""


def make_picture(pairs: FilterPairs, moments: KernelMoments | None, *, cluster: bool = False) -> Picture | None:
    """Reduce a layer's pairs to a picture.

    Args:
        pairs: the filters, summed with `bins=True`.
        moments: of the layer's kernels; None for 1x1 kernels.
        cluster: put alike filters of a group beside each other; groups of too many filters stay in output order.

    Returns:
        None where every r is +-1 by construction.
    """
    if pairs.dimension < 2:
        return None
    groups, n = pairs.dead.shape
    clustered = cluster and 2 < n <= limits.OVERLAPS
    order = clustered_order(pairs) if clustered else None
    edges = np.linspace(-1.0, 1.0, BINS + 1)
    empty = np.zeros(BINS, dtype=np.int64)
    return Picture(
        r=_reduced(pairs, order),
        step=ceil(groups * n / limits.PICTURE),
        edges=tuple(range(0, groups * n + 1, n)),
        bins=edges,
        within_counts=empty if pairs.within is None or pairs.within.counts is None else pairs.within.counts,
        across_counts=empty if pairs.across is None or pairs.across.counts is None else pairs.across.counts,
        null_density=null_density(edges, pairs.dimension),
        null_rms=pairs.dimension**-0.5,
        kernels=group_matrix(moments) if moments is not None and groups > 1 else None,
        clustered=clustered,
    )


def make_distribution(pairs: FilterPairs) -> Distribution | None:
    """The histogram alone, of pairs summed with `bins=True`; None where every r is +-1 by construction."""
    if pairs.dimension < 2:
        return None
    counts = [sums.counts for sums in (pairs.within, pairs.across) if sums is not None and sums.counts is not None]
    empty = np.zeros(BINS, dtype=np.int64)
    return Distribution(
        bins=np.linspace(-1.0, 1.0, BINS + 1),
        within_counts=counts[0] if pairs.within is not None else empty,
        across_counts=counts[-1] if pairs.across is not None else empty,
        null_rms=pairs.dimension**-0.5,
    )


def clustered_order(pairs: FilterPairs) -> NDArray[np.intp]:
    """(out_channels,) filters, group by group as they were, those of a group by average linkage of 1 - |r|.

    |r|, since the sign of a filter means little; degenerate filters come last in their group.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage

    groups, n = pairs.dead.shape
    order = np.arange(groups * n).reshape(groups, n)
    rows, columns = np.triu_indices(n, 1)
    for group in range(groups):
        units = pairs.units[group].reshape(n, -1)
        distance = 1.0 - np.abs(units @ units.T)[rows, columns]
        leaves = leaves_list(linkage(np.clip(distance, 0.0, 1.0), "average"))
        last = pairs.dead[group][leaves]
        order[group] = order[group][np.concatenate([leaves[~last], leaves[last]])]
    return order.ravel()


def null_density(edges: NDArray[Any], dimension: int) -> NDArray[Any]:
    """Probability of each bin of r for two random directions in `dimension` dimensions.

    >>> import numpy as np
    >>> float(null_density(np.linspace(-1, 1, 5), 10).sum())
    1.0
    """
    b = 0.5 * (dimension - 1)
    # The law is symmetric, and most edges of a wide filter lie so far out that nothing is left there.
    sizes, places = np.unique(np.abs(edges), return_inverse=True)
    tails = np.zeros(len(sizes))
    for place, size in enumerate(sizes):
        tails[place] = 0.5 * beta_tail(float(size * size), b)
        if tails[place] < NEGLIGIBLE:
            break
    upper = tails[places]
    cumulative = np.where(edges < 0, upper, 1.0 - upper)
    return np.diff(cumulative)


def _reduced(pairs: FilterPairs, order: NDArray[np.intp] | None = None) -> NDArray[np.float32]:
    """(m, m) r, m <= limits.PICTURE: where several filters share a row, the entry of largest |r| of each tile.

    NaN where there is no pair: a filter with itself, degenerate filters.
    """
    n = pairs.dead.size
    step = ceil(n / limits.PICTURE)
    m = ceil(n / step)
    flat, live = pairs.units.reshape(n, -1), ~pairs.dead.ravel()
    if order is not None:
        flat, live = flat[order], live[order]
    small = np.empty((m, m), dtype=np.float32)
    per = max(1, CHUNK // (step * n))
    for start in range(0, m, per):
        first = start * step
        r = flat[first : first + per * step] @ flat.T
        r[np.arange(len(r)), first + np.arange(len(r))] = 0.0
        small[start : start + per] = r if step == 1 else _largest_of_tiles(r, step)
    np.clip(small, -1.0, 1.0, out=small)
    count = np.add.reduceat(live.astype(np.int64), np.arange(0, n, step))
    number = np.outer(count, count)
    number[np.diag_indices(m)] -= count
    small[number == 0] = np.nan
    return small


def _largest_of_tiles(r: NDArray[Any], step: int) -> NDArray[Any]:
    """The entry of largest |r| of each (step, step) tile; the last tiles may be smaller."""
    starts = np.arange(0, len(r), step)
    high, low = np.maximum.reduceat(r, starts, axis=0), np.minimum.reduceat(r, starts, axis=0)
    signed = np.where(high >= -low, high, low)
    # One column of every tile at a time: a reduction over so short an axis would take ten times as long.
    found = signed[:, ::step].copy()
    for column in range(1, step):
        other = signed[:, column::step]
        kept = found[:, : other.shape[1]]
        np.copyto(kept, other, where=np.abs(other) > np.abs(kept))
    return found
