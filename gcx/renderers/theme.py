"""Colours of figures: diverging about 0, told apart by any eye, on a light or a dark page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gcx.renderers.options import Theme

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Palette:
    """One theme; colours as matplotlib takes them."""

    page: str
    ink: str
    faint: str
    """Secondary text, ticks and spines."""
    line: str
    """Group boundaries."""
    empty: str
    """What has no r: the diagonal, degenerate filters."""
    within: str
    across: str
    chance: str
    diverging: tuple[str, ...]
    """From r < 0 over 0, which is nearly the page's colour, to r > 0; evenly spaced."""
    sequential: tuple[str, ...]


_LIGHT = Palette(
    page="#ffffff",
    ink="#1b1f24",
    faint="#59636e",
    line="#1b1f24",
    empty="#d4d8dd",
    within="#b2182b",
    across="#2166ac",
    chance="#8c959f",
    # ColorBrewer RdBu, turned round
    diverging=(
        "#053061",
        "#2166ac",
        "#4393c3",
        "#92c5de",
        "#d1e5f0",
        "#f7f7f7",
        "#fddbc7",
        "#f4a582",
        "#d6604d",
        "#b2182b",
        "#67001f",
    ),
    sequential=("#f7f7f7", "#d9d9e8", "#9e9ac8", "#6a51a3", "#3f007d"),
)
_DARK = Palette(
    page="#0d1117",
    ink="#e6edf3",
    faint="#9198a1",
    line="#e6edf3",
    empty="#3d444d",
    within="#ff8f6b",
    across="#6cb6ff",
    chance="#767e88",
    diverging=(
        "#cfe8ff",
        "#8cc8ff",
        "#4a9be8",
        "#2b6cb0",
        "#17304b",
        "#12171e",
        "#44241c",
        "#a84a2a",
        "#e8764a",
        "#ffae85",
        "#ffe1d1",
    ),
    sequential=("#12171e", "#2f2a55", "#5a4fa8", "#9a8fe0", "#e4e0ff"),
)

PALETTES: dict[Theme, Palette] = {"light": _LIGHT, "dark": _DARK}


def lookup_table(colors: tuple[str, ...], size: int = 256) -> NDArray[Any]:
    """Evenly spaced colours as a table of RGBA bytes, (size, 4) uint8, linear in between.

    >>> lookup_table(("#000000", "#ffffff"), 3).tolist()
    [[0, 0, 0, 255], [128, 128, 128, 255], [255, 255, 255, 255]]
    """
    import numpy as np

    anchors = np.array([rgba(color) for color in colors], dtype=float)
    at = np.linspace(0, len(colors) - 1, size)
    table = np.stack([np.interp(at, np.arange(len(colors)), channel) for channel in anchors.T], axis=1)
    rounded: NDArray[Any] = np.rint(table).astype(np.uint8)
    return rounded


def rgba(color: str) -> tuple[int, int, int, int]:
    """`#rrggbb` as bytes, opaque."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16), 255
