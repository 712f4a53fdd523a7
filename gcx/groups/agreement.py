"""Repeated blocks agree: one place in a block is built the same way all over a network, and networks have habits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from gcx.groups.candidates import Candidate, prior
from gcx.groups.network import Emitter, Node

Tables = Mapping[int, list[Candidate]]
"""Candidates, best first, by the convolution's index."""

STRONGEST = 2.5
"""What the vote of one place can add to a score at most."""
ABSENT = -2.0
"""The lead of a grouped count over the dense one where no grouped count fits at all."""
HABIT = 1.0
HABIT_SHARE = 3.0
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
            _vote_depthwise(members, tables)
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


def _follow_habits(convs: Sequence[Emitter], tables: Tables) -> None:
    """Favour the one count or the one width that a network shows wherever not much speaks for dense."""
    counts: Counter[int] = Counter()
    widths: Counter[int] = Counter()
    eligible = [conv for conv in convs if conv.shape[1] > 1 and conv.index > 0]
    for conv in eligible:
        dense_is_weak = all(candidate.weak for candidate in tables[conv.index] if candidate.groups == 1)
        grouped = [c for c in tables[conv.index] if c.groups > 1 and c.reads_direct and c.score > MINIMUM]
        if dense_is_weak and grouped:
            counts[grouped[0].groups] += 1
            widths[conv.shape[1]] += 1
    total = sum(counts.values())
    if total < 2:
        return
    count, n_count = counts.most_common(1)[0]
    width, n_width = widths.most_common(1)[0]
    share = max(n_count, n_width) / len(eligible)
    habit = HABIT * min(1.0, share / RARE) + HABIT_SHARE * share
    for conv in eligible:
        dense_is_weak = all(candidate.weak for candidate in tables[conv.index] if candidate.groups == 1)
        unheard = all(candidate.groups != count for candidate in tables[conv.index])
        if n_count >= n_width and n_count > total / 2 and dense_is_weak and unheard and conv.shape[0] % count == 0:
            tables[conv.index].append(Candidate(count, prior(conv.shape, count) + habit, None, habit))
        for candidate in tables[conv.index]:
            by_count = n_count >= n_width and candidate.groups == count and n_count > total / 2
            by_width = n_width > n_count and conv.shape[1] == width and n_width > total / 2
            if (
                candidate.groups > 1
                and candidate.source is not None
                and (by_count or (by_width and candidate.reads_direct))
            ):
                candidate.add(habit if dense_is_weak else habit / 2)


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
