"""Which filters and kernels hold no direction: they have no correlation, and are counted instead."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcx.measures.moments import parts_of

FILTER_TOLERANCE = 1e-12
"""Of a filter's own largest |w| (spread), and of the median filter's (size)."""
KERNEL_TOLERANCE = 1e-6
"""Of the largest kernel norm of the same filter."""


def largest_weights(filters: NDArray[Any]) -> NDArray[Any]:
    """max |w| over the last two axes, without a copy of the filters."""
    flat = filters.reshape(*filters.shape[:-2], -1)
    return np.asarray(np.maximum(flat.max(axis=-1), -flat.min(axis=-1)))


def own_scale(filters: NDArray[Any], *, overwrite: bool = False) -> NDArray[Any]:
    """Each filter times the power of two that brings its largest |w| into [0.5, 1), so that every square is finite.

    Nothing here sees the scale of a filter, and a power of two rounds nothing.

    Args:
        filters: (groups, n, c, k), finite.
        overwrite: scale in place.

    >>> import numpy as np
    >>> own_scale(np.array([[[[3.0, -1.0]], [[0.0, 0.0]]]]))
    array([[[[ 0.75, -0.25]],
    <BLANKLINE>
            [[ 0.  ,  0.  ]]]])
    """
    exponents = np.frexp(largest_weights(filters))[1]
    return np.asarray(np.ldexp(filters, -exponents[..., None, None], out=filters if overwrite else None))


def degenerate_filters(filters: NDArray[Any]) -> NDArray[np.bool_]:
    """Filters without variance, or vanishing beside the others.

    A filter w_i is degenerate if sd(w_i) <= 1e-12 max|w_i|, or max|w_i| <= 1e-12 x the layer's median of max|w_j|.
    Subnormal numbers alone do not make one.

    Args:
        filters: (groups, filters_per_group, channels, k), finite.

    Returns:
        (groups, filters_per_group), True where degenerate. Invariant to the order of filters, channels and taps, to
        sign, and to a common scale.

    >>> import numpy as np
    >>> layer = np.random.default_rng(0).normal(size=(1, 3, 2, 9))
    >>> layer[0, 1] = 0.1
    >>> degenerate_filters(layer)
    array([[False,  True, False]])
    """
    groups, n, c, k = filters.shape
    largest = largest_weights(filters)
    # Relative to the filter's own size, so that squares neither overflow nor vanish.
    size = np.where(largest > 0, largest, 1.0)
    spread = np.empty((groups, n))
    for some, which in parts_of(groups, n, c * k):
        spread[some, which] = (filters[some, which] / size[some, which, None, None]).std(axis=(2, 3))
    return np.asarray((spread <= FILTER_TOLERANCE) | (largest <= FILTER_TOLERANCE * np.median(largest)))


def unit_kernels(filters: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Kernels scaled to unit norm, and which of them are alive.

    A kernel is degenerate if its norm <= 1e-6 x the largest kernel norm of its own filter: per-kernel scaling would
    otherwise promote a dead kernel's rounding errors to a direction.

    Args:
        filters: (..., channels, k), finite.

    Returns:
        Unit kernels of the same shape, zero where degenerate; and (..., channels), True where alive.

    >>> import numpy as np
    >>> unit, alive = unit_kernels(np.array([[[3.0, 4.0], [0.0, 1e-9]]]))
    >>> unit[0, 0], alive[0]
    (array([0.6, 0.8]), array([ True, False]))
    """
    largest = largest_weights(filters)[..., None, None]
    scaled = filters / np.where(largest > 0, largest, 1.0)
    norms = np.sqrt(np.einsum("...k,...k->...", scaled, scaled))
    alive = norms > KERNEL_TOLERANCE * norms.max(axis=-1, keepdims=True)
    scaled *= np.divide(1.0, norms, out=np.zeros_like(norms), where=alive)[..., None]
    return scaled, alive
