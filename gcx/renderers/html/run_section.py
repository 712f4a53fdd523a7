"""A training run on the page: the whole model as lines, its checkpoints, and every layer as a row with its own line."""

from __future__ import annotations

from collections.abc import Iterator

from gcx.renderers.cells import build_table, decimal
from gcx.renderers.curves import Curve, layer_curve, positions, series_rows, whole_curves
from gcx.renderers.escape import html_text
from gcx.renderers.html.elements import bands, cell, heading, plain_table, sentences, tag
from gcx.renderers.run_columns import CHECKPOINT_COLUMNS, SERIES_COLUMNS, TREND, checkpoint_rows
from gcx.renderers.run_lines import track_lines
from gcx.results import Report
from gcx.training_run import Numbers

_WIDE, _HIGH = 560, 190
_LEFT, _BOTTOM = 46, 22
"""Room for the numbers beside a plot."""
_SMALL = (120, 26)


def run_section(report: Report) -> Iterator[str]:
    """Everything about a run but its last checkpoint's layers; nothing for a report that is of no run."""
    track = report.track
    if track is None:
        return
    yield '<section class="run">'
    yield tag("h2", "Along training")
    yield from sentences(track_lines(report))
    axis = positions(track)[1]
    yield '<div class="lines">'
    layers = series_rows(track)
    what = layers[0].series.name if len(layers) == 1 else "all layers"
    for curve in whole_curves(track):
        yield _plot(curve, axis, what)
    yield "</div>"
    yield tag("h3", "Checkpoints")
    yield from plain_table(CHECKPOINT_COLUMNS, checkpoint_rows(report, track))
    if layers:
        yield tag("h3", "Layers along training")
        text = "each line between its least and largest value, its chance dashed; red within groups, blue across"
        yield tag("p", text, "hint")
        table = build_table(SERIES_COLUMNS, layers)
        yield '<div class="scroll" tabindex="0" role="region" aria-label="layers along training">'
        yield f'<table class="sortable series"><thead>{bands(table.columns)}'
        yield f"<tr>{''.join(map(heading, table.columns))}</tr></thead><tbody>"
        for row, cells in zip(layers, table.rows, strict=True):
            curve = layer_curve(row)
            shown = (
                f'<td data-v="{curve.spread:.6g}">{_spark(curve)}</td>' if column.key == TREND else cell(one, column)
                for one, column in zip(cells, table.columns, strict=True)
            )
            yield f"<tr>{''.join(shown)}</tr>"
        yield "</tbody></table></div>"
    yield "</section>"


def _plot(curve: Curve, axis: str, what: str) -> str:
    """One of the large plots, standing on 0, with numbers at its ends."""
    place = _Place(curve, _WIDE, _HIGH, low=0.0)
    first, last = min(curve.x), max(curve.x)
    marks = "".join(
        f'<path class="grid" d="M0 {place.y(at):.1f}H{_WIDE}"/>'
        f'<text x="-6" y="{place.y(at) + 3.5:.1f}" text-anchor="end">{decimal(at, 4)}</text>'
        for at in (place.low, (place.low + place.high) / 2, place.high)
    )
    dots = "".join(
        f"M{place.x(x):.1f} {place.y(y):.1f}h0" for x, y in zip(curve.x, curve.y, strict=True) if y is not None
    )
    kind = "within" if curve.within else "across"
    ends = (
        f'<text x="0" y="{_HIGH + 16}" text-anchor="start">{first}</text>'
        f'<text x="{_WIDE}" y="{_HIGH + 16}" text-anchor="end">{html_text(axis)} {last}</text>'
    )
    chance = '<span class="key null">its chance (permuted null)</span>' if curve.has_chance else ""
    caption = f"mean r² {html_text(curve.title)}, {html_text(what)}"
    return (
        f'<figure class="line"><svg viewBox="{-_LEFT} -8 {_WIDE + _LEFT + 8} {_HIGH + _BOTTOM + 8}" role="img" '
        f'aria-label="mean r² {curve.title} along training">{marks}'
        f'<path class="dash" d="{place.path(curve.chance)}"/><path class="{kind}" d="{place.path(curve.y)}"/>'
        f'<path class="dots {kind}" d="{dots}"/><path class="axis" d="M0 {_HIGH}H{_WIDE}"/>{ends}</svg>'
        f'<figcaption><span class="key {kind}">{caption}</span>{chance}</figcaption></figure>'
    )


def _spark(curve: Curve) -> str:
    """The line of one layer in its row."""
    wide, high = _SMALL
    place = _Place(curve, wide, high)
    kind = "within" if curve.within else "across"
    return (
        f'<svg class="trend" viewBox="-1 -2 {wide + 2} {high + 4}" aria-hidden="true">'
        f'<path class="dash" d="{place.path(curve.chance)}"/><path class="{kind}" d="{place.path(curve.y)}"/></svg>'
    )


class _Place:
    """From numbers to places in a plot."""

    def __init__(self, curve: Curve, wide: int, high: int, low: float | None = None) -> None:
        known = [value for value in (*curve.y, *curve.chance) if value is not None]
        self.low, self.high = min(known) if low is None else low, max(known)
        self._curve, self._wide, self._tall = curve, wide, high
        self._first = min(curve.x)
        self._span = max(curve.x) - self._first

    def x(self, value: int) -> float:
        return (value - self._first) / self._span * self._wide if self._span else self._wide / 2

    def y(self, value: float) -> float:
        span = self.high - self.low
        return self._tall * (0.95 - 0.9 * (value - self.low) / span) if span else self._tall / 2

    def path(self, values: Numbers) -> str:
        """A line through every stretch that belongs together; none over a gap."""
        drawn = []
        for part in self._curve.parts:
            pen = "M"
            for place in part:
                value = values[place]
                if value is None:
                    pen = "M"
                    continue
                drawn.append(f"{pen}{self.x(self._curve.x[place]):.1f} {self.y(value):.1f}{'h0' if pen == 'M' else ''}")
                pen = "L"
        return "".join(drawn)
