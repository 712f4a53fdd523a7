"""The tables, built once: columns with key, title, meaning and format; a renderer only says how a row looks."""

from __future__ import annotations

from gcx.renderers.cells import NOTHING, Cell, Column, decimal, groups_cell, probability, root, shape_text
from gcx.renderers.distribution import sparkline
from gcx.results import LayerResult, Partition


def _starred(text: str, found: bool) -> Cell:
    # A blank where others have the star keeps the digits of a right-aligned column beneath each other.
    return Cell(f"{text}*", "found") if found else Cell(f"{text} ")


def _faint(mean_square: float | None) -> Cell:
    return Cell(decimal(root(mean_square)), "faint")


def _count(value: int | None) -> Cell:
    return Cell(str(value), "unsure") if value else Cell("")


def _within_rms(layer: LayerResult) -> Cell:
    return _starred(decimal(layer.within.rms_r if layer.within else None), layer.is_above_null)


def _within_chance(layer: LayerResult) -> Cell:
    return _faint(layer.within.null_r2 if layer.within else None)


def _across_rms(layer: LayerResult) -> Cell:
    across = layer.across
    if across is None or across.rms_r is None:
        return Cell(f"{NOTHING} ")
    return Cell(decimal(across.rms_r) + ("°" if across.order_free else " "))


def _across_chance(layer: LayerResult) -> Cell:
    return _faint(layer.across.null_r2 if layer.across else None)


def _delta(layer: LayerResult) -> Cell:
    value = layer.kernels.delta if layer.kernels else None
    return _starred(decimal(value, 4, sign=True), layer.has_delta)


COLUMNS: tuple[Column[LayerResult], ...] = (
    Column(
        "name", "layer", "the layer's name in the checkpoint", lambda c: Cell(c.name, "name"), right=False, folds=True
    ),
    Column(
        "weight_shape",
        "shape",
        "shape of the weight: out_channels × in_channels/groups × kernel size",
        lambda c: Cell(shape_text(c.weight_shape)),
        right=False,
        level=3,
    ),
    Column(
        "groups",
        "groups",
        "filter groups, and how that is known: recorded in the file, declared by you, inferred from shapes, "
        "or assumed; a question mark where it is not certain",
        lambda c: groups_cell(c.groups, c.groups_from, c.groups_confidence),
        right=False,
    ),
    Column(
        "within.rms_r",
        "rms r",
        "root mean square correlation of two filters of one group; a star where the 95 % interval of mean_r2 lies "
        "above chance",
        _within_rms,
        marked=True,
        band="within groups",
    ),
    Column(
        "within.null_permuted_rms_r",
        "chance",
        "rms r within groups that the kernels alone give, whichever channel they stand at: root of null_permuted_r2 "
        "(of null_isotropic_r2 where there is no channel order)",
        _within_chance,
        band="within groups",
    ),
    Column(
        "within.null_isotropic_rms_r",
        "isotropic",
        "rms r within groups of filters of random direction: root of null_isotropic_r2, so 1/sqrt(d-1) for Pearson",
        lambda c: _faint(c.within.null_isotropic_r2 if c.within else None),
        band="within groups",
        level=4,
    ),
    Column(
        "within.max_abs_r",
        "max |r|",
        "largest |r| of any two filters of one group",
        lambda c: Cell(decimal(c.within.max_abs_r if c.within else None)),
        band="within groups",
        level=7,
    ),
    Column(
        "across.rms_r",
        "rms r",
        "root mean square correlation of two filters of different groups, channel slot against channel slot: channel "
        "order is arbitrary, so read it beside its chance; ° where there is no order to choose",
        _across_rms,
        marked=True,
        band="across groups",
    ),
    Column(
        "across.null_permuted_rms_r",
        "chance",
        "rms r across groups, averaged over all channel orders: root of null_permuted_r2 (of null_isotropic_r2 where "
        "there is no channel order)",
        _across_chance,
        band="across groups",
    ),
    Column(
        "across.null_isotropic_rms_r",
        "isotropic",
        "rms r across groups of filters of random direction: root of null_isotropic_r2",
        lambda c: _faint(c.across.null_isotropic_r2 if c.across else None),
        band="across groups",
        level=5,
    ),
    Column(
        "kernels.delta",
        "delta",
        "mean squared cosine of kernels of one group minus that of different groups: above 0, groups hold different "
        "kernels; a star where its adjusted p is at most 0.05",
        _delta,
        marked=True,
        band="kernels",
        level=2,
    ),
    Column(
        "kernels.pvalue_adjusted",
        "adj. p",
        "chance of such a delta when filters are dealt to groups at random, after Benjamini-Hochberg over the layers",
        lambda c: Cell(probability(c.kernels.pvalue_adjusted if c.kernels else None)),
        band="kernels",
        level=4,
    ),
    Column(
        "degenerate_filters",
        "filters",
        "degenerate filters: without variance they have no correlation, and are left out",
        lambda c: _count(c.degenerate_filters),
        band="degenerate",
        level=6,
        only_if_any=True,
    ),
    Column(
        "degenerate_kernels",
        "kernels",
        "degenerate kernels: without a direction, left out of the kernel measure",
        lambda c: _count(c.degenerate_kernels),
        band="degenerate",
        level=6,
        only_if_any=True,
    ),
)
"""Every column of the table of layers, in order; `gcx explain KEY` says its meaning."""

