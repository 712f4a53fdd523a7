"""Files that sort their tensors by name: the order of a network, put together again from lengths and numbers.

A state dict keeps the order in which modules were registered, nearly always the order in which they run; safetensors
files are sorted by name. There `bias` stands before `weight`, which no module registers so. Then modules are put in
an order in which each reads what the one before hands on; numbers in names count up, and no other word matters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise

from gcx.extract import split_tensor_name
from gcx.groups.network import Shapes

GREEDY = 64
"""Children of one module that are put in order by what they read; more are only counted up."""
READS = 64
"""Different channel counts that are kept of what a module reads."""
NESTED = 8
"""How deep one module is looked into to see what it hands on."""
IMAGE_PLANES = (3, 1, 4, 2)

_NUMBERED = re.compile(r"(.*?)(\d*)", re.DOTALL)


@dataclass(eq=False, slots=True)
class _Module:
    name: str
    tensors: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """By full name."""
    children: dict[str, _Module] = field(default_factory=dict)
    reads: set[int] = field(default_factory=set)
    """What the convolutions and linear layers at or below it may read."""
    hands: int = 0
    """What it hands on, as far as that is known: outputs of its last layer, or the length of its vectors."""
    layers: int = 0

    @property
    def key(self) -> tuple[str, int]:
        stem, number = _split(self.name)
        return stem, number


def _split(name: str) -> tuple[str, int]:
    match = _NUMBERED.fullmatch(name)
    stem, digits = match.groups() if match is not None else (name, "")
    return stem, int(digits) if digits and len(digits) < 10 else -1


def in_running_order(shapes: Shapes) -> Shapes:
    """Undo the sorting of a file that sorts its tensors by name; other shapes come back as they are.

    >>> sorted_file = {"bn1.bias": (8,), "bn1.weight": (8,), "conv1.weight": (8, 3, 3, 3)}
    >>> list(in_running_order(sorted_file))
    ['conv1.weight', 'bn1.bias', 'bn1.weight']
    """
    names = [name for name, shape in shapes.items() if shape]
    if len(names) < 2 or any(one > other for one, other in pairwise(names)):
        return shapes
    if not any(name.endswith(".bias") and f"{name[:-5]}.weight" in shapes for name in names):
        return shapes
    root = _tree(shapes)
    modules = _post_order(root)
    for module in modules:
        _summarise(module)
    planes = next((count for count in IMAGE_PLANES if count in root.reads), 0)
    return {name: shapes[name] for name in _Layout().names(root, planes)}


def _tree(shapes: Shapes) -> _Module:
    root = _Module("")
    for tensor, shape in shapes.items():
        module = root
        path = split_tensor_name(tensor)[0]
        for part in path.split(".") if path else ():
            module = module.children.setdefault(part, _Module(part))
        module.tensors[tensor] = tuple(shape)
    return root


def _post_order(root: _Module) -> list[_Module]:
    found, waiting = [], [root]
    while waiting:
        module = waiting.pop()
        found.append(module)
        waiting += module.children.values()
    return found[::-1]


def _summarise(module: _Module) -> None:
    for shape in module.tensors.values():
        if len(shape) >= 2 and min(shape[:2]) > 0:
            module.reads.add(shape[1] if shape[1] > 1 else shape[0])
            module.reads.add(shape[1])
            module.hands = shape[0]
            module.layers += 1
        elif len(shape) == 1 and not module.layers and shape[0] > 1:
            module.hands = shape[0]
    for child in module.children.values():
        module.layers += child.layers
        if len(module.reads) < READS:
            module.reads |= child.reads


class _Layout:
    """Puts modules in order; remembers what it has found about each, since one question asks many smaller ones."""

    def __init__(self) -> None:
        self._outputs: dict[tuple[int, int], int] = {}
        self._nested = 0

    def names(self, root: _Module, channels: int) -> list[str]:
        """Names of all tensors in running order; walks with a stack, since names may be nested deeply."""
        names: list[str] = []
        waiting: list[_Module] = [root]
        while waiting:
            module = waiting.pop()
            names += module.tensors
            if module.tensors and module.hands:
                channels = module.hands
            if module.children:
                waiting += self._in_order(list(module.children.values()), channels)[::-1]
        return names

    def _in_order(self, children: list[_Module], channels: int) -> list[_Module]:
        layers = sorted((child for child in children if child.layers), key=lambda child: child.key)
        norms = sorted((child for child in children if not child.layers), key=lambda child: child.key)
        numbered = all(stem == "" and number >= 0 for stem, number in (child.key for child in children))
        if numbered or max(len(layers), len(norms)) > GREEDY or self._nested > NESTED:
            return sorted(children, key=lambda child: child.key)
        return self._with_norms(self._chained(layers, channels), norms)

    def _chained(self, layers: list[_Module], channels: int) -> list[_Module]:
        """One after the other, each reading what the one before hands on; those that keep the channels come first."""
        ordered: list[_Module] = []
        remaining = list(layers)
        while remaining:
            free = [layer for layer in remaining if not _has_earlier(layer, remaining)]
            matching = [layer for layer in free if channels in layer.reads]
            grouped = [layer for layer in free if _may_group(layer, channels)]
            keeping = [layer for layer in matching if self._output(layer, channels) == channels]
            keeping += [layer for layer in grouped if layer.hands == channels]
            chosen = (keeping or matching or grouped or free)[0]
            if channels == 1 and matching:
                # A stem: much else may seem to read one channel, since depthwise weights have an axis of one.
                chosen = min(matching, key=lambda layer: layer.layers)
            ordered.append(chosen)
            remaining.remove(chosen)
            channels = self._output(chosen, channels) or channels
        return ordered

    def _output(self, module: _Module, channels: int) -> int:
        """What a module hands on: that of its last layer in running order."""
        if not module.children:
            return module.hands
        question = (id(module), channels)
        if question not in self._outputs:
            self._nested += 1
            *earlier, last = self._in_order(list(module.children.values()), channels)
            inner = (earlier[-1].hands if earlier else 0) or channels
            self._outputs[question] = self._output(last, inner) if self._nested <= NESTED else last.hands
            self._nested -= 1
        return self._outputs[question]

    def _with_norms(self, layers: list[_Module], norms: list[_Module]) -> list[_Module]:
        """Put every norm after the layer whose outputs it has, or before the one whose inputs it has."""
        ordered = list(layers)
        taken: set[int] = set()
        for norm in norms:
            number = norm.key[1]
            twins = [layer for layer in layers if layer.key[1] == number >= 0] or layers
            after = [one for one in twins if id(one) not in taken and self._output(one, norm.hands) == norm.hands]
            before = [layer for layer in twins if norm.hands in layer.reads]
            if after:
                taken.add(id(after[0]))
                ordered.insert(ordered.index(after[0]) + 1, norm)
            elif before:
                ordered.insert(ordered.index(before[0]), norm)
            else:
                ordered.append(norm)
        return ordered


def _may_group(layer: _Module, channels: int) -> bool:
    """Whether a layer, with a kernel larger than one, could read so many channels in groups."""
    for shape in layer.tensors.values():
        if len(shape) > 2 and 1 < shape[1] < channels and max(shape[2:]) > 1:
            return channels % shape[1] == 0 and shape[0] % (channels // shape[1]) == 0
    return False


def _has_earlier(layer: _Module, others: list[_Module]) -> bool:
    stem, number = layer.key
    return any(other.key[0] == stem and -1 < other.key[1] < number for other in others)
