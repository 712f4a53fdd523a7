"""All layers on one sheet, in network order: r in multiples of its isotropic null, so that tiles compare.

The tiles are one image on one Axes: a hundred Axes take seconds, a hundred tiles a fraction of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gcx.renderers.cells import decimal
from gcx.renderers.escape import figure_text
from gcx.renderers.labels import fitted, name_lines, width_in_ems
from gcx.renderers.picture_numbers import chance_width, colored
from gcx.renderers.theme import Palette, lookup_table, rgba
from gcx.results import LayerResult, ModelResult, Picture
from gcx.settings import Measure

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

DPI = 200
SIZES = ((4, 420), (12, 300), (32, 200), (160, 156))
"""(at most so many tiles, pixels of a tile); with more tiles they have `_SMALLEST`."""
_SMALLEST = 130
MOST = 1000
"""Tiles that one sheet has at most."""
_SCALE_ROWS = 128
"""Rows of a matrix that the scale is taken from; of a larger one every n-th stands for the others."""
_NARROWEST = 1480
"""Pixels that the title and the scale need beside each other."""
_WIDTH = 2240
"""Pixels of a row of tiles: 11.2 inches."""
_LABEL = 50
_LINE = 18
_GAP = 18
_HEADING = 56
_SECTION = 34
"""Room between the tiles of one model and the heading of the next."""
_TOP = 120
_MARGIN = 50
_LEGEND = (
    "colour: r in multiples of the isotropic null (grey strip)     "
    "label: groups, rms r within (° across) / isotropic null"
)
_NAME_SIZE = 5.8
_NAME_PIXELS = _NAME_SIZE / 72 * DPI
_HEADING_PIXELS = 11 / 72 * DPI
"""Of an em of headings, which are bold."""
_FEWEST_PIXELS = 12
"""Pixels of a group below which its boundaries would be clutter."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One layer, placed: pixels from the top left of the sheet."""

    layer: LayerResult
    picture: Picture
    left: int
    top: int
    size: int


@dataclass(frozen=True, slots=True)
class Sheet:
    """A laid-out sheet: its size in pixels, its tiles, and (text, top) of a heading per model."""

    width: int
    height: int
    tiles: tuple[Tile, ...]
    headings: tuple[tuple[str, int], ...]
    name_lines: int
    """Lines that a name may take."""
    left_over: int
    """Layers beyond `MOST`, which are not drawn."""
    limit: float
    """The |r|, in multiples of what chance gives, that gets the strongest colour."""


