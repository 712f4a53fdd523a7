"""Checkpoint + Settings -> ConvLayers: every convolution with its groups, which are chosen, and what is left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from math import prod

from gcx.checkpoint import Checkpoint, ConvSpec, TensorRef
from gcx.conv_layer import ConvLayer
from gcx.errors import CheckpointError, UsageError
from gcx.extract import ConvWeight, find_convolutions
from gcx.globs import matches
from gcx.groups import Resolution, resolve_groups
from gcx.groups.neighbours import NormNeighbours, consumer_groups
from gcx.parametrizations import recombine
from gcx.results import LeftOut
from gcx.settings import Settings
from gcx.words import plural


@dataclass(frozen=True)
class GlobOption:
    """An option that chooses layers by a glob; as text, as it was typed."""

    flag: str
    glob: str
    count: int | None = None
    """Groups that it declares."""

    def __str__(self) -> str:
        return f"{self.flag} {self.glob if self.count is None else f'{self.glob}={self.count}'!r}"


@dataclass(frozen=True)
class Assembly:
    """The convolutions of one checkpoint."""

    layers: tuple[ConvLayer, ...]
    """All of them in file order, tied ones once."""
    chosen: tuple[ConvLayer, ...]
    """Those that --include and --exclude leave."""
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    unmatched: frozenset[GlobOption]
    """Options whose glob matched no layer here."""
    names: tuple[str, ...]
    """Layer names, for "did you mean"."""
    consumers: Mapping[str, tuple[int, str]]
    """Per layer whose outputs its reader cuts into groups: how many, and the reader; empty where no order is known."""

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)


def assemble(checkpoint: Checkpoint, settings: Settings) -> Assembly:
    """Find the convolutions, settle their groups, and choose.

    Raises:
        UsageError: a declared count contradicts the file or does not divide the channels.
        CheckpointError: a norm that is folded cannot be read.
    """
    tensors = recombine(checkpoint.tensors, checkpoint.convs)
    shapes = {name: tensor.shape for name, tensor in tensors.items() if name not in checkpoint.others}
    found = find_convolutions(shapes, recorded=checkpoint.convs)
    names = tuple(conv.name for conv in found.convs)
    declared, notes, unmatched = _declared(settings.groups, names)
    try:
        resolutions = _resolved(checkpoint, shapes, found.convs, declared)
    except UsageError as error:
        raise error.located(path=checkpoint.path) from error
    layers = tuple(_beside_mask(layer, shapes) for layer in _conv_layers(found.convs, tensors, resolutions))
    if settings.fold_sign or settings.fold_scale:
        layers = _folded(layers, tensors, NormNeighbours(shapes, ordered=checkpoint.ordered), settings)
    for flag, globs in (("--include", settings.include), ("--exclude", settings.exclude)):
        unmatched |= {GlobOption(flag, glob) for glob in globs if not _matches_any(glob, layers)}
    return Assembly(
        layers=layers,
        chosen=tuple(layer for layer in layers if is_chosen((layer.name, *layer.tied), settings)),
        left_out=(*found.left_out, *_others(checkpoint)),
        notes=(*checkpoint.notes, *notes),
        unmatched=frozenset(unmatched),
        names=names,
        consumers=_consumers(checkpoint, layers),
    )


def _others(checkpoint: Checkpoint) -> Iterable[LeftOut]:
    for name, why in checkpoint.others.items():
        yield LeftOut(name=name, shape=checkpoint.tensors[name].shape, reason=why)


def _resolved(
    checkpoint: Checkpoint,
    shapes: Mapping[str, tuple[int, ...]],
    convs: Iterable[ConvWeight],
    declared: Mapping[str, int],
) -> dict[str, Resolution]:
    """The groups of every layer; of several networks in one file each by itself."""
    recorded = _by_layer(convs, checkpoint.convs)
    found: dict[str, Resolution] = {}
    parts = (checkpoint.by_network(named) for named in (shapes, recorded, declared))
    for own, stated, said in zip(*parts, strict=True):
        found |= resolve_groups(own, recorded=stated, declared=said, ordered=checkpoint.ordered)
    return found


def _consumers(checkpoint: Checkpoint, layers: Sequence[ConvLayer]) -> dict[str, tuple[int, str]]:
    """Who reads a layer in groups, within its own network."""
    if not checkpoint.ordered:
        return {}
    parts = checkpoint.by_network({layer.name: layer for layer in layers})
    return {name: reader for part in parts for name, reader in consumer_groups(list(part.values())).items()}


def _by_layer(convs: Iterable[ConvWeight], recorded: Mapping[str, ConvSpec]) -> dict[str, ConvSpec]:
    """What is recorded, also by the names of the layers where it is recorded by those of their weights."""
    named = {conv.name: recorded[conv.tensor] for conv in convs if conv.tensor in recorded}
    return {**recorded, **named}


def check_globs(assemblies: Sequence[Assembly]) -> None:
    """Refuse an option whose glob matched no layer of any checkpoint: a mistyped name must not pass as "nothing found".

    Raises:
        UsageError: names the option and the layer that it may have meant.
    """
    if not assemblies:
        return
    for option in sorted(frozenset.intersection(*(assembly.unmatched for assembly in assemblies)), key=str):
        known = [name for assembly in assemblies for name in assembly.names]
        close = get_close_matches(option.glob, known, n=1, cutoff=0.4)
        cure = f"did you mean {close[0]!r}?" if close else "`gcx layers` lists the names"
        raise UsageError(f"{option} matches no layer", cure=cure)


def _declared(
    options: Iterable[tuple[str, int]], names: Sequence[str]
) -> tuple[dict[str, int], tuple[str, ...], set[GlobOption]]:
    """Per layer the declared count (the last match wins), what to tell, and the options that matched nothing."""
    declared: dict[str, int] = {}
    notes = []
    unmatched = set()
    for glob, count in options:
        matched = [name for name in names if matches((name,), glob)]
        declared.update(dict.fromkeys(matched, count))
        option = GlobOption("--groups", glob, count)
        if matched:
            notes.append(f"{option} matches {plural(len(matched), 'layer')}")
        else:
            unmatched.add(option)
    return declared, tuple(notes), unmatched


def _matches_any(glob: str, layers: Iterable[ConvLayer]) -> bool:
    return any(matches((layer.name, *layer.tied), glob) for layer in layers)


def is_chosen(names: Sequence[str], settings: Settings) -> bool:
    """Whether --include and --exclude leave a layer of these names, its own and those that are tied to it."""
    included = not settings.include or any(matches(names, glob) for glob in settings.include)
    return included and not any(matches(names, glob) for glob in settings.exclude)


def _conv_layers(
    convs: Iterable[ConvWeight], tensors: Mapping[str, TensorRef], resolutions: Mapping[str, Resolution]
) -> Iterable[ConvLayer]:
    """One layer per weight; further names of the same weight and groups join the first."""
    same: dict[object, list[ConvWeight]] = {}
    for conv in convs:
        storage, known = tensors[conv.tensor].storage, resolutions[conv.name]
        key = conv.name if storage is None else (storage, known.groups, known.transposed)
        same.setdefault(key, []).append(conv)
    for conv, *others in same.values():
        tensor, known = tensors[conv.tensor], resolutions[conv.name]
        yield ConvLayer(
            name=conv.name,
            tensor=tensor,
            groups=known.groups,
            groups_from=known.source,
            groups_confidence=known.confidence,
            groups_evidence=known.evidence,
            groups_alternatives=known.alternatives,
            transposed=known.transposed,
            tied=tuple(other.name for other in others),
            problem=_problem(tensor, conv),
            notes=(*known.notes, *tensor.notes, *_dtype_notes(tensor)),
        )


def _beside_mask(layer: ConvLayer, shapes: Mapping[str, tuple[int, ...]]) -> ConvLayer:
    """A mask that is none of torch's parametrisations may be used by code of the network's own, which is not here."""
    mask = f"{layer.tensor.name.rpartition('.')[0]}.mask".removeprefix(".")
    if layer.problem is not None or shapes.get(mask) != layer.stored_shape:
        return layer
    note = f"{mask} has its shape: whether the network multiplies by it, the file does not say; measured without it"
    return replace(layer, notes=(*layer.notes, note))


def _problem(tensor: TensorRef, conv: ConvWeight) -> str | None:
    """Why a weight cannot be measured, as far as its reference tells."""
    if tensor.unreadable is not None:
        return tensor.unreadable
    if conv.part is not None:
        return f"holds a part of the weight only ({conv.part.made_by}); save the model with it removed"
    if prod(tensor.shape) == 0:
        return "has no weights: an axis of length zero"
    return None


def _dtype_notes(tensor: TensorRef) -> tuple[str, ...]:
    whole_numbers = tensor.dtype.startswith(("int", "uint", "bool"))
    return (f"stored as {tensor.dtype}, measured as integers",) if whole_numbers and not tensor.notes else ()


def _folded(
    layers: tuple[ConvLayer, ...],
    tensors: Mapping[str, TensorRef],
    norms: NormNeighbours,
    settings: Settings,
) -> tuple[ConvLayer, ...]:
    """Layers with the norms' signs and scales folded in where their place leaves no doubt; each says what was done."""

    def fold(layer: ConvLayer) -> ConvLayer:
        scale = input_scale = None
        notes = list(layer.notes)
        if settings.fold_sign and (norm := norms.after(layer)) is not None:
            scale = tuple(-1.0 if value < 0 else 1.0 for value in _scale_of(tensors[f"{norm}.weight"]))
            notes.append(f"filters multiplied by the sign of {norm}.weight")
        elif settings.fold_sign:
            notes.append("no sign folded: no batch norm stands right after it")
        if settings.fold_scale and (norm := norms.before(layer)) is not None:
            input_scale = tuple(abs(value) for value in _scale_of(tensors[f"{norm}.weight"]))
            notes.append(f"input channels multiplied by |{norm}.weight|")
        elif settings.fold_scale:
            notes.append("no scale folded: no batch norm stands right before it")
        return replace(layer, scale=scale, input_scale=input_scale, notes=tuple(notes))

    return tuple(fold(layer) for layer in layers)


def _scale_of(tensor: TensorRef) -> list[float]:
    import numpy as np

    with np.errstate(invalid="ignore"):  # a NaN that signals is refused in words below
        scale = tensor.read().astype(np.float64)
    if not np.isfinite(scale).all():
        raise CheckpointError("holds NaN or infinity and cannot be folded", tensor=tensor.name)
    return [float(value) for value in scale]
