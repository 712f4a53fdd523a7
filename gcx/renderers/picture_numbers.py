"""What figures of one layer draw, before anything is drawn: colours, limits, bins, and the words beside them."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from gcx.renderers.cells import decimal, root, shape_text
from gcx.renderers.escape import figure_text
from gcx.renderers.theme import Palette, lookup_table, rgba
from gcx.results import LayerResult, Picture
from gcx.words import plural

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHANCE_WIDTHS = 5.0
"""The colours reach at least this many times the width of chance, so that chance alone looks pale."""
LINES = 64
"""Boundaries of more groups than this would cover what they bound."""
_BINS = 60


def chance_width(picture: Picture) -> float:
    """What chance alone gives in one cell of the matrix: wider where a cell is the largest |r| of many pairs.

    Measured by the median of |r|: of m normal numbers the largest has its median at the m-th root of a half.
    """
    pairs = picture.step**2
    widened = NormalDist().inv_cdf((1 + 0.5 ** (1 / pairs)) / 2) / NormalDist().inv_cdf(0.75)
    return max(picture.null_rms * widened, 1e-6)


def color_limit(picture: Picture) -> float:
    """The |r| that gets the strongest colour: nearly the layer's largest, well above what chance gives, at most 1."""
    import numpy as np

    off = np.abs(picture.r[~np.eye(len(picture.r), dtype=bool)])
    off = off[np.isfinite(off)]
    high = float(np.quantile(off, 0.995)) if off.size else 0.0
    return min(1.0, max(high, CHANCE_WIDTHS * chance_width(picture)))


def colored(r: NDArray[Any], limit: float, palette: Palette) -> NDArray[Any]:
    """A square matrix of r as RGBA bytes, symmetric about 0; NaN, as on the diagonal, gets its own colour."""
    import numpy as np

    table = np.vstack([lookup_table(palette.diverging, 255), rgba(palette.empty)]).astype(np.uint8)
    with np.errstate(invalid="ignore"):
        index = np.rint(np.nan_to_num(np.clip(r / limit, -1, 1), nan=0.0) * 127 + 127).astype(np.uint8)
    index[~np.isfinite(r)] = 255
    return table[index]


def about_cells(picture: Picture) -> list[str]:
    """What a reader must know of the rows of a matrix where they are not simply the filters in output order."""
    cells = [f"one cell: the largest |r| of {picture.step}×{picture.step} pairs"] if picture.step > 1 else []
    return [*cells, "filters clustered within groups"] if picture.clustered else cells


def facts(layer: LayerResult) -> str:
    """One line under a layer's name: shape, groups, rms r and what chance gives."""
    sure = "" if layer.groups_confidence == "certain" else "?"
    parts = [shape_text(layer.weight_shape), f"{plural(layer.groups, 'group')} ({layer.groups_from}{sure})"]
    for name, pairs in (("within", layer.within), ("across", layer.across)):
        if pairs is not None and pairs.rms_r is not None:
            parts.append(f"rms r {name} {decimal(pairs.rms_r)} (chance {decimal(root(pairs.null_r2))})")
    return figure_text("  ·  ".join(parts))


def pairs_text(pairs: int) -> str:
    """How many pairs, in few characters."""
    if pairs < 10_000:
        return plural(pairs, "pair")
    return f"{pairs / 1e3:.0f}k pairs" if pairs < 999_500 else f"{pairs / 1e6:.3g}M pairs"


def histogram(picture: Picture) -> tuple[float, NDArray[Any], dict[str, NDArray[Any]]]:
    """The |r| up to which it is worth drawing, (b + 1,) edges, and (b,) densities within, across and of chance."""
    import numpy as np

    reach = _reach(picture)
    bins, counts = _rebinned(picture, reach)
    width = np.diff(bins)
    return reach, bins, {name: values / max(values.sum(), 1e-300) / width for name, values in counts.items()}


def shrunk(picture: Picture, most: int) -> Picture:
    """The picture with at most `most` rows: each the entry of largest |r| of the tile that it stands for."""
    import numpy as np

    size = len(picture.r)
    if size <= most:
        return picture
    step = -(-size // most)
    starts = np.arange(0, size, step)
    high, low = picture.r, picture.r
    for axis in (0, 1):
        high, low = np.fmax.reduceat(high, starts, axis=axis), np.fmin.reduceat(low, starts, axis=axis)
    return replace(picture, r=np.where(high >= -low, high, low), step=picture.step * step)


def _reach(picture: Picture) -> float:
    """The |r| up to which a histogram is worth drawing: nearly all pairs, and chance with room."""
    import numpy as np

    counts = picture.within_counts + picture.across_counts
    centres = np.abs((picture.bins[:-1] + picture.bins[1:]) / 2)
    order = np.argsort(centres)
    share = np.cumsum(counts[order]) / max(counts.sum(), 1)
    high = float(centres[order][min(int(np.searchsorted(share, 0.999)), len(order) - 1)]) if counts.sum() else 0.0
    return min(1.0, max(1.1 * high, 4 * picture.null_rms))


def _rebinned(picture: Picture, reach: float) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    """Neighbouring bins together, so that about `_BINS` of them, and fewer where pairs are few, span what is drawn."""
    import numpy as np

    shown = len(picture.bins) * reach
    most = max(picture.within_counts.sum(), picture.across_counts.sum(), 1)
    wanted = min(_BINS, max(12, int(2 * most ** (1 / 3))))
    step = max(1, round(shown / wanted))
    starts = np.arange(0, len(picture.bins) - 1, step)
    bins = np.append(picture.bins[starts], picture.bins[-1])
    sources = {"within": picture.within_counts, "across": picture.across_counts, "chance": picture.null_density}
    return bins, {name: np.add.reduceat(values, starts) for name, values in sources.items()}
