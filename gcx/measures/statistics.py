"""Published statistics of kernels, each beside what sample size alone gives."""

from __future__ import annotations

from functools import lru_cache
from math import exp, log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcx.measures.degenerate import largest_weights
from gcx.measures.moments import CHUNK
from gcx.results import KernelStatistics

SPARSE = 0.01
SAME = 1e-12
"""Kernels whose spread is below this share of their size are equal but for rounding."""
ENTROPY_TAPS = 9
"""Variance entropy and its threshold are defined for 3x3 kernels."""
NULL_SEED = 19_530_421
"""Of the simulated evr1_null; fixed, since the null belongs to the shape and not to a run."""

# fmt: off
EVR1_NULL_3X3 = {
    2: 0.7033, 3: 0.5744, 4: 0.5000, 6: 0.4153, 8: 0.3670, 12: 0.3122, 16: 0.2809, 24: 0.2455, 32: 0.2251, 48: 0.2019,
    64: 0.1885, 96: 0.1731, 128: 0.1641, 192: 0.1538, 256: 0.1477, 384: 0.1407, 512: 0.1366, 768: 0.1317, 1024: 0.1289,
    2048: 0.1236,
}
# fmt: on
"""EVR1 of c random 3x3 kernels from 400,000 to 1,500,000 draws each (standard error below 0.0001)."""


def measure_statistics(filters: NDArray[Any]) -> KernelStatistics:
    """EVR1 (Haase and Amthor, CVPR 2020), variance entropy and sparsity (Gavrikov and Keuper, CVPR 2022).

    Args:
        filters: (groups, filters_per_group, c, k), finite.

    Returns:
        evr1 in [1/min(c, k), 1], null for k = 1; variance entropy in [0, log10 9], null unless k = 9; sparsity in
        [0, 1]. Invariant to the order of filters and channels and to sign; not to filter scale, but for evr1.

    >>> import numpy as np
    >>> found = measure_statistics(np.random.default_rng(0).normal(size=(1, 32, 16, 9)))
    >>> bool(abs(found.evr1 - found.evr1_null) < 0.01), found.sparsity
    (True, 0.0)
    """
    c, k = filters.shape[2:]
    flat = filters.reshape(-1, c, k)
    kernels = flat.reshape(-1, k)
    entropy = k == ENTROPY_TAPS
    return KernelStatistics(
        evr1=_first_share(flat) if k > 1 else None,
        evr1_null=evr1_null(c, k) if k > 1 else None,
        variance_entropy=variance_entropy(kernels) if entropy else None,
        variance_entropy_threshold=variance_entropy_threshold(len(kernels)) if entropy else None,
        sparsity=sparsity(kernels),
    )


def _first_share(filters: NDArray[Any]) -> float | None:
    """Mean over filters (N, c, k) of s_1^2 / sum s^2, uncentred; filters of zeros are left out."""
    largest = largest_weights(filters)
    alive = np.flatnonzero(largest)
    step = max(1, CHUNK // max(1, filters[0].size))
    shares = np.empty(len(alive))
    for start in range(0, len(alive), step):
        some = alive[start : start + step]
        unit = filters[some] / largest[some, None, None]
        shares[start : start + step] = _gram_shares(unit)
    return float(shares.mean()) if len(shares) else None


def _gram_shares(matrices: NDArray[Any]) -> NDArray[Any]:
    """Share of the largest eigenvalue of the smaller Gram matrix of each (c, k) matrix."""
    wide = matrices.shape[1] < matrices.shape[2]
    gram = matrices @ matrices.swapaxes(1, 2) if wide else matrices.swapaxes(1, 2) @ matrices
    return np.asarray(np.linalg.eigvalsh(gram)[:, -1] / np.trace(gram, axis1=1, axis2=2))


@lru_cache(maxsize=1024)
def evr1_null(c: int, k: int) -> float:
    """EVR1 of c independent Gaussian kernels of k taps, from a table (3x3, common c) or by simulation.

    The Gram matrix is drawn as a Wishart matrix (Bartlett's decomposition), so that a draw costs min(c, k)^2 numbers;
    the standard error is below 0.003. Kernels of another law have another null: uniform ones lie .02 to .03 lower at
    small c.

    >>> evr1_null(4, 9)
    0.5
    """
    if k == ENTROPY_TAPS and c in EVR1_NULL_3X3:
        return EVR1_NULL_3X3[c]
    size, freedom = min(c, k), max(c, k)
    if size == 1:
        return 1.0
    rng = np.random.default_rng([NULL_SEED, size, freedom])
    draws = max(100, min(4000, 400_000 // (size * size)))
    lower = np.tril(rng.standard_normal((draws, size, size)), -1)
    lower[:, np.arange(size), np.arange(size)] = np.sqrt(rng.chisquare(freedom - np.arange(size), (draws, size)))
    return float(_gram_shares(lower).mean())


def variance_entropy(kernels: NDArray[Any]) -> float | None:
    """-sum p log10 p over the eigenvalue shares p of kernels (n, 9) about their mean; None without variance.

    Range: 0 to log10 9. Source: Gavrikov and Keuper, CVPR 2022.

    >>> round(variance_entropy(np.eye(9)), 3), variance_entropy(np.ones((4, 9)))  # eight directions alike; none
    (0.903, None)
    """
    n, k = kernels.shape
    exponent = int(np.frexp(max(kernels.max(), -kernels.min()))[1])
    step = max(1, CHUNK // k)
    parts = [slice(start, start + step) for start in range(0, n, step)]
    mean = sum((np.ldexp(kernels[part], -exponent).sum(axis=0) for part in parts), np.zeros(k)) / n
    gram = np.zeros((k, k))
    for part in parts:
        centred = np.ldexp(kernels[part], -exponent) - mean
        gram += centred.T @ centred
    values = np.maximum(np.linalg.eigvalsh(gram), 0.0)
    total = values.sum()
    # What rounding leaves of equal kernels has eigenvalues of its own, which mean nothing.
    if total <= SAME**2 * (total + n * float(mean @ mean)):
        return None
    shares = values[values > 0] / total
    return float(-(shares * np.log10(shares)).sum()) + 0.0


def variance_entropy_threshold(n: int) -> float:
    """T(n): the variance entropy of n random 3x3 kernels; constants as published.

    >>> round(variance_entropy_threshold(4096), 4)
    0.9511
    """
    return 1.2618047 / (1.0 + exp(-0.88767525 * (log2(n) - 2.30436435))) - 0.31050834


def sparsity(kernels: NDArray[Any]) -> float | None:
    """Share of kernels (n, k) whose largest |w| is strictly below 1 % of the layer's; None for a layer of zeros.

    Source: Gavrikov and Keuper, CVPR 2022.

    >>> sparsity(np.array([[1.0, 0.0], [0.009, 0.0], [0.01, 0.0], [0.0, 0.0]]))
    0.5
    """
    largest = largest_weights(kernels[:, None])
    if not largest.any():
        return None
    return float(np.mean(largest < SPARSE * largest.max()))
