"""What a convolution could be reading: the channel counts that the modules before it hand on.

In file order, the module directly before a convolution feeds it, or what entered one of the modules around it does
(a shortcut, a parallel branch), or several of them concatenated, or a part of one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from math import prod
from typing import Literal

from gcx.groups.network import Emitter, Network, Node

SourceKind = Literal[
    "direct",
    "behind",
    "entry",
    "parallel",
    "twin",
    "mirror",
    "residual",
    "sibling",
    "branch",
    "concat",
    "joined",
    "split",
]

SIBLINGS = 12
"""How many siblings before a convolution are looked at."""
LEVELS = 6
"""How many modules around a convolution are looked at."""
PARTS = (2, 3, 4, 5, 6, 8)
"""Into how many equal parts a network may split its channels."""

# How readily convolutions read from a source of each kind, on the scale of log-odds. Found on two thirds of the
# families of networks at hand, by looking at what went wrong; only the differences mean something.
ENTRY = (4.0, 3.2, 1.0, 0.8, 0.7, 0.6)
"""From the module directly before, and from what entered the module around, the module around that, ..."""
BEHIND = -2.0
"""Added where a norm of another length lies between."""
OPENS_BLOCK = 0.7
"""Added to the module before where that is a whole block and the convolution opens the next."""
CHAIN = -2.2
"""Added to what entered a chain of blocks, for a convolution that opens a block further down."""
JOINED = 6.5
NOT_JOINED = -3.5
"""Added to the module before where it is the last of parallel depthwise convolutions."""
AFTER_DEPTHWISE = 1.5
"""Added to the module before where that is depthwise: what follows mixes its channels."""
PARALLEL = 3.0
MIRROR = 4.0
TWIN = 5.5
TWIN_ONE_CHANNEL = 8.5
RESIDUAL = (2.0, 1.7)
SIBLING = (2.0, 0.8, 0.6)
BRANCH = 1.5
CONCAT = (1.8, 1.5, 1.2)
CONCAT_BLOCKS = -0.6
CONCAT_WITH_ENTRY = -0.2
SPLIT = (1.5, 1.0)
SPLIT_SHARED = 1.5
"""Added to a split where as many convolutions of one shape stand side by side as there are parts to read."""


@dataclass(frozen=True, slots=True)
class Source:
    """One way in which a number of channels could reach a convolution."""

    channels: int
    kind: SourceKind
    weight: float
    emitter: int
    """Index of the emitter that shows it."""
    parts: int = 1
    """Concatenated from, or split into, so many."""


@dataclass(slots=True)
class Known:
    """What has been worked out about the convolutions so far, by index."""

    inward: dict[int, int] = field(default_factory=dict)
    """How many channels each reads in all."""
    firm: set[int] = field(default_factory=set)
    """Those of them for which a good source shows it."""
    depthwise: set[int] = field(default_factory=set)
    """Depthwise convolutions, and the norms right after them."""


@dataclass(frozen=True, slots=True)
class _Level:
    """One of the modules around a convolution, in which something comes before the convolution's own branch."""

    number: int
    scope: Node
    branch: Node
    previous: Emitter
    """The last emitter before the branch."""
    channels: int
    """What that hands on."""
    alike: int
    """Modules side by side that hold one convolution of the very same shape, its own among them."""
    square: bool
    """The convolution hands on as many channels as one group of it reads."""
    next_reads: int
    """What the next convolution of the file reads at least, where that is not just what this one hands on; else 0."""

    @property
    def earlier(self) -> list[Node]:
        children = self.scope.children
        end = self.branch.ordinal if self.branch is not self.scope else len(children)
        return children[max(0, end - SIBLINGS) : end]


def find_sources(network: Network, conv: Emitter, known: Known) -> list[Source]:
    """List what the convolution could be reading, nearest first; empty for the first module of a file."""
    sources: list[Source] = []
    chained = False
    for level in _levels(network, conv):
        if level.number == 0:
            chained = conv.shape[1] > 1 and _opens_block_after_block(level)
            sources += _beside(network, conv, level, known, chained)
        sources += _previous(network, level, chained, known.depthwise)
        if level.number < 2:
            sources += _mirrored(network, conv, level, known)
            sources += _entered_before(network, level)
        if level.number < 3:
            sources += _siblings(network, level, chained)
            sources += _concatenated(network, level)
    if conv.index - 1 in known.depthwise and conv.shape[1] > 1:
        return [_past_depthwise(source) for source in sources]
    return sources


