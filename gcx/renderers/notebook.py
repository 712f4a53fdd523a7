"""What a notebook shows of a report: plain tables that take the page's own colours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gcx.comparison import Comparison
from gcx.renderers.cells import Cell, Table, build_table
from gcx.renderers.comparing import comparison_lines, comparison_tables, gate_lines
from gcx.renderers.escape import html_text
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
from gcx.renderers.tables import COLUMNS, PARTITION_COLUMNS
from gcx.renderers.tracking import CHECKPOINT_COLUMNS, SERIES_COLUMNS, checkpoint_rows, series_rows, track_lines
from gcx.results import ModelResult, Report
from gcx.settings import Settings
from gcx.training_run import Track


def notebook_html(report: Report) -> str:
    """The report as an HTML fragment: no script, no style sheet, every name escaped."""
    if report.comparison is not None:
        return "\n".join(_comparison_lines(report, report.comparison))
    if report.track is not None:
        return "\n".join(_track_lines(report, report.track))
    lines = [line for model in report.models for line in _model_lines(model, report.settings)]
    return "\n".join([*lines, *map(_sentence, (*legend_lines(report.models), *gate_lines(report)))])


def _comparison_lines(report: Report, comparison: Comparison) -> Iterator[str]:
    yield f"<h4>{html_text(f'{comparison.candidate} against {comparison.reference}')}</h4>"
    for columns, rows in comparison_tables(comparison):
        yield from _table(build_table(columns, rows), [""] * len(rows))
    yield from map(_sentence, (*comparison_lines(report), *gate_lines(report)))


def _track_lines(report: Report, track: Track) -> Iterator[str]:
    yield f"<h4>{html_text(report.models[0].path)} to {html_text(report.models[-1].path)}</h4>"
    for table in (
        build_table(CHECKPOINT_COLUMNS, checkpoint_rows(report, track)),
        build_table(SERIES_COLUMNS, series_rows(track)),
    ):
        if table.rows:
            yield from _table(table, [""] * len(table.rows))
    yield from map(_sentence, (*track_lines(report), *gate_lines(report)))


def _model_lines(model: ModelResult, settings: Settings) -> Iterator[str]:
    yield f"<h4>{html_text(model.path)} <small>({html_text(model.format)})</small></h4>"
    notes, marks = footnotes(model.measured)
    if model.measured:
        yield from _table(build_table(COLUMNS, model.measured), [join_marks(numbers) for numbers in marks])
    for source, rows in partitions(model):
        yield _sentence(partition_line(source, rows))
        yield from _table(build_table(PARTITION_COLUMNS, rows), [""] * len(rows))
    for line in (*model_lines(model, settings), *footnote_lines(notes)):
        yield _sentence(line)


def _table(table: Table, marks: Sequence[str]) -> Iterator[str]:
    yield "<table><thead><tr>"
    for column in table.columns:
        yield f'<th title="{html_text(column.meaning)}">{html_text(column.heading)}</th>'
    noted = any(marks)
    yield ("<th>note</th>" if noted else "") + "</tr></thead><tbody>"
    for row, mark in zip(table.rows, marks, strict=True):
        cells = "".join(_cell(cell, column.right) for cell, column in zip(row, table.columns, strict=True))
        yield f"<tr>{cells}<td>{html_text(mark)}</td></tr>" if noted else f"<tr>{cells}</tr>"
    yield "</tbody></table>"


def _cell(cell: Cell, right: bool) -> str:
    text = html_text(cell.text.strip(" "))
    text = {"name": f"<code>{text}</code>", "found": f"<b>{text}</b>", "unsure": f"<em>{text}</em>"}.get(
        cell.tone, text
    )
    return f'<td style="text-align:{"right" if right else "left"}">{text}</td>'


def _sentence(line: Line) -> str:
    return f"<div><b>{html_text(line.label)}</b> {html_text(line.text)}</div>"
