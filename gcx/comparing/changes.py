"""What changed between two layers, of means over the runs of each arm."""

from __future__ import annotations

from collections.abc import Sequence

from gcx.comparison import ArmMeans, Change, KernelsChange, PairsChange, WithinChange
from gcx.contract import number_at
from gcx.results import LayerResult
from gcx.summary import mean_at


def arm_means(layers: Sequence[LayerResult]) -> ArmMeans:
    """One side of a compared layer, of its runs."""
    first = layers[0]
    return ArmMeans(
        weight_shape=first.weight_shape,
        groups=first.groups,
        parameters=first.parameters,
        mean_r2=mean_at(layers, "within.mean_r2"),
        null_isotropic_r2=mean_at(layers, "within.null_isotropic_r2"),
        null_permuted_r2=mean_at(layers, "within.null_permuted_r2"),
        excess=mean_at(layers, "within.excess"),
        delta=mean_at(layers, "kernels.delta"),
    )


def change_of(reference: Sequence[LayerResult], candidate: Sequence[LayerResult]) -> Change:
    """Candidate minus reference of every number that both have."""

    def change(path: str) -> float | None:
        before, after = mean_at(reference, path), mean_at(candidate, path)
        return None if before is None or after is None else after - before

    def pairs(side: str) -> dict[str, float | None]:
        keys = ("mean_r2", "rms_r", "mean_abs_r", "max_abs_r", "null_permuted_r2")
        return {key: change(f"{side}.{key}") for key in keys}

    nulls = {number_at(layer, "within.excess_over") for layer in (*reference, *candidate)}
    return Change(
        within=WithinChange(**pairs("within"), excess=change("within.excess") if len(nulls) == 1 else None),
        across=PairsChange(**pairs("across")),
        kernels=KernelsChange(
            same_group=change("kernels.same_group"),
            different_groups=change("kernels.different_groups"),
            delta=change("kernels.delta"),
        ),
        parameters=candidate[0].parameters - reference[0].parameters,
    )
