"""Which filters and kernels hold no direction: they have no correlation, and are counted instead."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FILTER_TOLERANCE = 1e-12
"""Of a filter's own largest |w| (spread), and of the median filter's (size)."""
KERNEL_TOLERANCE = 1e-6
"""Of the largest kernel norm of the same filter."""


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
    largest = np.maximum(filters.max(axis=(2, 3)), -filters.min(axis=(2, 3)))
    # Relative to the filter's own size, so that squares neither overflow nor vanish.
    size = np.where(largest > 0, largest, 1.0)
    spread = np.array(
        [(group / unit[:, None, None]).std(axis=(1, 2)) for group, unit in zip(filters, size, strict=True)]
    )
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
    largest = np.abs(filters).max(axis=(-2, -1), keepdims=True)
    scaled = filters / np.where(largest > 0, largest, 1.0)
    norms = np.sqrt(np.einsum("...k,...k->...", scaled, scaled))
    alive = norms > KERNEL_TOLERANCE * norms.max(axis=-1, keepdims=True)
    scaled *= np.divide(1.0, norms, out=np.zeros_like(norms), where=alive)[..., None]
    return scaled, alive
