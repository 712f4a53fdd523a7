"""A whole pickled `nn.Module` as tensors and convolutions, read off its tree; its classes need not exist."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gcx.checkpoint import ConvSpec
from gcx.errors import MESSAGE_LIMIT, CheckpointError, LimitError, printable
from gcx.limits import MODULES, TENSORS
from gcx.readers.torch.packed import quantised_conv
from gcx.readers.torch.program_weights import KEPT_AS, is_large
from gcx.readers.torch.values import CURE, Pairs, Placeholder, Tensor
from gcx.readers.torch.work import Work


@dataclass(frozen=True)
class Tree:
    """What a module holds, by dotted name, in the order of its state dict."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    convs: dict[str, ConvSpec] = field(default_factory=dict)
    """By the name of the weight."""
    notes: tuple[str, ...] = ()


def attributes(value: Any, work: Work) -> dict[str, Any]:
    """What an object's state says about it by name: `__dict__`, or that and the slots."""
    if type(value) is not Placeholder:
        return {}
    packed = quantised_conv(value)
    if packed is not None:
        return packed.attributes()
    parts = value.state if type(value.state) is tuple else (value.state,)
    found: dict[str, Any] = {}
    work.look(len(parts))
    for part in parts:
        if type(part) is Pairs:
            work.look(len(part.items))
            found |= part.named()
    return found


def is_module(value: Any, work: Work) -> bool:
    """Whether an object is a module: it keeps its parameters and its children as torch's modules do."""
    found = attributes(value, work)
    return type(found.get("_parameters")) is Pairs and type(found.get("_modules")) is Pairs


def read_tree(root: Placeholder, work: Work) -> Tree:
    """Walk a module without recursion; a module that is reached twice is named twice, as in its state dict.

    Raises:
        CheckpointError: a module contains itself.
        LimitError: `MODULES`, `TENSORS`, `LOOKS`, or names beyond `NAME` and `NAMES`.
    """
    tree = Tree()
    odd: list[str] = []
    for prefix, module in walk_modules(root, partial(_children, work=work), work):
        found = attributes(module, work)
        transient = _names(found.get("_non_persistent_buffers_set"), work)
        for kind in ("_parameters", "_buffers"):
            held = found.get(kind)
            if type(held) is not Pairs:
                continue
            work.look(len(held.items))
            for name, value in held.named().items():
                if type(value) is Tensor and not (kind == "_buffers" and name in transient):
                    work.name(len(prefix) + len(name))
                    tree.tensors[prefix + name] = value
        if len(tree.tensors) > TENSORS:
            raise LimitError(f"has more than {TENSORS} tensors, limit TENSORS")
        weight = next((name for name in KEPT_AS if is_large(tree.tensors.get(prefix + name))), None)
        if weight is not None and type(found.get("groups")) is int and "kernel_size" in found:
            weight = prefix + weight
            shape = tree.tensors[weight].shape
            if _is_possible(found["groups"], shape):
                transposed = found.get("transposed")
                tree.convs[weight] = ConvSpec(found["groups"], transposed if type(transposed) is bool else None)
            else:
                odd.append(f"{printable(weight, MESSAGE_LIMIT)} of shape {shape}")
    if odd:
        more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        notes = (f"the file states numbers of groups that cannot be, which are not used: {', '.join(odd[:3])}{more}",)
        return Tree(tree.tensors, tree.convs, notes)
    return tree


def _is_possible(groups: int, shape: tuple[int, ...]) -> bool:
    """The first axis of both kinds, out_channels or in_channels, holds whole groups."""
    return groups >= 1 and shape[0] % groups == 0


Children = Callable[[Placeholder], Iterable[tuple[str, Placeholder]]]
"""A module's children by name, in order."""


def walk_modules(root: Placeholder, children: Children, work: Work) -> Iterator[tuple[str, Placeholder]]:
    """Every module with its prefix, parents before children, children in order; a shared one in each of its places.

    Raises:
        CheckpointError: a module contains itself.
        LimitError: `MODULES`, or names beyond `NAME` and `NAMES`.
    """
    ancestors: set[int] = set()
    waiting: list[tuple[str, Placeholder | None, int]] = [("", root, id(root))]
    seen = 0
    while waiting:
        prefix, module, mark = waiting.pop()
        if module is None:
            ancestors.discard(mark)
            continue
        if mark in ancestors:
            where = printable(prefix, MESSAGE_LIMIT)
            raise CheckpointError(f"has a module that contains itself: '{where}'", cure=CURE)
        seen += 1
        if seen > MODULES:
            raise LimitError(f"has more than {MODULES} modules, limit MODULES")
        work.name(len(prefix))
        yield prefix, module
        ancestors.add(mark)
        waiting.append((prefix, None, mark))
        for name, child in reversed(list(children(module))):
            waiting.append((f"{prefix}{name}.", child, id(child)))


def _children(module: Placeholder, work: Work) -> Iterator[tuple[str, Placeholder]]:
    held = attributes(module, work)["_modules"]
    work.look(len(held.items))
    return ((name, child) for name, child in held.named().items() if is_module(child, work))


def _names(value: Any, work: Work) -> frozenset[str]:
    """The texts in a set."""
    if type(value) is not Placeholder:
        return frozenset()
    given = value.args[0] if value.args else None
    held = [value.elements or [], given if type(given) is list else []]
    work.look(sum(map(len, held)))
    return frozenset(item for part in held for item in part if type(item) is str)
