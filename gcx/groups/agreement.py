"""Repeated blocks agree: one place in a block is built the same way all over a network, and networks have habits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from gcx.groups.candidates import Candidate, prior
from gcx.groups.network import Emitter, Node

Tables = Mapping[int, list[Candidate]]
"""Candidates, best first, by the convolution's index."""

# On the scale of `candidates`, and found the same way.
STRONGEST = 2.5
"""What the vote of one place can add to a score at most."""
ABSENT = -2.0
"""The lead of a grouped count over the dense one where no grouped count fits at all."""
HABIT = 1.0
HABIT_SHARE = 3.0
HABIT_POINTWISE = 2.0
COUNT_FIRST = 0.68
RARE = 0.1
MINIMUM = -1.0
"""A grouped count with a lower score shows no habit."""
LONE_POINTWISE = -0.7
SAME_ENTRY = 4.5
DEPTHWISE_MATES = 1.0


def agree(convs: Sequence[Emitter], tables: Tables) -> None:
    """Let the convolutions of one network inform each other.

    Adds to the scores in `tables` and sorts them again.
    """
    places: dict[tuple[object, ...], list[Emitter]] = defaultdict(list)
    for conv in convs:
        places[place(conv)].append(conv)
    _follow_habits(convs, tables)
    for members in places.values():
        _read_from_alike(members, tables)
        if members[0].shape[1] > 1:
            _vote(members, tables)
        else:
            blocks: dict[int, list[Emitter]] = defaultdict(list)
            for conv in members:
                blocks[block_of(conv).convs].append(conv)
            for alike in blocks.values():
                _vote_depthwise(alike, tables)
    for table in tables.values():
        table.sort(key=lambda candidate: (-candidate.score, candidate.groups))


def block_of(conv: Emitter) -> Node:
    """The smallest module around a convolution that holds several."""
    block = conv.node
    while block.parent is not None and block.convs < 2:
        block = block.parent
    return block


def place(conv: Emitter) -> tuple[object, ...]:
    """Where a convolution stands in its block: the path below it, whatever the words in it."""
    return (conv.node.path[len(block_of(conv).path) :], *conv.shape[2:], conv.shape[1] == 1)


@dataclass(frozen=True)
class _Habit:
    """The one count, or the one width, that a network shows wherever not much speaks for dense."""

    count: int | None
    width: int | None
    share: float
    """Of all convolutions that could be grouped."""
    pointwise: float
    """The share of kernels of size 1 among those that show it."""

    def bonus(self, pointwise: bool) -> float:
        usual = HABIT * min(1.0, self.share / RARE) + HABIT_SHARE * self.share
        # Where most of a network is grouped, a shuffle mixes the groups, and pointwise ones are nothing special.
        throughout = min(1.0, max(0.0, (self.share - 0.2) / 0.15))
        return usual + (HABIT_POINTWISE * self.pointwise * throughout if pointwise else 0.0)

    def favours(self, conv: Emitter, candidate: Candidate) -> bool:
        if candidate.groups == 1 or candidate.source is None or candidate.source.kind == "split":
            return False
        return candidate.groups == self.count or (conv.shape[1] == self.width and candidate.reads_direct)


def _follow_habits(convs: Sequence[Emitter], tables: Tables) -> None:
    """Favour what the network does elsewhere."""
    eligible = [conv for conv in convs if conv.shape[1] > 1 and conv.index > 0]
    habit = _habit(eligible, tables)
    if habit is None:
        return
    for conv in eligible:
        table = tables[conv.index]
        weak = _dense_is_weak(table)
        bonus = habit.bonus(prod(conv.shape[2:]) == 1)
        for candidate in table:
            if habit.favours(conv, candidate):
                candidate.add(bonus if weak else bonus / 2)
        unheard = habit.count is not None and all(candidate.groups != habit.count for candidate in table)
        if habit.count is not None and unheard and weak and conv.shape[0] % habit.count == 0:
            table.append(Candidate(habit.count, prior(conv.shape, habit.count) + bonus, None, bonus))


