"""The frozen result records; what a field means stands beside it, and is what `gcx explain` and the JSON Schema say.

JSON keys are the field names (`contract.py` maps them). None becomes null: it could not be measured, and the layer's
`notes` say why. Arrays live only in `Picture`, which never goes into the JSON.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from gcx.comparison import Comparison, Gate, Violation, WithNulls
from gcx.conv_layer import Confidence, GroupsFrom
from gcx.settings import Settings
from gcx.training_run import Track
from gcx.version import SCHEMA, __version__

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIGNIFICANT = 0.05
"""What an adjusted p is at most where gcx speaks of a finding."""
Null = Literal["permuted", "isotropic"]


@dataclass(frozen=True, slots=True)
class GroupWithin:
    """One group's own share of `Within`."""

    group: Annotated[int, "number of the group, from 0"]
    n_pairs: Annotated[int, "pairs of live filters of this group"]
    mean_r2: Annotated[float | None, "mean of r^2 over these pairs"]
    null_permuted_r2: Annotated[float | None, "what mean_r2 would be with each filter's channels in random order"]


@dataclass(frozen=True, slots=True)
class Within(WithNulls):
    """Pairs of filters of one group: they read the same input channels, so r compares like with like."""

    n_pairs: Annotated[int, "pairs of live filters of one group, pooled over groups"]
    mean_r: Annotated[float | None, "mean of r over the pairs, with its sign; changes when a filter flips its sign"]
    mean_r2: Annotated[float | None, "mean of r^2 over the pairs"]
    rms_r: Annotated[float | None, "square root of mean_r2"]
    mean_abs_r: Annotated[float | None, "mean of |r| over the pairs"]
    max_abs_r: Annotated[float | None, "largest |r| of any pair"]
    max_abs_pair: Annotated[tuple[int, int] | None, "the two output channels of that pair, from 0"]
    null_isotropic_r2: Annotated[
        float | None, "mean_r2 of filters of random direction: 1/(d-1) for Pearson, 1/d for cosine"
    ]
    null_isotropic_mean_abs_r: Annotated[float | None, "mean_abs_r of filters of random direction"]
    null_isotropic_max_abs_r: Annotated[
        float | None, "95 % point of max_abs_r for as many pairs of random direction: above it, a pair is a duplicate"
    ]
    max_abs_pvalue: Annotated[float | None, "chance that filters of random direction have a max_abs_r as large"]
    null_permuted_r2: Annotated[
        float | None,
        "mean_r2 expected when each filter keeps its kernels but in random channel order (exact, no sampling)",
    ]
    excess: Annotated[float | None, "mean_r2 minus null_permuted_r2 (minus null_isotropic_r2 where that is null)"]
    excess_over: Annotated[Null | None, "which null `excess` is over"]
    ci95: Annotated[tuple[float, float] | None, "95 % interval of mean_r2: jackknife over filters, t quantile"]
    se: Annotated[float | None, "delete-one-filter jackknife standard error of mean_r2"]
    z_isotropic: Annotated[float | None, "mean_r2 minus null_isotropic_r2 in standard deviations of that null"]
    per_group: Annotated[tuple[GroupWithin, ...], "each group's own share"] = ()


@dataclass(frozen=True, slots=True)
class Across(WithNulls):
    """Pairs of filters of different groups, slot by slot: channel order is arbitrary, so read it beside its null."""

    n_pairs: Annotated[int, "pairs of live filters of different groups"]
    mean_r2: Annotated[float | None, "mean of r^2 over the pairs, channel slot against channel slot"]
    rms_r: Annotated[float | None, "square root of mean_r2"]
    mean_abs_r: Annotated[float | None, "mean of |r| over the pairs"]
    max_abs_r: Annotated[float | None, "largest |r| of any pair"]
    null_isotropic_r2: Annotated[float | None, "mean_r2 of filters of random direction"]
    null_isotropic_mean_abs_r: Annotated[float | None, "mean_abs_r of filters of random direction"]
    null_permuted_r2: Annotated[float | None, "mean_r2 averaged over all channel orders: what slot order alone gives"]
    order_free: Annotated[bool, "true where there is no channel order to choose (one channel per group)"]


@dataclass(frozen=True, slots=True)
class Kernels:
    """Squared cosine of unit-norm kernels over all kernel pairs of two filters: free of channel order, scale, sign."""

    same_group: Annotated[float | None, "mean kernel cos^2 over pairs of filters of one group"]
    different_groups: Annotated[float | None, "mean kernel cos^2 over pairs of filters of different groups"]
    delta: Annotated[float | None, "same_group minus different_groups: above 0, groups hold different kernels"]
    pvalue: Annotated[float | None, "chance of such a delta when filters are dealt to groups at random (one-sided)"]
    pvalue_adjusted: Annotated[float | None, "pvalue after Benjamini-Hochberg over the layers of this model"]
    n_resamples: Annotated[int | None, "permutations behind pvalue"]


