"""resolve_groups: facts first, then what the shapes say, and the order of trust between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from gcx.checkpoint import ConvSpec
from gcx.errors import UsageError
from gcx.extract import find_convolutions
from gcx.groups.agreement import agree
from gcx.groups.candidates import Candidate, candidates, without_order
from gcx.groups.evidence import alternatives, confidence, divisors, is_guess, sentence
from gcx.groups.levels import handed_on, opens_a_part
from gcx.groups.network import Emitter, Network, Order, Shapes, build_network
from gcx.groups.order import in_running_order
from gcx.groups.resolution import Resolution
from gcx.groups.sources import Known, find_sources
from gcx.groups.transposed import Transposed, recognise
from gcx.words import plural

ROUNDS = 2
"""Once in file order, and once more with what the whole network has said."""
FIRM_LEAD = 2.0
UNRIVALLED = 4.0

MASKED = "a tensor shaped like the weight lies beside it; groups that a mask makes are not seen in the shapes"


@dataclass(frozen=True)
class _Fact:
    """A count and a layout that are given, not inferred; None is left to inference."""

    groups: int | None
    transposed: bool | None
    source: str = "recorded"


def resolve_groups(
    shapes: Mapping[str, Sequence[int]],
    *,
    recorded: Mapping[str, ConvSpec] | None = None,
    declared: Mapping[str, int] | None = None,
    ordered: bool = True,
) -> dict[str, Resolution]:
    """Work out the groups of every convolution from the shapes of a whole state dict.

    Args:
        shapes: tensor name to shape, in file order.
        recorded: by module name, what the file itself states.
        declared: by module name, the groups that the user states.
        ordered: the order of `shapes` is that of a network, or of its names; else nothing follows from it.

    Returns:
        A resolution for every convolution, by module name, in file order.

    Raises:
        UsageError: a declared count names no convolution, divides no channels, or contradicts a recorded one.

    >>> shapes = {"conv1.weight": (128, 64, 1, 1), "bn1.weight": (128,), "conv2.weight": (128, 4, 3, 3)}
    >>> found = resolve_groups(shapes)["conv2"]
    >>> found.groups, found.source, found.evidence
    (32, 'inferred', 'reads 4 channels per group; `bn1` before it has 128, so 32 groups')
    """
    stated = dict(recorded or {})
    wanted = dict(declared or {})
    given: Shapes = {name: tuple(shape) for name, shape in shapes.items()}
    extraction = find_convolutions(given, stated)
    plain = in_running_order(given) if ordered else given
    order: Order = "unknown" if not ordered else "kept" if plain is given else "rebuilt"
    network = build_network(plain, extraction, order=order)
    convs = {emitter.name: emitter for emitter in network.emitters if emitter.kind == "conv"}
    facts = {name: _Fact(spec.groups, spec.transposed) for name, spec in stated.items() if name in convs}
    inferred = _resolve(network, facts)
    if not wanted:
        return {conv.name: inferred[conv.name] for conv in extraction.convs}
    for name, groups in wanted.items():
        _check_declared(name, groups, inferred.get(name), convs.get(name))
        if inferred[name].source != "recorded":
            facts[name] = _Fact(groups, facts[name].transposed if name in facts else None, "declared")
    resolved = _resolve(build_network(plain, extraction, order=order), facts)
    return {conv.name: _noted(resolved[conv.name], inferred[conv.name]) for conv in extraction.convs}


def _check_declared(name: str, groups: int, found: Resolution | None, conv: Emitter | None) -> None:
    if found is None or conv is None:
        raise UsageError(
            f"groups are declared for {name!r}, which is no convolution", cure="take a name from `gcx layers`"
        )
    if found.source == "recorded" and found.groups != groups:
        raise UsageError(
            f"{groups} groups are declared for {name!r}; the file records {found.groups}",
            cure="leave the declaration out",
        )
    if groups < 1 or conv.shape[0] % groups:
        axis = "input" if found.transposed else "output"
        raise UsageError(
            f"{groups} groups are declared for {name!r}, which has {conv.shape[0]} {axis} channels",
            cure="declare a count that divides them",
        )


def _noted(found: Resolution, inferred: Resolution) -> Resolution:
    if found.source != "declared" or found.groups == inferred.groups or inferred.confidence == "ambiguous":
        return found
    note = f"declared {found.groups}; the shapes say {inferred.groups} ({inferred.confidence}): {inferred.evidence}"
    return replace(found, notes=(*found.notes, note))


def _resolve(network: Network, facts: Mapping[str, _Fact]) -> dict[str, Resolution]:
    convs = [emitter for emitter in network.emitters if emitter.kind == "conv"]
    layouts = {conv.index: _layout(network, conv, facts.get(conv.name)) for conv in convs}
    known = Known()
    tables = _solve(network, convs, facts, layouts, known)
    resolved = {}
    for conv in convs:
        table, layout, fact = tables[conv.index], layouts[conv.index], facts.get(conv.name)
        resolved[conv.name] = _resolution(network, conv, table, layout, fact, known)
    return resolved


def _layout(network: Network, conv: Emitter, fact: _Fact | None) -> Transposed | None:
    """The transposed reading of a weight, where a fact or the shapes ask for it; sets what the convolution hands on."""
    found = None
    if fact is None or fact.transposed is None:
        found = recognise(network, conv)
    elif fact.transposed:
        found = recognise(network, conv) or Transposed(1, "likely", "the file says that it is transposed")
    if found is not None and fact is not None and fact.groups is not None:
        found = replace(found, groups=fact.groups)
    if found is not None:
        conv.channels = conv.shape[1] * found.groups
    return found


def _solve(
    network: Network,
    convs: list[Emitter],
    facts: Mapping[str, _Fact],
    layouts: Mapping[int, Transposed | None],
    known: Known,
) -> dict[int, list[Candidate]]:
    """Candidates for every convolution, best first, after the whole network has been heard."""
    ranks = Counter(len(conv.shape) for conv in convs)
    usual_rank = ranks.most_common(1)[0][0] if ranks else 4
    fixed: dict[int, int] = {}
    for conv in convs:
        fact, layout = facts.get(conv.name), layouts[conv.index]
        groups = fact.groups if fact is not None else None
        if groups is not None or layout is not None or min(conv.shape) == 0:
            fixed[conv.index] = groups or (layout.groups if layout is not None else 1)
    tables: dict[int, list[Candidate]] = {index: [Candidate(groups, 0.0, None)] for index, groups in fixed.items()}
    free = [conv for conv in convs if conv.index not in fixed]
    if network.order == "unknown":
        return tables | {conv.index: without_order(conv.shape, network.handed) for conv in free}
    for number in range(ROUNDS):
        seen: set[int] = set()
        for emitter in network.emitters:
            if emitter.kind == "conv" and emitter.index not in fixed:
                sources = find_sources(network, emitter, known)
                before = _before(network, emitter)
                opens = emitter.shape[1] == 1 and opens_a_part(network, emitter)
                tables[emitter.index] = candidates(emitter.shape, sources, before, seen, usual_rank, opens)
            if number == 0:
                _learn(known, emitter, tables, layouts)
            seen.add(emitter.channels)
        agree(free, tables)
        for conv in free:
            _learn(known, conv, tables, layouts)
    return tables


def _before(network: Network, conv: Emitter) -> int:
    """What the module directly before hands on; a linear layer's outputs are rarely what a convolution reads."""
    if conv.index == 0 or network.emitters[conv.index - 1].kind == "linear":
        return 0
    return handed_on(network, conv.index - 1)


