"""Sums over all pairs without visiting a pair: squared inner products through second moments.

For rows x_a of filter i, G_i = sum_a x_a x_a^T, and sum_ab (x_a . y_b)^2 = <G_i, G_j>_F. So a sum over pairs of
filters is |sum_i G_i|^2 - sum_i |G_i|^2: O(N c k^2) instead of O(N^2 c^2 k).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHUNK = 2**22
"""Numbers in one temporary array: 32 MiB."""

Part = tuple[slice, slice]
"""Which groups, and which filters of each."""


@dataclass(frozen=True)
class PairSums:
    """Sums of <G_i, G_j>_F over ordered pairs i != j."""

    within: NDArray[Any]
    """(groups,): pairs of that group."""
    across: float
    """Pairs of different groups."""


def parts_of(groups: int, n: int, size: int) -> Iterator[Part]:
    """Cut (groups, n) filters of `size` numbers into parts of about CHUNK numbers: whole groups, or a piece of one.

    No loop over the groups of a depthwise layer, and no second copy of a large weight.

    >>> list(parts_of(3, 2, CHUNK // 4))
    [(slice(0, 2, None), slice(0, 2, None)), (slice(2, 3, None), slice(0, 2, None))]
    """
    filters = max(1, CHUNK // max(1, size))
    some_groups, some_filters = max(1, filters // n), min(n, filters)
    for group in range(0, groups, some_groups):
        for first in range(0, n, some_filters):
            yield slice(group, min(groups, group + some_groups)), slice(first, min(n, first + some_filters))


def second_moment_pair_sums(
    filters: NDArray[Any], rows_of: Callable[[NDArray[Any]], NDArray[Any]] | None = None
) -> PairSums:
    """Sum <G_i, G_j>_F over ordered pairs of filters i != j, with G_i = sum of x x^T over the rows x of filter i.

    Args:
        filters: (groups, filters_per_group, m, k): filter i has m rows of length k; zero rows add nothing.
        rows_of: makes the rows from a part of the filters (groups', filters', m, k), where they are not the rows.

    Returns:
        The sums per group and over pairs of different groups. Invariant to any orthogonal map of the k axis and to the
        order of the rows. Source: <G_i, G_j>_F = sum_ab (x_a . y_b)^2.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(1, 2, 3, 4))
    >>> brute = 2 * sum((a @ b) ** 2 for a in x[0, 0] for b in x[0, 1])
    >>> bool(np.isclose(second_moment_pair_sums(x).within[0], brute))
    True
    """
    groups, n, m, k = filters.shape
    per_group, own = np.zeros(groups), np.zeros(groups)
    total = np.zeros((k, k))
    sums = np.zeros((0, k, k))
    for some, which in parts_of(groups, n, max(m * k, min(m, k) ** 2, k * k // n)):
        part = filters[some, which] if rows_of is None else rows_of(filters[some, which])
        flat = part.reshape(len(part), -1, k)
        moments = flat.swapaxes(1, 2) @ flat
        sums = moments if which.start == 0 else sums + moments
        own[some] += squared_norms(part.reshape(-1, m, k)).reshape(len(part), -1).sum(axis=1)
        if which.stop == n:
            per_group[some] = np.einsum("gij,gij->g", sums, sums)
            total += sums.sum(axis=0)
    return PairSums(within=per_group - own, across=float(np.einsum("ij,ij->", total, total) - per_group.sum()))


def squared_norms(rows: NDArray[Any]) -> NDArray[Any]:
    """|G_i|_F^2 of every filter, (n,), from its rows (n, m, k); by whichever Gram matrix is smaller."""
    gram = rows @ rows.swapaxes(1, 2) if rows.shape[1] < rows.shape[2] else rows.swapaxes(1, 2) @ rows
    return np.asarray(np.einsum("nij,nij->n", gram, gram))


def moment_features(rows: NDArray[Any]) -> NDArray[Any]:
    """Vectors f_i with f_i . f_j = <G_i, G_j>_F, (..., k(k+1)/2), from rows (..., m, k): half of each G_i."""
    upper = np.triu_indices(rows.shape[-1])
    features = np.asarray((rows.swapaxes(-1, -2) @ rows)[..., upper[0], upper[1]])
    features *= np.where(upper[0] == upper[1], 1.0, np.sqrt(2.0))
    return features
