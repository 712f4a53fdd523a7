"""The pictures of the page: r of every pair as a small PNG, densities and shares as lines of SVG.

A panel's matrix has the layer's own scale; the small ones have one for all, multiples of what chance gives, so that
layers can be compared by eye. They are drawn for a light page; on a dark one the style sheet turns them round.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gcx import limits
from gcx.renderers.cells import decimal
from gcx.renderers.contact import common_limit
from gcx.renderers.distribution import shares_in_widths
from gcx.renderers.picture_numbers import LINES, chance_width, color_limit, histogram, pairs_text, shrunk
from gcx.renderers.png import palette_png
from gcx.renderers.theme import PALETTES, lookup_table, rgba
from gcx.results import LayerResult, Picture, Report, Within
from gcx.words import plural

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIXELS = 12_000_000
"""Pixels of all matrices of a page: about 8 MB of file. Shared out evenly, so many layers have smaller ones."""
LARGEST, SMALLEST = 512, 64
THUMBNAIL = 96
"""Pixels of a small matrix, at most."""
_LEVELS = 31
_WIDE, _HIGH, _LOW = 320, 132, 64
"""Width of a plot, and heights, in its own units."""
_BARS = 48
"""Groups of which each gets a bar."""
_FEWEST = 12
"""Layers that a profile has room for at least: of two, marks as wide as the page would say nothing."""
_SPARK = 24
"""Steps of the small distribution in the table."""


class PictureBook:
    """What all pictures of one page share: how large they may be, and the scale of the small ones."""

    def __init__(self, report: Report) -> None:
        known = [layer.picture for model in report.models for layer in model.measured if layer.picture is not None]
        drawn = known[: limits.PAGE_PICTURES]
        side = int((PIXELS / max(1, len(drawn))) ** 0.5)
        self._side = min(LARGEST, max(SMALLEST, side))
        self._drawn = {id(picture) for picture in drawn}
        self._limit = common_limit(drawn)
        self._label = "cosine" if report.settings.measure == "cosine" else "r"

    def of(self, layer: LayerResult) -> Picture | None:
        """What is to be drawn of a layer: nothing of one beyond `limits.PAGE_PICTURES`."""
        return layer.picture if id(layer.picture) in self._drawn else None

    def matrix(self, picture: Picture) -> str:
        """r of every pair with its scale and what one cell is."""
        small = shrunk(picture, self._side)
        limit = color_limit(small)
        cells = "" if small.step == 1 else f"; one cell: the largest |r| of {small.step}×{small.step} pairs"
        order = "clustered within groups" if picture.clustered else "in file order"
        ends = f"<span>−{decimal(limit, 2)}</span>{{}}<span>+{decimal(limit, 2)}</span>"
        image = _image(*_colored(small.r / limit), f"{self._label} of every pair of filters")
        middle = f"<span>{self._label} (chance ±{decimal(picture.null_rms)})</span>"
        return (
            f'<figure class="matrix"><div class="square">{image}{_boundaries(picture)}</div>'
            f'<figcaption><span class="ramp"></span><span class="ends">{ends.format(middle)}</span>'
            f"{picture.edges[-1]} filters{cells}; {order}</figcaption></figure>"
        )

    def thumbnail(self, picture: Picture) -> str:
        """r in multiples of chance, one scale for all layers; every n-th of many filters, so chance keeps its width."""
        step = -(-len(picture.r) // THUMBNAIL)
        relative = picture.r[::step, ::step] / (self._limit * chance_width(picture))
        return f'<span class="square">{_image(*_colored(relative), "")}{_boundaries(picture)}</span>'


def _colored(relative: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Places in a table of colours, and the table, of numbers from -1 to 1; what is not finite has its own colour."""
    import numpy as np

    half = _LEVELS // 2
    with np.errstate(invalid="ignore"):
        index = np.rint(np.nan_to_num(np.clip(relative, -1, 1), nan=0.0) * half + half).astype(np.uint8)
    index[~np.isfinite(relative)] = _LEVELS
    light = PALETTES["light"]
    return index, np.vstack([lookup_table(light.diverging, _LEVELS), np.array(rgba(light.empty), dtype=np.uint8)])


