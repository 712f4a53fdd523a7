"""Assembly + Settings -> ModelResult: read one layer at a time, measure it, free it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any

from gcx import limits
from gcx.assembly import Assembly
from gcx.conv_layer import ConvLayer
from gcx.results import SIGNIFICANT, Coverage, LayerResult, ModelResult, Partition, SkippedLayer
from gcx.settings import Settings
from gcx.summary import summarise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gcx.measures import DeltaState

MatrixSink = Callable[[ConvLayer, Iterator["NDArray[Any]"]], None]
"""Takes one layer and the row blocks of its correlation matrix."""
Progress = Callable[[str, int, int], None]
"""Told the layer's name, its number and how many there are, before it is measured."""

LEAST_RESAMPLES = 999


@dataclass(frozen=True)
class Extras:
    """What a caller wants beside the numbers; changes none of them."""

    pictures: bool = False
    cluster: bool = False
    """Pictures show the filters of each group in the order of a hierarchical clustering."""
    distributions: bool = False
    pvalues: bool = True
    """The permutation test of each delta, which costs more than all else of a small layer."""
    sink: MatrixSink | None = None
    progress: Progress | None = None
    opened: Callable[[str], None] | None = None
    """Told the path of every further file that a checkpoint's numbers lie in."""


def measure_model(path: str, format_: str, assembly: Assembly, settings: Settings, extras: Extras) -> ModelResult:
    """Measure the chosen layers of one checkpoint, in file order.

    Raises:
        CheckpointError: the bytes of a weight are damaged or gone.
    """
    layers: list[LayerResult | SkippedLayer] = []
    states: dict[str, DeltaState] = {}
    for number, layer in enumerate(assembly.chosen):
        if extras.progress is not None:
            extras.progress(layer.name, number, len(assembly.chosen))
        result, state = _measure_layer(layer, settings, extras, assembly.consumers.get(layer.name))
        layers.append(result)
        if state is not None and extras.pvalues:
            states[layer.name] = state
    tested = tuple(_with_pvalues(layers, states, settings))
    measured = [layer for layer in tested if isinstance(layer, LayerResult)]
    return ModelResult(
        path=path,
        format=format_,
        coverage=_coverage(assembly, measured),
        summary=summarise(measured),
        notes=assembly.notes,
        layers=tested,
        left_out=assembly.left_out,
    )


def _measure_layer(
    layer: ConvLayer, settings: Settings, extras: Extras, consumer: tuple[int, str] | None
) -> tuple[LayerResult | SkippedLayer, DeltaState | None]:
    """One layer's result, without its p-value, and what the p-value will need."""
    import numpy as np

    from gcx.measures import correlation_blocks, measure_layer

    if layer.problem is not None:
        return _skipped(layer, layer.problem), None
    filters = layer.filters()
    finite = np.isfinite(filters).all(axis=(2, 3))
    if not finite.all():
        bad = int(finite.size - np.count_nonzero(finite))
        return _skipped(layer, f"{bad} of {finite.size} filters hold NaN or infinity"), None
    if extras.sink is not None:
        extras.sink(layer, correlation_blocks(filters, settings.measure))
    got = measure_layer(
        filters,
        measure=settings.measure,
        virtual_groups=settings.virtual_groups,
        induced=consumer if settings.induced else None,
        picture=extras.pictures,
        cluster=extras.cluster,
        distribution=extras.distributions,
        seed=settings.seed,
        name=layer.name,
        overwrite=True,
    )
    result = LayerResult(
        name=layer.name,
        weight_shape=layer.weight_shape,
        stored_shape=layer.stored_shape if layer.transposed else None,
        out_channels=layer.out_channels,
        in_channels=layer.in_channels,
        groups=layer.groups,
        filters_per_group=layer.filters_per_group,
        transposed=layer.transposed,
        parameters=layer.parameters,
        groups_from=layer.groups_from,
        groups_confidence=layer.groups_confidence,
        groups_evidence=layer.groups_evidence,
        groups_alternatives=layer.groups_alternatives,
        tied=layer.tied,
        degenerate_filters=got.degenerate_filters,
        degenerate_kernels=got.degenerate_kernels,
        notes=(*layer.notes, *got.notes),
        within=got.within,
        across=got.across,
        kernels=got.kernels,
        kernel_statistics=got.kernel_statistics,
        virtual_groups=_read_by(got.virtual, consumer),
        induced_groups=got.induced,
        picture=got.picture,
        distribution=got.distribution,
    )
    return result, got.delta_state


def _read_by(cut: Partition | None, consumer: tuple[int, str] | None) -> Partition | None:
    """Where a layer's outputs are read in groups its parts may differ: a cut in natural order is no control there."""
    return cut if cut is None or consumer is None else replace(cut, consumer=consumer[1])


def _skipped(layer: ConvLayer, reason: str) -> SkippedLayer:
    return SkippedLayer(name=layer.name, reason=reason, weight_shape=layer.weight_shape, parameters=layer.parameters)


def _with_pvalues(
    layers: Iterable[LayerResult | SkippedLayer], states: Mapping[str, DeltaState], settings: Settings
) -> Iterator[LayerResult | SkippedLayer]:
    """Test every delta; how many draws that takes is known only once all layers that have one are known."""
    from gcx.measures import adjust_pvalues, delta_pvalue

    # With fewer draws than tests / SIGNIFICANT no single layer could pass the correction, whatever it holds.
    wanted = max(LEAST_RESAMPLES, ceil(len(states) / SIGNIFICANT) - 1)
    n_resamples = settings.n_resamples or min(wanted, limits.RESAMPLES)
    pvalues = [delta_pvalue(state, n_resamples, settings.seed, name) for name, state in states.items()]
    both = dict(zip(states, zip(pvalues, adjust_pvalues(pvalues), strict=True), strict=True))
    for layer in layers:
        if isinstance(layer, SkippedLayer) or layer.kernels is None or layer.name not in both:
            yield layer
            continue
        pvalue, adjusted = both[layer.name]
        kernels = replace(layer.kernels, pvalue=pvalue, pvalue_adjusted=adjusted, n_resamples=n_resamples)
        yield replace(layer, kernels=kernels)


def _coverage(assembly: Assembly, measured: list[LayerResult]) -> Coverage:
    weights = sum(layer.parameters for layer in measured)
    return Coverage(
        convolutions=len(assembly.layers),
        measured=len(measured),
        not_chosen=len(assembly.layers) - len(assembly.chosen),
        weight_share=weights / assembly.parameters if assembly.parameters else None,
    )
