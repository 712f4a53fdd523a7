"""The sentences of `gcx compare`: the verdict, and what a reader must know to believe it."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from gcx.comparison import Comparison, LayerComparison
from gcx.renderers.cells import decimal
from gcx.renderers.prose import Kind, Line, coverage_text, named, skipped_text
from gcx.results import SIGNIFICANT, Report
from gcx.words import plural


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
