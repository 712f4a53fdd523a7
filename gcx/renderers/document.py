"""What a report says, in order: sections of headings, tables and sentences. A format only says how these look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gcx.comparison import Comparison
from gcx.renderers.cells import Table, build_table
from gcx.renderers.comparison_columns import comparison_tables
from gcx.renderers.comparison_lines import comparison_lines
from gcx.renderers.curves import series_rows
from gcx.renderers.gates import gate_lines
from gcx.renderers.listing import LISTING_COLUMNS, listing_lines
from gcx.renderers.prose import (
    Line,
    footnote_lines,
    footnotes,
    join_marks,
    legend_lines,
    model_lines,
    partition_line,
    partitions,
)
from gcx.renderers.run_columns import CHECKPOINT_COLUMNS, SERIES_COLUMNS, TREND, checkpoint_rows
from gcx.renderers.run_lines import track_lines
from gcx.renderers.tables import COLUMNS, DISTRIBUTION, PARTITION_COLUMNS
from gcx.results import Listing, ModelListing, ModelResult, Report
from gcx.settings import Settings
from gcx.training_run import Track
from gcx.words import plural

_FIRST = 3
"""Columns that say which layer it is; the drawing of r comes after them, then the numbers."""
_DRAWING = Line(
    DISTRIBUTION.title,
    "how r is distributed, in widths of the isotropic null; see `gcx explain distribution`",
    "legend",
)


@dataclass(frozen=True, slots=True)
class Heading:
    """What a section is about: `subject`, or `subject relation other`, and in brackets what more there is to say."""

    subject: str
    """Untrusted text, as `other`."""
    relation: str = ""
    other: str = ""
    about: str = ""


@dataclass(frozen=True, slots=True)
class TableBlock:
    """A table, and per row the numbers of its notes, empty where no row has any."""

    table: Table
    marks: tuple[str, ...] = ()


Block = Heading | TableBlock | Line
Section = tuple[Block, ...]


def document(report: Report, *, drawings: bool = False, bars: bool = True) -> Iterator[Section]:
    """The sections of a report.

    Args:
        report: anything that gcx measured.
        drawings: the distribution of r of each layer as a word of bars.
        bars: series along training as words of bars; not where an encoding would make question marks of them.
    """
    if report.comparison is not None:
        yield tuple(_comparison(report, report.comparison))
    elif report.track is not None:
        yield tuple(_track(report, report.track, bars))
    else:
        for model in report.models:
            yield tuple(_model(model, report.settings, drawings))
        drawn = drawings and any(layer.distribution for model in report.models for layer in model.measured)
        legend = (*legend_lines(report.models), *((_DRAWING,) if drawn else ()))
        yield from filter(None, (legend, tuple(gate_lines(report))))


def listing_document(listing: Listing) -> Iterator[Section]:
    """The sections of what `gcx layers` shows."""
    for model in listing.models:
        yield tuple(_listed(model))


def _model(model: ModelResult, settings: Settings, drawings: bool) -> Iterator[Block]:
    yield Heading(model.path, about=model.format)
    notes, marks = footnotes(model.measured)
    if model.measured:
        columns = (*COLUMNS[:_FIRST], DISTRIBUTION, *COLUMNS[_FIRST:]) if drawings else COLUMNS
        numbers = tuple(join_marks(numbers) for numbers in marks) if notes else ()
        yield TableBlock(build_table(columns, model.measured), numbers)
    for source, rows in partitions(model):
        yield partition_line(source, rows)
        yield TableBlock(build_table(PARTITION_COLUMNS, rows))
    yield from model_lines(model, settings)
    yield from footnote_lines(notes)


def _comparison(report: Report, comparison: Comparison) -> Iterator[Block]:
    candidate, reference = (
        f"{path} ({plural(count, 'run')})" if count > 1 else path
        for path, count in (
            (comparison.candidate, comparison.candidate_runs),
            (comparison.reference, comparison.reference_runs),
        )
    )
    yield Heading(candidate, "against", reference)
    yield from (TableBlock(build_table(columns, rows)) for columns, rows in comparison_tables(comparison))
    yield from comparison_lines(report)
    yield from gate_lines(report)


def _track(report: Report, track: Track, bars: bool) -> Iterator[Block]:
    about = plural(len(track.checkpoints), "checkpoint")
    yield Heading(report.models[0].path, "to", report.models[-1].path, about)
    columns = SERIES_COLUMNS if bars else [column for column in SERIES_COLUMNS if column.key != TREND]
    tables: Iterable[Table] = (
        build_table(CHECKPOINT_COLUMNS, checkpoint_rows(report, track)),
        build_table(columns, series_rows(track)),
    )
    yield from (TableBlock(table) for table in tables if table.rows)
    yield from track_lines(report)
    yield from gate_lines(report)


def _listed(model: ModelListing) -> Iterator[Block]:
    yield Heading(model.path, about=model.format)
    if model.layers:
        yield TableBlock(build_table(LISTING_COLUMNS, model.layers))
    yield from listing_lines(model)
