"""Live objects: a `torch.nn.Module`, or a mapping of names to tensors or arrays. Tensors are copied out when asked for.

torch is not imported here: whoever has a module has loaded it already.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gcx.checkpoint import Checkpoint, ConvSpec, TensorRef
from gcx.errors import CheckpointError, printable
from gcx.readers.base import ReadOptions
from gcx.readers.effective_weights import effective_weight
from gcx.readers.live_tensors import live_reference
from gcx.readers.names import module_of, present, saved_epoch, shown_names
from gcx.readers.torch.weight_sets import KNOWN

_WRAPPER_CLASSES = frozenset({"DataParallel", "DistributedDataParallel", "OptimizedModule"})

_DEEPEST = 4
"""Mappings within mappings that are searched for tensors."""
_WRAPPED = 100
_AVERAGE = re.compile(r"(^|[_.])(ema|swa|averaged?|avg|shadow)([_.]|$)|^ema|ema$", re.IGNORECASE)
_OPTIMIZER = re.compile(r"optim|sched|scaler|momentum|exp_avg", re.IGNORECASE)


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
            held = (f"{dot}{own}" for own in ("weight", *child._parameters) if own.startswith("weight"))  # noqa: SLF001
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

    A mapping without tensors is searched for one with them, as training checkpoints wrap theirs.

    Args:
        state: `model.state_dict()`, or names to numpy arrays (or what `numpy.asarray` takes: jax, tensorflow).
        options: which copy is meant where it holds a moving average too.

    Raises:
        CheckpointError: it has values but no tensors, or names that are no text.
        UsageError: a moving average is wanted and there is none.

    >>> import numpy as np
    >>> from_state_dict({"conv.weight": np.zeros((8, 4, 3, 3)), "epoch": 3}).tensors["conv.weight"].dtype
    'float64'
    """
    options = options or ReadOptions()
    found, more, averaged = _unwrapped(state, options)
    if not isinstance(found, Mapping):
        checkpoint = from_module(found)
        return replace(checkpoint, notes=more, epoch=saved_epoch(state))
    refs: dict[str, TensorRef] = {}
    for name, value in found.items():
        ref = live_reference(name, value)
        if ref is None:
            continue
        if not isinstance(name, str):
            raise CheckpointError(f"has a tensor whose name is no text: {name!r:.60}", path="state_dict")
        refs[name] = ref
    if state and not refs:
        raise CheckpointError("maps no name to a tensor", path="state_dict", cure="give model.state_dict()")
    tensors, notes = present(refs, ReadOptions() if averaged else options)
    return Checkpoint("state_dict", "state-dict", tensors, notes=more + notes, epoch=saved_epoch(state))


def _unwrapped(state: Mapping[str, Any], options: ReadOptions) -> tuple[Any, tuple[str, ...], bool]:
    """The mapping with tensors, or the module, that is meant; a note on the others; whether it is a moving average."""
    found: list[tuple[tuple[str, ...], Any]] = []
    waiting: list[tuple[tuple[str, ...], Any]] = [((), state)]
    while waiting and len(found) < _WRAPPED:
        path, value = waiting.pop(0)
        if not isinstance(value, Mapping) or any(live_reference("", item) for item in value.values()):
            found.append((path, value))
        elif len(path) < _DEEPEST and not {"param_groups", "state"} <= value.keys():
            inner = [(str(key), item) for key, item in value.items() if not _OPTIMIZER.search(str(key))]
            waiting += [
                ((*path, key), item)
                for key, item in inner
                if isinstance(item, Mapping) or hasattr(item, "named_modules")
            ]
    if not found:
        return state, (), False

    def rank(place: tuple[tuple[str, ...], Any]) -> tuple[bool, int]:
        average = any(_AVERAGE.search(key) for key in place[0])
        return average != (options.weights == "ema"), min(map(_known, place[0]), default=0)

    path, meant = min(found, key=rank)
    others = ", ".join(f"'{printable('.'.join(other), 60)}'" for other, _ in found[:6] if other != path)
    also = f"; there is also {others}" if others else ""
    notes = (f"weights from '{printable('.'.join(path), 60)}'{also}",) if path and others else ()
    return meant, notes, any(_AVERAGE.search(key) for key in path)


def _may_hold_weights(key: str, value: Any) -> bool:
    return (isinstance(value, Mapping) or hasattr(value, "named_modules")) and not _OPTIMIZER.search(key)


def _known(key: str) -> int:
    return KNOWN.index(key) if key in KNOWN else len(KNOWN)


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
