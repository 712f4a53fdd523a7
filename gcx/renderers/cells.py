"""What tables are made of: columns and cells, and how numbers, counts, shapes and certainty are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Generic, Literal, TypeVar

Tone = Literal["plain", "name", "faint", "found", "unsure"]
"""What a cell is, for renderers with colour: `found` is beyond chance, `unsure` is not certain, `faint` is context."""

NOTHING = "–"
"""What stands where a number is null; the layer's notes say why."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One formatted entry."""

    text: str
    tone: Tone = "plain"


Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """One printed column."""

    key: str
    """What `gcx explain` calls it; the key of the JSON where it is one."""
    title: str
    meaning: str
    cell: Callable[[Row], Cell]
    band: str = ""
    """The heading over neighbouring columns of one kind."""
    right: bool = True
    level: int = 0
    """0 is always there; where a terminal is too narrow, the highest goes first."""
    only_if_any: bool = False
    """Left out where every cell is empty."""
    marked: bool = False
    """Its cells end in a mark, or a blank where others have it, so that digits stand beneath each other."""
    folds: bool = False
    """Text that may continue on a second line where a terminal is too narrow."""

    @property
    def heading(self) -> str:
        """The title with its band, where there is no room for a band of its own; unique in a table."""
        return f"{self.band}: {self.title}" if self.band else self.title


@dataclass(frozen=True, slots=True)
class Table:
    """Formatted rows under their columns."""

    columns: tuple[Column[Any], ...]
    rows: tuple[tuple[Cell, ...], ...]

    def without(self, index: int) -> Table:
        """The table without one column."""
        return Table(
            self.columns[:index] + self.columns[index + 1 :],
            tuple(row[:index] + row[index + 1 :] for row in self.rows),
        )


def build_table(columns: Sequence[Column[Row]], rows: Sequence[Row]) -> Table:
    """Format every row; columns that are only of interest where they say something are left out where they do not."""
    cells = [[column.cell(row) for row in rows] for column in columns]
    kept = [k for k, column in enumerate(columns) if not column.only_if_any or any(map(_says, cells[k]))]
    return Table(
        tuple(columns[k] for k in kept),
        tuple(tuple(cells[k][row] for k in kept) for row in range(len(rows))),
    )


def _says(cell: Cell) -> bool:
    return cell.text.strip() not in ("", NOTHING)


def decimal(value: float | None, places: int = 3, *, sign: bool = False) -> str:
    """A number of order one as papers print it, without the leading zero.

    >>> decimal(0.0506), decimal(-0.0123, 4), decimal(1.0), decimal(0.0123, sign=True), decimal(-0.0001), decimal(None)
    ('.051', '-.0123', '1.000', '+.012', '.000', '–')
    """
    if value is None:
        return NOTHING
    text = f"{value:+.{places}f}" if sign else f"{value:.{places}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("0.", ".", 1) if abs(float(text)) < 1 else text


def probability(value: float | None) -> str:
    """A p-value; what three decimals cannot show is bounded, never 0.

    >>> probability(0.0312), probability(0.0002), probability(1.0)
    ('.031', '<.001', '1.000')
    """
    return "<.001" if value is not None and value < 0.001 else decimal(value)


def shape_text(shape: Sequence[int] | None) -> str:
    """A shape with × between its axes; empty where it is not known.

    >>> shape_text((64, 16, 3, 3))
    '64×16×3×3'
    """
    return "×".join(map(str, shape or ()))


def root(mean_square: float | None) -> float | None:
    """The rms of a mean square, to stand beside an rms; cosine nulls may be 0 and rounding below it."""
    return None if mean_square is None else sqrt(max(mean_square, 0.0))


def groups_cell(groups: int, source: str, confidence: str) -> Cell:
    """A group count, where it comes from, and a question mark unless it is certain."""
    sure = confidence == "certain"
    return Cell(f"{groups} {source}{'' if sure else '?'}", "plain" if sure else "unsure")
