"""The records of `gcx compare` and of gates; like `results.py`, what a field means stands beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal


class WithNulls:
    """A mean r^2 with its nulls beside it."""

    __slots__ = ()
    null_isotropic_r2: float | None
    null_permuted_r2: float | None

    @property
    def null_r2(self) -> float | None:
        """What it is read against: the permuted null, or the isotropic one where no channel order can be permuted."""
        return self.null_isotropic_r2 if self.null_permuted_r2 is None else self.null_permuted_r2


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmMeans(WithNulls):
    """One side of a compared layer: means over the runs of its arm."""

    weight_shape: Annotated[tuple[int, ...], "(out_channels, in_channels/groups, *kernel_size)"]
    groups: Annotated[int, "filter groups"]
    parameters: Annotated[int, "weights"]
    mean_r2: Annotated[float | None, "within-group mean_r2"]
    null_isotropic_r2: Annotated[float | None, "its null: filters of random direction"]
    null_permuted_r2: Annotated[float | None, "its null: kernels in random channel order"]
    excess: Annotated[float | None, "mean_r2 minus its null"]
    excess_ci95: Annotated[
        tuple[float, float] | None, "95 % interval of excess over runs, by Student's t; null for one"
    ]
    across_mean_r2: Annotated[float | None, "across-group mean_r2"]
    across_null_permuted_r2: Annotated[float | None, "its null: kernels in random channel order"]
    across_excess: Annotated[float | None, "across_mean_r2 minus its null; about 0 by symmetry, whatever was learnt"]
    across_excess_ci95: Annotated[tuple[float, float] | None, "95 % interval of across_excess over runs"]
    delta: Annotated[float | None, "kernels.delta; of a dense layer that of its virtual groups (--virtual-groups)"]
    delta_ci95: Annotated[tuple[float, float] | None, "95 % interval of delta over runs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Both sides of a compared layer."""

    reference: Annotated[ArmMeans, "the reference's layer"]
    candidate: Annotated[ArmMeans, "the candidate's layer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionMatched:
    """Within-group mean_r2 of both at one number of channels per filter: the denser layer cut down at random."""

    channels: Annotated[int, "channels per filter that both are measured at"]
    n_draws: Annotated[int, "random channel subsets of the denser layer, per run; 0 where both have as many"]
    reference: Annotated[float | None, "mean_r2 of the reference at that many channels"]
    candidate: Annotated[float | None, "mean_r2 of the candidate at that many channels"]
    change: Annotated[float | None, "candidate minus reference"]
    ratio: Annotated[float | None, "candidate over reference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairsChange:
    """Candidate minus reference of pairs of filters."""

    mean_r2: Annotated[float | None, "change of mean_r2"]
    rms_r: Annotated[float | None, "change of rms_r"]
    mean_abs_r: Annotated[float | None, "change of mean_abs_r"]
    max_abs_r: Annotated[float | None, "change of max_abs_r"]
    null_permuted_r2: Annotated[float | None, "change of null_permuted_r2: what the kernels alone account for"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WithinChange(PairsChange):
    """Candidate minus reference of pairs of filters of one group; compares unlike with unlike where shapes differ."""

    excess: Annotated[float | None, "change of excess; null where the two are over different nulls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelsChange:
    """Candidate minus reference of kernels; free of the dimension of filters."""

    same_group: Annotated[float | None, "change of same_group"]
    different_groups: Annotated[float | None, "change of different_groups"]
    delta: Annotated[float | None, "change of delta"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Candidate minus reference, of means over the runs; gates may bound a change in % of the reference."""

    within: Annotated[WithinChange, "pairs of filters of one group"]
    across: Annotated[PairsChange, "pairs of filters of different groups"]
    kernels: Annotated[KernelsChange, "order-free comparison of kernels"]
    parameters: Annotated[int, "change of weights"]


Trend = Literal["identical", "higher", "lower", "no_change", "depends", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaTest:
    """Whether kernels.delta differs between the arms, with runs as the unit."""

    change_ci95: Annotated[tuple[float, float] | None, "95 % interval of the change by Welch's t over runs"]
    pvalue: Annotated[float, "two-sided p-value of no change: exact permutation of runs"]
    pvalue_adjusted: Annotated[float, "pvalue after Benjamini-Hochberg over the layers that have one"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerComparison:
    """One layer of the reference and the candidate's layer of the same place."""

    reference: Annotated[str, "the layer's name in the reference"]
    candidate: Annotated[str, "the layer's name in the candidate"]
    matched_by: Annotated[Literal["map", "name", "role"], "--map, the same name, or order, kernel size and channels"]
    sides: Annotated[Sides, "what both are: means over the runs"]
    dimension_matched: Annotated[DimensionMatched | None, "within-group mean_r2 at equal dimension: the fair reading"]
    change: Annotated[Change, "candidate minus reference"]
    tested: Annotated[
        Literal["within.mean_r2", "dimension_matched"] | None,
        "the change that is tested: at equal dimension where the channels per filter differ",
    ]
    change_ci95: Annotated[
        tuple[float, float] | None,
        "95 % interval of the tested change: jackknife over filters (paired in one lineage), or t over runs",
    ]
    pvalue: Annotated[float | None, "two-sided p-value of no change: by t over filters, or exact permutation of runs"]
    pvalue_adjusted: Annotated[float | None, "pvalue after Benjamini-Hochberg over the compared layers"]
    delta_test: Annotated[
        DeltaTest | None, "of change.kernels.delta; null for one run each, or where a side has no delta"
    ]
    lineage_z: Annotated[
        float | None,
        "how far filters of one index correlate beyond filters of different index; about N(0, 1) by chance",
    ]
    filter_r: Annotated[
        tuple[float | None, ...] | None, "per filter, its correlation with itself in the reference (--filters)"
    ]
    trend: Annotated[Trend, "what may be claimed of within-group correlation"]
    verdict: Annotated[str, "the same in words"]
    notes: Annotated[tuple[str, ...], "why something is null, and what else to know"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmatched:
    """A layer that has no partner."""

    arm: Annotated[Literal["reference", "candidate"], "which arm it belongs to"]
    name: Annotated[str, "the layer's name"]
    reason: Annotated[str, "why it has no partner"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What changed from the reference to the candidate; `models` holds the runs of the one, then of the other."""

    reference: Annotated[str, "what others are compared with, as typed"]
    candidate: Annotated[str, "what is compared with it, as typed"]
    reference_runs: Annotated[int, "runs of the reference: the first of `models`"]
    candidate_runs: Annotated[int, "runs of the candidate: the rest of `models`"]
    same_lineage: Annotated[
        bool | None, "whether filters of one index belong together, as in a fine-tune; null where that is not known"
    ]
    lineage_z: Annotated[float | None, "all layers' lineage_z together; same_lineage is lineage_z > 5"]
    unit: Annotated[Literal["filter", "run"], "what varies in the intervals: filters of one run each, or runs"]
    smallest_pvalue: Annotated[float | None, "smallest p-value that so many runs can give; null for one run each"]
    verdict: Annotated[str, "what changed, in words"]
    layers: Annotated[tuple[LayerComparison, ...], "the pairs, in the reference's order"]
    unmatched: Annotated[tuple[Unmatched, ...], "layers without a partner"]
    notes: Annotated[tuple[str, ...], "what else to know"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A gate that was crossed."""

    rule: Annotated[str, "the rule as typed"]
    model: Annotated[str, "the model's path, or the candidate"]
    layer: Annotated[str | None, "the layer; null for a number of the whole model"]
    value: Annotated[float, "the number found"]
    bound: Annotated[float, "the bound it crossed; one given in % is resolved here"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One rule on one layer; for JUnit, never in the JSON."""

    model: str
    layer: str | None
    outcome: Literal["passed", "violated", "unknown"]
    value: float | None
    bound: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One rule of --fail-if and how it went."""

    rule: Annotated[str, "the rule as typed"]
    checked: Annotated[int, "layers (or models) that have the number"]
    unknown: Annotated[int, "layers (or models) whose number is null: never a violation"]
    violated: Annotated[int, "layers (or models) for which the rule is true"]
    checks: Annotated[tuple[Check, ...], "every single one"] = field(default=(), repr=False)
