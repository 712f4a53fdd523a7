"""path + layer name -> FilterBank: the weights of one layer as they are, for pictures of kernels."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from gcx.assembly import Assembly, assemble, check_globs
from gcx.conv_layer import ConvLayer
from gcx.errors import CheckpointError, UsageError, printable
from gcx.filter_bank import FilterBank
from gcx.globs import matches
from gcx.pipeline import located, open_model, shown_path
from gcx.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NAMED = 4
"""Layers that an error names."""


def filter_bank(model: Any, layer: str, settings: Settings | None = None) -> FilterBank:
    """Read the filters of one layer.

    Args:
        model: a path, a live `torch.nn.Module` or a state dict.
        layer: the layer's name, or a glob that only one layer matches.
        settings: `groups`, `weights` and `induced` (arrange a dense layer by the groups of the layer that reads it).

    Returns:
        Kernels as shares of the layer's largest finite |w|; weights that are no number stay as they are.

    Raises:
        CheckpointError: the file or the weight cannot be read.
        UsageError: no such layer, or several.

    >>> import numpy as np
    >>> weight = np.random.default_rng(0).normal(size=(8, 2, 3, 3))
    >>> filter_bank({"conv.weight": weight}, "conv", Settings(groups=(("conv", 4),))).kernels.shape
    (4, 2, 2, 3, 3)
    """
    effective = settings or Settings()
    with open_model(model, effective) as checkpoint, located(checkpoint):
        assembly = assemble(checkpoint, effective)
        check_globs([assembly])
        chosen = _chosen(layer, assembly)
        if chosen.problem is not None:
            raise CheckpointError(chosen.problem, tensor=chosen.name)
        return _bank(shown_path(checkpoint.path), chosen, assembly, effective)


def _chosen(wanted: str, assembly: Assembly) -> ConvLayer:
    layers = assembly.layers
    for layer in layers:
        if wanted in (layer.name, *layer.tied):
            return layer
    found = [layer for layer in layers if matches((layer.name, *layer.tied), wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(printable(layer.name, 60) for layer in found[:_NAMED]) + (
            ", …" if len(found) > _NAMED else ""
        )
        raise UsageError(f"{wanted!r} matches {len(found)} layers: {names}", cure="name one")
    if not layers:
        raise UsageError("has no convolution", cure="`gcx layers` says what is left out and why")
    close = get_close_matches(wanted, assembly.names, n=1, cutoff=0.4)
    cure = f"did you mean {close[0]!r}?" if close else "`gcx layers` lists the names"
    raise UsageError(f"there is no layer {wanted!r}", cure=cure)


def _bank(path: str, layer: ConvLayer, assembly: Assembly, settings: Settings) -> FilterBank:
    import numpy as np

    filters = layer.filters()
    groups, n, c, _ = filters.shape
    notes = list(layer.notes)
    finite = np.isfinite(filters)
    if not finite.all():
        notes.append(f"{finite.size - np.count_nonzero(finite)} weights are NaN or infinity, and have no colour")
    largest = float(np.abs(filters).max(where=finite, initial=0.0))
    filters /= largest or 1.0
    parts, reader = _parts(layer, assembly, settings, notes)
    kernels = filters.reshape(parts, groups * n // parts, c, *layer.kernel_size)
    bank = FilterBank(
        path=path,
        name=layer.name,
        weight_shape=layer.weight_shape,
        groups=layer.groups,
        groups_from=layer.groups_from,
        groups_confidence=layer.groups_confidence,
        transposed=layer.transposed,
        kernels=kernels,
        reader=reader,
        notes=tuple(notes),
    )
    if not bank.reads_colors:
        return bank
    from dataclasses import replace

    return replace(bank, color_shares=tuple(_color_share(part) for part in kernels))


def _parts(layer: ConvLayer, assembly: Assembly, settings: Settings, notes: list[str]) -> tuple[int, str | None]:
    """How many parts there are, and the reading layer that they come from where it is not this layer."""
    read_in = assembly.consumers.get(layer.name)
    if read_in is None:
        if settings.induced:
            notes.append("no layer reads it in groups, so it stands as one")
        return layer.groups, None
    parts, reader = read_in
    if settings.induced:
        return parts, reader
    notes.append(f"{reader} reads it in {parts} groups: --induced arranges it by them")
    return layer.groups, None


def _color_share(filters: NDArray[Any]) -> float | None:
    """Mean saturation of the filters (n, 3, h, w) of a part, as reports have it; None of no weights."""
    import numpy as np

    from gcx.measures.saturation import saturation

    flat = filters.reshape(*filters.shape[:2], -1)
    alive = flat[flat.any(axis=(1, 2))]
    return float(saturation(alive).mean()) if len(alive) and np.isfinite(flat).all() else None
