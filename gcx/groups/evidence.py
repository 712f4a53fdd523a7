"""Why a count was chosen: the confidence that the scores allow, and one sentence for a person."""

from __future__ import annotations

from itertools import islice
from math import prod

from gcx.conv_layer import Confidence
from gcx.groups.candidates import Candidate
from gcx.groups.network import Emitter, Network
from gcx.groups.sources import Known, Source

# What the best count must lead the second by, for (certain, likely); None is never reached.
LEADS: dict[str, tuple[float | None, float]] = {
    "dense, from a good source": (1.5, 0.7),
    "dense, otherwise": (3.0, 1.0),
    "grouped": (2.5, 0.8),
    "grouped, pointwise or indirect": (None, 1.0),
    "depthwise": (2.0, 0.8),
    "depthwise, from nowhere": (None, 0.8),
}
"""Pointwise groups come with a channel shuffle, and channels from nowhere may be an image's rows: never certain."""

GOOD_SOURCE = 2.8
REBUILT = 2.0
"""How much more lead certainty asks for where the running order had to be put together again."""
ALONE = 4.0
"""The lead of a count without rivals."""
PLAUSIBLE = 5.0
"""A count this far behind the best is no alternative."""
ALTERNATIVES = 3
IMAGE_PLANES = (1, 3)
"""What the first convolution of a file reads if it reads an image: grey or colour; else its count is not certain."""
SUMS_ROUND = 1e-9
"""Scores are sums of decimals: a lead of exactly .8 must not miss it by the last bit."""


def confidence(network: Network, conv: Emitter, table: list[Candidate], known: Known) -> Confidence:
    """How sure the best candidate is, from its lead and from what it would be reading."""
    out, per_group, *kernel = conv.shape
    best = table[0]
    if out == 1:
        return "certain"
    if network.order == "unknown":
        return "ambiguous"
    if conv.index == 0 and best.groups == 1:
        return _first(out, per_group, alone=len(network.emitters) == 1)
    certain, likely = LEADS[_case(best, per_group, prod(kernel) == 1)]
    lead = best.score - table[1].score if len(table) > 1 else ALONE
    doubtful = best.groups == 1 and _doubtful(best, table[1:], known)
    more = REBUILT if network.order == "rebuilt" else 0.0
    if certain is not None and lead >= certain + more and not doubtful:
        return "certain"
    return "likely" if lead >= likely - SUMS_ROUND else "ambiguous"


def _first(out: int, per_group: int, *, alone: bool) -> Confidence:
    """The first convolution reads an image, or what nothing shows: (8, 2, 3, 3) is also four groups of two channels.

    Alone in a file, nothing could say what it is read by either.
    """
    if per_group not in IMAGE_PLANES:
        return "ambiguous" if alone else "likely"
    # Three planes could also be filtered each on its own: (3, 1, k, k) is then depthwise.
    odd = per_group == 1 and out in (3, 6, 9, 12)
    return "likely" if odd or alone else "certain"


def is_guess(source: Source | None, known: Known) -> bool:
    """Whether a source only says what another convolution reads, and that is not sure itself."""
    if source is None or source.kind not in ("mirror", "twin", "parallel"):
        return False
    return source.kind == "mirror" or source.emitter not in known.firm


def _doubtful(dense: Candidate, others: list[Candidate], known: Known) -> bool:
    """Whether something speaks for another count where little, or only a guess, speaks for the dense one."""
    guess = is_guess(dense.source, known)
    return any((dense.weak and other.agreement > 0) or (guess and other.reads_direct) for other in others)


def _case(best: Candidate, per_group: int, pointwise: bool) -> str:
    if best.groups == 1:
        good = best.source is not None and not best.weak and best.source.weight >= GOOD_SOURCE
        return "dense, from a good source" if good else "dense, otherwise"
    if per_group > 1:
        return "grouped" if best.reads_direct and not pointwise else "grouped, pointwise or indirect"
    shown = best.source is not None and best.source.kind not in ("parallel", "split")
    shown = shown and not (pointwise and best.source is not None and best.source.kind != "twin")
    return "depthwise" if shown else "depthwise, from nowhere"


