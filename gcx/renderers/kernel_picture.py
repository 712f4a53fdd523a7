"""`gcx filters`: the kernels of one layer as a PNG, in blocks by group, and as coloured half-blocks on a terminal."""

from __future__ import annotations

from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING, Any

from gcx.filter_bank import FilterBank
from gcx.renderers.canvas import EMPTY, LEVELS, PAGE, Canvas, diverging_index, text_width
from gcx.renderers.cells import decimal, shape_text
from gcx.renderers.escape import terminal_text
from gcx.renderers.kernel_layout import Layout, Room, lay_out_kernels
from gcx.renderers.labels import fitted
from gcx.renderers.options import RenderOptions
from gcx.renderers.png import rgb_png
from gcx.renderers.theme import PALETTES, Palette, lookup_table, rgba
from gcx.words import plural

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LABEL = 16
ROOM = Room(width=1400, height=1800, least=3, largest=16, comfortable=900, gap=2, apart=14 + _LABEL)
"""Of a PNG."""
_ROWS = 30
"""Lines that the terminal's picture may take."""
_MARGIN, _TITLE, _TEXT, _SMALL, _LINE = 20, 16, 12, 11, 18
_BAR_WIDE, _BAR_HIGH = 200, 10
_NARROWEST = 420
_SAMPLE = 2**20
"""Weights that the scale is taken from; of more every n-th."""


def kernel_png(bank: FilterBank, options: RenderOptions) -> bytes:
    """The picture as a PNG file."""
    palette = PALETTES[options.theme]
    layout = lay_out_kernels(bank, ROOM)
    high, wide = layout.blocks[0].shape[:2]
    labels = _labels(bank, layout)
    step_x = max(wide, max(map(_label_width, labels), default=0)) + ROOM.apart - _LABEL
    step_y = high + ROOM.apart - (0 if labels else _LABEL)
    width = max(layout.across * step_x + 2 * _MARGIN, _NARROWEST)
    lines = _lines(bank, layout, width - 2 * _MARGIN)
    top = _MARGIN + _TITLE + 6 + _LINE * len(lines) + 8
    legend = 0 if bank.reads_colors else _BAR_HIGH + 2 * _LINE
    canvas = Canvas(width, top + layout.down * step_y + _MARGIN + legend, palette)
    canvas.text(_MARGIN, _MARGIN + _TITLE - 3, fitted(bank.name, (width - 2 * _MARGIN) / _TITLE), _TITLE, bold=True)
    for number, line in enumerate(lines, 1):
        canvas.text(_MARGIN, _MARGIN + _TITLE + 2 + _LINE * number, line, _TEXT, ink="faint")
    places = []
    for number in range(len(layout.blocks)):
        row, column = divmod(number, layout.across)
        left, above = _MARGIN + column * step_x, top + row * step_y
        if labels:
            canvas.text(left, above + _SMALL, labels[number], _SMALL, ink="faint")
            above += _LABEL
        places.append((left, above))
    if bank.reads_colors:
        return _in_color(canvas, layout, places, palette)
    limit = color_limit(bank)
    for block, (left, above) in zip(layout.blocks, places, strict=True):
        canvas.block(_gaps_as(PAGE, block, diverging_index(block, limit)), left, above)
    _legend(canvas, limit, top + layout.down * step_y)
    return canvas.png()


def kernel_text(bank: FilterBank, options: RenderOptions) -> str:
    """What the layer is, and on a terminal with colour its kernels, two rows of them to a line."""
    lines = [bank.path, f"{bank.name}  {'  '.join(_facts(bank))}"]
    drawing: list[str] = []
    if options.color and options.unicode and options.width:
        room = Room(options.width, 2 * _ROWS, least=1, largest=4, comfortable=2 * _ROWS, gap=1, apart=2)
        layout = lay_out_kernels(bank, room)
        lines += _about(bank, layout)
        drawing = _half_blocks(_picture(bank, layout, PALETTES["dark"]))
    else:
        lines += [f"note: {note}" for note in bank.notes]
        lines.append("to see the kernels: --export FILE.png")
    shown = [terminal_text(line, unicode=options.unicode) for line in lines]
    return "\n".join([*shown, "", *drawing]) + "\n" if drawing else "\n".join(shown) + "\n"


