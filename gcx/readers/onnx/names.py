"""Names under which the convolution weights of an ONNX graph are shown: no two alike, none at much cost."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gcx.errors import LimitError
from gcx.limits import NAMES
from gcx.readers.onnx.graph import Node

_WEIGHT_WORDS = ("weight", "weights", "kernel", "kernels", "filter", "filters")
"""Last parts of a name that call a tensor a weight."""


class Names:
    """Gives out names; the one that a tensor is stored under is only its own.

    Args:
        stored: names of all stored tensors.
    """

    def __init__(self, stored: Iterable[str]):
        self._stored = frozenset(stored)
        self._given: set[str] = set()
        self._numbers: dict[str, int] = {}
        self._left = NAMES

    def give(self, name: str, own: str) -> str:
        """The name, or one made from it where another tensor has it.

        Args:
            name: the wanted one.
            own: what the tensor is stored under.

        Raises:
            LimitError: NAMES.

        >>> names = Names(["a.weight", "b.weight"])
        >>> [names.give("a.weight", own) for own in ("a.weight", "a.weight", "b.weight")]
        ['a.weight', 'a#2.weight', 'a#3.weight']
        """
        free = name
        if free in self._given or (free in self._stored and free != own):
            stem, dot, last = name.rpartition(".")
            number = self._numbers.get(name, 2)
            while (free := f"{stem}#{number}{dot}{last}") in self._given or free in self._stored:
                number += 1
            self._numbers[name] = number + 1
        self._given.add(free)
        # A short node can make another of one long name, so the length of the file bounds nothing here.
        self._left -= len(free)
        if self._left < 0:
            raise LimitError(f"has more than {NAMES} characters of names, limit NAMES")
        return free


def weight_name(name: str, node: Node, *, called: bool = True) -> str:
    """The tensor's own name where it says something, else the convolution's, as a module's weight.

    Args:
        name: what the tensor is stored under.
        node: a convolution that uses it.
        called: whether that name is the weight's; else it only serves where the node has none.

    >>> weight_name("stem.kernel", Node("Conv", "/a/Conv")), weight_name("onnx::Conv_421", Node("Conv", "/a/Conv"))
    ('stem.kernel', 'a.weight')
    """
    if not called or is_numbered(name):
        name = module_path(node) or name or "constant"
    return name if is_called_weight(name) else f"{name}.weight"


def is_called_weight(name: str) -> bool:
    """Whether a tensor's name says that it is a weight.

    >>> is_called_weight("stem.kernel"), is_called_weight("stem.gain")
    (True, False)
    """
    return name.rpartition(".")[2] in _WEIGHT_WORDS


def is_numbered(name: str) -> bool:
    """Whether an exporter numbered what has no name.

    >>> is_numbered("421"), is_numbered("onnx::Conv_421"), is_numbered("conv1.weight")
    (True, True, False)
    """
    return not name or re.fullmatch(r"\d+|\w+::\w*\d", name) is not None


def module_path(node: Node) -> str:
    """The module that an exporter wrote into a node's name: torch writes one part per call, the containers repeated.

    >>> module_path(Node("Conv", "/layer1/layer1.0/conv1/Conv"))
    'layer1.0.conv1'
    >>> module_path(Node("Conv", "Conv_12"))
    'Conv_12'
    """
    parts = [part for part in node.name.split("/") if part]
    if len(parts) > 1 and re.fullmatch(re.escape(node.op) + r"(_\d+)?", parts[-1]):
        parts.pop()
    path: list[str] = []
    for part in parts:
        if path and part.startswith(path[-1] + "."):
            path[-1] = part
        else:
            path.append(part)
    return ".".join(path)
