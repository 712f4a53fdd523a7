"""Live objects: a `torch.nn.Module`, or a mapping of names to tensors or arrays. Tensors are copied out when asked for.

torch is not imported here: whoever has a module has loaded it already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gcx.checkpoint import Checkpoint, ConvSpec, TensorRef
from gcx.errors import CheckpointError
from gcx.limits import NESTING
from gcx.readers.base import ReadOptions
from gcx.readers.effective_weights import effective_weight
from gcx.readers.live_tensors import live_reference
from gcx.readers.names import module_of, no_moving_average, present, saved_epoch, shown_names
from gcx.readers.weight_sets import (
    MOMENTS,
    Shown,
    WeightSet,
    by_text,
    choose,
    left_out,
    merged,
    networks,
    stands_beside,
)
from gcx.weight_parts import AXES

_WRAPPER_CLASSES = frozenset({"DataParallel", "DistributedDataParallel", "OptimizedModule"})


def from_module(module: Any) -> Checkpoint:
    """See a live `torch.nn.Module` as a checkpoint: groups are recorded, parametrised weights are the effective ones.

    Args:
        module: any module; convolutions are its children that state `groups` and `transposed`, as torch's do.

    Returns:
        Its state dict's tensors in its order; `path` is the name of the class. Nothing is read yet, and a change of
        the module before that is seen.

    >>> import torch
    >>> checkpoint = from_module(torch.nn.Sequential(torch.nn.Conv2d(8, 4, 3, groups=2)))
    >>> checkpoint.path, checkpoint.convs, checkpoint.tensors["0.weight"].shape
    ('Sequential', {'0': ConvSpec(groups=2, transposed=False)}, (4, 4, 3, 3))
    """
    refs: dict[str, TensorRef] = {}
    for name, value in module.state_dict().items():
        ref = live_reference(name, value)
        if ref is not None:
            refs[name] = ref
    specs: dict[str, ConvSpec] = {}
    for prefix, child in module.named_modules(remove_duplicate=False):
        dot = f"{prefix}." if prefix else ""
        effective = effective_weight(child)
        if effective is not None:
            refs = effective.put_into(refs, dot, child)
        spec = _spec(child)
        if spec is not None:
            own = ("weight", *(name for name, _ in child.named_parameters(recurse=False)))
            held = (f"{dot}{name}" for name in own if name.startswith("weight"))
            specs[next((name for name in held if name in refs), f"{dot}weight")] = spec
    shown = shown_names(refs)
    return Checkpoint(
        _class_name(module),
        "torch-module",
        {shown[name]: replace(ref, name=shown[name]) for name, ref in refs.items()},
        {module_of(shown[name]): spec for name, spec in specs.items() if name in shown},
    )


def from_state_dict(state: Mapping[str, Any], options: ReadOptions | None = None) -> Checkpoint:
    """See a mapping of names to torch tensors or arrays as a checkpoint; other values are passed over.

    Mappings, lists and modules within it are searched as those of a saved file are: what a training checkpoint holds
    beside its weights is left out, and of several networks each is taken.

    Args:
        state: `model.state_dict()`, or names to numpy arrays (or what `numpy.asarray` takes: jax, tensorflow).
        options: which copy is meant where it holds a moving average too.

    Raises:
        CheckpointError: it has values but no tensors with a name.
        UsageError: a moving average is wanted and there is none.

    >>> import numpy as np
    >>> from_state_dict({"conv.weight": np.zeros((8, 4, 3, 3)), "epoch": 3}).tensors["conv.weight"].dtype
    'float64'
    """
    options = options or ReadOptions()
    found = _sets(state)
    chosen, notes, averaged = choose(found.sets, options)
    if state and not chosen:
        raise CheckpointError("maps no name to a tensor", path="state_dict", cure="give model.state_dict()")
    inner = ReadOptions() if averaged else options
    notes += left_out(found.nameless, found.cut)
    tensors, convs, more = merged(chosen, lambda one: _shown(one, inner))
    lone = chosen[0].name if len(chosen) == 1 else None
    kind = "torch-module" if any(one.module for one in chosen) else "state-dict"
    return Checkpoint(
        lone or "state_dict", kind, tensors, convs, notes + more, epoch=saved_epoch(state), networks=networks(chosen)
    )


@dataclass
class _Found:
    """What a live mapping holds."""

    sets: list[WeightSet] = field(default_factory=list)
    nameless: int = 0
    """Tensors that could be convolutions and have no name."""
    cut: bool = False
    """Something lies too deep."""


def _sets(state: Mapping[Any, Any]) -> _Found:
    """Every mapping of names to tensors and every module in a mapping, in its order, each object once."""
    found = _Found()
    waiting: list[tuple[tuple[str, ...], Any]] = [((), state)]
    # The objects themselves: one that is made when it is asked for could get the address of one that is gone.
    seen: dict[int, Any] = {}
    while waiting:
        path, value = waiting.pop()
        if id(value) in seen:
            continue
        if len(path) > NESTING:
            found.cut = True
            continue
        seen[id(value)] = value
        if hasattr(value, "named_modules"):
            whole = from_module(value)
            found.sets.append(WeightSet(path, whole.tensors, whole.convs, module=True, name=whole.path))
            continue
        inner = _in_mapping(path, value, found) if isinstance(value, Mapping) else _in_list(value, found)
        waiting += [((*path, key), item) for key, item in reversed(inner) if not stands_beside(key)]
    return found


def _in_mapping(path: tuple[str, ...], value: Mapping[Any, Any], found: _Found) -> list[tuple[str, Any]]:
    """Note its tensors; what else in it may hold some."""
    named = by_text(list(value.items()))
    if named.keys() >= {"param_groups", "state"}:
        return []
    refs = {key: ref for key, item in named.items() if (ref := live_reference(key, item)) is not None}
    if not refs.keys() <= MOMENTS:
        found.sets.append(WeightSet(path, refs))
    return [(key, item) for key, item in named.items() if key not in refs and _may_hold_weights(item)]


def _in_list(value: Sequence[Any], found: _Found) -> list[tuple[str, Any]]:
    found.nameless += sum(len(getattr(item, "shape", ())) >= AXES for item in value)
    return [(str(number), item) for number, item in enumerate(value) if _may_hold_weights(item)]


def _may_hold_weights(value: Any) -> bool:
    return isinstance(value, (Mapping, list, tuple)) or hasattr(value, "named_modules")


def _shown(chosen: WeightSet, options: ReadOptions) -> Shown:
    if not chosen.module:
        tensors, notes = present(chosen.tensors, options)
        return tensors, {}, notes
    if options.weights == "ema":
        raise no_moving_average()
    return dict(chosen.tensors), chosen.convs, ()


def _class_name(module: Any) -> str:
    """The name of the class of what is wrapped."""
    while type(module).__name__ in _WRAPPER_CLASSES:
        module = module.module if hasattr(module, "module") else module._orig_mod  # noqa: SLF001
    return type(module).__name__


def _spec(child: Any) -> ConvSpec | None:
    groups, transposed = getattr(child, "groups", None), getattr(child, "transposed", None)
    if type(groups) is int and groups > 0 and isinstance(transposed, bool) and hasattr(child, "kernel_size"):
        return ConvSpec(groups, transposed)
    return None
