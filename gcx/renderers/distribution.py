"""The distribution of r in a few steps on one scale for all layers: multiples of the width that chance alone gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gcx.results import Distribution

if TYPE_CHECKING:
    from numpy.typing import NDArray

REACH = 4.0
"""Widths of chance to either side; what lies beyond belongs to the outermost step."""


BARS = "▁▂▃▄▅▆▇█"
_STEPS = 11
"""Odd, so that one is centred on 0."""


def sparkline(distribution: Distribution | None) -> str:
    """The distribution of r within groups, or across where no group has a pair, as one short word of bars.

    >>> import numpy as np
    >>> from gcx.results import Distribution
    >>> edges, none = np.linspace(-1, 1, 101), np.zeros(100)
    >>> even = Distribution(edges, np.ones(100), none, 0.25)
    >>> sparkline(even), sparkline(None)
    ('███████████', '')
    """
    import numpy as np

    if distribution is None:
        return ""
    counts = distribution.within_counts if distribution.within_counts.any() else distribution.across_counts
    if not counts.any():
        return ""
    shares = shares_in_widths(distribution.bins, counts, distribution.null_rms, _STEPS)
    heights = np.ceil(np.round(shares / shares.max() * len(BARS), 6)).astype(int)
    return "".join(BARS[height - 1] if height else " " for height in heights)


def shares_in_widths(edges: NDArray[Any], counts: NDArray[Any], width: float, steps: int) -> NDArray[Any]:
    """Share of pairs per step, (steps,), from -REACH to REACH multiples of `width`; those of a bin spread evenly.

    Args:
        edges: (b + 1,) of a histogram of r.
        counts: (b,) pairs, or their probability.
        width: rms r that chance gives.
        steps: how many.

    >>> import numpy as np
    >>> shares_in_widths(np.array([-1, 0.0, 1]), np.array([1, 3]), 0.5, 2).tolist()
    [0.25, 0.75]
    """
    import numpy as np

    total = np.concatenate([[0.0], np.cumsum(counts)])
    at = np.interp(np.linspace(-REACH, REACH, steps + 1) * width, edges, total)
    at[0], at[-1] = 0.0, total[-1]
    shares: NDArray[Any] = np.diff(at) / max(total[-1], 1e-300)
    return shares
