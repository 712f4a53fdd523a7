"""Where a convolution stands: the modules around it in which something comes before it, and what comes after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from gcx.groups.network import Emitter, Network, Node

SIBLINGS = 12
"""How many siblings before a convolution are looked at."""
LEVELS = 6
"""How many modules around a convolution are looked at."""
NORMS = 4
"""How many norms in a row are looked at."""
LAYERS_OF_A_PART = 3
AHEAD = 5
"""How many modules after a convolution are looked at for the next convolution."""


@dataclass(frozen=True, slots=True)
class Level:
    """One of the modules around a convolution, in which something comes before the convolution's own branch."""

    number: int
    """0 for the innermost."""
    scope: Node
    branch: Node
    """The child of `scope` that holds the convolution; `scope` itself where it holds it directly."""
    previous: Emitter
    """The last emitter before the branch."""
    channels: int
    """What that hands on."""
    earlier: list[Node]
    """The last few children of `scope` before the branch, in file order, without gates of what comes later."""

    @property
    def follows_block(self) -> bool:
        """Whether the branch is a block that follows another block, rather than a layer beside a layer."""
        return self.branch.convs > 1 and bool(self.earlier) and self.earlier[-1].convs > 1


def levels(network: Network, conv: Emitter) -> Iterator[Level]:
    """Walk outwards from a convolution; the first level is what comes directly before it."""
    branch, first, number = conv.node, conv.index, 0
    scope: Node | None = branch if branch.first < conv.index else branch.parent
    while scope is not None and number < LEVELS:
        if scope.first < first:
            end = branch.ordinal if branch is not scope else len(scope.children)
            before = scope.children[max(0, end - SIBLINGS) : end]
            earlier = [node for node in before if not _gates_what_comes_later(network, node.last)]
            yield Level(number, scope, branch, network.emitters[first - 1], handed_on(network, first - 1), earlier)
            first = scope.first
            number += 1
        branch, scope = scope, scope.parent


def handed_on(network: Network, index: int) -> int:
    """What reaches the next module.

    Parallel norms that share out one convolution's channels count as that many, and a squeeze that is registered before
    the convolution whose outputs it gates hands on nothing.

    >>> from gcx.extract import find_convolutions
    >>> from gcx.groups.network import build_network
    >>> shapes = {"a.weight": (64, 3, 3, 3), "b.weight": (32,), "c.weight": (32,)}
    >>> handed_on(build_network(shapes, find_convolutions(shapes)), 2)
    64
    """
    if _gates_what_comes_later(network, index):
        index -= 2
    emitter = network.emitters[index]
    total = 0
    for back in range(index, max(-1, index - NORMS), -1):
        other = network.emitters[back]
        if other.kind != "norm":
            return other.channels if total == other.channels else emitter.channels
        total += other.channels
    return emitter.channels


def _gates_what_comes_later(network: Network, index: int) -> bool:
    """Whether two pointwise convolutions, narrow and wide again, start from channels that nothing before them has."""
    if index < 2 or network.emitters[index].kind != "conv":
        return False
    reduce, expand = network.emitters[index - 1], network.emitters[index]
    wide, narrow = expand.shape[:2]
    pointwise = prod(reduce.shape[2:]) == 1 == prod(expand.shape[2:])
    before = network.emitters[index - 2].channels
    return pointwise and reduce.shape[:2] == (narrow, wide) and narrow < wide != before


def opens_a_part(network: Network, conv: Emitter) -> bool:
    """Whether a convolution is the first of a module with several layers, and has no twin right after it."""
    following = conv.index + 1
    if following < len(network.emitters) and network.emitters[following].shape[:2] == conv.shape[:2]:
        return False
    for level in levels(network, conv):
        return level.branch.first == conv.index and level.branch.last - level.branch.first >= LAYERS_OF_A_PART - 1
    return True


def before_norms(network: Network, index: int) -> int:
    """The emitter at an index, or the one before it that its norms belong to."""
    for back in range(index, max(-1, index - NORMS), -1):
        if network.emitters[back].kind != "norm":
            return back
    return index


def alike(network: Network, conv: Emitter) -> int:
    """Modules side by side that hold one convolution of the very same shape, the convolution's own among them."""
    node = conv.node
    while node.parent is not None and node.parent.convs == 1:
        node = node.parent
    if node.parent is None or len(node.parent.children) > SIBLINGS:
        return 1
    others = (network.emitters[child.first].shape for child in node.parent.children if child.convs == 1)
    return sum(shape == conv.shape for shape in others)


def next_reads(network: Network, conv: Emitter) -> int:
    """What the next convolution of the file reads at least, where that is not just what this one hands on; else 0."""
    for following in network.emitters[conv.index + 1 : conv.index + AHEAD]:
        if following.kind == "conv":
            return following.shape[1] if following.shape[1] not in (1, conv.shape[0]) else 0
    return 0
