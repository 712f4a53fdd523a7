"""A picture in the making: pixels of few colours, blocks of them, lines and text, without a figure around."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal

from gcx.renderers.escape import figure_text
from gcx.renderers.png import palette_png
from gcx.renderers.theme import Palette, lookup_table, rgba

if TYPE_CHECKING:
    from matplotlib.ft2font import FT2Font
    from numpy.typing import NDArray

LEVELS = 161
"""Colours between the two ends of r; odd, so that one of them is 0."""
EMPTY = LEVELS
LINE, FAINT, CHANCE = EMPTY + 1, EMPTY + 2, EMPTY + 3
_SHADES = 16
"""Shades of text between the page and the ink: smooth edges."""
_INK, _PALE = CHANCE + 1, CHANCE + 1 + _SHADES
PAGE = _INK
"""The first shade of ink is none."""
_DPI = 72
"""At which a font's size in points is one in pixels."""

Ink = Literal["ink", "faint"]


class Canvas:
    """(height, width) pixels, at first all of the page's colour; everything is in pixels from the top left."""

    def __init__(self, width: int, height: int, palette: Palette) -> None:
        import numpy as np

        self.pixels: NDArray[Any] = np.full((height, width), PAGE, dtype=np.uint8)
        self._palette = palette

    def block(self, pixels: NDArray[Any], left: int, top: int) -> None:
        """Put a block of colours down."""
        height, width = pixels.shape
        self.pixels[top : top + height, left : left + width] = pixels

    def fill(self, left: int, top: int, width: int, height: int, color: int) -> None:
        """Fill a rectangle."""
        self.pixels[top : top + height, left : left + width] = color

    def frame(self, left: int, top: int, width: int, height: int) -> None:
        """A line of one pixel around a rectangle."""
        self.pixels[[top - 1, top + height], left - 1 : left + width + 1] = FAINT
        self.pixels[top - 1 : top + height + 1, [left - 1, left + width]] = FAINT

    def text(self, left: int, baseline: int, text: str, size: int, *, ink: Ink = "ink", bold: bool = False) -> None:
        """Write one line; what does not fit on the canvas is cut off."""
        import numpy as np

        glyphs, below = _drawn(figure_text(text), size, bold)
        top = baseline + below - len(glyphs)
        room = self.pixels[max(top, 0) : baseline + below, left : left + glyphs.shape[1]]
        shades = np.rint(glyphs[len(glyphs) - len(room) :, : room.shape[1]] * ((_SHADES - 1) / 255)).astype(np.uint8)
        room[shades > 0] = ((_INK if ink == "ink" else _PALE) + shades)[shades > 0]

    def rgb(self) -> NDArray[Any]:
        """The picture in full colours, (height, width, 3) bytes, to be painted on."""
        colors: NDArray[Any] = _colors(self._palette)[self.pixels][:, :, :3]
        return colors

    def png(self) -> bytes:
        """The picture as a PNG file."""
        return palette_png(self.pixels, _colors(self._palette))


def text_width(text: str, size: int, *, bold: bool = False) -> int:
    """How many pixels wide a line of text is."""
    return int(_drawn(figure_text(text), size, bold)[0].shape[1])


def diverging_index(values: NDArray[Any], limit: float) -> NDArray[Any]:
    """Numbers as colours of a canvas, symmetric about 0; what is not finite is EMPTY.

    >>> import numpy as np
    >>> diverging_index(np.array([-1.0, 0.0, 0.5, np.nan]), 0.5).tolist()
    [0, 80, 160, 161]
    """
    import numpy as np

    half = LEVELS // 2
    scaled = np.asarray(values, dtype=np.float32) * (half / limit)
    np.clip(scaled, -half, half, out=scaled)
    known = np.isfinite(scaled)
    if known.all():
        return (scaled + (half + 0.5)).astype(np.uint8)
    return np.where(known, np.where(known, scaled, 0) + (half + 0.5), EMPTY).astype(np.uint8)


@cache
def _colors(palette: Palette) -> NDArray[Any]:
    import numpy as np

    marks = [rgba(color) for color in (palette.empty, palette.line, palette.faint, palette.chance)]
    inks = [lookup_table((palette.page, ink), _SHADES) for ink in (palette.ink, palette.faint)]
    return np.vstack([lookup_table(palette.diverging, LEVELS), np.array(marks, dtype=np.uint8), *inks])


@cache
def _font(size: int, bold: bool) -> FT2Font:
    from pathlib import Path

    with _quiet():
        import matplotlib as mpl
        from matplotlib.ft2font import FT2Font

        name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
        font = FT2Font(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / name))
    font.set_size(size, _DPI)
    return font


@lru_cache(maxsize=256)
def _drawn(text: str, size: int, bold: bool) -> tuple[NDArray[Any], int]:
    """A line of text as (height, width) coverage, 0 to 255, and how many of its rows lie below the baseline."""
    import numpy as np

    font = _font(size, bold)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        font.set_text(text or " ", 0.0)
        font.draw_glyphs_to_bitmap(antialiased=True)
    return np.array(font.get_image()), round(font.get_descent() / 64)


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing is said of caches and a read-only home."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
