"""One layer as a panel that opens: its pictures, its numbers by what they are about, its notes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any

from gcx.renderers.cells import decimal, root, shape_text
from gcx.renderers.escape import html_text
from gcx.renderers.html.elements import number_text, tag
from gcx.renderers.html.glossary import ACROSS, KERNELS, STATISTICS, WITHIN, key_id
from gcx.renderers.html.layer_pictures import PictureBook, group_bars, histogram_plot, kernel_matrix
from gcx.results import LayerResult

_BLOCKS = (
    ("within", "within groups", WITHIN),
    ("across", "across groups", ACROSS),
    ("kernels", "kernels", KERNELS),
    ("kernel_statistics", "kernel statistics", STATISTICS),
    ("virtual_groups", "virtual groups", "A negative control: groups that mean nothing, so the contrast should be 0."),
    ("induced_groups", "induced groups", "The layer cut by the groups of the layer that reads it."),
)
_ABOUT = (
    "weight_shape",
    "stored_shape",
    "out_channels",
    "in_channels",
    "groups",
    "filters_per_group",
    "transposed",
    "parameters",
    "groups_from",
    "groups_confidence",
    "groups_alternatives",
    "degenerate_filters",
    "degenerate_kernels",
)
_ROWS = frozenset({"per_group", "kernels", "saturation"})
"""Fields that are records themselves, shown in their own way."""


def panel(ident: str, layer: LayerResult, pictures: PictureBook) -> Iterator[str]:
    """The panel of one layer; `ident` is its id on the page, and `ident` with `-in` that of what it holds."""
    yield f'<details class="layer" id="{ident}"><summary>{_title(layer)}</summary><div class="body" id="{ident}-in">'
    picture = pictures.of(layer)
    if picture is not None:
        bars = group_bars(layer.within) if layer.within is not None else ""
        kernels = "" if picture.kernels is None else kernel_matrix(picture.kernels)
        yield f'<div class="figures">{pictures.matrix(picture)}{kernels}'
        yield f'<div class="plots">{histogram_plot(picture)}{bars}</div></div>'
    notes = (*layer.notes, *((f"the same weight as {', '.join(layer.tied)}, measured once",) if layer.tied else ()))
    if notes:
        yield f'<ul class="notes">{"".join(tag("li", note) for note in dict.fromkeys(notes))}</ul>'
    yield '<div class="blocks">'
    yield from _about(layer)
    for name, title, about in _BLOCKS:
        record = getattr(layer, name)
        if record is not None:
            yield from _block(title, about, _numbers(name, record))
    yield "</div></div></details>"


def _title(layer: LayerResult) -> str:
    """The line that is there while the panel is closed."""
    sure = "" if layer.groups_confidence == "certain" else "?"
    facts = [shape_text(layer.weight_shape), f"g{layer.groups}{sure}"]
    for name, pairs in (("within", layer.within), ("across", layer.across)):
        if pairs is not None and pairs.rms_r is not None:
            facts.append(f"{name} {decimal(pairs.rms_r)} / {decimal(root(pairs.null_r2))}")
    return tag("span", layer.name, "name") + "".join(tag("span", fact) for fact in facts)


def _about(layer: LayerResult) -> Iterator[str]:
    rows = [(name, name, getattr(layer, name)) for name in _ABOUT]
    yield from _block("the layer", layer.groups_evidence, (row for row in rows if row[2] not in (None, (), False)))


def _numbers(prefix: str, record: Any) -> Iterator[tuple[str, str, Any]]:
    """Every number of a record: (dotted path, name, value); those of records in it follow with a dot."""
    for field in fields(record):
        value = getattr(record, field.name)
        if field.name not in _ROWS:
            yield f"{prefix}.{field.name}", field.name, value
        elif field.name != "per_group" and value is not None:
            for path, name, inner in _numbers(f"{prefix}.{field.name}", value):
                yield path, f"{field.name}.{name}", inner


def _block(title: str, about: str, rows: Iterable[tuple[str, str, Any]]) -> Iterator[str]:
    yield f"<section>{tag('h4', title)}{tag('p', about)}<table>"
    for path, name, value in rows:
        text = shape_text(value) if name.endswith("_shape") else number_text(value)
        yield f'<tr><th><a href="#{key_id(path)}">{html_text(name)}</a></th><td>{html_text(text)}</td></tr>'
    yield "</table></section>"
