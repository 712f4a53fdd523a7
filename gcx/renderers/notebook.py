"""What a notebook shows of a report: plain tables that take the page's own colours."""

from __future__ import annotations

from collections.abc import Iterator

from gcx.renderers.cells import Cell
from gcx.renderers.document import Block, Heading, TableBlock, document
from gcx.renderers.escape import html_text
from gcx.renderers.prose import Line
from gcx.results import Report


def notebook_html(report: Report) -> str:
    """The report as an HTML fragment: no script, no style sheet, every name escaped."""
    return "\n".join(line for section in document(report) for block in section for line in _lines(block))


def _lines(block: Block) -> Iterator[str]:
    if isinstance(block, Heading):
        yield _heading(block)
    elif isinstance(block, TableBlock):
        yield from _table(block)
    else:
        yield _sentence(block)


def _heading(heading: Heading) -> str:
    subject = " ".join(filter(None, (heading.subject, heading.relation, heading.other)))
    about = f" <small>({html_text(heading.about)})</small>" if heading.about else ""
    return f"<h4>{html_text(subject)}{about}</h4>"


def _table(block: TableBlock) -> Iterator[str]:
    table, noted = block.table, bool(block.marks)
    yield "<table><thead><tr>"
    for column in table.columns:
        yield f'<th title="{html_text(column.meaning)}">{html_text(column.heading)}</th>'
    yield ("<th>note</th>" if noted else "") + "</tr></thead><tbody>"
    for number, row in enumerate(table.rows):
        cells = "".join(_cell(cell, column.right) for cell, column in zip(row, table.columns, strict=True))
        yield f"<tr>{cells}<td>{html_text(block.marks[number])}</td></tr>" if noted else f"<tr>{cells}</tr>"
    yield "</tbody></table>"


def _cell(cell: Cell, right: bool) -> str:
    text = html_text(cell.text.strip(" "))
    text = {"name": f"<code>{text}</code>", "found": f"<b>{text}</b>", "unsure": f"<em>{text}</em>"}.get(
        cell.tone, text
    )
    return f'<td style="text-align:{"right" if right else "left"}">{text}</td>'


def _sentence(line: Line) -> str:
    return f"<div><b>{html_text(line.label)}</b> {html_text(line.text)}</div>"