def _past_depthwise(source: Source) -> Source:
    """What does not come out of a depthwise convolution right before is less likely to be read."""
    if source.kind not in ("split", "concat", "sibling"):
        return source
    return replace(source, weight=source.weight - AFTER_DEPTHWISE)


def handed_on(network: Network, index: int) -> int:
    """What reaches the next module: parallel norms that share out one convolution's channels count as that many.

    >>> from gcx.extract import find_convolutions
    >>> from gcx.groups.network import build_network
    >>> shapes = {"a.weight": (64, 3, 3, 3), "b.weight": (32,), "c.weight": (32,)}
    >>> handed_on(build_network(shapes, find_convolutions(shapes)), 2)
    64
    """
    emitter = network.emitters[index]
    total = 0
    for back in range(index, max(-1, index - 4), -1):
        other = network.emitters[back]
        if other.kind != "norm":
            return other.channels if total == other.channels else emitter.channels
        total += other.channels
    return emitter.channels


def _levels(network: Network, conv: Emitter) -> Iterator[_Level]:
    branch, first, number = conv.node, conv.index, 0
    scope: Node | None = branch if branch.first < conv.index else branch.parent
    alike, next_reads = _alike(network, conv), _next_reads(network, conv)
    square = conv.shape[0] == conv.shape[1]
    while scope is not None and number < LEVELS:
        if scope.first < first:
            previous = network.emitters[first - 1]
            yield _Level(number, scope, branch, previous, handed_on(network, first - 1), alike, square, next_reads)
            first = scope.first
            number += 1
        branch, scope = scope, scope.parent


def _alike(network: Network, conv: Emitter) -> int:
    node = conv.node
    while node.parent is not None and node.parent.convs == 1:
        node = node.parent
    if node.parent is None or len(node.parent.children) > SIBLINGS:
        return 1
    others = (network.emitters[child.first].shape for child in node.parent.children if child.convs == 1)
    return sum(shape == conv.shape for shape in others)


def _next_reads(network: Network, conv: Emitter) -> int:
    for following in network.emitters[conv.index + 1 : conv.index + 5]:
        if following.kind == "conv":
            return following.shape[1] if following.shape[1] not in (1, conv.shape[0]) else 0
    return 0


def _opens_block_after_block(level: _Level) -> bool:
    earlier = level.earlier
    return level.branch.convs > 1 and bool(earlier) and earlier[-1].convs > 1