DISTRIBUTION: Column[LayerResult] = Column(
    "distribution",
    "r, ±4 chance",
    "how r is distributed within groups (across where no group has a pair), from -4 to 4 times the width that random "
    "directions give; what lies beyond stands at the ends; only on a terminal with colour",
    lambda c: Cell(sparkline(c.distribution)),
    right=False,
    level=3,
    only_if_any=True,
)
"""The one column that is a drawing."""


def _colour(cut: tuple[LayerResult, Partition]) -> Cell:
    found = cut[1].saturation
    return Cell(NOTHING if found is None else f"{decimal(found.least, 2)} to {decimal(found.most, 2)}")


PARTITION_COLUMNS: tuple[Column[tuple[LayerResult, Partition]], ...] = (
    Column(
        "name",
        "layer",
        "the layer's name in the checkpoint",
        lambda c: Cell(c[0].name, "name"),
        right=False,
        folds=True,
    ),
    Column(
        "virtual_groups.groups",
        "cut into",
        "how many groups a dense layer is cut into: virtual (natural order) or induced by the layer that reads it",
        lambda c: Cell(f"{c[1].groups} {c[1].source}"),
        right=False,
    ),
    Column(
        "virtual_groups.within_rms_r",
        "rms r within",
        "root of the mean r^2 over pairs of filters of one part",
        lambda c: Cell(decimal(root(c[1].within_mean_r2))),
    ),
    Column(
        "virtual_groups.across_rms_r",
        "across",
        "root of the mean r^2 over pairs of filters of different parts; all filters share their inputs",
        lambda c: Cell(decimal(root(c[1].across_mean_r2))),
        level=1,
    ),
    Column(
        "virtual_groups.contrast",
        "contrast",
        "mean r^2 within parts minus across parts: about 0 where parts mean nothing",
        lambda c: Cell(decimal(c[1].contrast, 4, sign=True)),
    ),
    Column(
        "virtual_groups.contrast_pvalue",
        "p",
        "chance of such a contrast when filters are dealt to parts at random; not adjusted for the number of layers",
        lambda c: Cell(probability(c[1].contrast_pvalue)),
    ),
    Column(
        "virtual_groups.saturation.between",
        "colour",
        "mean share of colour in the filters of the least and of the most coloured part; of a layer that reads RGB",
        _colour,
        only_if_any=True,
    ),
    Column(
        "virtual_groups.saturation.pvalue",
        "p colour",
        "chance that parts differ as much in colour when filters are dealt to them at random",
        lambda c: Cell(probability(c[1].saturation.pvalue if c[1].saturation else None)),
        only_if_any=True,
    ),
    Column(
        "induced_groups.consumer",
        "read by",
        "the grouped layer whose groups cut this one",
        lambda c: Cell(c[1].consumer or "", "name"),
        right=False,
        folds=True,
        only_if_any=True,
    ),
)
"""Every column of the negative control of dense layers."""
