"""The report as GitHub's Markdown, for pull requests and notes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gcx.comparison import Comparison
from gcx.renderers.cells import Cell, Table, build_table
from gcx.renderers.comparing import comparison_lines, comparison_tables, gate_lines
from gcx.renderers.escape import markdown_code, markdown_text
from gcx.renderers.listing import LISTING_COLUMNS, listing_lines
from gcx.renderers.options import RenderOptions
from gcx.renderers.prose import (
    Line,
    footnote_lines,
    footnotes,
    join_marks,
    legend_lines,
    model_lines,
    partition_line,
    partitions,
    plural,
)
from gcx.renderers.tables import COLUMNS, PARTITION_COLUMNS
from gcx.renderers.tracking import CHECKPOINT_COLUMNS, SERIES_COLUMNS, checkpoint_rows, series_rows, track_lines
from gcx.results import Listing, ModelListing, ModelResult, Report
from gcx.settings import Settings
from gcx.training_run import Track


class Markdown:
    """A heading, a table and a list of sentences per model."""

    name = "markdown"
    suffixes: tuple[str, ...] = (".md", ".markdown")
    binary = False
    needs_pictures = False

    def render(self, report: Report, options: RenderOptions) -> str:
        """One section per model."""
        if report.comparison is not None:
            return _joined([_comparison_lines(report, report.comparison)])
        if report.track is not None:
            return _joined([_track_lines(report, report.track)])
        sections: list[Iterable[str]] = [_model_lines(model, report.settings) for model in report.models]
        beneath = [[*map(_sentence, lines)] for lines in (legend_lines(report.models), gate_lines(report))]
        return _joined([*sections, *filter(None, beneath)])

    def render_listing(self, listing: Listing, options: RenderOptions) -> str:
        """One section per model."""
        return _joined(_listing_lines(model) for model in listing.models)


def _joined(sections: Iterable[Iterable[str]]) -> str:
    return "\n".join("".join(f"{line}\n" for line in section) for section in sections)


def _model_lines(model: ModelResult, settings: Settings) -> Iterator[str]:
    yield from _heading(model.path, model.format)
    notes, marks = footnotes(model.measured)
    if model.measured:
        yield from _table(build_table(COLUMNS, model.measured), [join_marks(numbers) for numbers in marks])
    for source, rows in partitions(model):
        yield _sentence(partition_line(source, rows))
        yield ""
        yield from _table(build_table(PARTITION_COLUMNS, rows), [""] * len(rows))
    for line in (*model_lines(model, settings), *footnote_lines(notes)):
        yield _sentence(line)


def _comparison_lines(report: Report, comparison: Comparison) -> Iterator[str]:
    yield f"### {markdown_code(comparison.candidate)} against {markdown_code(comparison.reference)}"
    yield ""
    for columns, rows in comparison_tables(comparison):
        yield from _table(build_table(columns, rows), [""] * len(rows))
    for line in (*comparison_lines(report), *gate_lines(report)):
        yield _sentence(line)


def _track_lines(report: Report, track: Track) -> Iterator[str]:
    count = plural(len(track.checkpoints), "checkpoint")
    yield f"### {markdown_code(report.models[0].path)} to {markdown_code(report.models[-1].path)} ({count})"
    yield ""
    for table in (
        build_table(CHECKPOINT_COLUMNS, checkpoint_rows(report, track)),
        build_table(SERIES_COLUMNS, series_rows(track)),
    ):
        if table.rows:
            yield from _table(table, [""] * len(table.rows))
    for line in (*track_lines(report), *gate_lines(report)):
        yield _sentence(line)


def _listing_lines(model: ModelListing) -> Iterator[str]:
    yield from _heading(model.path, model.format)
    if model.layers:
        yield from _table(build_table(LISTING_COLUMNS, model.layers), [""] * len(model.layers))
    for line in listing_lines(model):
        yield _sentence(line)


def _heading(path: str, kind: str) -> Iterator[str]:
    yield f"### {markdown_code(path)} ({markdown_text(kind)})"
    yield ""


def _table(table: Table, marks: list[str]) -> Iterator[str]:
    noted = any(marks)
    titles = [column.heading for column in table.columns]
    rules = ["---:" if column.right else ":---" for column in table.columns]
    yield _row([*map(markdown_text, titles), *(["note"] if noted else [])])
    yield _row([*rules, *([":---"] if noted else [])])
    for row, mark in zip(table.rows, marks, strict=True):
        yield _row([*map(_cell, row), *([mark] if noted else [])])
    yield ""


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    text = cell.text.strip(" ")
    if cell.tone == "name":
        return markdown_code(text) if text else ""
    return markdown_text(text)


def _sentence(line: Line) -> str:
    text = markdown_code(line.text) if line.verbatim else markdown_text(line.text)
    return f"- {markdown_text(line.label)}: {text}"
