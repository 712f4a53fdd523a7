"""Same lineage? Whether filters of one index belong together, as in a fine-tune, or are numbered by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from gcx.comparing.arms import Arm
from gcx.comparing.pairing import Pair
from gcx.results import LayerResult

SAME = 5.0
"""Standard deviations beyond which filters of one index belong together: chance gives this once in 3 million times."""


@dataclass(frozen=True)
class LayerLineage:
    """One layer: how far same-index filters correlate beyond the others, and each of those correlations."""

    z: float | None = None
    filter_r: tuple[float | None, ...] | None = None
    paired_se: float | None = None
    """Of the change of mean r^2, if the two are of one lineage."""


@dataclass(frozen=True)
class Lineage:
    """All layers; `same` is None where it cannot be known."""

    same: bool | None
    z: float | None
    layers: tuple[LayerLineage, ...]
    notes: tuple[str, ...] = ()


def find_lineage(reference: Arm, candidate: Arm, pairs: Sequence[Pair]) -> Lineage:
    """Compare filters index by index, over all matched layers of one shape; one run against one only.

    Raises:
        CheckpointError: weights cannot be read again.
    """
    if len(reference.runs) > 1 or len(candidate.runs) > 1:
        nothing = tuple(LayerLineage() for _ in pairs)
        return Lineage(None, None, nothing, ("lineage is null: it is known of one run against one",))
    return lineage_of(reference, candidate, [(pair.reference[0], pair.candidate[0]) for pair in pairs])


def lineage_of(
    reference: Arm, candidate: Arm, layers: Sequence[tuple[LayerResult, LayerResult]], *, errors: bool = True
) -> Lineage:
    """Compare the filters of layers that belong together, of one run and another; `errors` asks for `paired_se`.

    Raises:
        CheckpointError: weights cannot be read again.
    """
    if not (reference.has_weights and candidate.has_weights):
        nothing = tuple(LayerLineage() for _ in layers)
        return Lineage(None, None, nothing, ("lineage is null: weights needed, and an arm is a saved report",))
    found = _compared(reference, candidate, layers, errors)
    known = [layer.z for layer in found if layer.z is not None]
    if not known:
        return Lineage(None, None, found, ("lineage is null: no matched layers of one shape with three live filters",))
    z = sum(known) / sqrt(len(known))
    return Lineage(z > SAME, z, found)


def _compared(
    reference: Arm, candidate: Arm, layers: Sequence[tuple[LayerResult, LayerResult]], errors: bool
) -> tuple[LayerLineage, ...]:
    from gcx.measures import measure_lineage, paired_se

    found = []
    with reference.layers(0) as ours, candidate.layers(0) as theirs:
        for first, second in layers:
            if (first.weight_shape, first.groups) != (second.weight_shape, second.groups):
                found.append(LayerLineage())
                continue
            before, after = ours[first.name].filters(), theirs[second.name].filters()
            measure = reference.settings.measure
            z, r = measure_lineage(before, after, measure)
            found.append(LayerLineage(z, tuple(r), paired_se(before, after, measure) if errors else None))
    return tuple(found)
