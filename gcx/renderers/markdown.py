"""The report as GitHub's Markdown, for pull requests and notes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gcx.renderers.cells import Cell
from gcx.renderers.document import Heading, Section, TableBlock, document, listing_document
from gcx.renderers.escape import markdown_code, markdown_text
from gcx.renderers.options import RenderOptions
from gcx.renderers.prose import Line
from gcx.results import Listing, Report


class Markdown:
    """Headings, tables and lists of sentences."""

    name = "markdown"
    suffixes: tuple[str, ...] = (".md", ".markdown")
    binary = False
    needs_pictures = False

    def render(self, report: Report, options: RenderOptions) -> str:
        """The whole report."""
        return _joined(document(report))

    def render_listing(self, listing: Listing, options: RenderOptions) -> str:
        """Every convolution of every model."""
        return _joined(listing_document(listing))


def _joined(sections: Iterable[Section]) -> str:
    return "\n".join("".join(f"{line}\n" for line in _lines(section)) for section in sections)


def _lines(section: Section) -> Iterator[str]:
    in_list = False
    for block in section:
        if isinstance(block, Line):
            yield _sentence(block)
        else:
            if in_list:  # a table right beneath would be part of its last entry
                yield ""
            yield from _heading(block) if isinstance(block, Heading) else _table(block)
            yield ""
        in_list = isinstance(block, Line)


def _heading(heading: Heading) -> Iterator[str]:
    subject = markdown_code(heading.subject)
    if heading.relation:
        subject += f" {heading.relation} {markdown_code(heading.other)}"
    yield f"### {subject} ({markdown_text(heading.about)})" if heading.about else f"### {subject}"


def _table(block: TableBlock) -> Iterator[str]:
    noted = bool(block.marks)
    columns = block.table.columns
    yield _row([*(markdown_text(column.heading) for column in columns), *(["note"] if noted else [])])
    yield _row([*("---:" if column.right else ":---" for column in columns), *([":---"] if noted else [])])
    for number, row in enumerate(block.table.rows):
        yield _row([*map(_cell, row), *([block.marks[number]] if noted else [])])


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
