"""What `gcx compare` and gates add to every output: the table of compared layers, and the sentences around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from gcx.comparison import ArmMeans, Comparison, Gate, LayerComparison, Violation
from gcx.renderers.cells import NOTHING, Cell, Column, decimal, probability, shape_text
from gcx.renderers.prose import Kind, Line, coverage_text, named, plural, skipped_text
from gcx.results import SIGNIFICANT, Report

SHOWN = 6
"""Violations of one rule that are named; the JSON has the others."""
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


def comparison_lines(report: Report) -> Iterator[Line]:
    """What is to be said of a comparison beside its table."""
    comparison = report.comparison
    if comparison is None:
        return
    yield Line("verdict", comparison.verdict)
    yield from _kernels(comparison)
    yield from _lineage(comparison)
    for layer in comparison.layers:
        if layer.trend in ("higher", "lower", "depends"):
            yield Line(layer.trend, f"{_named(layer)}: {layer.verdict.removeprefix(f'{layer.trend}: ')}")
    yield from _filters(comparison)
    for text in dict.fromkeys(coverage_text(model.coverage) for model in report.models):
        models = [model for model in report.models if coverage_text(model.coverage) == text]
        kind: Kind = "fact" if all(model.measured for model in models) else "unsure"
        yield Line("measured", f"{text}: {named([model.path for model in models])}", kind)
    for model in report.models:
        for skipped in model.skipped:
            yield Line("skipped", f"{model.path}: {skipped_text(skipped)}", "unsure")
    for note in dict.fromkeys(note for model in report.models for note in model.notes):
        yield Line("note", note)
    for arm, reason in dict.fromkeys((alone.arm, alone.reason) for alone in comparison.unmatched):
        names = [alone.name for alone in comparison.unmatched if (alone.arm, alone.reason) == (arm, reason)]
        yield Line("unmatched", f"{plural(len(names), 'layer')} of the {arm}: {reason}: {named(names)}", "unsure")
    for note in comparison.notes:
        yield Line("note", note)
    for note in dict.fromkeys(note for layer in comparison.layers for note in layer.notes):
        yield Line("note", f"{note}: {named([layer.reference for layer in comparison.layers if note in layer.notes])}")
    if any(layer.change.kernels.delta is not None for layer in comparison.layers):
        text = "kernels of one group against those of different groups: above 0, groups hold different kinds of kernels"
        if any(_is_cut(layer) for layer in comparison.layers):
            text += "; virtual groups mean nothing, so theirs should be about 0"
        yield Line("delta", text, "legend")
    yield Line(
        "equal dimension",
        "fewer channels per filter give larger r by themselves: the denser layer is cut to the other's channels at "
        "random before the two are compared",
        "legend",
    )


def _named(layer: LayerComparison) -> str:
    return layer.reference if layer.reference == layer.candidate else f"{layer.reference} with {layer.candidate}"


def _is_cut(layer: LayerComparison) -> bool:
    return any(side.groups == 1 and side.delta is not None for side in (layer.sides.reference, layer.sides.candidate))


def _kernels(comparison: Comparison) -> Iterator[Line]:
    tests = [(layer, layer.delta_test) for layer in comparison.layers if layer.delta_test is not None]
    if not tests:
        return
    found = [layer for layer, test in tests if test.pvalue_adjusted <= SIGNIFICANT]
    signs = [(layer.change.kernels.delta or 0.0) > 0 for layer in found]
    text = f"delta changed in {len(found)} of {plural(len(tests), 'layer')}"
    if found:
        text += f" ({sum(signs)} higher, {len(signs) - sum(signs)} lower)"
    yield Line("kernels", f"{text}, adjusted p at most .05")


def _lineage(comparison: Comparison) -> Iterator[Line]:
    if comparison.same_lineage is None or comparison.lineage_z is None:
        return
    z = f"filters of one index correlate {comparison.lineage_z:.1f} standard deviations beyond the others"
    same = "the same (a fine-tune, or training from the same initial weights)"
    text = f"{same}: {z}" if comparison.same_lineage else f"independent runs: {z}"
    yield Line("lineage", text)


def _filters(comparison: Comparison) -> Iterator[Line]:
    for layer in comparison.layers:
        known = [(r, number) for number, r in enumerate(layer.filter_r or ()) if r is not None]
        if known:
            least, number = min(known)
            middle = median(r for r, _ in known)
            yield Line(
                "filters", f"{_named(layer)}: median r {decimal(middle)}, least {decimal(least)} (filter {number})"
            )


def worst_first(gate: Gate, violations: Sequence[Violation]) -> list[Violation]:
    """The violations of one rule, the farthest beyond its bound first."""
    own = [violation for violation in violations if violation.rule == gate.rule]
    return sorted(own, key=lambda violation: -abs(violation.value - violation.bound))


def gate_lines(report: Report) -> Iterator[Line]:
    """Every rule and how it went; of a crossed one the worst layers."""
    for gate in report.gates:
        if gate.violated:
            worst = worst_first(gate, report.violations)
            where = "; ".join(map(violation_text, worst[:SHOWN]))
            more = f"; and {len(worst) - SHOWN} more" if len(worst) > SHOWN else ""
            yield Line("violated", f"{gate.rule}: {gate.violated} of {gate.checked}: {where}{more}", "unsure")
        elif not gate.checked:
            yield Line("inconclusive", f"{gate.rule}: the number is null everywhere", "unsure")
        else:
            unknown = f", {gate.unknown} not known" if gate.unknown else ""
            yield Line("passed", f"{gate.rule}: {plural(gate.checked, 'number')} checked{unknown}")


def violation_text(violation: Violation) -> str:
    """Where, value and bound of one violation."""
    where = violation.model if violation.layer is None else f"{violation.layer} in {violation.model}"
    return f"{where}: {violation.value:.6g}, bound {violation.bound:.6g}"