def _habit(eligible: Sequence[Emitter], tables: Tables) -> _Habit | None:
    counts: Counter[int] = Counter()
    widths: Counter[int] = Counter()
    pointwise = 0
    for conv in eligible:
        table = tables[conv.index]
        grouped = [candidate for candidate in table if candidate.groups > 1 and candidate.score > MINIMUM][:1]
        if grouped and grouped[0].reads_direct and _dense_is_weak(table):
            counts[grouped[0].groups] += 1
            widths[conv.shape[1]] += 1
            pointwise += prod(conv.shape[2:]) == 1
    total = sum(counts.values())
    if total < 2:
        return None
    count, n_count = counts.most_common(1)[0]
    width, n_width = widths.most_common(1)[0]
    # A width is a habit of its own only where the counts differ.
    by_count = n_count > COUNT_FIRST * n_width
    if (n_count if by_count else n_width) <= total / 2:
        return None
    share = max(n_count, n_width) / len(eligible)
    return _Habit(count if by_count else None, None if by_count else width, share, pointwise / total)


def _dense_is_weak(table: list[Candidate]) -> bool:
    return all(candidate.weak for candidate in table if candidate.groups == 1)


def _read_from_alike(members: list[Emitter], tables: Tables) -> None:
    """Where the same place elsewhere is the first in its block, a shortcut before it in this block feeds nothing."""
    if len(members) < 2:
        return
    outside = []
    for conv in members:
        best = tables[conv.index][0]
        outside.append(best.reads_direct and best.source is not None and best.source.emitter < block_of(conv).first)
    total = sum(outside)
    for conv, own in zip(members, outside, strict=True):
        if own or (total - own) <= (len(members) - 1) / 2:
            continue
        entry = block_of(conv).first - 1
        for candidate in tables[conv.index]:
            source = candidate.source
            if source is not None and source.emitter == entry and source.kind == "entry":
                candidate.add(SAME_ENTRY)
        tables[conv.index].sort(key=lambda candidate: (-candidate.score, candidate.groups))


def _vote_depthwise(members: list[Emitter], tables: Tables) -> None:
    """Where the clear members of a place are depthwise without a multiplier, so are the others."""
    clear = Counter[bool]()
    for conv in members:
        best, *others = tables[conv.index]
        if best.groups > 1 and (not others or best.score - others[0].score >= 2.0):
            clear[best.groups == conv.shape[0]] += 1
    if clear[True] <= 2 * clear[False]:
        return
    for conv in members:
        for candidate in tables[conv.index]:
            if candidate.groups == conv.shape[0]:
                candidate.add(DEPTHWISE_MATES)


def _vote(members: list[Emitter], tables: Tables) -> None:
    """Let the members of one place vote on dense against grouped."""
    leads: dict[int, dict[int, float]] = {}
    for conv in members:
        scores = {candidate.groups: candidate.score for candidate in tables[conv.index]}
        dense = scores.get(1, ABSENT)
        leads[conv.index] = {groups: score - dense for groups, score in scores.items() if groups > 1}
    if all(not lead for lead in leads.values()):
        return
    if len(members) < 2:
        for candidate in tables[members[0].index]:
            if candidate.groups > 1 and candidate.agreement == 0 and all(k == 1 for k in members[0].shape[2:]):
                candidate.score += LONE_POINTWISE
        return
    outs = {conv.shape[0] for conv in members}
    constant_width = len({conv.shape[1] for conv in members}) == 1 and len(outs) > 1
    pattern = _pattern(leads, constant_width)
    own = {i: max((lead[g] for g in pattern[i] if g in lead), default=ABSENT) for i, lead in leads.items()}
    total = sum(own.values())
    for conv in members:
        mean = (total - own[conv.index]) / (len(members) - 1) + (1.0 if constant_width else 0.0)
        for candidate in tables[conv.index]:
            if candidate.groups in pattern[conv.index]:
                candidate.add(max(-1.0, min(STRONGEST, mean)))


def _pattern(leads: dict[int, dict[int, float]], constant_width: bool) -> dict[int, set[int]]:
    """For every member the count that the common pattern allows: one count for all, or else each member's best."""
    free = {index: set(sorted(lead, key=lead.__getitem__)[-1:]) for index, lead in leads.items()}
    if constant_width:
        return free
    totals: dict[int, float] = defaultdict(float)
    for lead in leads.values():
        for groups, score in lead.items():
            totals[groups] += max(score, ABSENT) - ABSENT
    common = max(totals, key=lambda groups: (totals[groups], -groups))
    if sum(common in lead for lead in leads.values()) <= len(leads) / 2:
        return free
    return {index: {common} if common in lead else free[index] for index, lead in leads.items()}
