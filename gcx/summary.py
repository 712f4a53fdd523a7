"""LayerResults -> Summary, and their order: one model in a few numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import inf

from gcx.contract import number_at
from gcx.errors import UsageError
from gcx.results import LayerResult, ModelResult, Report, SkippedLayer, Summary


def summarise(layers: Sequence[LayerResult]) -> Summary:
    """One model in a few numbers; means are weighted by pairs, layers without a number are left out of its mean.

    >>> summarise([]).mean_r2_within is None
    True
    """
    within = [layer.within for layer in layers if layer.within is not None]
    across = [layer.across for layer in layers if layer.across is not None]
    tested = [w for w in within if w.ci95 is not None and w.excess is not None]
    return Summary(
        mean_r2_within=_weighted((w.mean_r2, w.n_pairs) for w in within),
        excess_within=_weighted((w.excess, w.n_pairs) for w in within),
        mean_r2_across=_weighted((a.mean_r2, a.n_pairs) for a in across),
        excess_across=_weighted((_difference(a.mean_r2, a.null_permuted_r2), a.n_pairs) for a in across),
        layers_above_null=sum(layer.is_above_null for layer in layers),
        layers_tested=len(tested),
        layers_with_delta=sum(layer.has_delta for layer in layers),
        pvalues=sum(layer.kernels is not None and layer.kernels.pvalue_adjusted is not None for layer in layers),
        parameters=sum(layer.parameters for layer in layers),
    )


def mean_of(values: Iterable[float | None]) -> float | None:
    """The mean; None where a value is missing: a mean over fewer runs would be one of other runs.

    >>> mean_of([1.0, 2.0]), mean_of([1.0, None])
    (1.5, None)
    """
    known = list(values)
    if not known or any(value is None for value in known):
        return None
    return sum(value for value in known if value is not None) / len(known)


def mean_known(values: Iterable[float | None]) -> float | None:
    """The mean of those that are known; None of none.

    >>> mean_known([1.0, None, 2.0]), mean_known([None])
    (1.5, None)
    """
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def mean_at(layers: Sequence[LayerResult], path: str) -> float | None:
    """Mean over runs of the number at a dotted path of a layer."""
    return mean_of(number_at(layer, path) for layer in layers)


def _weighted(values: Iterable[tuple[float | None, int]]) -> float | None:
    known = [(value, weight) for value, weight in values if value is not None and weight]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else None


def _difference(value: float | None, null: float | None) -> float | None:
    return None if value is None or null is None else value - null


def _number(value: float | None) -> float:
    return -inf if value is None else value


SORTS: dict[str, Callable[[LayerResult], float]] = {
    "within": lambda layer: _number(layer.within.rms_r if layer.within else None),
    "across": lambda layer: _number(layer.across.rms_r if layer.across else None),
    "excess": lambda layer: _number(layer.within.excess if layer.within else None),
    "delta": lambda layer: _number(layer.kernels.delta if layer.kernels else None),
    "parameters": lambda layer: layer.parameters,
    "groups": lambda layer: layer.groups,
}
"""What layers can be sorted by, largest first; `file` keeps file order."""


def check_sort(sort: str | None) -> None:
    """Refuse an unknown sort key before anything is measured.

    Raises:
        UsageError: an unknown sort key.
    """
    if sort is not None and sort not in ("file", *SORTS):
        raise UsageError(f"cannot sort by {sort!r}", cure=f"choose one of file, {', '.join(SORTS)}")


def chosen_order(report: Report, sort: str | None, top: int | None) -> Report:
    """Sort the layers of every model, and keep the first `top` measured ones; skipped layers are never dropped.

    Without `sort`, `top` keeps the layers most above their null, in file order.

    Raises:
        UsageError: an unknown sort key.
    """
    check_sort(sort)
    return replace(report, models=tuple(_ordered(model, sort, top) for model in report.models))


def _ordered(model: ModelResult, sort: str | None, top: int | None) -> ModelResult:
    measured: list[LayerResult] = list(model.measured)
    if sort in SORTS:
        measured.sort(key=SORTS[sort], reverse=True)
    notes = model.notes
    if top is not None and top < len(measured):
        kept = measured[:top]
        if sort is None:
            best = {layer.name for layer in sorted(measured, key=SORTS["excess"], reverse=True)[:top]}
            kept = [layer for layer in measured if layer.name in best]
        notes = (*notes, f"--top shows {top} of {len(measured)} measured layers; the summary is over all of them")
        measured = kept
    keep = {layer.name for layer in measured}
    layers: tuple[LayerResult | SkippedLayer, ...] = tuple(
        layer for layer in model.layers if isinstance(layer, SkippedLayer) or layer.name in keep
    )
    if sort in SORTS:
        layers = (*measured, *model.skipped)
    return replace(model, layers=layers, notes=notes)
