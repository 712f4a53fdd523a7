"""Sums over all pairs without visiting a pair: squared inner products through second moments.

For rows x_a of filter i, G_i = sum_a x_a x_a^T, and sum_ab (x_a . y_b)^2 = <G_i, G_j>_F. So a sum over pairs of
filters is |sum_i G_i|^2 - sum_i |G_i|^2: O(N c k^2) instead of O(N^2 c^2 k).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK = 2**22
"""Numbers in one temporary array: 32 MiB."""


@dataclass(frozen=True)
class PairSums:
    """Sums of <G_i, G_j>_F over ordered pairs i != j."""

    within: NDArray[Any]
    """(groups,): pairs of that group."""
    across: float
    """Pairs of different groups."""


def second_moment_pair_sums(rows: NDArray[Any]) -> PairSums:
    """Sum <G_i, G_j>_F over ordered pairs of filters i != j, with G_i = sum of x x^T over the rows x of filter i.

    Args:
        rows: (groups, filters_per_group, m, k): filter i has m rows of length k; zero rows add nothing.

    Returns:
        The sums per group and over pairs of different groups. Invariant to any orthogonal map of the k axis and to the
        order of the rows. Source: <G_i, G_j>_F = sum_ab (x_a . y_b)^2.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(1, 2, 3, 4))
    >>> brute = 2 * sum((a @ b) ** 2 for a in x[0, 0] for b in x[0, 1])
    >>> bool(np.isclose(second_moment_pair_sums(x).within[0], brute))
    True
    """
    groups, n, m, k = rows.shape
    per_group = np.empty(groups)
    own = np.empty(groups)
    total = np.zeros((k, k))
    step = max(1, CHUNK // (k * k))
    for start in range(0, groups, step):
        part = rows[start : start + step]
        flat = part.reshape(len(part), n * m, k)
        sums = flat.swapaxes(1, 2) @ flat
        per_group[start : start + step] = np.einsum("gij,gij->g", sums, sums)
        total += sums.sum(axis=0)
        own[start : start + step] = [squared_norms(group).sum() for group in part]
    within = per_group - own
    return PairSums(within=within, across=float(np.einsum("ij,ij->", total, total) - per_group.sum()))


def squared_norms(rows: NDArray[Any]) -> NDArray[Any]:
    """|G_i|_F^2 of every filter, (n,), from its rows (n, m, k); by whichever Gram matrix is smaller."""
    n, m, k = rows.shape
    left = m < k
    step = max(1, CHUNK // max(1, min(m, k) ** 2))
    norms = np.empty(n)
    for start in range(0, n, step):
        part = rows[start : start + step]
        gram = part @ part.swapaxes(1, 2) if left else part.swapaxes(1, 2) @ part
        norms[start : start + step] = np.einsum("nij,nij->n", gram, gram)
    return norms


def moment_features(rows: NDArray[Any]) -> NDArray[Any]:
    """Vectors f_i with f_i . f_j = <G_i, G_j>_F, (n, k(k+1)/2), from rows (n, m, k): G_i without its mirror half."""
    n, _, k = rows.shape
    upper = np.triu_indices(k)
    weights = np.where(upper[0] == upper[1], 1.0, np.sqrt(2.0))
    features = np.empty((n, len(weights)))
    step = max(1, CHUNK // (k * k))
    for start in range(0, n, step):
        part = rows[start : start + step]
        features[start : start + step] = (part.swapaxes(1, 2) @ part)[:, upper[0], upper[1]]
    features *= weights
    return features