def _previous(network: Network, level: _Level, chained: bool, depthwise: Collection[int]) -> Iterator[Source]:
    previous, channels = level.previous, level.channels
    weight = ENTRY[level.number]
    if chained:
        weight = weight + OPENS_BLOCK if level.number == 0 else max(0.5, weight + CHAIN)
    if level.number == 0 and previous.index in depthwise:
        weight += AFTER_DEPTHWISE
    abreast = _depthwise_abreast(network, previous, depthwise)
    if level.number == 0 and abreast > 1:
        weight += NOT_JOINED
        yield Source(channels * abreast, "joined", JOINED, previous.index, abreast)
    yield Source(channels, "entry" if level.number else "direct", weight, previous.index)
    if previous.kind == "norm" and previous.index > 0:
        behind = network.emitters[previous.index - 1]
        if behind.channels != channels:
            yield Source(behind.channels, "behind", weight + BEHIND, behind.index)
    if level.number < len(SPLIT):
        for parts in PARTS:
            if channels % parts == 0:
                shared = level.alike > 1 and level.alike in (parts, parts - 1)
                joined = level.number == 0 and level.next_reads == channels and level.square
                bonus = SPLIT_SHARED if shared or joined else 0.0
                yield Source(channels // parts, "split", SPLIT[level.number] + bonus, previous.index, parts)


def _depthwise_abreast(network: Network, last: Emitter, depthwise: Collection[int]) -> int:
    """How many depthwise convolutions of one shape end here without a norm between them.

    In a row they would mix nothing and summed they would be one: they are parallel, and concatenated.
    """
    count = 0
    while last.index - count in depthwise and network.emitters[last.index - count].shape == last.shape != ():
        count += 1
    return count


def _beside(network: Network, conv: Emitter, level: _Level, known: Known, chained: bool) -> Iterator[Source]:
    """What the convolution before reads itself, and what others beside it read, as parallel branches do."""
    inward = known.inward
    index = level.previous.index
    while index >= 0 and network.emitters[index].kind == "norm" and index > level.previous.index - 4:
        index -= 1
    for node in level.earlier:
        for opening in (node.first, node.first + 1):
            if opening in known.firm and opening <= node.last and opening != index:
                yield Source(inward[opening], "parallel", PARALLEL + (CHAIN if chained else 0.0), opening)
                break
    if index in inward:
        twin = _twin_weight(network.emitters[index], conv, inward[index])
        yield Source(inward[index], "twin" if twin else "parallel", twin or PARALLEL, index)


def _twin_weight(previous: Emitter, conv: Emitter, inward: int) -> float:
    """How much says that two convolutions in a row, alike but for their kernels, are branches that read the same."""
    if previous.shape[:2] != conv.shape[:2]:
        return 0.0
    if conv.shape[1] > 1:
        return TWIN
    multiplied = 1 < inward < previous.shape[0]
    # One weight per channel after another convolution would do nothing of its own; beside it, it is a branch.
    pointwise = prod(previous.shape[2:]) == 1 or prod(conv.shape[2:]) == 1
    return TWIN_ONE_CHANNEL if multiplied or pointwise else 0.0


def _mirrored(network: Network, conv: Emitter, level: _Level, known: Known) -> Iterator[Source]:
    """What the convolution of the same shape in the same place of the module before reads."""
    if conv.shape[1] < 2 or level.branch is level.scope or not level.earlier:
        return
    place = conv.node.path[len(level.branch.path) :]
    other = network.by_path.get(level.earlier[-1].path + place)
    if other is not None and other.shape == conv.shape and other.index in known.firm:
        yield Source(known.inward[other.index], "mirror", MIRROR, other.index)


def _entered_before(network: Network, level: _Level) -> Iterator[Source]:
    """What entered the module before: its own last emitter may belong to a side branch."""
    earlier = level.earlier
    if earlier and earlier[-1].first > 0:
        entered = earlier[-1].first - 1
        yield Source(handed_on(network, entered), "residual", RESIDUAL[level.number], entered)


def _siblings(network: Network, level: _Level, chained: bool) -> Iterator[Source]:
    earlier = level.earlier
    weight = SIBLING[-1] if chained else SIBLING[level.number]
    for node in reversed(earlier[:-1]):
        yield Source(handed_on(network, node.last), "sibling", weight, node.last)
    if level.number == 0 and earlier:
        for node in earlier[-1].children[-SIBLINGS:]:
            yield Source(handed_on(network, node.last), "branch", BRANCH, node.last)


def _concatenated(network: Network, level: _Level) -> Iterator[Source]:
    earlier = level.earlier
    weight = CONCAT[level.number]
    yield from _sums(network, earlier, level.scope, weight)
    if earlier:
        inside = earlier[-1].children[-SIBLINGS:]
        blocks = sum(child.convs > 1 for child in inside) > 1
        yield from _sums(network, inside, earlier[-1], weight + (CONCAT_BLOCKS if blocks else 0.0))


def _sums(network: Network, nodes: list[Node], around: Node, weight: float) -> Iterator[Source]:
    """Concatenations of the last 2, 3, ... modules, with and without what entered the module around them."""
    entered = handed_on(network, around.first - 1) if around.first > 0 else 0
    total = 0
    for parts, node in enumerate(reversed(nodes), start=1):
        total += handed_on(network, node.last)
        if parts > 1:
            yield Source(total, "concat", weight, node.last, parts)
        if entered:
            yield Source(total + entered, "concat", weight + CONCAT_WITH_ENTRY, node.last, parts + 1)
