"""One heatmap per layer, the fast way: every filter a square of pixels, a few lines of text, no figure around it.

`--export DIR/` writes them; a loop of `imshow` and `savefig` takes many times as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gcx.renderers.canvas import CHANCE, LEVELS, LINE, Canvas, diverging_index, text_width
from gcx.renderers.cells import decimal
from gcx.renderers.labels import fitted
from gcx.renderers.options import RenderOptions
from gcx.renderers.picture_numbers import LINES, about_cells, color_limit, facts
from gcx.renderers.theme import PALETTES, Palette
from gcx.results import LayerResult, Picture, Report
from gcx.settings import Measure

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST = 480
"""Pixels of a matrix at least: filters become squares of whole pixels, so that none is larger than another."""
_MARGIN = 20
_TITLE, _TEXT, _SMALL = 16, 12, 11
_LINE = 18
_BAR = 16
"""Width of the colour bar, and the room right of the matrix that it and its numbers take."""
_ASIDE = 104


def layer_plates(report: Report, options: RenderOptions) -> Iterator[tuple[str, bytes]]:
    """One PNG per layer that has a picture, drawn when it is asked for: (the layer's name, the file)."""
    palette = PALETTES[options.theme]
    for model in report.models:
        for layer in model.measured:
            if layer.picture is not None:
                yield layer.name, layer_plate(layer, layer.picture, palette, report.settings.measure)


def layer_plate(layer: LayerResult, picture: Picture, palette: Palette, measure: Measure = "pearson") -> bytes:
    """One layer's r of every pair of filters as a PNG, with its name, its numbers and the scale."""
    limit = color_limit(picture)
    matrix = matrix_pixels(picture, limit)
    size = len(matrix)
    width = _MARGIN + size + _ASIDE
    lines = _wrapped([*facts(layer).split("  ·  "), *_about(picture, measure)], width - 2 * _MARGIN)
    top = _MARGIN + _TITLE + 6 + _LINE * len(lines) + 10
    canvas = Canvas(width, top + size + _MARGIN, palette)
    title = fitted(layer.name, (width - 2 * _MARGIN) / _TITLE)
    canvas.text(_MARGIN, _MARGIN + _TITLE - 3, title, _TITLE, bold=True)
    for number, line in enumerate(lines, 1):
        canvas.text(_MARGIN, _MARGIN + _TITLE + 2 + _LINE * number, line, _TEXT, ink="faint")
    canvas.block(matrix, _MARGIN, top)
    canvas.frame(_MARGIN, top, size, size)
    _scale(canvas, picture, limit, _MARGIN + size + 28, top, size)
    return canvas.png()


def matrix_pixels(picture: Picture, limit: float) -> NDArray[Any]:
    """r as (s, s) colours of a canvas, s >= LEAST: whole pixels per filter, a gap between groups where it can be seen.

    The gaps stand between the filters: they cover none.
    """
    import numpy as np

    index = diverging_index(picture.r, limit)
    scale = max(1, -(-LEAST // len(index)))
    inner = picture.edges[1:-1]
    if 0 < len(inner) < min(LINES, picture.edges[-1] - 1):  # of one filter per group every cell would stand alone
        at = np.rint(np.array(inner) / picture.step).astype(int)
        gap = 2 if len(inner) < 16 else 1
        index = index.repeat(scale, axis=0).repeat(scale, axis=1)
        for axis in (0, 1):
            index = np.insert(index, np.repeat(at * scale, gap), LINE, axis=axis)
        return index
    return index.repeat(scale, axis=0).repeat(scale, axis=1)


def _about(picture: Picture, measure: Measure) -> Iterator[str]:
    if measure == "cosine":
        yield "r is the cosine"
    yield from about_cells(picture)


def _wrapped(parts: list[str], room: int) -> list[str]:
    """The parts on as few lines as they fit."""
    lines = [parts[0]]
    for part in parts[1:]:
        longer = f"{lines[-1]}  ·  {part}"
        if text_width(longer, _TEXT) <= room:
            lines[-1] = longer
        else:
            lines.append(part)
    return lines


def _scale(canvas: Canvas, picture: Picture, limit: float, left: int, top: int, size: int) -> None:
    """The colours as a bar of r, and beside it the width that chance alone gives."""
    import numpy as np

    height = size - 3 * _LINE
    ramp = np.linspace(LEVELS - 1, 0, height).round().astype(np.uint8)
    canvas.block(np.repeat(ramp[:, None], _BAR, axis=1), left, top)
    canvas.frame(left, top, _BAR, height)
    reach = max(1, round(min(1.0, picture.null_rms / limit) * height / 2))
    canvas.fill(left - 12, top + height // 2 - reach, 8, 2 * reach, CHANCE)
    for share in (1, 0.5, 0, -0.5, -1):
        text = "0" if share == 0 else decimal(share * limit, 2).replace("-", "−")
        at = min(max(top + round((1 - share) * height / 2) + 4, top + 10), top + height)
        canvas.text(left + _BAR + 6, at, text, _SMALL, ink="faint")
    canvas.fill(left - 12, top + height + 14, 8, 8, CHANCE)
    canvas.text(left + 1, top + height + 22, "isotropic", _SMALL, ink="faint")
    canvas.text(left + 1, top + height + 38, f"null ±{decimal(picture.null_rms)}", _SMALL, ink="faint")
