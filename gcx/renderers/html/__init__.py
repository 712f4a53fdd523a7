"""The report as one HTML file: no network, no other file, opens by double-click, also without its script."""

from __future__ import annotations

from gcx.renderers.html.page import page
from gcx.renderers.options import RenderOptions
from gcx.results import Report


class Html:
    """Summary, coverage, a table to sort and filter, and a panel per layer with its pictures and numbers."""

    name = "html"
    suffixes: tuple[str, ...] = (".html", ".htm")
    binary = False
    needs_pictures = True

    def render(self, report: Report, options: RenderOptions) -> str:
        """The whole page."""
        return page(report, options)
