"""What changed between two layers, of means over the runs of each arm."""

from __future__ import annotations

from collections.abc import Sequence

from gcx.comparison import ArmMeans, Change, KernelsChange, PairsChange, WithinChange
from gcx.contract import number_at
from gcx.results import LayerResult
from gcx.summary import mean_at, mean_of


def arm_means(layers: Sequence[LayerResult], virtual_groups: int | None) -> ArmMeans:
    """One side of a compared layer, of its runs."""
    first = layers[0]
    excess = [number_at(layer, "within.excess") for layer in layers]
    across = [_excess_across(layer) for layer in layers]
    deltas = [delta_of(layer, virtual_groups) for layer in layers]
    return ArmMeans(
        weight_shape=first.weight_shape,
        groups=first.groups,
        parameters=first.parameters,
        mean_r2=mean_at(layers, "within.mean_r2"),
        null_isotropic_r2=mean_at(layers, "within.null_isotropic_r2"),
        null_permuted_r2=mean_at(layers, "within.null_permuted_r2"),
        excess=mean_at(layers, "within.excess"),
        excess_ci95=_over_runs(excess),
        across_mean_r2=mean_at(layers, "across.mean_r2"),
        across_null_permuted_r2=mean_at(layers, "across.null_permuted_r2"),
        across_excess=mean_of(across),
        across_excess_ci95=_over_runs(across),
        delta=mean_of(deltas),
        delta_ci95=_over_runs(deltas),
    )


def delta_of(layer: LayerResult, virtual_groups: int | None) -> float | None:
    """kernels.delta; of a dense layer that of the virtual groups it was cut into, where that many are wanted."""
    virtual = layer.virtual_groups
    if layer.groups == 1 and virtual is not None and virtual.groups == virtual_groups:
        return None if virtual.kernels is None else virtual.kernels.delta
    return None if layer.kernels is None else layer.kernels.delta


def _excess_across(layer: LayerResult) -> float | None:
    mean_r2, null = number_at(layer, "across.mean_r2"), number_at(layer, "across.null_permuted_r2")
    return None if mean_r2 is None or null is None else mean_r2 - null


def _over_runs(values: Sequence[float | None]) -> tuple[float, float] | None:
    from gcx.measures import runs_interval

    known = [value for value in values if value is not None]
    return runs_interval(known) if len(known) == len(values) else None


def change_of(reference: Sequence[LayerResult], candidate: Sequence[LayerResult], virtual_groups: int | None) -> Change:
    """Candidate minus reference of every number that both have."""

    def change(path: str) -> float | None:
        before, after = mean_at(reference, path), mean_at(candidate, path)
        return None if before is None or after is None else after - before

    def pairs(side: str) -> dict[str, float | None]:
        keys = ("mean_r2", "rms_r", "mean_abs_r", "max_abs_r", "null_permuted_r2")
        return {key: change(f"{side}.{key}") for key in keys}

    before, after = (mean_of(delta_of(layer, virtual_groups) for layer in side) for side in (reference, candidate))
    nulls = {number_at(layer, "within.excess_over") for layer in (*reference, *candidate)}
    return Change(
        within=WithinChange(**pairs("within"), excess=change("within.excess") if len(nulls) == 1 else None),
        across=PairsChange(**pairs("across")),
        kernels=KernelsChange(
            same_group=change("kernels.same_group"),
            different_groups=change("kernels.different_groups"),
            delta=None if before is None or after is None else after - before,
        ),
        parameters=candidate[0].parameters - reference[0].parameters,
    )
