"""What a renderer is, and every renderer there is.

A renderer turns a report into text or bytes and returns it; it computes no measure and writes nothing.
To add an output: one file beside this, one entry in `RENDERERS`.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from gcx.errors import UsageError
from gcx.renderers.cells import Column
from gcx.renderers.comparison_columns import COMPARISON_COLUMNS
from gcx.renderers.csv import Csv
from gcx.renderers.figures import FIGURES
from gcx.renderers.github import Github
from gcx.renderers.html import Html
from gcx.renderers.json import Json
from gcx.renderers.junit import Junit
from gcx.renderers.listing import LISTING_COLUMNS
from gcx.renderers.markdown import Markdown
from gcx.renderers.options import RenderOptions
from gcx.renderers.run_columns import CHECKPOINT_COLUMNS, SERIES_COLUMNS
from gcx.renderers.tables import COLUMNS, DISTRIBUTION, PARTITION_COLUMNS
from gcx.renderers.terminal import Terminal
from gcx.results import Listing, Report

__all__ = [
    "PRINTED_COLUMNS",
    "RENDERERS",
    "ListingRenderer",
    "RenderOptions",
    "Renderer",
    "by_name",
    "by_suffix",
    "listing_by_name",
]


class Renderer(Protocol):
    """One output format of a report."""

    @property
    def name(self) -> str:
        """What `--format` calls it."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """File suffixes that `--export` knows it by, with the dot."""

    @property
    def binary(self) -> bool:
        """It returns bytes."""

    @property
    def needs_pictures(self) -> bool:
        """It draws `LayerResult.picture`, so the pipeline has to make them."""

    def render(self, report: Report, options: RenderOptions) -> str | bytes:
        """The report as text, or as bytes where `binary`."""


@runtime_checkable
class ListingRenderer(Protocol):
    """A renderer that can also show what `gcx layers` finds."""

    @property
    def name(self) -> str:
        """What `--format` calls it."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """File suffixes, with the dot."""

    def render_listing(self, listing: Listing, options: RenderOptions) -> str:
        """The listing as text."""


RENDERERS: tuple[Renderer, ...] = (Terminal(), Json(), Csv(), Markdown(), Html(), Junit(), Github(), *FIGURES)
"""Every output format there is."""

PRINTED_COLUMNS: tuple[Column[Any], ...] = (
    *COLUMNS,
    DISTRIBUTION,
    *(column for column in PARTITION_COLUMNS if column.key not in {known.key for known in COLUMNS}),
    *(column for column in LISTING_COLUMNS if column.key not in {known.key for known in COLUMNS}),
    *COMPARISON_COLUMNS,
    *CHECKPOINT_COLUMNS,
    *(column for column in SERIES_COLUMNS if column.key not in {known.key for known in COLUMNS}),
)
"""Every column of any table, once: what `gcx explain` can say of a `heading` or a `key`."""


def by_name(name: str) -> Renderer:
    """The renderer that `--format` names.

    Raises:
        UsageError: there is none of this name.

    >>> by_name("json").suffixes
    ('.json',)
    """
    for renderer in RENDERERS:
        if renderer.name == name:
            return renderer
    known = ", ".join(renderer.name for renderer in RENDERERS)
    raise UsageError(f"there is no format {name!r}", cure=f"choose one of {known}")


def by_suffix(suffix: str) -> Renderer:
    """The renderer for a file with this suffix, with its dot, in any case.

    Raises:
        UsageError: no renderer writes such files.

    >>> by_suffix(".MD").name
    'markdown'
    """
    for renderer in RENDERERS:
        if suffix.lower() in renderer.suffixes:
            return renderer
    known = ", ".join(suffix for renderer in RENDERERS for suffix in renderer.suffixes)
    raise UsageError(f"no format has the suffix {suffix!r}", cure=f"use one of {known}")


def listing_by_name(name: str) -> ListingRenderer:
    """The renderer of a listing that `--format` names.

    Raises:
        UsageError: there is none of this name, or it only draws measured layers.

    >>> listing_by_name("csv").name
    'csv'
    """
    renderer = by_name(name)
    if isinstance(renderer, ListingRenderer):
        return renderer
    known = ", ".join(renderer.name for renderer in RENDERERS if isinstance(renderer, ListingRenderer))
    raise UsageError(f"format {name!r} cannot show a list of layers", cure=f"choose one of {known}")
