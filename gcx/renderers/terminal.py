"""The report as text for people: tables that fit a terminal, and in a pipe are as wide as the names need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from gcx.renderers.cells import Cell, Column, Table
from gcx.renderers.document import Heading, Section, TableBlock, document, listing_document
from gcx.renderers.escape import terminal_text
from gcx.renderers.layout import Span, table_lines
from gcx.renderers.options import RenderOptions
from gcx.renderers.prose import Line
from gcx.results import Listing, Report

_STYLES = {
    "plain": "",
    "name": "bold",
    "faint": "dim",
    "found": "bold green",
    "unsure": "yellow",
    "header": "bold",
    "rule": "dim",
    "fact": "",
    "legend": "dim",
    "label": "bold",
}
_LABELS = 16
"""Width of the labels before sentences."""
_MARKS: Column[object] = Column(
    "notes", "note", "numbers of the notes beneath the table", lambda _: Cell(""), right=False
)

TextLine = tuple[Span, ...]


class Terminal:
    """Tables and sentences for a terminal or a pipe."""

    name = "terminal"
    suffixes: tuple[str, ...] = (".txt",)
    binary = False
    needs_pictures = False

    def render(self, report: Report, options: RenderOptions) -> str:
        """The whole report."""
        drawings = options.color and options.unicode
        return _joined(document(report, drawings=drawings, bars=options.unicode), options)

    def render_listing(self, listing: Listing, options: RenderOptions) -> str:
        """Every convolution of every model, and how its groups are known."""
        return _joined(listing_document(listing), options)


def _joined(sections: Iterable[Section], options: RenderOptions) -> str:
    paint = _painter() if options.color else _plain
    return "\n".join("".join(f"{paint(line)}\n" for line in _lines(section, options)) for section in sections)


def _lines(section: Section, options: RenderOptions) -> Iterator[TextLine]:
    label = None
    for block in section:
        if isinstance(block, Line):
            yield from _sentence(block if block.label != label else replace(block, label=""), options)
            label = block.label
            continue
        if isinstance(block, Heading):
            yield _heading(block, options)
        else:
            yield from table_lines(_marked(block), options.width, unicode=options.unicode)
        yield ()
        label = None


def _heading(heading: Heading, options: RenderOptions) -> TextLine:
    subject = " ".join(filter(None, (heading.subject, heading.relation, heading.other)))
    about = f"  ({heading.about})" if heading.about else ""
    return (
        Span(terminal_text(subject, unicode=options.unicode), "header"),
        Span(terminal_text(about, unicode=options.unicode), "faint"),
    )


def _marked(block: TableBlock) -> Table:
    """The table with the numbers of its notes as a last column."""
    if not block.marks:
        return block.table
    rows = zip(block.table.rows, block.marks, strict=True)
    return Table((*block.table.columns, _MARKS), tuple((*row, Cell(mark, "faint")) for row, mark in rows))


def _sentence(line: Line, options: RenderOptions) -> Iterator[TextLine]:
    """A label and its text; on a terminal wrapped beneath itself, but what is to be copied is left whole."""
    label = terminal_text(line.label, unicode=options.unicode)
    text = terminal_text(line.text, unicode=options.unicode)
    tone = "plain" if line.kind == "fact" else line.kind
    room = None if options.width is None or line.verbatim else max(options.width - _LABELS - 2, 20)
    first, *rest = _wrapped(text, room)
    yield (Span(label.ljust(_LABELS) + "  ", "faint" if line.kind == "legend" else "label"), Span(first, tone))
    for piece in rest:
        yield (Span(" " * (_LABELS + 2), "plain"), Span(piece, tone))


def _wrapped(text: str, room: int | None) -> Sequence[str]:
    if room is None:
        return [text]
    from rich.cells import cell_len, chop_cells

    lines = [""]
    for word in text.split(" "):
        for k, piece in enumerate(chop_cells(word, room) or [""]):
            if not lines[-1]:
                lines[-1] = piece
            elif k == 0 and cell_len(lines[-1]) + 1 + cell_len(piece) <= room:
                lines[-1] += " " + piece
            else:
                lines.append(piece)
    return lines


def _plain(line: TextLine) -> str:
    return "".join(span.text for span in line).rstrip(" ")


def _painter() -> Callable[[TextLine], str]:
    """Colour by rich's styles alone: no console, so neither markup nor the environment has a say."""
    from rich.color import ColorSystem
    from rich.style import Style

    styles = {tone: Style.parse(style) for tone, style in _STYLES.items()}

    def paint(line: TextLine) -> str:
        return "".join(styles[span.tone].render(span.text, color_system=ColorSystem.STANDARD) for span in line)

    return paint
