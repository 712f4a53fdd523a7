"""The order and the tree of a state dict: which module hands how many channels to what comes after it.

Names are used as a tree only: which modules share a parent, in which order. No word in a name changes a count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from gcx import limits
from gcx.extract import ConvWeight, Extraction, split_tensor_name

EmitterKind = Literal["conv", "linear", "norm"]
Order = Literal["kept", "rebuilt", "unknown"]
"""The file's own; put together again from a file sorted by name; none, so that neighbours say nothing."""
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(eq=False, slots=True)
class Node:
    """One module in the tree of names."""

    path: str
    parent: Node | None
    first: int = -1
    """Index of the first emitter at or below this module; -1 while there is none."""
    last: int = -1
    convs: int = 0
    """Convolutions at or below this module."""
    children: list[Node] = field(default_factory=list)
    """Those with emitters, in file order."""
    ordinal: int = 0
    """Place among the parent's children."""
    inner: bool = False
    """Has modules below it."""
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Its own tensors by parameter name."""


@dataclass(eq=False, slots=True)
class Emitter:
    """A module that hands on a known number of channels: a convolution, a linear layer, a norm (a leaf of vectors)."""

    index: int
    kind: EmitterKind
    node: Node
    channels: int
    """What it hands on; for a convolution a first reading, which the solver replaces where it is transposed."""
    conv: ConvWeight | None = None

    @property
    def name(self) -> str:
        return self.node.path if self.conv is None else self.conv.name

    @property
    def shape(self) -> tuple[int, ...]:
        """A convolution's stored shape; only for those."""
        return () if self.conv is None else self.conv.shape


@dataclass(frozen=True)
class Network:
    emitters: list[Emitter]
    """In file order."""
    by_path: dict[str, Emitter]
    """The convolutions by the path of their module."""
    order: Order = "kept"

    @cached_property
    def handed(self) -> frozenset[int]:
        """Every number of channels that some module hands on."""
        return frozenset(emitter.channels for emitter in self.emitters)


def build_network(shapes: Shapes, extraction: Extraction, *, order: Order = "kept") -> Network:
    """Arrange a state dict's tensors as emitters in file order, over the tree of their names.

    Args:
        shapes: tensor name to shape, in file order.
        extraction: what `find_convolutions` made of the same shapes.
        order: how far that order is the network's.

    Returns:
        The emitters; time and memory grow linearly with the number of tensors and the length of their names.

    >>> from gcx.extract import find_convolutions
    >>> shapes = {"a.weight": (8, 3, 3, 3), "b.weight": (8,), "b.bias": (8,), "c.weight": (10, 8)}
    >>> [(e.name, e.kind, e.channels) for e in build_network(shapes, find_convolutions(shapes)).emitters]
    [('a', 'conv', 8), ('b', 'norm', 8), ('c', 'linear', 10)]
    """
    tree = _Tree()
    owners = {tensor: tree.owner(tensor, tuple(shape)) for tensor, shape in shapes.items()}
    convs = {conv.tensor: conv for conv in extraction.convs}
    emitters: list[Emitter] = []
    for tensor, node in owners.items():
        emitter = _emitter(len(emitters), tensor, tuple(shapes[tensor]), node, convs.get(tensor))
        if emitter is not None and not (emitter.kind == "norm" and node.first >= 0):
            emitters.append(emitter)
            _place(emitter)
    return Network(emitters, {emitter.node.path: emitter for emitter in emitters if emitter.kind == "conv"}, order)


MOST_OF_A_NORM = 16
"""Parameters and buffers of one norm; a module with more is none, and would be looked through once for each of them."""


class _Tree:
    """Modules by path, each made once, with its ancestors."""

    def __init__(self) -> None:
        self.root = Node("", None)
        self._nodes = {"": self.root}

    def owner(self, tensor: str, shape: tuple[int, ...]) -> Node:
        path, parameter = split_tensor_name(tensor)
        node = self._node(path)
        node.shapes[parameter] = shape
        return node

    def _node(self, path: str) -> Node:
        missing = []
        while path not in self._nodes:
            missing.append(path)
            path = path.rpartition(".")[0] if len(missing) < limits.MODULE_DEPTH else ""
        node = self._nodes[path]
        for deeper in reversed(missing):
            node.inner = True
            node = self._nodes[deeper] = Node(deeper, node)
        return node


def _emitter(index: int, tensor: str, shape: tuple[int, ...], node: Node, conv: ConvWeight | None) -> Emitter | None:
    if conv is not None:
        return Emitter(index, "conv", node, shape[0], conv)
    if len(shape) == 2 and ("weight" in tensor.rpartition(".")[2] or node.shapes.get("bias") == shape[:1]):
        return Emitter(index, "linear", node, shape[0])
    few = len(node.shapes) <= MOST_OF_A_NORM
    if len(shape) == 1 and few and not node.inner and all(len(other) <= 1 for other in node.shapes.values()):
        lengths = Counter(other[0] for other in node.shapes.values() if other and other[0] > 1)
        if lengths:
            return Emitter(index, "norm", node, lengths.most_common(1)[0][0])
    return None


def _place(emitter: Emitter) -> None:
    """Tell the module and its ancestors that this emitter lies below them."""
    node: Node | None = emitter.node
    while node is not None:
        if node.first < 0:
            node.first = emitter.index
            if node.parent is not None:
                node.ordinal = len(node.parent.children)
                node.parent.children.append(node)
        node.last = emitter.index
        node.convs += emitter.kind == "conv"
        node = node.parent