@dataclass(frozen=True, slots=True)
class KernelStatistics:
    """Published statistics of kernels, beside what sample size alone gives."""

    evr1: Annotated[float | None, "mean over filters of the energy share of their first principal kernel (uncentred)"]
    evr1_null: Annotated[float | None, "evr1 of random kernels, as many per filter"]
    variance_entropy: Annotated[float | None, "entropy (log10) of the eigenvalue shares of all 3x3 kernels"]
    variance_entropy_threshold: Annotated[float | None, "variance_entropy of as many random kernels, T(n)"]
    sparsity: Annotated[float | None, "share of kernels whose largest |w| is under 1 % of the layer's"]


@dataclass(frozen=True, slots=True)
class Saturation:
    """How much of the filters of a layer that reads three channels is colour: energy off the axis of equal channels."""

    mean: Annotated[float, "mean share of a filter's energy that is colour: 0 for grey, 2/3 for random filters"]
    least: Annotated[float, "the same mean over the part where it is least"]
    most: Annotated[float, "the same mean over the part where it is most"]
    between: Annotated[float, "share of its variance over filters that lies between the parts: 1 if each has its own"]
    null_between: Annotated[float, "between when filters are dealt to parts at random, on average"]
    pvalue: Annotated[float, "chance of such a between when filters are dealt to parts at random (one-sided)"]


@dataclass(frozen=True, slots=True)
class Partition:
    """A dense layer cut into groups it does not have: a negative control, or the groups of the layer that reads it."""

    groups: Annotated[int, "how many groups the filters are cut into"]
    source: Annotated[Literal["virtual", "induced"], "natural order, or the groups of the reading layer"]
    consumer: Annotated[
        str | None, "the layer that reads its outputs in groups: the cut is theirs (induced), or no control (virtual)"
    ]
    within_mean_r2: Annotated[float | None, "mean_r2 over pairs of one part"]
    across_mean_r2: Annotated[float | None, "mean_r2 over pairs of different parts; all filters share their inputs"]
    contrast: Annotated[float | None, "within_mean_r2 minus across_mean_r2"]
    contrast_pvalue: Annotated[float | None, "chance of such a contrast when filters are dealt to parts at random"]
    kernels: Annotated[Kernels | None, "kernel measure over the parts"]
    saturation: Annotated[
        Saturation | None, "colour over the parts, of a layer that reads three channels; null for others"
    ] = None


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """What a figure needs of one layer, reduced by the measures; never in the JSON."""

    r: NDArray[Any]
    """(m, m) float32, m <= 512: r of filters in output order; where reduced, the entry of largest |r| of each tile."""
    step: int
    """Filters per row of `r`."""
    edges: tuple[int, ...]
    """Group boundaries in filters, from 0 to out_channels."""
    bins: NDArray[Any]
    """(b + 1,) edges of the histograms over [-1, 1]."""
    within_counts: NDArray[Any]
    """(b,) pairs of one group per bin."""
    across_counts: NDArray[Any]
    """(b,) pairs of different groups per bin."""
    null_density: NDArray[Any]
    """(b,) probability of each bin for filters of random direction."""
    null_rms: float
    """rms r of filters of random direction: the width that chance alone gives."""
    kernels: NDArray[Any] | None
    """(g', g') mean kernel cos^2 between groups (diagonal without i = j); None for 1x1; reduced to at most 512."""
    clustered: bool = False
    """The filters of each group stand in the order of a hierarchical clustering, not in output order."""


