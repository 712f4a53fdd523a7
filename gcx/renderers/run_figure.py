"""A training run as lines: the whole model on top, every layer beneath, each over its chance.

Prepared (`curves.py`), then drawn on the Axes that one is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gcx.renderers.cells import decimal
from gcx.renderers.curves import Curve, layer_curve, positions, series_rows, whole_curves
from gcx.renderers.escape import figure_text
from gcx.renderers.labels import fitted
from gcx.renderers.theme import Palette
from gcx.training_run import Track
from gcx.words import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 60
"""Layers that one figure has at most: of more, those that move most."""
_COLUMNS = 6
_WIDTH = 11.2
_TOP, _ROW, _EDGE = 3.3, 1.12, 0.5
"""Inches of the upper plots, of a row of small ones, and of the margin."""
_NAME_EMS = 21.0
_LARGE = 14
"""Checkpoints up to which each gets a dot."""


def run_figure(track: Track, palette: Palette) -> Figure:
    """The figure of one run: (a) the whole model, (b) its layers in network order; one layer is the whole model."""
    from matplotlib.figure import Figure

    whole, curves, left_out = whole_curves(track), *_chosen(track)
    what = "all layers"
    if len(curves) == 1:
        what, curves = fitted(figure_text(curves[0].title), _NAME_EMS), []
    rows = -(-len(curves) // _COLUMNS)
    height = _TOP + (_EDGE + rows * _ROW if curves else 0.0)
    figure = Figure(figsize=(_WIDTH, height), facecolor=palette.page)
    axis = positions(track)[1]
    upper = 1 - _TOP / height
    count = max(len(whole), 1)
    wide = (0.9 - 0.08 * (count - 1)) / count
    for k, curve in enumerate(whole):
        axes = figure.add_axes((0.07 + k * (wide + 0.08), upper + 0.62 / height, wide, (_TOP - 1.58) / height))
        draw_curve(axes, curve, palette)
        axes.set_title(f"mean r² {curve.title}, {what}", loc="left", fontsize=10, color=palette.ink, pad=6)
        axes.set_xlabel(axis, fontsize=8.5, color=palette.faint)
        _legend(axes, curve, palette)
    _heading(figure, track, palette, height)
    for k, curve in enumerate(curves):
        row, column = divmod(k, _COLUMNS)
        step = 0.9 / _COLUMNS
        bottom = upper - (0.3 + (row + 1) * _ROW - 0.14) / height
        axes = figure.add_axes((0.07 + column * step, bottom, step - 0.036, (_ROW - 0.42) / height))
        draw_curve(axes, curve, palette, small=True)
        name = fitted(figure_text(curve.title), _NAME_EMS)
        axes.set_title(name, loc="left", fontsize=6.4, color=palette.ink, pad=2.5)
    if curves:
        text = "rms r of each layer within groups (blue: across, where no group has a pair), over its chance"
        if left_out:
            text += f"; the {len(curves)} that move most, {plural(left_out, 'layer')} not shown"
        figure.text(0.07, upper - 0.1 / height, text, fontsize=9, color=palette.ink, va="center")
    return figure


def draw_curve(axes: Axes, curve: Curve, palette: Palette, *, small: bool = False) -> None:
    """Draw one series and its chance on given Axes; a line is never drawn between lineages or over a gap.

    Large ones stand on 0, so that what is a hair's breadth looks it; `small` ones say how they move.
    """
    color = palette.within if curve.within else palette.across
    dots = 0.0 if small or len(curve.x) > _LARGE else 4.0
    for part in curve.parts:
        x = [curve.x[place] for place in part]
        y, chance = ([_number(values[place]) for place in part] for values in (curve.y, curve.chance))
        alone = len(part) == 1
        axes.plot(
            x, chance, color=palette.chance, lw=1.2 if small else 1.6, ls=(0, (4, 2)), marker="_" if alone else ""
        )
        marker: dict[str, Any] = {"marker": "o", "ms": 3.0 if alone and small else dots or 4.0} if alone or dots else {}
        axes.plot(x, y, color=color, lw=1.2 if small else 2.0, solid_capstyle="round", **marker)
    _dress(axes, curve, palette, small=small)


def _dress(axes: Axes, curve: Curve, palette: Palette, *, small: bool) -> None:
    """Limits about the data, few ticks, no box."""
    from matplotlib.ticker import MaxNLocator

    known = [value for value in (*curve.y, *curve.chance) if value is not None]
    low, high = min(known), max(known)
    room = max(0.12 * (high - low), 0.03 * high, 1e-6)
    axes.set_ylim(max(0.0, low - room) if small else 0.0, high + room if small else 1.08 * high or 1e-6)
    first, last = min(curve.x), max(curve.x)
    side = 0.03 * (last - first) or 0.5
    axes.set_xlim(first - side, last + side)
    axes.set_facecolor(palette.page)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(palette.faint)
        spine.set_linewidth(0.6)
    axes.tick_params(colors=palette.faint, labelsize=5.5 if small else 8, length=2, width=0.6, pad=1.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))  # half an epoch is none
    if small:
        axes.set_xticks([])
        axes.set_yticks([low, high], [decimal(low), decimal(high)])


def _legend(axes: Axes, curve: Curve, palette: Palette) -> None:
    chance, measured = axes.get_lines()[:2]
    handles, labels = [measured], ["measured"]
    if curve.has_chance:
        handles, labels = [*handles, chance], [*labels, "chance (permuted null)"]
    found = axes.legend(handles, labels, fontsize=8, frameon=False, loc="best")
    for text in found.get_texts():
        text.set_color(palette.ink)


def _heading(figure: Figure, track: Track, palette: Palette, height: float) -> None:
    first, last = (figure_text(track.checkpoints[at].path) for at in (0, -1))
    title = fitted(first if first == last else f"{first} to {last}", 74.0)
    figure.text(0.07, 1 - 0.26 / height, title, fontsize=11, weight="bold", color=palette.ink, va="center")
    said = f"{plural(len(track.checkpoints), 'checkpoint')}"
    breaks = [event for event in track.events if event.kind in ("lineage", "architecture")]
    if breaks:
        said += f"; {plural(len(breaks), 'break')}: {figure_text(breaks[0].text)}"
    figure.text(0.07, 1 - 0.48 / height, fitted(said, 110.0), fontsize=8.5, color=palette.faint, va="center")


def _chosen(track: Track) -> tuple[Sequence[Curve], int]:
    """The layers to draw, in network order, and how many are left out."""
    curves = [layer_curve(row) for row in series_rows(track)]
    kept = sorted(range(len(curves)), key=lambda at: -curves[at].spread)[:MOST]
    return [curves[at] for at in sorted(kept)], len(curves) - len(kept)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
