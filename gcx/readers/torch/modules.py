"""A whole pickled `nn.Module` as tensors and convolutions, read off its tree; its classes need not exist."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gcx.checkpoint import ConvSpec
from gcx.errors import CheckpointError, LimitError
from gcx.limits import MODULES, NAME
from gcx.readers.torch.values import CURE, Pairs, Placeholder, Tensor

_WEIGHTS = ("weight", "weight_v", "weight_orig")
"""Under one of these a convolution keeps its numbers."""


@dataclass(frozen=True)
class Tree:
    """What a module holds, by dotted name, in the order of its state dict."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    convs: dict[str, ConvSpec] = field(default_factory=dict)
    """By the name of the weight."""


def attributes(value: Any) -> dict[str, Any]:
    """What an object's state says about it by name: `__dict__`, or that and the slots."""
    if type(value) is not Placeholder:
        return {}
    parts = value.state if type(value.state) is tuple else (value.state,)
    found: dict[str, Any] = {}
    for part in parts:
        if type(part) is Pairs:
            found |= part.named()
    return found


def is_module(value: Any) -> bool:
    """Whether an object is a module: it keeps its parameters and its children as torch's modules do."""
    found = attributes(value)
    return type(found.get("_parameters")) is Pairs and type(found.get("_modules")) is Pairs


def read_tree(root: Placeholder) -> Tree:
    """Walk a module without recursion; a module that is reached twice is named twice, as in its state dict.

    Raises:
        CheckpointError: a module contains itself, or states groups that its weight cannot have.
        LimitError: more modules than `MODULES`, or a name longer than `NAME`.
    """
    tree = Tree()
    for prefix, module in _modules(root):
        found = attributes(module)
        transient = _names(found.get("_non_persistent_buffers_set"))
        for kind in ("_parameters", "_buffers"):
            held = found.get(kind)
            for name, value in held.named().items() if type(held) is Pairs else ():
                if type(value) is Tensor and not (kind == "_buffers" and name in transient):
                    tree.tensors[prefix + name] = value
        weight = next((prefix + name for name in _WEIGHTS if prefix + name in tree.tensors), None)
        if weight is not None and type(found.get("groups")) is int and "kernel_size" in found:
            tree.convs[weight] = _spec(found, tree.tensors[weight], weight)
    return tree


def _modules(root: Placeholder) -> Iterator[tuple[str, Placeholder]]:
    """Every module with its prefix, parents before children, children in order."""
    ancestors: set[int] = set()
    waiting: list[tuple[str, Placeholder | None, int]] = [("", root, id(root))]
    seen = 0
    while waiting:
        prefix, module, mark = waiting.pop()
        if module is None:
            ancestors.discard(mark)
            continue
        if mark in ancestors:
            raise CheckpointError(f"has a module that contains itself: '{prefix}'", cure=CURE)
        seen += 1
        if seen > MODULES:
            raise LimitError(f"has more than {MODULES} modules, limit MODULES")
        if len(prefix) > NAME:
            raise LimitError(f"has a name of more than {NAME} characters, limit NAME")
        yield prefix, module
        ancestors.add(mark)
        waiting.append((prefix, None, mark))
        children = attributes(module)["_modules"].named().items()
        for name, child in reversed(children):
            if is_module(child):
                waiting.append((f"{prefix}{name}.", child, id(child)))


def _names(value: Any) -> frozenset[str]:
    """The texts in a set."""
    if type(value) is not Placeholder:
        return frozenset()
    held = list(value.elements or ())
    if value.args and type(value.args[0]) is list:
        held += value.args[0]
    return frozenset(item for item in held if type(item) is str)


def _spec(found: dict[str, Any], weight: Tensor, name: str) -> ConvSpec:
    groups, shape = found["groups"], weight.shape
    transposed = found["transposed"] if type(found.get("transposed")) is bool else None
    if groups < 1 or (len(shape) >= 2 and shape[0] % groups):
        raise CheckpointError(
            f"states {groups} groups, which a weight of shape {shape} cannot have", tensor=name, cure=CURE
        )
    inputs, outputs = found.get("in_channels"), found.get("out_channels")
    if type(inputs) is int and type(outputs) is int and len(shape) >= 2:
        stated = (inputs, outputs // groups) if transposed else (outputs, inputs // groups)
        if stated != shape[:2]:
            raise CheckpointError(
                f"states {inputs} and {outputs} channels in {groups} groups, but has shape {shape}",
                tensor=name,
                cure=CURE,
            )
    return ConvSpec(groups, transposed)