def _learn(
    known: Known, emitter: Emitter, tables: Mapping[int, list[Candidate]], layouts: Mapping[int, Transposed | None]
) -> None:
    """Keep what later convolutions may lean on."""
    index = emitter.index
    known.depthwise.discard(index)
    known.firm.discard(index)
    known.unrivalled.discard(index)
    if emitter.kind == "norm" and index - 1 in known.depthwise:
        known.depthwise.add(index)
    if emitter.kind != "conv":
        return
    table = tables[index]
    best = table[0]
    transposed = layouts[index] is not None
    known.inward[index] = emitter.shape[0] if transposed else best.groups * emitter.shape[1]
    if emitter.shape[1] == 1 and best.groups == emitter.shape[0] > 1:
        known.depthwise.add(index)
    good = not best.weak and not is_guess(best.source, known)
    lead = best.score - table[1].score if len(table) > 1 else UNRIVALLED
    if good and lead >= FIRM_LEAD:
        known.firm.add(index)
    if lead >= UNRIVALLED:
        known.unrivalled.add(index)


def _resolution(
    network: Network, conv: Emitter, table: list[Candidate], layout: Transposed | None, fact: _Fact | None, known: Known
) -> Resolution:
    best = table[0]
    first, second = conv.shape[:2]
    inward, outward = (first, second * best.groups) if layout is not None else (second * best.groups, first)
    result = Resolution(best.groups, "certain", "", (), "inferred", layout is not None, inward, outward)
    counted = plural(best.groups, "group")
    if fact is not None and fact.groups is not None:
        if fact.source == "declared":
            return replace(result, source="declared", evidence=f"declared to have {counted}")
        return replace(result, source="recorded", evidence=f"the file records {counted}")
    if min(conv.shape) == 0:
        return replace(result, source="assumed", confidence="ambiguous", evidence="the weight is empty")
    if layout is not None:
        return replace(result, confidence=layout.confidence, evidence=f"{layout.evidence}, {counted}")
    sure = confidence(network, conv, table, known)
    notes: tuple[str, ...] = ()
    if sure != "ambiguous" and _masked(conv):
        sure, notes = "likely", (MASKED,)
    others = () if sure == "certain" else alternatives(table)
    unfed = conv.index == 0 or network.order == "unknown"
    if unfed and sure != "certain" and not others:
        others = divisors(first)
    nothing_known = best.source is None and sure == "ambiguous"
    return replace(
        result,
        confidence=sure,
        evidence=sentence(network, conv, best),
        alternatives=others,
        source="assumed" if nothing_known else "inferred",
        notes=notes,
    )


def _masked(conv: Emitter) -> bool:
    """Whether a tensor of the weight's own shape lies in its module or in the one around."""
    own = None if conv.conv is None else conv.conv.tensor.rpartition(".")[2]
    modules: Iterable[Mapping[str, tuple[int, ...]]] = [conv.node.shapes]
    if conv.node.parent is not None:
        modules = [conv.node.shapes, conv.node.parent.shapes]
    return any(
        shape == conv.shape and parameter != own and parameter != "original0"
        for module in modules
        for parameter, shape in module.items()
    )
