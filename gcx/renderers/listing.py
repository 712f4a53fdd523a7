"""What `gcx layers` shows: every convolution, how many groups, how that is known, and what to type where it is not."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from gcx.renderers.cells import Cell, Column, groups_cell, shape_text
from gcx.renderers.prose import Line, groups_line, named
from gcx.results import ListedLayer, ModelListing

LISTING_COLUMNS: tuple[Column[ListedLayer], ...] = (
    Column(
        "name", "layer", "the layer's name in the checkpoint", lambda c: Cell(c.name, "name"), right=False, folds=True
    ),
    Column(
        "weight_shape",
        "shape",
        "shape of the weight: out_channels × in_channels/groups × kernel size",
        lambda c: Cell(shape_text(c.weight_shape)),
        right=False,
        level=2,
    ),
    Column(
        "stored_shape",
        "stored as",
        "shape in the file, where it differs because the convolution is transposed",
        lambda c: Cell(shape_text(c.stored_shape)),
        right=False,
        level=3,
        only_if_any=True,
    ),
    Column(
        "groups",
        "groups",
        "filter groups, and how that is known; a question mark where it is not certain",
        lambda c: groups_cell(c.groups, c.groups_from, c.groups_confidence),
        right=False,
    ),
    Column(
        "groups_alternatives",
        "or",
        "other counts that fit the shapes",
        lambda c: Cell(" ".join(map(str, c.groups_alternatives)), "unsure"),
        right=False,
        only_if_any=True,
    ),
    Column("parameters", "weights", "how many weights", lambda c: Cell(f"{c.parameters:,}")),
    Column(
        "groups_evidence",
        "why this count",
        "one sentence: why this count",
        lambda c: Cell(c.groups_evidence, "faint"),
        right=False,
        folds=True,
    ),
)
"""Every column of `gcx layers`."""

SUGGESTIONS = 12
"""Options that are suggested at most; every uncertain layer is marked in the table."""


def declaration(layer: ListedLayer) -> str:
    """The option that settles the groups of one layer as the count gcx took, ready for a POSIX shell.

    The name is a glob, so its own `[`, `*`, `?` are escaped; what cannot be typed safely becomes `?` (any character).

    >>> from gcx.results import ListedLayer
    >>> layer = ListedLayer(
    ...     name="body.0", weight_shape=(8, 2, 3, 3), in_channels=2, out_channels=8, groups=1, filters_per_group=8,
    ...     transposed=False, parameters=144, groups_from="assumed", groups_confidence="ambiguous",
    ...     groups_evidence="nothing says so", groups_alternatives=(2, 4))
    >>> declaration(layer)
    '--groups body.0=1'
    """
    escaped = re.sub(r"([\[*?])", r"[\1]", layer.name)
    glob = "".join(char if char.isascii() and char.isprintable() else "?" for char in escaped)
    return f"--groups {shlex.quote(f'{glob}={layer.groups}')}"


def declarations(model: ModelListing) -> Iterator[str]:
    """Per layer whose groups are ambiguous: the option to copy, and what else would fit."""
    open_questions = [
        layer for layer in model.layers if layer.groups_confidence == "ambiguous" or layer.groups_alternatives
    ]
    unsure = [layer for layer in open_questions if layer.problem is None and layer.groups_confidence != "certain"]
    for layer in unsure[:SUGGESTIONS]:
        others = ", ".join(map(str, layer.groups_alternatives))
        yield f"{declaration(layer)}   (or {others})" if layer.groups_alternatives else declaration(layer)
    if len(unsure) > SUGGESTIONS:
        yield f"and {len(unsure) - SUGGESTIONS} more"


def listing_lines(model: ModelListing) -> Iterator[Line]:
    """What is to be said of one model beside its table of layers."""
    for note in model.notes:
        yield Line("note", note)
    if model.layers:
        weights = sum(layer.parameters for layer in model.layers)
        text = f"{len(model.layers)}, with {weights:,} weights"
        if model.not_chosen:
            text += f"; {model.not_chosen} left out by --include or --exclude"
        yield Line("convolutions", text)
        yield groups_line(model.layers)
    else:
        yield Line("convolutions", "; ".join(model.inconclusive) or "none", "unsure")
    for layer in model.layers:
        if layer.problem is not None:
            yield Line("not measurable", f"{layer.name}: {layer.problem}", "unsure")
        if layer.tied:
            yield Line("tied", f"{layer.name}: the same weight as {', '.join(layer.tied)}")
    for note in dict.fromkeys(note for layer in model.layers for note in layer.notes):
        yield Line("note", f"{note}: {named([layer.name for layer in model.layers if note in layer.notes])}")
    for tensor in model.left_out:
        yield Line("left out", f"{tensor.name} {shape_text(tensor.shape)}: {tensor.reason}", "legend")
    for text in declarations(model):
        yield Line("to settle", text, "unsure", verbatim=True)
