"""One model: what was covered and found, its layers at a glance, the table, a panel per layer, what was left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from gcx.contract import number_at
from gcx.renderers.cells import NOTHING, Cell, Column, Table, build_table, decimal
from gcx.renderers.contact import caption
from gcx.renderers.escape import html_text
from gcx.renderers.html.elements import bands, cell, heading, plain_table, sentences, tag
from gcx.renderers.html.layer_pictures import PictureBook, depth_profile, spark
from gcx.renderers.html.panels import panel
from gcx.renderers.prose import (
    Line,
    model_lines,
    partition_line,
    partitions,
    percent,
    skipped_text,
)
from gcx.renderers.tables import COLUMNS, PARTITION_COLUMNS
from gcx.results import LayerResult, LeftOut, ModelResult
from gcx.settings import Settings
from gcx.words import plural

_EXCESS: Column[LayerResult] = Column(
    "within.excess",
    "excess",
    "mean_r2 within groups minus its chance: what the permuted null does not explain",
    lambda c: Cell(decimal(c.within.excess if c.within else None, 4, sign=True)),
    band="within groups",
)
_LAYERS: tuple[Column[LayerResult], ...] = tuple(
    column
    for known in COLUMNS
    for column in ((known, _EXCESS) if known.key == "within.null_isotropic_rms_r" else (known,))
)
"""The table of every renderer, with the excess beside what it is made of."""

_TILED = frozenset({"within groups", "across groups", "kernels"})
"""Sentences that the tiles say."""
_NOTES = 4
"""Notes on a file that are shown at once."""

_MODELS: tuple[Column[tuple[int, ModelResult]], ...] = (
    Column("path", "model", "the file", lambda m: Cell(m[1].path, "name"), right=False),
    Column(
        "coverage.measured",
        "measured",
        "convolutions measured",
        lambda m: Cell(f"{m[1].coverage.measured} of {m[1].coverage.convolutions}"),
    ),
    Column(
        "summary.mean_r2_within",
        "mean r²",
        "mean_r2 within groups, over all pairs of all layers",
        lambda m: Cell(decimal(m[1].summary.mean_r2_within, 4)),
        band="within groups",
    ),
    Column(
        "summary.excess_within",
        "over chance",
        "excess within groups, weighted by pairs",
        lambda m: Cell(decimal(m[1].summary.excess_within, 4, sign=True)),
        band="within groups",
    ),
    Column(
        "summary.layers_above_null",
        "layers above",
        "layers whose 95 % interval lies above chance",
        lambda m: Cell(f"{m[1].summary.layers_above_null} of {m[1].summary.layers_tested}"),
        band="within groups",
    ),
    Column(
        "summary.mean_r2_across",
        "mean r²",
        "mean_r2 across groups, over all pairs of all layers",
        lambda m: Cell(decimal(m[1].summary.mean_r2_across, 4)),
        band="across groups",
    ),
    Column(
        "summary.excess_across",
        "over chance",
        "across-group mean_r2 minus its permuted null, weighted by pairs",
        lambda m: Cell(decimal(m[1].summary.excess_across, 4, sign=True)),
        band="across groups",
    ),
)


def models_table(models: Sequence[ModelResult]) -> Iterator[str]:
    """Several models beneath each other."""
    yield "<section>"
    yield tag("h2", plural(len(models), "model"))
    yield from plain_table(_MODELS, tuple(enumerate(models)))
    links = (f'<li><a href="#m{k}">{html_text(model.path)}</a></li>' for k, model in enumerate(models))
    yield f'<nav aria-label="models"><ul class="models">{"".join(links)}</ul></nav></section>'


def model_section(
    number: int, model: ModelResult, settings: Settings, pictures: PictureBook, *, titled: bool, room: int
) -> Iterator[str]:
    """Everything about one model, of at most `room` layers; they have the ids m0-l0, m0-l1, …"""
    whole, model = model, replace(model, layers=model.layers[:room])
    ids = {id(layer): f"m{number}-l{place}" for place, layer in enumerate(model.layers)}
    measured = model.measured
    drawn = any(layer.picture is not None for layer in measured)
    yield f'<section class="model" id="m{number}">'
    if titled:
        yield f'<h2 class="path">{html_text(model.path)} <small>{html_text(model.format)}</small></h2>'
    yield from _tiles(whole)
    yield from _said(model_lines(whole, settings))
    if len(whole.layers) > len(model.layers):
        text = f"shown: {len(model.layers)} of {len(whole.layers)} layers; choose others by --include or --top"
        yield tag("p", f"{text}, or take the JSON for all", "unsure")
    if measured:
        profile = depth_profile(measured)
        if profile:
            yield profile
        if drawn:
            yield from _thumbnails(measured, ids, pictures)
        yield tag("h3", "Table")
        yield from _layer_table(model, ids, drawn)
    for source, rows in partitions(model):
        yield from sentences([partition_line(source, rows)])
        yield from plain_table(PARTITION_COLUMNS, rows)
    yield from _left_out(model.left_out)
    if measured:
        yield tag("h3", "Layers")
        undrawn = sum(layer.picture is not None and pictures.of(layer) is None for layer in measured)
        if undrawn:
            yield tag("p", f"{undrawn} of these have no pictures here; choose them by --include or --top.", "hint")
        for layer in measured:
            yield from panel(ids[id(layer)], layer, pictures)
    yield "</section>"


def _said(lines: Iterable[Line]) -> Iterator[str]:
    """The sentences about a model but for those that the tiles say; many notes are folded away."""
    shown = [line for line in lines if line.label not in _TILED]
    notes = [line for line in shown if line.label == "note"]
    if len(notes) > _NOTES:
        shown = [line for line in shown if line.label != "note"]
    yield from sentences(shown)
    if len(notes) > _NOTES:
        yield f'<details class="more"><summary>{plural(len(notes), "note")} on reading the file</summary>'
        yield from sentences(notes)
        yield "</details>"


def _tiles(model: ModelResult) -> Iterator[str]:
    """The few numbers that say how it stands."""
    coverage, summary = model.coverage, model.summary
    share = "" if coverage.weight_share is None else f"{percent(coverage.weight_share)} of convolution weights"
    found = [(f"{coverage.measured} of {coverage.convolutions}", "convolutions measured", share)]
    if coverage.not_chosen:
        found.append((str(coverage.not_chosen), "left out by --include or --exclude", ""))
    for title, mean, excess in (
        ("within groups", summary.mean_r2_within, summary.excess_within),
        ("across groups", summary.mean_r2_across, summary.excess_across),
    ):
        if mean is not None:
            over = "" if excess is None else f"{decimal(excess, 4, sign=True)} over chance"
            found.append((decimal(mean, 4), f"mean r² {title}", over))
    if summary.layers_tested:
        text = f"{summary.layers_above_null} of {summary.layers_tested}"
        found.append((text, "layers above chance", "95 % interval over the null"))
    if summary.pvalues:
        text = f"{summary.layers_with_delta} of {summary.pvalues}"
        found.append((text, "layers whose groups differ", "in kernels, adjusted p ≤ .05"))
    tiles = (
        f"<li>{tag('b', value)}{tag('span', what)}{tag('small', more) if more else ''}</li>"
        for value, what, more in found
    )
    yield f'<ul class="tiles">{"".join(tiles)}</ul>'


def _thumbnails(layers: Sequence[LayerResult], ids: dict[int, str], pictures: PictureBook) -> Iterator[str]:
    yield tag("h3", "Layers at a glance")
    text = "r of every pair of filters in multiples of chance, one scale for all"
    yield tag("p", f"{text}; beneath: groups, rms r within groups (° across) / its isotropic null", "hint")
    yield '<div class="thumbs">'
    for layer in layers:
        picture = pictures.of(layer)
        if picture is not None:
            name, ident = html_text(layer.name), ids[id(layer)]
            yield (
                f'<a href="#{ident}-in" data-of="{ident}" title="{name}">{pictures.thumbnail(picture)}'
                f"<b><bdi>{name}</bdi></b><small>{html_text(caption(layer))}</small></a>"
            )
    yield "</div>"


def _layer_table(model: ModelResult, ids: dict[int, str], drawn: bool) -> Iterator[str]:
    table = build_table(_LAYERS, model.measured)
    noted = any(layer.notes for layer in model.measured)
    yield '<div class="scroll" tabindex="0" role="region" aria-label="table of layers">'
    yield '<table class="sortable layers"><thead>'
    yield bands(table.columns, drawn, noted)
    distribution = (
        '<th scope="col" title="distribution of r within groups (across where no group has a pair) over the isotropic '
        'null, from −4 to 4 times its width: one scale for all layers">r</th>'
    )
    first, *others = map(heading, table.columns)
    notes = '<th scope="col" class="n" title="notes in the layer\'s panel">notes</th>'
    yield f"<tr>{first}{distribution if drawn else ''}{''.join(others)}{notes if noted else ''}</tr></thead><tbody>"
    for layer, row in zip(model.measured, table.rows, strict=True):
        yield _row(layer, table, row, ids[id(layer)], drawn, noted)
    width = len(table.columns) + drawn + noted
    for skipped in model.skipped:
        ident, text = ids[id(skipped)], html_text(skipped_text(skipped).removeprefix(skipped.name).lstrip(" :"))
        yield (
            f'<tr id="{ident}" class="skipped" data-f="skipped"><td class="name">{html_text(skipped.name)}</td>'
            f'<td colspan="{width - 1}">skipped: {text}</td></tr>'
        )
    yield "</tbody></table></div>"


def _row(layer: LayerResult, table: Table, row: tuple[Cell, ...], ident: str, drawn: bool, noted: bool) -> str:
    cells = [f'<td class="name"><a href="#{ident}-in">{html_text(layer.name) or "(no name)"}</a></td>']
    if drawn:
        cells.append(f"<td>{spark(layer.picture) if layer.picture is not None else NOTHING}</td>")
    cells += (cell(one, column, _value(layer, column)) for one, column in zip(row[1:], table.columns[1:], strict=True))
    if noted:
        cells.append(f'<td class="n">{len(layer.notes) or ""}</td>')
    return f'<tr data-of="{ident}" data-f="{" ".join(_flags(layer))}">{"".join(cells)}</tr>'


def _value(layer: LayerResult, column: Column[LayerResult]) -> float | None:
    """What a cell is sorted by; None leaves it to the text."""
    if column.key == "weight_shape":
        return float(layer.parameters)
    try:
        value = number_at(layer, column.key)
    except AttributeError:
        return None
    return float(value) if isinstance(value, int | float) else None


def _flags(layer: LayerResult) -> Iterator[str]:
    """What the page can be filtered by."""
    for flag, is_so in (
        ("above", layer.is_above_null),
        ("grouped", layer.groups > 1),
        ("depthwise", layer.groups == layer.in_channels > 1),
        ("delta", layer.has_delta),
        ("unsure", layer.groups_confidence != "certain"),
        ("degenerate", bool(layer.degenerate_filters or layer.degenerate_kernels)),
    ):
        if is_so:
            yield flag


def _left_out(left_out: Sequence[LeftOut]) -> Iterator[str]:
    if not left_out:
        return
    yield f"<details><summary>{html_text(plural(len(left_out), 'tensor'))} that are no convolution weight</summary>"
    columns: tuple[Column[LeftOut], ...] = (
        Column("name", "tensor", "its name", lambda t: Cell(t.name, "name"), right=False),
        Column("shape", "shape", "its shape", lambda t: Cell("×".join(map(str, t.shape))), right=False),
        Column("reason", "why", "why it is none", lambda t: Cell(t.reason), right=False),
    )
    yield from plain_table(columns, left_out)
    yield "</details>"
