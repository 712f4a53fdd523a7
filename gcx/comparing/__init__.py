"""Two arms -> Report with a Comparison: matched layers, at equal dimension, with repeated runs as the unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gcx.comparing.arms import Arm, check_arm_globs, read_arm
from gcx.comparing.changes import arm_means, change_of, delta_of
from gcx.comparing.equal_dimension import EqualDimension, equal_dimension
from gcx.comparing.lineage import LayerLineage, find_lineage
from gcx.comparing.pairing import Pair, pair_layers
from gcx.comparing.verdicts import trend_of, whole_notes, whole_verdict, with_verdict
from gcx.comparison import Comparison, DeltaTest, DimensionMatched, LayerComparison, Sides
from gcx.gate import check_rules, judged
from gcx.measuring import Extras
from gcx.outcome import exit_code, with_reasons
from gcx.pipeline import effective_settings
from gcx.results import Report
from gcx.settings import Settings
from gcx.summary import mean_of


def compare(
    reference: Any, candidate: Any, *, settings: Settings | None = None, extras: Extras | None = None, **options: Any
) -> Report:
    """Say what changed from one network to another in how correlated its filters are, at equal dimension.

    Args:
        reference, candidate: a path, a folder or a glob (several files are repeated runs of one setting), the saved
            JSON report of `correlate`, a live module, a state dict, or a list of those.
        settings: the effective settings; `options` change them.
        extras: progress.
        options: fields of `gcx.settings.Settings`; a glob of `groups` may begin with `reference:` or `candidate:`.

    Returns:
        A report whose `models` are the reference's runs, then the candidate's, and whose `comparison` says what
        changed; every change is candidate minus reference. `exit_code` is 3 where a model has no measured layer or no
        layers match, 1 where a gate of `fail_if` was crossed.

    Raises:
        CheckpointError: a file cannot be read.
        UsageError: an option cannot be meant.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> dense, grouped = rng.normal(size=(64, 32, 3, 3)), rng.normal(size=(64, 8, 3, 3))
    >>> found = compare({"a.weight": dense}, {"a.weight": grouped}, groups={"candidate:a": 4}).comparison
    >>> found.layers[0].change.within.mean_r2 > 0.01, abs(found.layers[0].dimension_matched.change) < 0.002
    (True, True)
    """
    effective = effective_settings(settings, options, {"induced", "order"})
    check_rules(effective.fail_if, comparing=True)
    extras = extras or Extras()
    arms = (
        read_arm("reference", reference, effective, extras),
        read_arm("candidate", candidate, effective, extras),
    )
    check_arm_globs(arms, effective)
    comparison = compare_arms(*arms)
    models = tuple(with_reasons(run.result, effective) for arm in arms for run in arm.runs)
    report = Report(settings=effective, models=models, comparison=comparison)
    nothing = 0 if comparison.layers else 3
    return judged(replace(report, exit_code=max(nothing, exit_code(models))))


def compare_arms(reference: Arm, candidate: Arm) -> Comparison:
    """Match the layers of two measured arms and compare each pair.

    Raises:
        UsageError: --map cannot be meant.
        CheckpointError: weights cannot be read again.
    """
    from gcx.measures import smallest_pvalue

    pairs, unmatched = pair_layers(reference, candidate)
    equal = equal_dimension(reference, candidate, pairs)
    lineage = find_lineage(reference, candidate, pairs)
    sizes = len(reference.runs), len(candidate.runs)
    several = max(sizes) > 1
    settings = reference.settings
    layers = [
        _compared(pair, at_equal, found, same=bool(lineage.same), settings=settings)
        for pair, at_equal, found in zip(pairs, equal, lineage.layers, strict=True)
    ]
    comparison = Comparison(
        reference=reference.shown,
        candidate=candidate.shown,
        reference_runs=sizes[0],
        candidate_runs=sizes[1],
        same_lineage=lineage.same,
        lineage_z=lineage.z,
        unit="run" if several else "filter",
        smallest_pvalue=smallest_pvalue(*sizes) if several else None,
        verdict="",
        layers=tuple(with_verdict(layer) for layer in _adjusted(layers)),
        unmatched=unmatched,
        notes=lineage.notes,
    )
    notes = (*comparison.notes, *whole_notes(comparison, settings))
    return replace(comparison, verdict=whole_verdict(comparison), notes=notes)


def _compared(
    pair: Pair, equal: EqualDimension, lineage: LayerLineage, *, same: bool, settings: Settings
) -> LayerComparison:
    """One pair, before p-values are adjusted over the pairs."""
    known = bool(equal.reference and equal.candidate)
    paired = lineage.paired_se if same else None
    interval, pvalue = _effect(pair, equal, settings.seed, paired) if known else (None, None)
    notes = [note for note in (equal.note,) if note]
    if known and interval is None:
        notes.append("change_ci95 is null: too few filters, or one run on a side")
    cut = equal.channels is not None and equal.n_draws > 0
    return LayerComparison(
        reference=pair.match.reference,
        candidate=pair.match.candidate,
        matched_by=pair.match.by,
        sides=Sides(
            reference=arm_means(pair.reference, settings.virtual_groups),
            candidate=arm_means(pair.candidate, settings.virtual_groups),
        ),
        dimension_matched=_dimension_matched(equal),
        change=change_of(pair.reference, pair.candidate, settings.virtual_groups),
        tested=("dimension_matched" if cut else "within.mean_r2") if known else None,
        change_ci95=interval,
        pvalue=pvalue,
        pvalue_adjusted=None,
        delta_test=_delta_test(pair, settings),
        lineage_z=lineage.z,
        filter_r=lineage.filter_r if same and settings.filters else None,
        trend="unknown",
        verdict="",
        notes=tuple(notes),
    )


def _effect(
    pair: Pair, equal: EqualDimension, seed: int, paired: float | None
) -> tuple[tuple[float, float] | None, float | None]:
    """Interval and p-value of the change at equal dimension: over filters of one run each, else over runs.

    `paired` is the standard error of the change where filters of one index belong together.
    """
    from gcx.measures import layer_key, runs_pvalue, welch, welch_runs

    ours, theirs = equal.reference, equal.candidate
    if len(ours) == len(theirs) == 1:
        first, second = ours[0], theirs[0]
        if first.se is None or second.se is None:
            return None, None
        errors = (first.se, second.se) if paired is None else (paired, 0.0)
        freedom = first.freedom, second.freedom
        return welch(second.value - first.value, errors, freedom) or (None, None)
    before, after = [one.value for one in ours], [one.value for one in theirs]
    return welch_runs(before, after), runs_pvalue(before, after, layer_key(seed, pair.match.reference))


def _delta_test(pair: Pair, settings: Settings) -> DeltaTest | None:
    """The change of kernels.delta over runs, before p-values are adjusted; None where it is not known of every run."""
    from gcx.measures import layer_key, runs_pvalue, welch_runs

    if len(pair.reference) == len(pair.candidate) == 1:
        return None
    before, after = (
        [delta for layer in side if (delta := delta_of(layer, settings.virtual_groups)) is not None]
        for side in (pair.reference, pair.candidate)
    )
    if (len(before), len(after)) != (len(pair.reference), len(pair.candidate)):
        return None
    pvalue = runs_pvalue(before, after, layer_key(settings.seed, pair.match.reference))
    return DeltaTest(change_ci95=welch_runs(before, after), pvalue=pvalue, pvalue_adjusted=pvalue)


def _dimension_matched(equal: EqualDimension) -> DimensionMatched | None:
    if equal.channels is None:
        return None
    before, after = (mean_of(one.value for one in side) for side in (equal.reference, equal.candidate))
    both = before is not None and after is not None
    return DimensionMatched(
        channels=equal.channels,
        n_draws=equal.n_draws,
        reference=before if both else None,
        candidate=after if both else None,
        change=after - before if before is not None and after is not None else None,
        ratio=after / before if before and after is not None else None,
    )


def _adjusted(layers: Sequence[LayerComparison]) -> list[LayerComparison]:
    """Benjamini-Hochberg over the layers that have a p-value, and the trend that follows."""
    from gcx.measures import adjust_pvalues

    tested = [number for number, layer in enumerate(layers) if layer.pvalue is not None]
    adjusted = adjust_pvalues([pvalue for layer in layers if (pvalue := layer.pvalue) is not None])
    found = list(layers)
    for number, pvalue in zip(tested, adjusted, strict=True):
        found[number] = replace(found[number], pvalue_adjusted=pvalue)
    tests = {number: layer.delta_test for number, layer in enumerate(layers) if layer.delta_test is not None}
    adjusted = adjust_pvalues([test.pvalue for test in tests.values()])
    for (number, test), pvalue in zip(tests.items(), adjusted, strict=True):
        found[number] = replace(found[number], delta_test=replace(test, pvalue_adjusted=pvalue))
    return [replace(layer, trend=trend_of(layer)) for layer in found]
