"""What a fake quantiser's observer lets one know: to which levels, and along which axis, a weight is rounded.

torch saves the size of the steps, and the least and largest weight seen, from which it worked them out; the levels it
leaves out. Each of its ways to work a scale out is gone again for each range, and those that give the scale remain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

Range = tuple[int, int]

RANGES: tuple[Range, ...] = tuple(
    (-high - spare, high) for high in (2 ** (bits - 1) - 1 for bits in range(8, 1, -1)) for spare in (1, 0)
)
"""Lowest and highest level of eight to two bits, with and without the level that has no opposite."""
EXACT = 1e-6
"""What separates a scale from the one computed anew: a few roundings to float32."""
CLOSE = 0.9
"""Correlation of the extremes seen with those of a weight."""
LEAST_SCALE = 2.0**-23
"""Below which torch's observers let no scale fall."""
LEAST_SCALE_IN_ONE_STEP = 6.1e-5
"""The same of those that observe and round in one step, on a CPU."""


def fitting_ranges(
    scale: NDArray[Any], least: NDArray[Any], most: NDArray[Any], in_one_step: bool | None, precision: float = EXACT
) -> list[Range]:
    """Find the ranges of levels for which torch would have worked out these scales, the zero point being 0.

    Args:
        scale: one, or one per channel.
        least: the least weight seen, of the same shape.
        most: the largest weight seen, of the same shape.
        in_one_step: whether torch's fused observer and quantiser made them; None if that is not known.
        precision: of the numbers, relative; casting them loses some.

    Returns:
        Nothing where the scale was learned or searched for; several where the numbers do not tell them apart.

    >>> import numpy as np
    >>> fitting_ranges(np.array([2 / 15]), np.array([-0.9]), np.array([1.0]), in_one_step=False)
    [(-8, 7)]
    """
    import numpy as np

    least, most = np.minimum(least, 0.0), np.maximum(most, 0.0)

    def fits(levels: Range) -> bool:
        expected = []
        if not in_one_step:
            expected.append(np.maximum(_symmetric(least, most, levels), LEAST_SCALE))
        if in_one_step is not False:
            exact = _in_one_step(least, most, levels)
            expected += [exact, np.maximum(exact, LEAST_SCALE_IN_ONE_STEP)]
        if (np.abs(least / scale - levels[0]) <= 1).all():  # or the zero point were not 0
            expected.append((most - least) / (levels[1] - levels[0]))
        return any((np.abs(found - scale) <= precision * scale).all() for found in expected)

    with np.errstate(all="ignore"):
        return [levels for levels in RANGES if fits(levels)]


def _symmetric(least: NDArray[Any], most: NDArray[Any], levels: Range) -> NDArray[Any]:
    import numpy as np

    return np.asarray(np.maximum(-least, most) / ((levels[1] - levels[0]) / 2))


def _in_one_step(least: NDArray[Any], most: NDArray[Any], levels: Range) -> NDArray[Any]:
    """So that the lowest level reaches the least weight and the highest the largest, of channels with both signs."""
    import numpy as np

    count = levels[1] - levels[0]
    step = np.maximum(-least / (count // 2 + 1), most / (count // 2))
    return np.where((least < 0) & (most > 0), step * (2 * (count // 2) + 1) / count, np.nan)


def settled_axis(weight: NDArray[Any], axes: Sequence[int], least: NDArray[Any], most: NDArray[Any]) -> int | None:
    """Find the axis along which a weight has the extremes that an observer saw per channel; None if that is not clear.

    Training moves the weight after it was seen, so the extremes only go with each other. The first axis is torch's
    choice for every convolution and need but fit best; any other one has to fit closely too.

    >>> import numpy as np
    >>> weight = np.array([[-1.0, 1.0], [-4.0, 6.0]])
    >>> settled_axis(weight, (0, 1), np.array([-4.0, 1.1]), np.array([-1.0, 6.0]))
    1
    """
    import numpy as np

    def fit(axis: int) -> float:
        others = tuple(other for other in range(weight.ndim) if other != axis)
        pairs = ((weight.min(axis=others), least), (weight.max(axis=others), most))
        own, seen = np.concatenate([np.array(pair, np.float64) - np.mean(pair, axis=1)[:, None] for pair in pairs], 1)
        return float(np.nan_to_num(own @ seen / np.sqrt((own @ own) * (seen @ seen)), nan=-1.0))

    fits = [fit(axis) for axis in axes]
    best = max(fits)
    axis = axes[fits.index(best)]
    return axis if fits.count(best) == 1 and (axis == 0 or best > CLOSE) else None


def agree(ranges: Iterable[Range], levels: NDArray[Any]) -> bool:
    """Whether levels are clipped the same by all of the ranges.

    >>> import numpy as np
    >>> agree([(-8, 7), (-7, 7)], np.array([-7.0, 9.0])), agree([(-8, 7), (-7, 7)], np.array([-8.0, 9.0]))
    (True, False)
    """
    lowest, highest = zip(*ranges, strict=True)
    same_below = len(set(lowest)) == 1 or levels.min() >= max(lowest)
    same_above = len(set(highest)) == 1 or levels.max() <= min(highest)
    return bool(same_below and same_above)
