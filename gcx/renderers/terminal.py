"""The report as text for people: tables that fit a terminal, and in a pipe are as wide as the names need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from gcx.comparison import Comparison
from gcx.renderers.cells import Cell, Column, Table, build_table
from gcx.renderers.comparing import comparison_lines, comparison_tables, gate_lines
from gcx.renderers.escape import terminal_text
from gcx.renderers.layout import Span, table_lines
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
from gcx.renderers.tables import COLUMNS, DISTRIBUTION, PARTITION_COLUMNS
from gcx.renderers.tracking import CHECKPOINT_COLUMNS, SERIES_COLUMNS, TREND, checkpoint_rows, series_rows, track_lines
from gcx.results import Listing, ModelListing, ModelResult, Report
from gcx.settings import Settings
from gcx.training_run import Track

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
_DRAWING = Line(
    DISTRIBUTION.title,
    "how r is distributed, in widths of the isotropic null; see `gcx explain distribution`",
    "legend",
)
_FIRST = 3
"""Columns that say which layer it is; the drawing of r comes after them, then the numbers."""
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
        """One table per model, and beneath it what was covered, skipped and assumed."""
        if report.comparison is not None:
            return _joined([_comparison_lines(report, report.comparison, options)], options)
        if report.track is not None:
            return _joined([_track_lines(report, report.track, options)], options)
        blocks: list[Iterable[TextLine]] = [_model_lines(model, report.settings, options) for model in report.models]
        drawn = options.color and options.unicode and any(c.distribution for m in report.models for c in m.measured)
        legend = (*legend_lines(report.models), *((_DRAWING,) if drawn else ()))
        beneath = [[*_sentences(lines, options)] for lines in (legend, gate_lines(report))]
        return _joined([*blocks, *filter(None, beneath)], options)

    def render_listing(self, listing: Listing, options: RenderOptions) -> str:
        """Every convolution of every model, and how its groups are known."""
        return _joined((_listing_lines(model, options) for model in listing.models), options)


def _model_lines(model: ModelResult, settings: Settings, options: RenderOptions) -> Iterator[TextLine]:
    yield from _heading(model.path, model.format, options)
    notes, marks = footnotes(model.measured)
    if model.measured:
        drawing = (DISTRIBUTION,) if options.color and options.unicode else ()
        table = build_table((*COLUMNS[:_FIRST], *drawing, *COLUMNS[_FIRST:]), model.measured)
        if notes:
            cells = (Cell(join_marks(numbers), "faint") for numbers in marks)
            table = Table(
                (*table.columns, _MARKS), tuple((*row, cell) for row, cell in zip(table.rows, cells, strict=True))
            )
        yield from table_lines(table, options.width, unicode=options.unicode)
        yield ()
    for source, rows in partitions(model):
        yield from _sentences([partition_line(source, rows)], options)
        yield from table_lines(build_table(PARTITION_COLUMNS, rows), options.width, unicode=options.unicode)
        yield ()
    yield from _sentences((*model_lines(model, settings), *footnote_lines(notes)), options)


def _comparison_lines(report: Report, comparison: Comparison, options: RenderOptions) -> Iterator[TextLine]:
    runs = [
        f"{path} ({plural(count, 'run')})" if count > 1 else path
        for path, count in (
            (comparison.reference, comparison.reference_runs),
            (comparison.candidate, comparison.candidate_runs),
        )
    ]
    yield from _heading(runs[1], f"against {runs[0]}", options)
    for columns, rows in comparison_tables(comparison):
        yield from table_lines(build_table(columns, rows), options.width, unicode=options.unicode)
        yield ()
    yield from _sentences((*comparison_lines(report), *gate_lines(report)), options)


def _track_lines(report: Report, track: Track, options: RenderOptions) -> Iterator[TextLine]:
    first, last = report.models[0].path, report.models[-1].path
    yield from _heading(f"{first} to {last}", f"{plural(len(track.checkpoints), 'checkpoint')}", options)
    # Bars that the encoding cannot show would be a row of question marks.
    columns = [column for column in SERIES_COLUMNS if options.unicode or column.key != TREND]
    for table in (
        build_table(CHECKPOINT_COLUMNS, checkpoint_rows(report, track)),
        build_table(columns, series_rows(track)),
    ):
        if table.rows:
            yield from table_lines(table, options.width, unicode=options.unicode)
            yield ()
    yield from _sentences((*track_lines(report), *gate_lines(report)), options)


def _listing_lines(model: ModelListing, options: RenderOptions) -> Iterator[TextLine]:
    yield from _heading(model.path, model.format, options)
    if model.layers:
        yield from table_lines(build_table(LISTING_COLUMNS, model.layers), options.width, unicode=options.unicode)
        yield ()
    yield from _sentences(listing_lines(model), options)


def _heading(path: str, kind: str, options: RenderOptions) -> Iterator[TextLine]:
    kind = terminal_text(f"  ({kind})", unicode=options.unicode)
    yield (Span(terminal_text(path, unicode=options.unicode), "header"), Span(kind, "faint"))
    yield ()


def _sentences(lines: Iterable[Line], options: RenderOptions) -> Iterator[TextLine]:
    label = None
    for line in lines:
        yield from _sentence(line if line.label != label else replace(line, label=""), options)
        label = line.label


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


def _joined(blocks: Iterable[Iterable[TextLine]], options: RenderOptions) -> str:
    paint = _painter() if options.color else _plain
    return "\n".join("".join(f"{paint(line)}\n" for line in block) for block in blocks)


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
