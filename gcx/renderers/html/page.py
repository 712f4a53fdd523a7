"""The page around the sections: what may run and load (nothing but its own script), the bar on top, the glossary.

To add a view of a report: one function that yields its HTML, one entry in `SECTIONS`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from gcx import limits
from gcx.contract import to_mapping
from gcx.renderers.comparison_columns import comparison_tables
from gcx.renderers.comparison_lines import comparison_lines
from gcx.renderers.gates import gate_lines
from gcx.renderers.html.elements import definition_rows, plain_table, sentences, tag
from gcx.renderers.html.glossary import NULLS, glossary
from gcx.renderers.html.layer_pictures import PictureBook
from gcx.renderers.html.model_section import model_section, models_table
from gcx.renderers.html.run_section import run_section
from gcx.renderers.options import RenderOptions
from gcx.renderers.prose import legend_lines
from gcx.results import Report

_CONTROLS = """<div class="bar" id="bar" hidden><div class="wide">
<label class="search"><span>Filter</span><input id="search" type="search" placeholder="layer name, or part of it"
 autocomplete="off" spellcheck="false"></label>
<label><span>Show</span><select id="which"><option value="">all layers</option>
<option value="above">above chance</option><option value="grouped">grouped</option>
<option value="depthwise">depthwise</option><option value="delta">groups differ in kernels</option>
<option value="unsure">groups not certain</option><option value="degenerate">degenerate filters</option>
<option value="skipped">skipped</option></select></label>
<output id="count" aria-live="polite"></output>
<span class="push"></span>
<button type="button" id="open">open all</button><button type="button" id="close">close all</button>
<button type="button" id="theme">theme: auto</button></div></div>"""


def page(report: Report, options: RenderOptions) -> str:
    """The whole document."""
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    # A theme that was asked for stands still until the reader changes it; else the page follows the reader's system.
    theme = ' data-theme="dark"' if options.theme == "dark" else ""
    pieces = [
        f'<!DOCTYPE html>\n<html lang="en"{theme}>\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">\n<meta name="color-scheme" content="light dark">',
        tag("title", f"gcx: {_title(report)}"),
        f"<style>{style}</style>\n</head>\n<body>",
        '<a class="skip" href="#main">to the report</a>',
        "<header><div class='wide'>",
        tag("p", "gcx: correlation of convolution weights, against chance", "kicker"),
        tag("h1", _title(report)),
        *(tag("p", model.format, "kicker") for model in report.models if len(report.models) == 1),
        "</div></header>",
        _CONTROLS,
        '<main id="main" class="wide">',
        *(piece for section in SECTIONS for piece in section(report)),
        "</main>",
        f"<footer><div class='wide'>{tag('p', f'gcx {report.gcx}, report schema {report.schema}')}</div></footer>",
        f"<script>{script}</script>\n</body>\n</html>\n",
    ]
    return "\n".join(pieces)


def _title(report: Report) -> str:
    if report.comparison is not None:
        return f"{report.comparison.candidate} against {report.comparison.reference}"
    names = [model.path for model in report.models]
    if report.track is not None:
        return f"{names[0]} to {names[-1]}"
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _comparison(report: Report) -> Iterator[str]:
    if report.comparison is None:
        return
    yield "<section>"
    yield tag("h2", "Comparison")
    for columns, rows in comparison_tables(report.comparison):
        yield from plain_table(columns, rows)
    yield from sentences(comparison_lines(report))
    yield "</section>"


def _gates(report: Report) -> Iterator[str]:
    if report.gates:
        yield "<section>"
        yield tag("h2", "Gates")
        yield from sentences(gate_lines(report))
        yield "</section>"


def _models(report: Report) -> Iterator[str]:
    if report.track is not None:  # the run has been shown; of its checkpoints the last one's layers
        report = replace(report, models=report.models[-1:])
        yield tag("h2", "The last checkpoint")
    pictures = PictureBook(report)
    if len(report.models) > 1:
        yield from models_table(report.models)
    titled = len(report.models) > 1 or report.comparison is not None or report.track is not None
    room = limits.PAGE_LAYERS
    for number, model in enumerate(report.models):
        yield from model_section(number, model, report.settings, pictures, titled=titled, room=max(room, 0))
        room -= len(model.layers)


def _explained(report: Report) -> Iterator[str]:
    yield '<section id="explained">'
    yield tag("h2", "What the numbers mean")
    yield NULLS
    yield from sentences(legend_lines(report.models))
    yield from glossary()
    yield "</section>"


def _settings(report: Report) -> Iterator[str]:
    yield '<section id="settings">'
    yield tag("h2", "Settings of this run")
    yield from definition_rows((name, _setting(value)) for name, value in to_mapping(report.settings).items())
    yield "</section>"


def _setting(value: object) -> str:
    if value is None:
        return "chosen by gcx"
    if isinstance(value, list):
        return ", ".join("=".join(map(str, item)) if isinstance(item, list) else str(item) for item in value) or "none"
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


SECTIONS: tuple[Callable[[Report], Iterable[str]], ...] = (
    _comparison,
    run_section,
    _gates,
    _models,
    _explained,
    _settings,
)
"""What a page shows, in order; a section without anything to show yields nothing."""


@cache
def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text("utf-8")


def _hash(text: str) -> str:
    """The source expression that allows exactly this text, inline."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