def color_limit(bank: FilterBank) -> float:
    """The share of the largest |w| that gets the strongest colour: nearly all weights are within it."""
    import numpy as np

    some = bank.kernels.ravel()[:: -(-bank.kernels.size // _SAMPLE) or 1]
    sizes = np.abs(some[np.isfinite(some)])
    return max(float(np.quantile(sizes, 0.995)), 1e-3) if sizes.size else 1.0


def _facts(bank: FilterBank) -> list[str]:
    sure = "" if bank.groups_confidence == "certain" else "?"
    kind = "transposed " if bank.transposed else ""
    return [f"{kind}{shape_text(bank.weight_shape)}", f"{plural(bank.groups, 'group')} ({bank.groups_from}{sure})"]


def _about(bank: FilterBank, layout: Layout) -> list[str]:
    by = [f"blocks: the {len(bank.kernels)} groups in which {bank.reader} reads it"] if bank.reader else []
    shown = [f"shown: {layout.shown}"] if layout.shown else []
    return [layout.what, *by, *shown, *bank.notes]


def _lines(bank: FilterBank, layout: Layout, room: int) -> list[str]:
    """The sentences under the name, each on a line of its own or broken at a blank."""
    lines = []
    for text in ("  ·  ".join(_facts(bank)), *_about(bank, layout)):
        line = ""
        for word in text.split(" "):
            longer = f"{line} {word}" if line else word
            if line and text_width(longer, _TEXT) > room:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def _labels(bank: FilterBank, layout: Layout) -> list[str]:
    """What stands over each block, where blocks are groups and few enough."""
    if len(layout.blocks) < 2 or len(layout.blocks) > 64:
        return []
    step = ceil(len(bank.kernels) / len(layout.blocks))
    numbers = range(0, len(bank.kernels), step)
    if not bank.color_shares:
        return [f"group {number}" for number in numbers]
    shares = [bank.color_shares[number] for number in numbers]
    return [f"group {number}: colour {decimal(share, 2)}" for number, share in zip(numbers, shares, strict=True)]


def _label_width(label: str) -> int:
    return text_width(label, _SMALL)


def _gaps_as(color: int, block: NDArray[Any], index: NDArray[Any]) -> NDArray[Any]:
    """Colours of a block: what stands between tiles gets this one, a weight without a number keeps its own."""
    import numpy as np

    whole_rows, whole_columns = np.isnan(block).all(axis=1), np.isnan(block).all(axis=0)
    index[whole_rows] = color
    index[:, whole_columns] = color
    return index


def _legend(canvas: Canvas, limit: float, top: int) -> None:
    import numpy as np

    ramp = np.linspace(0, LEVELS - 1, _BAR_WIDE).round().astype(np.uint8)
    canvas.block(np.repeat(ramp[None], _BAR_HIGH, axis=0), _MARGIN, top)
    canvas.frame(_MARGIN, top, _BAR_WIDE, _BAR_HIGH)
    text = f"±{decimal(limit, 2)} of the layer's largest |w|"
    canvas.text(_MARGIN + _BAR_WIDE + 10, top + _BAR_HIGH, text, _SMALL, ink="faint")


def _in_color(canvas: Canvas, layout: Layout, places: list[tuple[int, int]], palette: Palette) -> bytes:
    """The canvas in any colours, with the blocks on it."""
    picture = canvas.rgb()
    for block, (left, above) in zip(layout.blocks, places, strict=True):
        pixels = _rgb(block, palette)
        picture[above : above + len(pixels), left : left + pixels.shape[1]] = pixels
    return rgb_png(picture)


def _rgb(block: NDArray[Any], palette: Palette) -> NDArray[Any]:
    """Colours in [0, 1] as bytes, the page's where nothing stands."""
    import numpy as np

    nothing = ~np.isfinite(block).all(axis=2)
    pixels: NDArray[Any] = np.rint(np.nan_to_num(block, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1) * 255).astype(
        np.uint8
    )
    pixels[nothing] = rgba(palette.page)[:3]
    return pixels


def _picture(bank: FilterBank, layout: Layout, palette: Palette) -> NDArray[Any]:
    """All blocks as one picture, (height, width, 3) bytes."""
    import numpy as np

    high, wide = layout.blocks[0].shape[:2]
    table = np.vstack([lookup_table(palette.diverging, LEVELS), np.array(rgba(palette.empty), dtype=np.uint8)])
    limit = color_limit(bank)
    picture = np.zeros((layout.down * (high + 2), layout.across * (wide + 2), 3), dtype=np.uint8)
    picture[:] = rgba(palette.page)[:3]
    for number, block in enumerate(layout.blocks):
        row, column = divmod(number, layout.across)
        if bank.reads_colors:
            pixels = _rgb(block, palette)
        else:
            pixels = table[np.minimum(_gaps_as(EMPTY, block, diverging_index(block, limit)), EMPTY)][:, :, :3]
            pixels[np.isnan(block).all(axis=1)] = rgba(palette.page)[:3]
            pixels[:, np.isnan(block).all(axis=0)] = rgba(palette.page)[:3]
        top, left = row * (high + 2), column * (wide + 2)
        picture[top : top + high, left : left + wide] = pixels
    return picture[: len(picture) - 2, : picture.shape[1] - 2]


def _half_blocks(picture: NDArray[Any]) -> list[str]:
    """Two rows of pixels to a line of upper half-blocks, in 24-bit colour."""
    rows = [*picture.tolist()]
    if len(rows) % 2:
        rows.append(rows[-1])
    lines = []
    for upper, lower in list(pairwise(rows))[::2]:
        line, last = "", None
        for above, below in zip(upper, lower, strict=True):
            colors = (*above, *below)
            if colors != last:
                line += "\x1b[38;2;{};{};{};48;2;{};{};{}m".format(*colors)
            line, last = f"{line}▀", colors
        lines.append(f"{line}\x1b[0m")
    return lines