@dataclass(frozen=True, slots=True, eq=False)
class Distribution:
    """How r is distributed, for a terminal; never in the JSON. Of large layers a regular part of the pairs."""

    bins: NDArray[Any]
    """(b + 1,) edges over [-1, 1]."""
    within_counts: NDArray[Any]
    """(b,) pairs of one group per bin."""
    across_counts: NDArray[Any]
    """(b,) pairs of different groups per bin."""
    null_rms: float
    """rms r of filters of random direction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerResult:
    """One measured convolution."""

    name: Annotated[str, "the layer's name in the checkpoint, without wrapper prefixes"]
    status: Annotated[Literal["measured"], "this layer has numbers"] = "measured"
    weight_shape: Annotated[tuple[int, ...], "(out_channels, in_channels/groups, *kernel_size)"]
    stored_shape: Annotated[tuple[int, ...] | None, "the shape in the file where it differs (transposed)"] = None
    out_channels: Annotated[int, "filters of the layer"]
    in_channels: Annotated[int, "channels the layer reads"]
    groups: Annotated[int, "filter groups; each reads its own slice of the input channels"]
    filters_per_group: Annotated[int, "out_channels / groups"]
    transposed: Annotated[bool, "a transposed convolution"]
    parameters: Annotated[int, "weights, which is also the multiply-adds per output position"]
    groups_from: Annotated[GroupsFrom, "where `groups` comes from: the file, the user, the shapes, or nothing known"]
    groups_confidence: Annotated[Confidence, "how sure `groups` is"]
    groups_evidence: Annotated[str, "one sentence: why this count"]
    groups_alternatives: Annotated[tuple[int, ...], "other counts that fit the shapes"] = ()
    tied: Annotated[tuple[str, ...], "other names of the same weight, not measured again"] = ()
    degenerate_filters: Annotated[int, "filters without variance: no correlation, left out of the pairs"]
    degenerate_kernels: Annotated[
        int | None, "kernels without a direction, left out of the kernel measure; null for 1x1"
    ]
    notes: Annotated[tuple[str, ...], "why something is null, and what else to know"] = ()
    within: Annotated[Within | None, "pairs of filters of one group"]
    across: Annotated[Across | None, "pairs of filters of different groups"]
    kernels: Annotated[Kernels | None, "order-free comparison of kernels"]
    kernel_statistics: Annotated[KernelStatistics | None, "published statistics of kernels"] = None
    virtual_groups: Annotated[Partition | None, "negative control of a dense layer (--virtual-groups)"] = None
    induced_groups: Annotated[Partition | None, "groups induced by the reading layer (--induced)"] = None
    picture: Annotated[Picture | None, "for figures only"] = field(default=None, repr=False, compare=False)
    distribution: Annotated[Distribution | None, "for terminals only"] = field(default=None, repr=False, compare=False)

    @property
    def has_numbers(self) -> bool:
        """Whether any pair of its filters could be compared."""
        pairs = (self.within, self.across)
        kernels = self.kernels
        return any(one is not None and one.mean_r2 is not None for one in pairs) or (
            kernels is not None and (kernels.same_group is not None or kernels.different_groups is not None)
        )

    @property
    def is_above_null(self) -> bool:
        """Whether the whole ci95 of mean_r2 within groups lies above the null that `excess` is over."""
        within = self.within
        if within is None or within.ci95 is None or within.null_r2 is None:
            return False
        return within.ci95[0] > within.null_r2

    @property
    def has_delta(self) -> bool:
        """Whether its groups hold different kernels, by an adjusted p."""
        kernels = self.kernels
        return kernels is not None and kernels.pvalue_adjusted is not None and kernels.pvalue_adjusted <= SIGNIFICANT


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedLayer:
    """A convolution that was seen and not measured."""

    name: Annotated[str, "the layer's name in the checkpoint"]
    status: Annotated[Literal["skipped"], "this layer has no numbers"] = "skipped"
    reason: Annotated[str, "why it could not be measured"]
    weight_shape: Annotated[tuple[int, ...] | None, "its shape, where known"] = None
    parameters: Annotated[int, "its weights"] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A tensor of three axes or more that is no convolution weight."""

    name: Annotated[str, "the tensor's name"]
    shape: Annotated[tuple[int, ...], "its shape"]
    reason: Annotated[str, "why it is not one"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of the model was measured."""

    convolutions: Annotated[int, "convolutions in the file; tied ones count once"]
    measured: Annotated[int, "convolutions measured"]
    not_chosen: Annotated[int, "convolutions left out by --include or --exclude"]
    weight_share: Annotated[float | None, "share of the file's convolution weights that was measured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One model in a few numbers; means are weighted by pairs."""

    mean_r2_within: Annotated[float | None, "mean_r2 within groups, over all pairs of all layers"]
    excess_within: Annotated[float | None, "excess within groups, weighted by pairs"]
    mean_r2_across: Annotated[float | None, "mean_r2 across groups, over all pairs of all layers"]
    excess_across: Annotated[float | None, "across-group mean_r2 minus its permuted null, weighted by pairs"]
    layers_above_null: Annotated[int, "layers whose ci95 lies above the null that `excess` is over"]
    layers_tested: Annotated[int, "layers that have a ci95"]
    layers_with_delta: Annotated[int, "layers whose pvalue_adjusted is at most 0.05"]
    pvalues: Annotated[int, "layers that have a pvalue"]
    parameters: Annotated[int, "convolution weights measured"]


@dataclass(frozen=True, kw_only=True)
class ModelResult:
    """One checkpoint."""

    path: Annotated[str, "as typed; an absolute one relative to the current folder, else its base name"]
    format: Annotated[str, "what the file is"]
    coverage: Annotated[Coverage, "how much was measured"]
    summary: Annotated[Summary, "the model in a few numbers"]
    notes: Annotated[tuple[str, ...], "what was chosen when reading the file"] = ()
    inconclusive: Annotated[tuple[str, ...], "why it gives no answer, where it gives none: the exit code is 3"] = ()
    layers: Annotated[tuple[LayerResult | SkippedLayer, ...], "in file order, or as --sort says"]
    left_out: Annotated[tuple[LeftOut, ...], "tensors with three axes or more that are no convolutions"] = ()

    @property
    def measured(self) -> tuple[LayerResult, ...]:
        return tuple(layer for layer in self.layers if isinstance(layer, LayerResult))

    @property
    def skipped(self) -> tuple[SkippedLayer, ...]:
        return tuple(layer for layer in self.layers if isinstance(layer, SkippedLayer))


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything a run found: the one thing that renderers, gates and notebooks are given."""

    schema: Annotated[int, "version of this layout"] = SCHEMA
    gcx: Annotated[str, "version of gcx"] = __version__
    settings: Annotated[Settings, "the effective settings"]
    models: Annotated[tuple[ModelResult, ...], "one per checkpoint"]
    comparison: Annotated[Comparison | None, "derived by compare"] = None
    track: Annotated[Track | None, "derived by track"] = None
    gates: Annotated[tuple[Gate, ...], "the rules of --fail-if and how they went"] = ()
    violations: Annotated[tuple[Violation, ...], "every crossing of a gate"] = ()
    exit_code: Annotated[int, "the process's exit status: 0 fine, 1 gate crossed, 3 inconclusive"] = 0

    def _repr_html_(self) -> str:
        """What a notebook shows: the one place where the ground reaches up, late, to a renderer."""
        from gcx.renderers.notebook import notebook_html

        return notebook_html(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedLayer:
    """One convolution as `gcx layers` lists it: what it is and how its groups are known; nothing is measured."""

    name: Annotated[str, "the layer's name in the checkpoint, without wrapper prefixes"]
    weight_shape: Annotated[tuple[int, ...], "(out_channels, in_channels/groups, *kernel_size)"]
    stored_shape: Annotated[tuple[int, ...] | None, "the shape in the file where it differs (transposed)"] = None
    in_channels: Annotated[int, "channels the layer reads"]
    out_channels: Annotated[int, "filters of the layer"]
    groups: Annotated[int, "filter groups; each reads its own slice of the input channels"]
    filters_per_group: Annotated[int, "out_channels / groups"]
    transposed: Annotated[bool, "a transposed convolution"]
    parameters: Annotated[int, "weights, which is also the multiply-adds per output position"]
    groups_from: Annotated[GroupsFrom, "where `groups` comes from: the file, the user, the shapes, or nothing known"]
    groups_confidence: Annotated[Confidence, "how sure `groups` is"]
    groups_evidence: Annotated[str, "one sentence: why this count"]
    groups_alternatives: Annotated[tuple[int, ...], "other counts that fit the shapes"] = ()
    tied: Annotated[tuple[str, ...], "other names of the same weight, not measured again"] = ()
    notes: Annotated[tuple[str, ...], "what else to know"] = ()
    problem: Annotated[str | None, "why this layer cannot be measured; null where it can"] = None


@dataclass(frozen=True, kw_only=True)
class ModelListing:
    """What is in one checkpoint."""

    path: Annotated[str, "as typed; an absolute one relative to the current folder, else its base name"]
    format: Annotated[str, "what the file is"]
    notes: Annotated[tuple[str, ...], "what was chosen when reading the file"] = ()
    layers: Annotated[tuple[ListedLayer, ...], "the convolutions that --include and --exclude leave, in file order"]
    not_chosen: Annotated[int, "convolutions left out by --include or --exclude"] = 0
    inconclusive: Annotated[tuple[str, ...], "why it gives no answer, where it gives none: the exit code is 3"] = ()
    left_out: Annotated[tuple[LeftOut, ...], "tensors with three axes or more that are no convolutions"] = ()


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Everything `gcx layers` found."""

    schema: Annotated[int, "version of this layout"] = SCHEMA
    gcx: Annotated[str, "version of gcx"] = __version__
    settings: Annotated[Settings, "the effective settings"]
    models: Annotated[tuple[ModelListing, ...], "one per checkpoint"]
    exit_code: Annotated[int, "the process's exit status: 0 fine, 3 no convolution or groups not certain"] = 0