def lay_out(models: Sequence[ModelResult]) -> Sheet:
    """Place every layer that has a picture, in the order of the report."""
    drawn = [[(c, c.picture) for c in model.measured if c.picture is not None] for model in models]
    left_over = max(sum(map(len, drawn)) - MOST, 0)
    room = MOST
    for k, layers in enumerate(drawn):
        drawn[k] = layers[:room]
        room -= len(drawn[k])
    count = MOST - room
    size = next((pixels for most, pixels in SIZES if count <= most), _SMALLEST)
    columns = max(1, (_WIDTH + _GAP) // (size + _GAP))
    columns = min(columns, max(3, *map(len, drawn)))
    names = [layer.name for layers in drawn for layer, _ in layers]
    lines = 2 if any(width_in_ems(figure_text(name)) > size / _NAME_PIXELS for name in names) else 1
    label = _LABEL + (lines - 1) * _LINE
    top, tiles, headings = _TOP, [], []
    for model, layers in zip(models, drawn, strict=True):
        headings.append((model.path, top))
        top += _HEADING
        for k, (layer, picture) in enumerate(layers):
            row, column = divmod(k, columns)
            left = _MARGIN + column * (size + _GAP)
            tiles.append(Tile(layer, picture, left, top + row * (size + label + _GAP) + label, size))
        top += -(-len(layers) // columns) * (size + label + _GAP) + _SECTION
    width = max(2 * _MARGIN + columns * (size + _GAP) - _GAP, _NARROWEST)
    return Sheet(
        width,
        top + _MARGIN,
        tuple(tiles),
        tuple(headings),
        lines,
        left_over,
        common_limit([tile.picture for tile in tiles]),
    )


def common_limit(pictures: Sequence[Picture]) -> float:
    """One scale for all: reaches what most layers reach, and never so little that chance looks like more."""
    import numpy as np

    highs = []
    for picture in pictures:
        step = -(-len(picture.r) // _SCALE_ROWS)
        some = np.abs(picture.r[::step]) / chance_width(picture)
        rows = np.arange(len(some))
        some[rows, step * rows] = np.nan  # a filter with itself
        off = some[np.isfinite(some)]
        highs += [float(np.quantile(off, 0.99))] if off.size else []
    return float(np.clip(np.quantile(highs, 0.5), 4, 8)) if highs else 4.0


def tile_image(picture: Picture, size: int, limit: float, palette: Palette) -> NDArray[Any]:
    """One tile as (size, size, 4) bytes; filters are sampled, not averaged, so that chance keeps its width."""
    import numpy as np

    at = np.minimum((np.arange(size) + 0.5) * len(picture.r) / size, len(picture.r) - 1).astype(int)
    image = colored(picture.r[np.ix_(at, at)] / chance_width(picture), limit, palette)
    groups = len(picture.edges) - 1
    if groups > 1 and size / groups >= _FEWEST_PIXELS:
        lines = np.rint(np.array(picture.edges[1:-1]) * size / picture.edges[-1]).astype(int)
        ink = np.array(rgba(palette.line), dtype=float)
        image[lines] = np.rint(0.55 * image[lines] + 0.45 * ink)
        image[:, lines] = np.rint(0.55 * image[:, lines] + 0.45 * ink)
    return image


def compose(sheet: Sheet, palette: Palette) -> NDArray[Any]:
    """All tiles on one image, (height, width, 4) bytes, transparent between them."""
    import numpy as np

    canvas = np.zeros((sheet.height, sheet.width, 4), dtype=np.uint8)
    frame = rgba(palette.faint)
    for tile in sheet.tiles:
        canvas[tile.top - 1 : tile.top + tile.size + 1, tile.left - 1 : tile.left + tile.size + 1] = frame
        canvas[tile.top : tile.top + tile.size, tile.left : tile.left + tile.size] = tile_image(
            tile.picture, tile.size, sheet.limit, palette
        )
    return canvas


def draw_contact(ax: Axes, sheet: Sheet, palette: Palette) -> None:
    """Draw the sheet on `ax`, which is as large as the sheet: tiles with name, groups, rms r and what chance gives."""
    ax.set_xlim(0, sheet.width)
    ax.set_ylim(sheet.height, 0)
    ax.add_artist(_pixels(compose(sheet, palette)))
    ax.set_axis_off()
    for text, top in sheet.headings:
        shown = fitted(text, (sheet.width - 2 * _MARGIN) / _HEADING_PIXELS)
        ax.text(_MARGIN, top + 30, shown, fontsize=10, weight="bold", color=palette.ink, va="bottom", parse_math=False)
    for tile in sheet.tiles:
        lines = name_lines(tile.layer.name, tile.size / _NAME_PIXELS, sheet.name_lines)
        for k, line in enumerate(reversed(lines)):
            at = tile.top - 25 - k * _LINE
            ax.text(tile.left, at, line, fontsize=_NAME_SIZE, color=palette.ink, va="bottom", parse_math=False)
        ax.text(tile.left, tile.top - 6, caption(tile.layer), fontsize=5.4, color=palette.faint, va="bottom")


def _pixels(image: NDArray[Any]) -> Artist:
    """An image drawn pixel by pixel from the lower left of its Axes: `imshow` would resample what fits already."""
    import numpy as np
    from matplotlib.artist import Artist

    class Pixels(Artist):
        upside_down = np.ascontiguousarray(image[::-1])

        def draw(self, renderer: RendererBase) -> None:
            context = renderer.new_gc()
            x, y = (0.0, 0.0) if self.axes is None else self.axes.bbox.p0
            renderer.draw_image(context, x, y, self.upside_down)
            context.restore()
            self.stale = False

    return Pixels()


def caption(layer: LayerResult) -> str:
    """Groups, and rms r over its isotropic null: within groups, or, marked °, across where no group has a pair."""
    pairs, mark = (layer.within, "") if layer.within is not None else (layer.across, "°")
    groups = f"g{layer.groups}" + ("" if layer.groups_confidence == "certain" else "?")
    if pairs is None or pairs.rms_r is None or pairs.null_isotropic_r2 is None:
        return groups
    return f"{groups}  {decimal(pairs.rms_r)}{mark} / {decimal(pairs.null_isotropic_r2**0.5)}"


def draw_contact_scale(ax: Axes, limit: float, palette: Palette) -> None:
    """Draw the colours as a bar of multiples of chance, with chance itself as a strip beneath."""
    ax.imshow(lookup_table(palette.diverging, 255)[None], extent=(-limit, limit, 0, 1), aspect="auto")
    ax.fill_between([-1, 1], -0.75, -0.2, color=palette.chance, linewidth=0, clip_on=False)
    ax.set_xlim(-limit, limit)
    ax.set_ylim(0, 1)
    ax.set_yticks([])
    ax.set_xticks([-limit, 0, limit], [f"−{limit:.2g}×", "0", f"{limit:.2g}×"])
    ax.tick_params(labelsize=6, length=0, colors=palette.faint, pad=6)
    for spine in ax.spines.values():
        spine.set_visible(False)


def contact_figure(models: Sequence[ModelResult], palette: Palette, measure: Measure = "pearson") -> Figure:
    """One sheet of every layer that has a picture."""
    from matplotlib.figure import Figure

    sheet = lay_out(models)
    figure = Figure(figsize=(sheet.width / DPI, sheet.height / DPI), dpi=DPI, facecolor=palette.page)
    ax = figure.add_axes((0, 0, 1, 1))
    draw_contact(ax, sheet, palette)
    title = f"r{'' if measure == 'pearson' else ' (cosine)'} between the filters of every layer"
    if any(tile.picture.clustered for tile in sheet.tiles):
        title += ", clustered within groups"
    ax.text(_MARGIN, 46, title, fontsize=11, color=palette.ink, va="center")
    ax.text(_MARGIN, 88, _LEGEND, fontsize=6.5, color=palette.faint, va="center")
    if sheet.left_over:
        text = f"the first {MOST} of {MOST + sheet.left_over} layers; choose others by --include or --top"
        ax.text(_MARGIN, sheet.height - 30, text, fontsize=8, color=palette.ink, va="center")
    bar = figure.add_axes(
        (1 - (_MARGIN + 300) / sheet.width, 1 - 58 / sheet.height, 300 / sheet.width, 22 / sheet.height)
    )
    draw_contact_scale(bar, sheet.limit, palette)
    return figure