def kernel_matrix(kernels: NDArray[Any]) -> str:
    """Kernel cos² between groups."""
    import numpy as np

    finite = kernels[np.isfinite(kernels)]
    if not finite.size or len(kernels) < 2:
        return ""
    step = -(-len(kernels) // 128)
    kernels = kernels[::step, ::step]
    low, high = float(finite.min()), float(finite.max())
    span = max(high - low, 0.1 * abs(float(finite.mean())), 1e-9)  # a hair's breadth is no contrast
    index = np.full(kernels.shape, 15, dtype=np.uint8)
    known = np.isfinite(kernels)
    index[known] = np.rint((kernels[known] - low) / span * 14).clip(0, 14)
    light = PALETTES["light"]
    colors = np.vstack([lookup_table(light.sequential, 15), np.array(rgba(light.empty), dtype=np.uint8)])
    sampled = f", every {step}th group" if step > 1 else ""
    return (
        f'<figure class="kernels"><div class="square">{_image(index, colors, "kernel cos² between groups")}</div>'
        f'<figcaption><span class="ramp purple"></span><span class="ends"><span>{decimal(low)}</span>'
        f"<span>{decimal(low + span)}</span></span>kernel cos² between groups{sampled}</figcaption></figure>"
    )


def histogram_plot(picture: Picture) -> str:
    """The densities of r within and across groups over the isotropic null's."""
    import numpy as np

    reach, bins, densities = histogram(picture)
    shown = (bins[1:] > -reach) & (bins[:-1] < reach)
    top = max(float(values[shown].max()) for values in densities.values()) * 1.05
    if not np.isfinite(top) or top <= 0:
        return ""

    def path(values: NDArray[Any], *, closed: bool) -> str:
        x = np.clip((bins / reach + 1) * _WIDE / 2, 0, _WIDE)
        y = _HIGH - values / top * _HIGH
        first, last = np.flatnonzero(shown)[[0, -1]]
        steps = "".join(f"V{y[k]:.1f}H{x[k + 1]:.1f}" for k in range(first, last + 1))
        return f"M{x[first]:.1f} {_HIGH}{steps}V{_HIGH}{'Z' if closed else ''}"

    within, across = int(picture.within_counts.sum()), int(picture.across_counts.sum())
    lines = [f'<path class="chance" d="{path(densities["chance"], closed=True)}"/>']
    keys = ['<span class="key chance">isotropic null</span>']
    for name, count in (("across", across), ("within", within)):
        if count:
            lines.append(f'<path class="{name}" d="{path(densities[name], closed=False)}"/>')
            keys.append(f'<span class="key {name}">{name} ({pairs_text(count)})</span>')
    return (
        f'<figure class="density"><svg viewBox="0 -4 {_WIDE} {_HIGH + 22}" role="img" '
        f'aria-label="density of r within and across groups over the isotropic null">{"".join(lines)}'
        f'<path class="axis" d="M0 {_HIGH}H{_WIDE}"/>{_ticks(reach)}</svg>'
        f"<figcaption>{''.join(keys)}</figcaption></figure>"
    )


def group_bars(within: Within) -> str:
    """mean r² of every group, with a line at its own chance."""
    groups = [(g.mean_r2, g.null_permuted_r2) for g in within.per_group]
    known = [value for value, _ in groups if value is not None]
    if not 1 < len(groups) <= _BARS or not known:
        return ""
    top = max([*known, *(null for _, null in groups if null is not None)]) * 1.08 or 1.0
    width = _WIDE / len(groups)
    bars, nulls = [], []
    for k, (value, null) in enumerate(groups):
        left, wide = k * width + 0.1 * width, 0.8 * width
        if value is not None:
            bars.append(f"M{left:.1f} {_LOW}v{-value / top * _LOW:.1f}h{wide:.1f}V{_LOW}Z")
        if null is not None:
            nulls.append(f"M{left - 0.06 * width:.1f} {_LOW - null / top * _LOW:.1f}h{wide + 0.12 * width:.1f}")
    return (
        f'<figure class="bars"><svg viewBox="0 -4 {_WIDE} {_LOW + 8}" role="img" aria-label="mean r² of every group">'
        f'<path class="bar" d="{"".join(bars)}"/><path class="null" d="{"".join(nulls)}"/>'
        f'<path class="axis" d="M0 {_LOW}H{_WIDE}"/></svg>'
        f'<figcaption><span class="key within">mean r² of each of {plural(len(groups), "group")}, '
        f'highest {decimal(max(known), 4)}</span><span class="key null">its chance (permuted)</span>'
        "</figcaption></figure>"
    )


def spark(picture: Picture) -> str:
    """The distribution of r, small: on one scale for all layers, from -4 to 4 widths of chance."""
    counts = picture.within_counts if picture.within_counts.sum() else picture.across_counts
    if not counts.sum():
        return ""
    shares = shares_in_widths(picture.bins, counts, picture.null_rms, _SPARK)
    chance = shares_in_widths(picture.bins, picture.null_density, picture.null_rms, _SPARK)
    top = max(float(shares.max()), float(chance.max()))

    def line(values: NDArray[Any]) -> str:
        return "M0 16" + "".join(f"V{16 - 15 * value / top:.1f}h3" for value in values) + "V16"

    kind = "within" if counts is picture.within_counts else "across"
    return (
        f'<svg class="spark" viewBox="0 0 {3 * _SPARK} 17" aria-hidden="true">'
        f'<path class="chance" d="{line(chance)}Z"/><path class="{kind}" d="{line(shares)}"/></svg>'
    )


def depth_profile(layers: Sequence[LayerResult]) -> str:
    """rms r within groups along the network, each over its chance."""
    points = []
    for place, layer in enumerate(layers):
        within = layer.within
        if within is not None and within.mean_r2 is not None:
            points.append((place, within.mean_r2**0.5, max(within.null_r2 or 0.0, 0.0) ** 0.5))
    if len(points) < 2:
        return ""
    top = max(max(value, null) for _, value, null in points) * 1.06
    step = 1000 / max(len(layers), _FEWEST)

    def y(value: float) -> str:
        return f"{170 - 160 * value / top:.1f}"

    stems = "".join(f"M{(k + 0.5) * step:.1f} {y(null)}V{y(value)}" for k, value, null in points)
    ticks = "".join(f"M{(k + 0.15) * step:.1f} {y(null)}h{0.7 * step:.1f}" for k, _, null in points)
    radius = min(4.0, max(1.2, 0.3 * step))
    dots = "".join(f"M{(k + 0.5) * step:.1f} {y(value)}h0" for k, value, _ in points)
    grid = "".join(
        f'<path class="grid" d="M0 {y(at)}H1000"/><text x="2" y="{float(y(at)) - 3:.1f}">{decimal(at, 2)}</text>'
        for at in _round_values(top)
    )
    return (
        '<figure class="profile"><svg viewBox="0 0 1000 176" role="img" '
        f'aria-label="rms r within groups of {plural(len(points), "layer")} in order, each over its chance">{grid}'
        f'<path class="stem" d="{stems}"/><path class="tick" d="{ticks}"/>'
        f'<path class="dot" stroke-width="{2 * radius:.1f}" d="{dots}"/><path class="axis" d="M0 170H1000"/></svg>'
        '<figcaption><span class="key within">rms r within groups, layer by layer</span>'
        '<span class="key null">chance (permuted null)</span></figcaption></figure>'
    )


def _round_values(top: float) -> list[float]:
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if top / s <= 5 or s == 0.5)
    return [k * step for k in range(1, int(top / step) + 1)]


