"""The bricks of the page: escaped elements, tables, sentences. Every text goes through `html_text` here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from gcx.renderers.cells import NOTHING, Cell, Column, build_table
from gcx.renderers.escape import html_text
from gcx.renderers.prose import Line


def tag(name: str, text: str, kind: str = "") -> str:
    """One element with a text in it.

    >>> tag("b", "a < b", "x")
    '<b class="x">a &lt; b</b>'
    """
    shown = f' class="{kind}"' if kind else ""
    return f"<{name}{shown}>{html_text(text)}</{name}>"


def cell(one: Cell, column: Column[Any], value: float | None = None) -> str:
    """One entry of a table; `value` is what it is sorted by where the text alone would round."""
    text = one.text.strip(" ")
    kinds = " ".join(filter(None, [_kind(column), "" if one.tone == "plain" else one.tone]))
    shown = f' class="{kinds}"' if kinds else ""
    exact = "" if value is None else f' data-v="{value:.6g}"'
    return f"<td{shown}{exact}>{html_text(text)}</td>"


def _kind(column: Column[Any]) -> str:
    """Numbers stand right; shapes are left to the panels where a page is narrow."""
    return "n" if column.right else "shape" if column.key.endswith("shape") and not column.band else ""


def heading(column: Column[Any], *, sortable: bool = True) -> str:
    """One column's heading; a button, where the script sorts by it."""
    title = html_text(column.title)
    inner = f'<button type="button">{title}</button>' if sortable else title
    kinds = f"{_kind(column)}{' name' if column.folds else ''}".strip()
    shown = f' class="{kinds}"' if kinds else ""
    return f'<th scope="col"{shown} title="{html_text(column.meaning)}">{inner}</th>'


def bands(columns: Sequence[Column[Any]], after_first: int = 0, at_end: int = 0) -> str:
    """The row of headings over neighbouring columns of one kind; so many columns more stand within and behind them."""
    if not any(column.band for column in columns):
        return ""
    cells = []
    for band, members in groupby(columns, key=lambda column: column.band):
        inside = list(members)
        if band:
            cells.append(f'<th colspan="{len(inside)}" scope="colgroup" class="band">{html_text(band)}</th>')
        else:
            cells += (f'<td class="{_kind(column)}"></td>' for column in inside)
    blank = "<td></td>"
    return f"<tr>{cells[0]}{blank * after_first}{''.join(cells[1:])}{blank * at_end}</tr>"


def plain_table(columns: Sequence[Column[Any]], rows: Sequence[Any]) -> Iterator[str]:
    """A table as every renderer shows it, to be sorted by its headings."""
    table = build_table(columns, rows)
    yield '<div class="scroll" tabindex="0"><table class="sortable"><thead>'
    yield bands(table.columns)
    yield f"<tr>{''.join(map(heading, table.columns))}</tr></thead><tbody>"
    for row in table.rows:
        cells = "".join(cell(one, column) for one, column in zip(row, table.columns, strict=True))
        yield f"<tr>{cells}</tr>"
    yield "</tbody></table></div>"


def sentences(lines: Iterable[Line]) -> Iterator[str]:
    """Labels and their texts, one beneath another; a label that comes again is said once."""
    lines = list(lines)
    if not lines:
        return
    yield '<dl class="facts">'
    label = None
    for line in lines:
        if line.label != label:
            yield tag("dt", line.label, line.kind)
        label = line.label
        yield tag("dd", line.text, line.kind)
    yield "</dl>"


def definition_rows(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Keys and values."""
    yield '<dl class="facts keys">'
    for key, value in rows:
        yield tag("dt", key) + tag("dd", value)
    yield "</dl>"


def number_text(value: Any) -> str:
    """A value as a panel shows it: four significant digits, thousands apart.

    >>> number_text(0.0253456), number_text(36864), number_text((0.1, -0.2)), number_text(None), number_text(True)
    ('.02535', '36,864', '.1 to −.2', '–', 'yes')
    """
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, tuple):
        joint = " to " if any(isinstance(item, float) for item in value) else ", "
        return joint.join(map(number_text, value)) or "none"
    if isinstance(value, float):
        return _real(value)
    return str(value)


def _real(value: float) -> str:
    text = f"{value:.4g}".replace("-", "−")
    return text.replace("0.", ".", 1) if text.removeprefix("−").startswith("0.") else text