def alternatives(table: list[Candidate]) -> tuple[int, ...]:
    """The other counts that stay possible, the more plausible first."""
    best = table[0]
    near = [candidate.groups for candidate in table[1:] if best.score - candidate.score <= PLAUSIBLE]
    return tuple(near[:ALTERNATIVES])


def divisors(outputs: int) -> tuple[int, ...]:
    """The smallest counts above 1 that divide the outputs: what is left to say where the network says nothing.

    >>> divisors(12)
    (2, 3, 4)
    """
    return tuple(islice((count for count in range(2, outputs + 1) if outputs % count == 0), ALTERNATIVES))


def sentence(network: Network, conv: Emitter, best: Candidate) -> str:
    """Say why the best count was chosen.

    >>> from gcx.extract import find_convolutions
    >>> from gcx.groups.network import build_network
    >>> shapes = {"bn1.weight": (128,), "conv2.weight": (128, 4, 3, 3)}
    >>> network = build_network(shapes, find_convolutions(shapes))
    >>> sentence(network, network.emitters[1], Candidate(32, 5.0, Source(128, "direct", 4.0, 0)))
    'reads 4 channels per group; `bn1` before it has 128, so 32 groups'
    """
    per_group = conv.shape[1]
    source = best.source
    if source is None:
        return _without_source(network, conv, best)
    where = _where(network, source)
    agree = ", as other blocks do" if best.agreement > 0 else ""
    if best.groups == 1:
        return f"reads {_channels(per_group)}; {where} {source.channels}, so 1 group{agree}"
    count = f"{best.groups} groups" + (", depthwise" if per_group == 1 and best.groups == conv.shape[0] else "")
    return f"reads {_channels(per_group)} per group; {where} {source.channels}, so {count}{agree}"


def _channels(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"


def _where(network: Network, source: Source) -> str:
    name = f"`{network.emitters[source.emitter].name}`"
    return {
        "direct": f"{name} before it has",
        "linear": f"{name} before it has",
        "behind": f"{name} further before it has",
        "entry": f"{name} before its block has",
        "parallel": f"{name} beside it reads",
        "twin": f"{name} beside it, of the same shape, reads",
        "mirror": f"{name}, the same place in the block before, reads",
        "residual": f"{name} before the previous block has",
        "sibling": f"{name} earlier in its block has",
        "branch": f"{name} earlier in the previous block has",
        "concat": f"{source.parts} outputs up to {name}, concatenated, have",
        "joined": f"{source.parts} parallel ones up to {name}, concatenated, have",
        "split": f"one of {source.parts} equal parts of {name} before it has",
    }[source.kind]


def _without_source(network: Network, conv: Emitter, best: Candidate) -> str:
    per_group = conv.shape[1]
    if conv.shape[0] == 1 and network.order == "unknown":
        return "has 1 filter, so 1 group"
    if network.order == "unknown":
        return f"reads {_channels(per_group)} per group; the file has no order of layers to tell how many, 1 is assumed"
    if conv.index == 0 and len(network.emitters) == 1:
        if per_group in IMAGE_PLANES:
            return f"reads {_channels(per_group)}, as of an image, so 1 group; nothing else in the file says more"
        return f"reads {_channels(per_group)} per group, alone in the file: nothing says how many groups, 1 is assumed"
    if conv.index == 0:
        return f"reads {_channels(per_group)} and comes first in the file, so 1 group"
    if best.groups == 1:
        return f"reads {_channels(per_group)}, which nothing before it shows; no other count fits better, so 1 group"
    if per_group == 1 and best.groups == conv.shape[0]:
        return f"reads 1 channel for each of {conv.shape[0]} outputs, taken for depthwise; nothing before it shows it"
    return f"reads {_channels(per_group)} per group; {best.groups} groups as in the rest of the network"
