"""The tables of `gcx compare`: filters of every pair of layers, and their kernels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gcx.comparison import ArmMeans, Comparison, LayerComparison
from gcx.renderers.cells import NOTHING, Cell, Column, decimal, probability, shape_text
from gcx.results import SIGNIFICANT

TREND = {
    "identical": "identical",
    "higher": "higher",
    "lower": "lower",
    "no_change": "no change",
    "depends": "depends",
    "unknown": "not known",
}


def _matched(layer: LayerComparison, side: str) -> Cell:
    matched = layer.dimension_matched
    return Cell(decimal(None if matched is None else getattr(matched, side), 4))


def _ratio(layer: LayerComparison) -> Cell:
    ratio = layer.dimension_matched.ratio if layer.dimension_matched else None
    return Cell(NOTHING if ratio is None else f"×{ratio:.2f}")


def _interval(ends: tuple[float, float] | None) -> Cell:
    return Cell(NOTHING if ends is None else " to ".join(decimal(end, 4, sign=True) for end in ends), "faint")


def _trend(layer: LayerComparison) -> Cell:
    found = layer.trend in ("higher", "lower")
    return Cell(
        TREND[layer.trend], "found" if found else "unsure" if layer.trend in ("depends", "unknown") else "plain"
    )


def _shape(side: ArmMeans) -> Cell:
    return Cell(f"{shape_text(side.weight_shape)} g{side.groups}")


def _null(side: ArmMeans) -> Cell:
    return Cell(decimal(side.null_r2, 4), "faint")


def _partner(layer: LayerComparison) -> Cell:
    return Cell("" if layer.candidate == layer.reference else layer.candidate, "name")


COMPARISON_COLUMNS: tuple[Column[LayerComparison], ...] = (
    Column(
        "reference",
        "matched layer",
        "the layer's name in the reference",
        lambda c: Cell(c.reference, "name"),
        right=False,
        folds=True,
    ),
    Column(
        "candidate",
        "with",
        "the layer's name in the candidate, where it is another",
        _partner,
        right=False,
        folds=True,
        only_if_any=True,
    ),
    Column(
        "sides.reference.weight_shape",
        "reference",
        "shape and groups of the reference's layer",
        lambda c: _shape(c.sides.reference),
        right=False,
        band="shape",
        level=5,
    ),
    Column(
        "sides.candidate.weight_shape",
        "candidate",
        "shape and groups of the candidate's layer",
        lambda c: _shape(c.sides.candidate),
        right=False,
        band="shape",
        level=5,
    ),
    Column(
        "sides.reference.mean_r2",
        "mean r²",
        "mean r² within groups of the reference, at its own dimension",
        lambda c: Cell(decimal(c.sides.reference.mean_r2, 4)),
        band="reference",
        level=1,
    ),
    Column(
        "sides.reference.null_permuted_r2",
        "chance",
        "what the reference's kernels alone give, in any channel order",
        lambda c: _null(c.sides.reference),
        band="reference",
        level=3,
    ),
    Column(
        "sides.candidate.mean_r2",
        "mean r²",
        "mean r² within groups of the candidate, at its own dimension",
        lambda c: Cell(decimal(c.sides.candidate.mean_r2, 4)),
        band="candidate",
        level=1,
    ),
    Column(
        "sides.candidate.null_permuted_r2",
        "chance",
        "what the candidate's kernels alone give, in any channel order",
        lambda c: _null(c.sides.candidate),
        band="candidate",
        level=3,
    ),
    Column(
        "dimension_matched.reference",
        "reference",
        "mean r² within groups of the reference, at equal dimension",
        lambda c: _matched(c, "reference"),
        band="at equal dimension",
    ),
    Column(
        "dimension_matched.candidate",
        "candidate",
        "mean r² within groups of the candidate, at equal dimension",
        lambda c: _matched(c, "candidate"),
        band="at equal dimension",
    ),
    Column(
        "dimension_matched.ratio",
        "ratio",
        "candidate over reference, at equal dimension",
        _ratio,
        band="at equal dimension",
        level=2,
    ),
    Column(
        "change_ci95",
        "95 % of change",
        "95 % interval of the change at equal dimension",
        lambda c: _interval(c.change_ci95),
        band="at equal dimension",
        level=4,
    ),
    Column(
        "pvalue_adjusted",
        "adj. p",
        "chance of such a change where there is none, corrected over the layers",
        lambda c: Cell(probability(c.pvalue_adjusted)),
    ),
    Column(
        "trend",
        "within groups",
        "what may be claimed: a direction only where all three readings agree",
        _trend,
        right=False,
    ),
)
"""Every column of what `gcx compare` says of filters."""


def _delta(value: float | None) -> Cell:
    return Cell(decimal(value, 4, sign=True))


def _cut(side: ArmMeans) -> Cell:
    return Cell("virtual" if side.groups == 1 else str(side.groups), "faint" if side.groups == 1 else "plain")


def _delta_pvalue(layer: LayerComparison) -> Cell:
    pvalue = layer.delta_test.pvalue_adjusted if layer.delta_test else None
    return Cell(probability(pvalue), "found" if pvalue is not None and pvalue <= SIGNIFICANT else "plain")


DELTA_COLUMNS: tuple[Column[LayerComparison], ...] = (
    *COMPARISON_COLUMNS[:2],
    Column(
        "sides.reference.groups",
        "groups",
        "groups of the reference's layer; virtual: cut into groups that mean nothing",
        lambda c: _cut(c.sides.reference),
        band="reference",
        level=2,
    ),
    Column(
        "sides.reference.delta",
        "delta",
        "kernels.delta of the reference",
        lambda c: _delta(c.sides.reference.delta),
        band="reference",
    ),
    Column(
        "sides.reference.delta_ci95",
        "95 %",
        "its 95 % interval over runs",
        lambda c: _interval(c.sides.reference.delta_ci95),
        band="reference",
        level=3,
    ),
    Column(
        "sides.candidate.groups",
        "groups",
        "groups of the candidate's layer; virtual: cut into groups that mean nothing",
        lambda c: _cut(c.sides.candidate),
        band="candidate",
        level=2,
    ),
    Column(
        "sides.candidate.delta",
        "delta",
        "kernels.delta of the candidate",
        lambda c: _delta(c.sides.candidate.delta),
        band="candidate",
    ),
    Column(
        "sides.candidate.delta_ci95",
        "95 %",
        "its 95 % interval over runs",
        lambda c: _interval(c.sides.candidate.delta_ci95),
        band="candidate",
        level=3,
    ),
    Column(
        "change.kernels.delta",
        "change",
        "candidate minus reference",
        lambda c: _delta(c.change.kernels.delta),
        level=1,
    ),
    Column(
        "delta_test.pvalue_adjusted",
        "adj. p",
        "chance of such a change of delta where there is none: runs dealt to the arms, corrected over the layers",
        _delta_pvalue,
    ),
)
"""Every column of what `gcx compare` says of kernels."""


def comparison_tables(
    comparison: Comparison,
) -> Iterator[tuple[Sequence[Column[LayerComparison]], Sequence[LayerComparison]]]:
    """Columns and rows: filters of every pair of layers; kernels where both sides have groups, or virtual ones."""
    if comparison.layers:
        yield COMPARISON_COLUMNS, comparison.layers
    with_delta = [layer for layer in comparison.layers if layer.change.kernels.delta is not None]
    if with_delta:
        yield DELTA_COLUMNS, with_delta
