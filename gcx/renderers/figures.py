"""Pictures as PNG, SVG and PDF: one layer as a heatmap, several as a contact sheet. Equal reports give equal bytes."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gcx.renderers.contact import DPI, contact_figure
from gcx.renderers.heatmap import heatmap_figure
from gcx.renderers.options import RenderOptions
from gcx.renderers.png import rgb_png
from gcx.renderers.run_figure import run_figure
from gcx.renderers.theme import PALETTES, Palette
from gcx.results import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "gcx",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
}


@dataclass(frozen=True, slots=True)
class FigureFormat:
    """One file format of pictures."""

    name: str
    suffixes: tuple[str, ...]
    binary: bool = True
    needs_pictures: bool = True

    def render(self, report: Report, options: RenderOptions) -> bytes:
        """A heatmap of the only layer with a picture, a contact sheet of several, or the lines of a training run."""
        with quiet_matplotlib():
            return saved(report_figure(report, PALETTES[options.theme]), self.name)


FIGURES: tuple[FigureFormat, ...] = tuple(FigureFormat(name, (f".{name}",)) for name in ("png", "svg", "pdf"))


def report_figure(report: Report, palette: Palette) -> Figure:
    """The figure that shows a report; one without pictures says so."""
    if report.track is not None:
        return run_figure(report.track, palette)
    drawn = [layer for model in report.models for layer in model.measured if layer.picture is not None]
    if len(drawn) == 1 and drawn[0].picture is not None:
        return heatmap_figure(drawn[0], drawn[0].picture, palette, report.settings.measure)
    if drawn:
        models = [model for model in report.models if any(layer.picture for layer in model.measured)]
        return contact_figure(models, palette, report.settings.measure)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 1.5), facecolor=palette.page)
    figure.text(0.5, 0.5, "no layer was measured", color=palette.ink, ha="center", va="center")
    return figure


def saved(figure: Figure, kind: str) -> bytes:
    """A figure's bytes, without a clock or a version in them."""
    if kind == "png":
        return _png(figure)
    out = io.BytesIO()
    figure.savefig(out, format=kind, dpi=DPI, metadata=_METADATA[kind], facecolor=figure.get_facecolor())
    return out.getvalue()


def _png(figure: Figure) -> bytes:
    """By the writer of small pictures: matplotlib's takes longer over the file than over the drawing."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(DPI)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    # Pages are opaque, so nothing is lost with the fourth channel.
    return rgb_png(np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[:, :, :3]), DPI)


@contextmanager
def quiet_matplotlib() -> Iterator[None]:
    """Draw by our own style, whatever a matplotlibrc says, and say nothing of fonts, caches and a read-only home."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        import matplotlib as mpl

        with mpl.rc_context(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            mpl.rcdefaults()
            mpl.rcParams.update(_STYLE)
            yield
    finally:
        logger.setLevel(level)
