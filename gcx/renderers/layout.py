"""A table as lines of text: which columns fit a terminal, how wide each is, where long names fold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest

from gcx.renderers.cells import NOTHING, Cell, Column, Table, Tone
from gcx.renderers.escape import terminal_text

_GAP = "  "
_FOLDED = 20
_WHOLE = 40
_SIDELINES = 5
"""Columns are dropped to leave long names `_FOLDED` columns, and those of this level on to leave them `_WHOLE`; names
longer than what they get fold, nothing cuts them off."""
_NARROWEST = 8


_NULL = frozenset({"", NOTHING, terminal_text(NOTHING, unicode=False)})


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a line and what it is; `header` and `rule` are the table's own."""

    text: str
    tone: Tone | str


def table_lines(table: Table, width: int | None, *, unicode: bool) -> Iterator[tuple[Span, ...]]:
    """Lay a table out.

    Args:
        table: formatted cells.
        width: columns of the terminal; None keeps every column and folds nothing.
        unicode: whether the output can show more than ASCII.

    Yields:
        Lines of spans: headings, a rule, then the rows.
    """
    table = _shown(table, unicode)
    widths = _widths(table)
    while width is not None and _total(widths, table) > width:
        index = _least_needed(table)
        if index is None:
            break
        table = table.without(index)
        widths = _widths(table)
    if width is not None:
        widths = _folded(widths, table, width)
    yield from _header(table, widths, "─" if unicode else "-")
    for row in table.rows:
        yield from _row(row, table.columns, widths)


def _shown(table: Table, unicode: bool) -> Table:
    def show(cell: Cell) -> Cell:
        return Cell(terminal_text(cell.text, unicode=unicode), cell.tone)

    return Table(table.columns, tuple(tuple(map(show, row)) for row in table.rows))


def _least_needed(table: Table) -> int | None:
    """The column to drop where folding alone cannot make a table fit: one without a number, else the highest level."""
    empty = [k for k in range(1, len(table.columns)) if all(row[k].text.strip() in _NULL for row in table.rows)]
    if empty:
        return empty[-1]
    level, index = max((column.level, -k) for k, column in enumerate(table.columns))
    return -index if level else None


def _widths(table: Table) -> list[int]:
    """Natural widths; a band wider than its columns widens the last of them."""
    from rich.cells import cell_len

    widths = [
        max([len(_title(column)), *(cell_len(row[k].text) for row in table.rows)])
        for k, column in enumerate(table.columns)
    ]
    for band, first, last in _bands(table.columns):
        missing = len(band) - _spanned(widths, first, last)
        widths[last] += max(missing, 0)
    return widths


def _bands(columns: Sequence[Column[object]]) -> list[tuple[str, int, int]]:
    """Neighbouring columns with one heading: (heading, first, last)."""
    found = []
    for band, members in groupby(enumerate(columns), key=lambda item: item[1].band):
        indices = [index for index, _ in members]
        found.append((band, indices[0], indices[-1]))
    return found


def _spanned(widths: Sequence[int], first: int, last: int) -> int:
    return sum(widths[first : last + 1]) + len(_GAP) * (last - first)


def _total(widths: Sequence[int], table: Table) -> int:
    """The width of the table once what folds is folded."""
    folded = _WHOLE if any(column.level >= _SIDELINES for column in table.columns) else _FOLDED
    return sum(
        min(width, folded) if column.folds else width for width, column in zip(widths, table.columns, strict=True)
    ) + len(_GAP) * (len(widths) - 1)


def _folded(widths: list[int], table: Table, width: int) -> list[int]:
    """Share what the fixed columns leave between those that fold, the shorter ones first."""
    folding = sorted((k for k, column in enumerate(table.columns) if column.folds), key=lambda k: widths[k])
    left = width - _spanned(widths, 0, len(widths) - 1) + sum(widths[k] for k in folding)
    for count, k in zip(range(len(folding), 0, -1), folding, strict=True):
        widths[k] = min(widths[k], max(left // count, _NARROWEST))
        left -= widths[k]
    return widths


def _header(table: Table, widths: Sequence[int], rule: str) -> Iterator[tuple[Span, ...]]:
    bands = _bands(table.columns)
    if any(band for band, _, _ in bands):
        parts = []
        for band, first, last in bands:
            room = _spanned(widths, first, last)
            parts.append(f" {band} ".center(room, rule) if band and room > len(band) + 3 else band.center(room))
        yield (Span(_GAP.join(parts).rstrip(), "header"),)
    titles = [
        _title(column).rjust(width) if column.right else column.title.ljust(width)
        for column, width in zip(table.columns, widths, strict=True)
    ]
    yield (Span(_GAP.join(titles).rstrip(), "header"),)
    yield (Span(rule * _spanned(widths, 0, len(widths) - 1), "rule"),)


def _title(column: Column[object]) -> str:
    return f"{column.title} " if column.marked else column.title


def _row(row: Sequence[Cell], columns: Sequence[Column[object]], widths: Sequence[int]) -> Iterator[tuple[Span, ...]]:
    pieces = [
        _fold(cell.text, width) if column.folds else [cell.text]
        for cell, column, width in zip(row, columns, widths, strict=True)
    ]
    for line in zip_longest(*pieces, fillvalue=""):
        spans: list[Span] = []
        for text, cell, column, width in zip(line, row, columns, widths, strict=True):
            spans += [*_padded(text, cell.tone, column.right, width), Span(_GAP, "plain")]
        yield _without_trailing_blanks(spans)


def _padded(text: str, tone: Tone, right: bool, width: int) -> list[Span]:
    from rich.cells import cell_len

    blank = Span(" " * max(width - cell_len(text), 0), "plain")
    return [blank, Span(text, tone)] if right else [Span(text, tone), blank]


def _without_trailing_blanks(spans: list[Span]) -> tuple[Span, ...]:
    while spans and not spans[-1].text.strip(" "):
        spans.pop()
    if spans:
        spans[-1] = Span(spans[-1].text.rstrip(" "), spans[-1].tone)
    return tuple(spans)


def _fold(text: str, width: int) -> list[str]:
    """Break a text into pieces of at most `width` columns, where possible after a blank, dot, slash or underscore."""
    from rich.cells import cell_len, chop_cells

    pieces = []
    while cell_len(text) > width:
        piece = chop_cells(text, width)[0]
        end = max(piece.rfind(mark) for mark in " ./_") + 1
        if text[len(piece) : len(piece) + 1] == " ":
            end = len(piece)
        piece = piece[: end if end > width // 3 else len(piece)]
        pieces.append(piece.rstrip(" "))
        text = text[len(piece) :].lstrip(" ")
    return [*pieces, text]
