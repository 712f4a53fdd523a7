"""Verdicts: what may be claimed of a comparison, as a word and as a sentence that follows from its numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gcx.comparison import Comparison, LayerComparison, Trend
from gcx.results import SIGNIFICANT
from gcx.settings import Settings

WORDS: dict[Trend, str] = {
    "identical": "identical",
    "higher": "higher",
    "lower": "lower",
    "no_change": "no change beyond chance",
    "depends": "depends on the correction",
    "unknown": "not known",
}


def trend_of(layer: LayerComparison) -> Trend:
    """What may be claimed: a direction only where the tested change is significant after correction over layers, and
    the raw change, the change over the null and the change at equal dimension have one sign.
    """
    changes = readings(layer)
    within = layer.change.within
    numbers = (within.mean_r2, within.mean_abs_r, within.max_abs_r, within.null_permuted_r2 or 0.0)
    same_shape = layer.sides.reference.weight_shape == layer.sides.candidate.weight_shape
    if same_shape and all(number == 0 for number in numbers):
        return "identical"
    if layer.pvalue_adjusted is None:
        return "unknown"
    if layer.pvalue_adjusted > SIGNIFICANT:
        return "no_change"
    if any(change is None for change in changes.values()):
        return "depends"
    signs = {(change or 0.0) > 0 for change in changes.values()}
    if len(signs) > 1:
        return "depends"
    return "higher" if signs.pop() else "lower"


def readings(layer: LayerComparison) -> dict[str, float | None]:
    """The three readings of one change: raw, over the null, and at equal dimension."""
    matched = layer.dimension_matched
    return {
        "raw": layer.change.within.mean_r2,
        "over chance": layer.change.within.excess,
        "at equal dimension": None if matched is None else matched.change,
    }


def with_verdict(layer: LayerComparison) -> LayerComparison:
    """The layer with its verdict in words."""
    return replace(layer, verdict="; ".join(_sentences(layer)))


def _sentences(layer: LayerComparison) -> Iterator[str]:
    matched = layer.dimension_matched
    if layer.trend == "depends":
        parts = ", ".join(f"{name} {_direction(change)}" for name, change in readings(layer).items())
        yield f"{WORDS['depends']}: {parts}"
    elif layer.trend in ("higher", "lower") and matched is not None:
        yield f"{layer.trend}: {_from_to(matched.reference, matched.candidate)} {_at(layer)}"
    elif layer.trend == "no_change" and matched is not None:
        yield f"{WORDS['no_change']}: {_from_to(matched.reference, matched.candidate)} {_at(layer)}"
    else:
        yield WORDS[layer.trend]
    if layer.trend != "identical" and layer.pvalue_adjusted is not None:
        yield f"adjusted p {layer.pvalue_adjusted:.3g}"
    ours, theirs = layer.sides.reference.parameters, layer.sides.candidate.parameters
    if ours != theirs:
        yield _weights(ours, theirs)


def _at(layer: LayerComparison) -> str:
    return "at equal dimension" if layer.tested == "dimension_matched" else "within groups"


def _from_to(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return "mean r² not known"
    return f"mean r² {before:.4f} to {after:.4f}"


def _direction(change: float | None) -> str:
    return "not known" if change is None else "higher" if change > 0 else "lower" if change < 0 else "the same"


def _weights(before: int, after: int) -> str:
    share = 100 * abs(after - before) / before
    return f"{share:.3g} % {'more' if after > before else 'fewer'} weights"


def whole_verdict(comparison: Comparison) -> str:
    """The comparison in one sentence: how many layers went where, and what it cost in weights."""
    layers = comparison.layers
    if not layers:
        return "no layers match: nothing is compared"
    counts = {trend: sum(layer.trend == trend for layer in layers) for trend in WORDS}
    noun = "layer" if len(layers) == 1 else "layers"
    if counts["identical"] == len(layers):
        return f"within-group correlation is identical in all {len(layers)} {noun}"
    parts = [f"{WORDS[trend]} in {count}" for trend, count in counts.items() if count]
    text = f"within-group correlation, of {len(layers)} matched {noun}: {', '.join(parts)}"
    ours = sum(layer.sides.reference.parameters for layer in layers)
    theirs = sum(layer.sides.candidate.parameters for layer in layers)
    return text if ours == theirs else f"{text}; {_weights(ours, theirs)} in them"


def whole_notes(comparison: Comparison, settings: Settings) -> Iterator[str]:
    """What a reader must know to believe the verdict."""
    tested = sum(layer.pvalue is not None for layer in comparison.layers)
    if comparison.unit == "filter" and tested:
        yield "one run each: intervals are over filters and speak of these two checkpoints, not of other runs"
    if comparison.unit == "filter" and tested and comparison.same_lineage:
        yield "of one lineage: intervals compare each filter with itself (paired jackknife) where the shapes are one"
    by_role = sum(layer.matched_by == "role" for layer in comparison.layers)
    if by_role:
        pairs = f"{by_role} of {len(comparison.layers)} pairs"
        yield f"{pairs} matched by order, kernel size and channels, not by name: --map says what belongs together"
    smallest = comparison.smallest_pvalue
    if smallest is not None and tested:
        runs = f"{comparison.reference_runs} + {comparison.candidate_runs} runs"
        text = f"the smallest p that {runs} can give is {smallest:.3g}"
        if smallest > SIGNIFICANT:
            text += ": nothing can be found"
        elif smallest * tested > SIGNIFICANT:
            least = -(-smallest * tested // SIGNIFICANT)
            text += f": after correction over {tested} layers none passes unless {least:.0f} of them sit there"
        yield text
    if settings.filters and not comparison.same_lineage:
        yield "--filters: no change per filter, since filters of one index do not belong together"
