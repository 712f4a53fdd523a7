"""How much of a filter is colour, and whether the parts of a first layer differ in it.

The claim is AlexNet's: the first-layer filters of one tower mostly ignore colour, those of the other mostly encode it
(Krizhevsky, Sutskever and Hinton, NIPS 2012, section 6.1). There it was seen; here it is tested.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcx.measures.nulls import permutation_pvalue
from gcx.results import Saturation

COLOURS = 3
EQUAL = 1e-12
"""Filters whose saturation varies by less are equal but for rounding."""


def saturation(filters: NDArray[Any]) -> NDArray[Any]:
    """Share of each filter's energy off the grey axis, on which its three channels are alike.

    Args:
        filters: (n, 3, k), none of them all zeros, squares finite. In any order of the colours.

    Returns:
        (n,) in [0, 1]: 0 for a grey filter, 1 for one that no grey image can excite, 2/3 on average at random. It moves
        neither with scale, sign nor order of the channels, but with the scale of single channels.

    >>> saturation(np.array([[[1.0], [1.0], [1.0]], [[1.0], [-1.0], [0.0]], [[1.0], [0.0], [0.0]]])).round(3).tolist()
    [0.0, 1.0, 0.667]
    """
    energy = np.square(filters).sum(axis=(1, 2))
    grey = np.square(filters.sum(axis=1)).sum(axis=1) / COLOURS
    return np.asarray(np.clip(1.0 - grey / energy, 0.0, 1.0))


def measure_saturation(shares: NDArray[Any], part: NDArray[Any], n_resamples: int, key: list[int]) -> Saturation | None:
    """Whether filters of different parts differ in saturation, against filters dealt to the parts at random.

    Args:
        shares: (n,) saturation of the live filters.
        part: (n,) which part each belongs to, from 0.
        n_resamples, key: of the permutation test.

    Returns:
        None with fewer than two parts, or where saturation does not vary.

    >>> found = measure_saturation(np.array([0.1, 0.1, 0.2, 0.8, 0.9, 0.9]), np.array([0, 0, 0, 1, 1, 1]), 999, [0])
    >>> round(found.least, 3), round(found.most, 3), round(found.between, 3), found.null_between
    (0.133, 0.867, 0.984, 0.2)
    """
    names, index = np.unique(part, return_inverse=True)
    centred = shares - shares.mean()
    total = float(centred @ centred)
    if len(names) < 2 or total <= EQUAL**2 * len(shares):
        return None
    belongs = (index[:, None] == np.arange(len(names))).astype(np.float64)
    sizes = belongs.sum(axis=0)

    def between(orders: NDArray[Any]) -> NDArray[Any]:
        return np.asarray((np.square(centred[orders] @ belongs) / sizes).sum(axis=1) / total)

    observed = float(between(np.arange(len(shares))[None])[0])
    means = shares @ belongs / sizes
    return Saturation(
        mean=float(shares.mean()),
        least=float(means.min()),
        most=float(means.max()),
        between=min(observed, 1.0),
        null_between=(len(names) - 1) / (len(shares) - 1),
        pvalue=permutation_pvalue(observed, between, len(shares), n_resamples, key),
    )