def _ticks(reach: float) -> str:
    marks = ((0, "start", f"−{decimal(reach, 2)}"), (_WIDE / 2, "middle", "0"), (_WIDE, "end", f"+{decimal(reach, 2)}"))
    return "".join(
        f'<text x="{x:g}" y="{_HIGH + 15}" text-anchor="{anchor}">{text}</text>' for x, anchor, text in marks
    )


def _boundaries(picture: Picture) -> str:
    """The groups' boundaries over the matrix, where they can be seen."""
    inner, size = picture.edges[1:-1], picture.edges[-1]
    if not 0 < len(inner) < min(LINES, size - 1):  # of one filter per group every cell would have its frame
        return ""
    lines = "".join(f"M{edge} 0V{size}M0 {edge}H{size}" for edge in inner)
    thin = ' class="thin"' if len(inner) >= 16 else ""
    box = f'viewBox="0 0 {size} {size}" preserveAspectRatio="none"'
    return f'<svg {box} aria-hidden="true"{thin}><path d="{lines}"/></svg>'


def _image(index: NDArray[Any], colors: NDArray[Any], text: str) -> str:
    data = base64.b64encode(palette_png(index, colors)).decode()
    height, width = index.shape
    return (
        f'<img src="data:image/png;base64,{data}" width="{width}" height="{height}" loading="lazy" decoding="async" '
        f'alt="{text}">'
    )
