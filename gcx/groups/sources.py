"""What a convolution could be reading: the channel counts that the modules before it hand on.

In file order, the module directly before a convolution feeds it, or what entered one of the modules around it does
(a shortcut, a parallel branch), or several of them concatenated, or a part of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Literal

from gcx.groups.levels import (
    SIBLINGS,
    Level,
    alike,
    before_norms,
    handed_on,
    levels,
    next_reads,
)
from gcx.groups.network import Emitter, Network, Node

SourceKind = Literal[
    "direct",
    "linear",
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

PARTS = (2, 3, 4, 5, 6, 8)
"""Into how many equal parts a network may split its channels."""

# How readily convolutions read from a source of each kind, on the scale of log-odds. Found on two thirds of the
# families of networks at hand, by looking at what went wrong; only the differences mean something.
ENTRY = (4.0, 3.2, 1.0, 0.8, 0.7, 0.6)
"""From the module directly before, and from what entered the module around, the module around that, ..."""
BEHIND = -2.0
"""Added where a norm of another length lies between."""
LONE_NORM = 0.8
"""Added to a norm directly before that is not the norm of what comes before it, but of what is read."""
OPENS_BLOCK = 0.7
"""Added to the module before where that is a whole block and the convolution opens the next."""
CHAIN = -2.2
"""Added to what entered a chain of blocks, for a convolution that opens a block further down."""
LEAST = 0.5
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
CONCAT_BLOCKS = -1.0
CONCAT_WITH_ENTRY = -0.2
SPLIT = (1.5, 1.0)
SPLIT_SHARED = 1.5
"""Added to a split where the other parts are seen to be read too."""


@dataclass(slots=True)
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
    unrivalled: set[int] = field(default_factory=set)
    """Those for which no other count comes near, whatever shows it."""
    depthwise: set[int] = field(default_factory=set)
    """Depthwise convolutions, and the norms right after them."""


def find_sources(network: Network, conv: Emitter, known: Known) -> list[Source]:
    """List what a convolution without empty axes could be reading in whole groups, nearest first."""
    sources: list[Source] = []
    chained = False
    for level in levels(network, conv):
        if level.number == 0:
            chained = conv.shape[1] > 1 and level.follows_block
            sources += _directly_before(network, conv, level, known, chained)
            sources += _beside(network, conv, level, known, chained)
        else:
            sources += _entered(network, level, chained)
        if level.number < 2:
            sources += _split(network, conv, level)
            sources += _mirrored(network, conv, level, known)
            sources += _entered_before(network, level)
        if level.number < 3:
            sources += _siblings(network, level, chained)
            sources += _concatenated(network, level)
    out, per_group = conv.shape[:2]
    fitting = [source for source in sources if _fits(source.channels, out, per_group)]
    if conv.index - 1 in known.depthwise:
        for source in fitting:
            _past_depthwise(source, conv)
    return fitting


def _fits(channels: int, out: int, per_group: int) -> bool:
    """Whether a whole number of groups reads so many channels and shares out the outputs."""
    return channels > 0 and channels % per_group == 0 and out % (channels // per_group) == 0


def _directly_before(network: Network, conv: Emitter, level: Level, known: Known, chained: bool) -> Iterator[Source]:
    previous, weight = level.previous, ENTRY[0]
    if conv.shape[1] > 1:
        weight += OPENS_BLOCK if chained else 0.0
        weight += AFTER_DEPTHWISE if previous.index in known.depthwise else 0.0
        weight += LONE_NORM if _is_lone_norm(network, level) else 0.0
    abreast = _depthwise_abreast(network, previous, known)
    if abreast > 1:
        weight += NOT_JOINED
        yield Source(level.channels * abreast, "joined", JOINED, previous.index, abreast)
    yield Source(level.channels, "linear" if previous.kind == "linear" else "direct", weight, previous.index)
    yield from _behind(network, level, weight)


def _is_lone_norm(network: Network, level: Level) -> bool:
    index = level.previous.index
    owner = network.emitters[before_norms(network, index)]
    return level.previous.kind == "norm" and owner.kind != "norm" and owner.channels != level.channels


def _entered(network: Network, level: Level, chained: bool) -> Iterator[Source]:
    """What entered one of the modules around the convolution."""
    weight = max(LEAST, ENTRY[level.number] + (CHAIN if chained else 0.0))
    yield Source(level.channels, "entry", weight, level.previous.index)
    yield from _behind(network, level, weight)


def _behind(network: Network, level: Level, weight: float) -> Iterator[Source]:
    if level.previous.kind == "norm" and level.previous.index > 0:
        behind = network.emitters[level.previous.index - 1]
        if behind.channels != level.channels:
            yield Source(behind.channels, "behind", weight + BEHIND, behind.index)


def _split(network: Network, conv: Emitter, level: Level) -> Iterator[Source]:
    """One of several equal parts of what the module before hands on."""
    out, per_group = conv.shape[:2]
    beside = alike(network, conv)
    # What it hands on and the parts that it does not read, put together again, are read next.
    rejoined = level.number == 0 and out == per_group and next_reads(network, conv) == level.channels
    for parts in PARTS:
        if level.channels % parts == 0:
            shared = rejoined or (beside > 1 and beside in (parts, parts - 1))
            weight = SPLIT[level.number] + (SPLIT_SHARED if shared else 0.0)
            yield Source(level.channels // parts, "split", weight, level.previous.index, parts)


def _depthwise_abreast(network: Network, last: Emitter, known: Known) -> int:
    """How many depthwise convolutions of one shape end here without a norm between them.

    In a row they would mix nothing and summed they would be one: they are parallel, and concatenated.
    """
    count = 0
    while last.index - count in known.depthwise and network.emitters[last.index - count].shape == last.shape != ():
        count += 1
    return count


def _beside(network: Network, conv: Emitter, level: Level, known: Known, chained: bool) -> Iterator[Source]:
    """What the convolution before reads itself, and what others beside it read, as parallel branches do."""
    parallel = PARALLEL + (CHAIN if chained else 0.0)
    index = before_norms(network, level.previous.index)
    if index in known.inward:
        previous, inward = network.emitters[index], known.inward[index]
        adjacent = not chained and level.channels == previous.channels
        twin = _twin_weight(previous, conv, inward) if adjacent else 0.0
        yield Source(inward, "twin" if twin else "parallel", twin or parallel, index)
    for node in level.earlier:
        for opening in (node.first, node.first + 1):
            sure = opening in known.firm or opening in known.unrivalled
            if sure and opening <= node.last and opening != index:
                yield Source(known.inward[opening], "parallel", parallel, opening)
                break


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


def _mirrored(network: Network, conv: Emitter, level: Level, known: Known) -> Iterator[Source]:
    """What the convolution of the same shape in the same place of the module before reads."""
    if conv.shape[1] < 2 or level.branch is level.scope or not level.earlier:
        return
    place = conv.node.path[len(level.branch.path) :]
    other = network.by_path.get(level.earlier[-1].path + place)
    if other is not None and other.shape == conv.shape and other.index in known.firm:
        yield Source(known.inward[other.index], "mirror", MIRROR, other.index)


def _entered_before(network: Network, level: Level) -> Iterator[Source]:
    """What entered the module before: its own last emitter may belong to a side branch."""
    if level.earlier and level.earlier[-1].first > 0:
        entered = level.earlier[-1].first - 1
        yield Source(handed_on(network, entered), "residual", RESIDUAL[level.number], entered)


def _siblings(network: Network, level: Level, chained: bool) -> Iterator[Source]:
    weight = SIBLING[-1] if chained else SIBLING[level.number]
    for node in reversed(level.earlier[:-1]):
        yield Source(handed_on(network, node.last), "sibling", weight, node.last)
    if level.number == 0 and level.earlier:
        for node in level.earlier[-1].children[-SIBLINGS:]:
            yield Source(handed_on(network, node.last), "branch", BRANCH, node.last)


def _concatenated(network: Network, level: Level) -> Iterator[Source]:
    weight = CONCAT[level.number]
    yield from _sums(network, level.earlier, level.scope, weight + (CONCAT_BLOCKS if level.follows_block else 0.0))
    if level.earlier:
        inside = level.earlier[-1].children[-SIBLINGS:]
        blocks = any(child.convs > 1 for child in inside)
        yield from _sums(network, inside, level.earlier[-1], weight + (CONCAT_BLOCKS if blocks else 0.0))


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


def _past_depthwise(source: Source, conv: Emitter) -> None:
    """After a depthwise convolution comes one that mixes what it hands on, and not another depthwise one with more."""
    if conv.shape[1] == 1:
        doubtful = source.kind == "direct" and source.channels < conv.shape[0]
    else:
        doubtful = source.kind in ("split", "concat", "sibling", "parallel")
    source.weight -= AFTER_DEPTHWISE if doubtful else 0.0
