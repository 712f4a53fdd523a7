"""Which group counts fit one convolution, and how well: what is before it, against what networks are like."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from math import prod

from gcx.groups.sources import Source

# Log-odds of what networks are like, found as those of `sources` are: on two thirds of the families at hand. Only
# differences mean something. `python tests/benchmarks/bench_groups.py DIR` says what a change does to all of them.
UNEXPLAINED = -1.2
FAR = -0.5
IMAGE = 2.0
"""Three channels are an image's, before they are a group's."""
ONE_PLANE = 6.0
ANOTHER_STEM = 4.5
MULTIPLIERS = {2: 0.0, 3: -1.5, 4: -1.5}
"""Outputs for each channel of a convolution whose groups read one channel each; 1 is plain depthwise."""


@dataclass(slots=True)
class Candidate:
    """One group count of one convolution."""

    groups: int
    score: float
    """Log-odds, roughly; only differences mean something."""
    source: Source | None
    """What it would be reading; None where nothing before it hands on so many channels."""
    agreement: float = 0.0
    """What the rest of the network has added to the score."""

    def add(self, score: float) -> None:
        """Count what the rest of the network says."""
        self.score += score
        self.agreement += score

    @property
    def weak(self) -> bool:
        """Nothing, or nothing much, shows what it would be reading."""
        return self.source is None or self.source.weight < 1.5 or self.source.kind in ("split", "residual")

    @property
    def reads_direct(self) -> bool:
        return self.source is not None and self.source.kind in ("direct", "joined")


def candidates(
    shape: tuple[int, ...],
    sources: Iterable[Source],
    before: int,
    elsewhere: Collection[int],
    usual_rank: int,
    opens: bool,
) -> list[Candidate]:
    """Score every group count for which something is there to be read, and the dense one.

    Args:
        shape: (out_channels, in_channels/groups, *kernel_size).
        sources: what the convolution could be reading, in whole groups.
        before: what the module directly before hands on; 0 where that is unknown.
        elsewhere: the channel counts that are handed on anywhere earlier in the file.
        usual_rank: rank of most convolutions in the file.
        opens: it is the first of a part of the network, which may have an input of its own.

    Returns:
        The candidates, best first; never empty.
    """
    out, per_group, *_kernel = shape
    best: dict[int, Candidate] = {}
    for source in sources:
        groups = source.channels // per_group
        score = prior(shape, groups) + _fit(shape, groups, source)
        if groups not in best or score > best[groups].score:
            best[groups] = Candidate(groups, score, source)
    unexplained = {1} | ({out} if per_group == 1 else set())
    for groups in unexplained - best.keys():
        known = groups * per_group in elsewhere
        score = prior(shape, groups)
        if groups == 1 and 1 < per_group < before:
            score += FAR if known else UNEXPLAINED
        elif known:
            score += 0.5 if groups == 1 else 1.5
        best[groups] = Candidate(groups, score, None)
    if per_group == 1 and not _reads_outputs(best.get(out)):
        if not elsewhere or len(shape) > usual_rank:
            best[1].score += ONE_PLANE
        elif opens and out not in elsewhere:
            best[1].score += ANOTHER_STEM
    return sorted(best.values(), key=lambda candidate: (-candidate.score, candidate.groups))


def without_order(shape: tuple[int, ...], handed: Collection[int]) -> list[Candidate]:
    """The dense count, which is assumed, and behind it all for which some module hands on so many channels.

    Args:
        shape: (out_channels, in_channels/groups, *kernel_size).
        handed: the channel counts that are handed on anywhere in the file.

    >>> [candidate.groups for candidate in without_order((16, 16, 1, 1), {16, 32, 48})]
    [1, 2]
    """
    out, per_group, *_kernel = shape
    counts = {channels // per_group for channels in handed if channels % per_group == 0}
    fitting = [groups for groups in counts if groups > 1 and out % groups == 0]
    fitting.sort(key=lambda groups: (-prior(shape, groups), groups))
    return [Candidate(groups, 0.0, None) for groups in (1, *fitting)]


def _reads_outputs(depthwise: Candidate | None) -> bool:
    """Whether as many channels as a convolution has outputs come right before it, or enter its block."""
    return depthwise is not None and depthwise.source is not None and depthwise.source.kind in ("direct", "entry")


def prior(shape: tuple[int, ...], groups: int) -> float:
    """How usual a count is, whatever comes before the convolution."""
    out, per_group, *kernel = shape
    if groups == 1:
        if per_group > 1 or out == 1:
            return 2.5 + (IMAGE if per_group == 3 and prod(kernel) > 1 else 0.0)
        return -1.5 if prod(kernel) > 1 else 0.0
    if per_group == 1:
        if prod(kernel) == 1:
            return 0.5 if groups == out else -1.0
        return 2.5 if groups == out else MULTIPLIERS.get(out // groups, -3.0)
    inward = per_group * groups
    score = 1.0 if inward == out else 0.0 if inward < out else -1.5
    if groups == out:
        score -= 2.0
    if inward % out and out % inward:
        score -= 1.5
    if prod(kernel) == 1:
        score -= 2.5
    elif inward > out:
        score -= 0.7
    return score


def _fit(shape: tuple[int, ...], groups: int, source: Source) -> float:
    """How well a source suits a count: its weight, and whether such sources are read that way."""
    out, per_group, *kernel = shape
    score = source.weight
    if source.kind == "split" and groups == 1 and out != per_group:
        score -= 0.8
    if source.kind == "residual" and per_group > 1:
        score -= 1.2
    if per_group == 1 and source.kind == "parallel":
        score -= 1.0
    if groups > 1 and per_group > 1:
        if source.kind == "twin":
            score += 2.5 if prod(kernel) == 1 else 0.0
        elif source.kind == "entry":
            score -= 0.5
        elif source.kind == "linear":
            score -= 2.0
        elif source.kind in ("parallel", "residual"):
            score -= 1.5
        elif source.kind == "split":
            score -= 0.0 if per_group * groups == out else 1.0
        elif source.kind not in ("direct", "joined"):
            score -= 1.0
    return score
