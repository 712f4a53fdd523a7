"""What a figure needs of one layer, reduced so that it can be kept for every layer of a model."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcx import limits
from gcx.measures.beta import beta_tail
from gcx.measures.filters import FilterPairs
from gcx.measures.kernels import WIDEST_MOMENT, group_matrix
from gcx.measures.pairs import BINS
from gcx.results import Picture


def make_picture(pairs: FilterPairs, rows: tuple[NDArray[Any], NDArray[np.bool_]] | None) -> Picture | None:
    """Reduce a layer's pairs to a picture.

    Args:
        pairs: the filters, summed with `bins=True`.
        rows: as `kernels.unit_rows` gives them; None for 1x1 kernels.

    Returns:
        None where every r is +-1 by construction.
    """
    if pairs.dimension < 2:
        return None
    groups, n = pairs.dead.shape
    edges = np.linspace(-1.0, 1.0, BINS + 1)
    empty = np.zeros(BINS, dtype=np.int64)
    small = rows is not None and rows[0].shape[3] <= WIDEST_MOMENT
    return Picture(
        r=_reduced(pairs),
        step=ceil(groups * n / limits.PICTURE),
        edges=tuple(range(0, groups * n + 1, n)),
        bins=edges,
        within_counts=empty if pairs.within is None or pairs.within.counts is None else pairs.within.counts,
        across_counts=empty if pairs.across is None or pairs.across.counts is None else pairs.across.counts,
        null_density=null_density(edges, pairs.dimension),
        null_rms=pairs.dimension**-0.5,
        kernels=_fewer(group_matrix(*rows)) if small and rows is not None and groups > 1 else None,
    )


def null_density(edges: NDArray[Any], dimension: int) -> NDArray[Any]:
    """Probability of each bin of r for two random directions in `dimension` dimensions.

    >>> import numpy as np
    >>> float(null_density(np.linspace(-1, 1, 5), 10).sum())
    1.0
    """
    b = 0.5 * (dimension - 1)
    upper = np.array([0.5 * beta_tail(float(edge * edge), b) for edge in edges])
    cumulative = np.where(edges < 0, upper, 1.0 - upper)
    return np.diff(cumulative)


def _reduced(pairs: FilterPairs) -> NDArray[np.float32]:
    """(m, m) r, m <= limits.PICTURE: where several filters share a row, the entry of largest |r| of each tile."""
    n = pairs.dead.size
    step = ceil(n / limits.PICTURE)
    flat = pairs.units.reshape(n, -1)
    if step == 1:
        r = np.clip(flat @ flat.T, -1.0, 1.0)
        dead = pairs.dead.ravel()
        r[dead] = r[:, dead] = np.nan
        np.fill_diagonal(r, np.nan)
        return np.asarray(r, dtype=np.float32)
    m = ceil(n / step)
    padded = np.zeros((m * step, flat.shape[1]))
    padded[:n] = flat
    small = np.empty((m, m), dtype=np.float32)
    per = max(1, limits.BLOCK // step)
    for start in range(0, m, per):
        part = padded[start * step : (start + per) * step]
        r = np.clip(part @ padded.T, -1.0, 1.0)
        r[np.arange(len(part)), start * step + np.arange(len(part))] = 0.0
        tiles = r.reshape(-1, step, m, step)
        high, low = tiles.max(axis=(1, 3)), tiles.min(axis=(1, 3))
        small[start : start + per] = np.where(high >= -low, high, low)
    return small


def _fewer(matrix: NDArray[Any]) -> NDArray[Any]:
    """At most limits.PICTURE rows: the mean of each tile."""
    groups = len(matrix)
    step = ceil(groups / limits.PICTURE)
    if step == 1:
        return matrix
    m = ceil(groups / step)
    padded = np.full((m * step, m * step), np.nan)
    padded[:groups, :groups] = matrix
    tiles = padded.reshape(m, step, m, step)
    known = np.isfinite(tiles)
    sums, counts = np.where(known, tiles, 0.0).sum(axis=(1, 3)), known.sum(axis=(1, 3))
    return np.asarray(np.divide(sums, counts, out=np.full((m, m), np.nan), where=counts > 0))
