"""One layer as a picture: r of its filters with group boundaries, its kernels by group, and r against chance.

Prepared, then drawn on the Axes that one is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gcx.renderers.cells import decimal
from gcx.renderers.labels import fitted
from gcx.renderers.picture_numbers import LINES, about_cells, color_limit, colored, facts, histogram, pairs_text
from gcx.renderers.theme import Palette, lookup_table, rgba
from gcx.results import LayerResult, Picture
from gcx.settings import Measure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_TITLE_EMS = 42.0
"""Room for a name over a heatmap, in multiples of its font size (bold)."""


def draw_heatmap(ax: Axes, picture: Picture, palette: Palette, limit: float) -> None:
    """Draw r between filters on `ax`, in units of filters, with the boundaries of the groups where they can be seen."""
    size, covered = picture.edges[-1], len(picture.r) * picture.step
    image = colored(picture.r, limit, palette)
    ax.imshow(image, extent=(0, covered, covered, 0), interpolation="nearest", aspect="equal")
    inner = picture.edges[1:-1]
    if 0 < len(inner) < LINES:
        strength = 0.9 if len(inner) < 16 else 0.45
        for edge in inner:
            ax.axhline(edge, color=palette.line, linewidth=strength, gid="boundary")
            ax.axvline(edge, color=palette.line, linewidth=strength, gid="boundary")
    ax.set_xlim(0, size)
    ax.set_ylim(size, 0)
    ticks = _ticks(size)
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.set_yticks(ticks, [str(tick) for tick in ticks])
    if about := about_cells(picture):
        ax.set_xlabel("; ".join(about), fontsize=7, color=palette.faint, labelpad=2)
    _frame(ax, palette)


def draw_scale(ax: Axes, picture: Picture, palette: Palette, limit: float) -> None:
    """Draw the colours as a bar of r, with the width that chance alone gives as a strip beside it."""
    import numpy as np

    ramp = lookup_table(palette.diverging, 255)[::-1, None, :]
    ax.imshow(ramp, extent=(0, 1, -limit, limit), aspect="auto", interpolation="nearest")
    ax.fill_betweenx(
        [-picture.null_rms, picture.null_rms], -0.75, -0.2, color=palette.chance, linewidth=0, clip_on=False
    )
    ax.set_xlim(0, 1)
    ax.set_ylim(-limit, limit)
    ax.set_xticks([])
    ax.yaxis.tick_right()
    ticks = np.array([-1, -0.5, 0, 0.5, 1]) * limit
    ax.set_yticks(ticks, ["0" if tick == 0 else decimal(float(tick), 2).replace("-", "−") for tick in ticks])
    ax.set_title("r", fontsize=8, color=palette.ink)
    ax.set_xlabel(f"isotropic\nnull\n±{decimal(picture.null_rms)}", fontsize=7, color=palette.faint)
    _frame(ax, palette)


def draw_kernels(ax: Axes, scale: Axes, kernels: NDArray[Any], palette: Palette) -> None:
    """Draw kernel cos^2 between groups: its diagonal stands out where groups hold different kernels."""
    import numpy as np

    finite = kernels[np.isfinite(kernels)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    high = max(high, low + 0.1 * abs(float(finite.mean())) if finite.size else 1.0)  # a hair's breadth is no contrast
    table = np.vstack([lookup_table(palette.sequential, 255), rgba(palette.empty)]).astype(np.uint8)
    index = np.full(kernels.shape, 255, dtype=np.uint8)
    span = high - low if high > low else 1.0
    index[np.isfinite(kernels)] = np.rint((finite - low) / span * 254)
    size = len(kernels)
    ax.imshow(table[index], extent=(0, size, size, 0), interpolation="nearest", aspect="equal")
    ax.set_anchor("NW")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_title("kernel cos² between groups", fontsize=8, color=palette.ink, loc="left")
    _frame(ax, palette)
    scale.imshow(table[254::-1, None], extent=(0, 1, 0, 1), aspect="auto", interpolation="nearest")
    scale.yaxis.tick_right()
    scale.set_xticks([])
    scale.set_yticks([0, 1], [decimal(low), decimal(high)])
    _frame(scale, palette)


def draw_histogram(ax: Axes, picture: Picture, palette: Palette) -> None:
    """Draw the densities of r within and across groups over that of filters of random direction."""
    reach, bins, densities = histogram(picture)
    ax.stairs(densities["chance"], bins, fill=True, color=palette.chance, alpha=0.45, label="isotropic null")
    drawn = (("across", palette.across, picture.across_counts), ("within", palette.within, picture.within_counts))
    for name, color, total in ((name, color, int(counts.sum())) for name, color, counts in drawn):
        if total > 0:
            label = f"{name} ({pairs_text(total)})"
            ax.stairs(densities[name], bins, color=color, linewidth=1.3, label=label)
    ax.set_xlim(-reach, reach)
    ax.set_ylim(bottom=0)
    ax.set_yticks([])
    ax.set_xlabel("r of two filters", fontsize=8, color=palette.ink, labelpad=2)
    ax.legend(
        fontsize=7, frameon=False, labelcolor=palette.ink, loc="lower left", bbox_to_anchor=(0, 1), ncols=3,
        handlelength=1.2, columnspacing=1.2, borderaxespad=0.1, borderpad=0,
    )  # fmt: skip
    _frame(ax, palette, sides=("bottom",))


def heatmap_figure(layer: LayerResult, picture: Picture, palette: Palette, measure: Measure = "pearson") -> Figure:
    """The whole picture of one layer."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 5.6), facecolor=palette.page)
    figure.text(
        0.055, 0.945, fitted(layer.name, _TITLE_EMS), fontsize=13, weight="bold", color=palette.ink, parse_math=False
    )
    about = facts(layer) if measure == "pearson" else f"{facts(layer)}  ·  r is the cosine"
    figure.text(0.055, 0.9, about, fontsize=8.5, color=palette.faint, parse_math=False)
    limit = color_limit(picture)
    draw_heatmap(figure.add_axes((0.055, 0.075, 0.455, 0.78)), picture, palette, limit)
    draw_scale(figure.add_axes((0.545, 0.16, 0.018, 0.62)), picture, palette, limit)
    if picture.kernels is None or len(picture.kernels) < 2:
        draw_histogram(figure.add_axes((0.655, 0.16, 0.32, 0.62)), picture, palette)
    else:
        matrix, bar = figure.add_axes((0.655, 0.475, 0.205, 0.35)), figure.add_axes((0.875, 0.475, 0.013, 0.35))
        draw_kernels(matrix, bar, picture.kernels, palette)
        draw_histogram(figure.add_axes((0.655, 0.1, 0.32, 0.27)), picture, palette)
    return figure


def _ticks(size: int) -> list[int]:
    return [0, size] if size < 8 else [0, size // 4, size // 2, 3 * size // 4, size]


def _frame(ax: Axes, palette: Palette, sides: tuple[str, ...] = ("left", "right", "top", "bottom")) -> None:
    ax.set_facecolor(palette.page)
    ax.tick_params(labelsize=7, length=2.5, width=0.6, colors=palette.faint)
    for side, spine in ax.spines.items():
        spine.set_visible(side in sides)
        spine.set_color(palette.faint)
        spine.set_linewidth(0.6)
