"""Which layer of the candidate stands where a layer of the reference does: by --map, by name, else by role."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from gcx import limits
from gcx.comparison import Unmatched
from gcx.errors import UsageError, printable
from gcx.results import LayerResult

MatchedBy = Literal["map", "name", "role"]
Layers = Mapping[str, LayerResult]


@dataclass(frozen=True)
class Match:
    """Two layers of the same place."""

    reference: str
    candidate: str
    by: MatchedBy


def match_layers(
    reference: Layers, candidate: Layers, mapping: Sequence[tuple[str, str]]
) -> tuple[tuple[Match, ...], tuple[Unmatched, ...]]:
    """Match the layers of two networks.

    Args:
        reference, candidate: measured layers by name, in file order.
        mapping: (glob, its counterpart) as of --map; the k-th `*` of the one stands for the k-th of the other.

    Returns:
        Pairs in the reference's order, and what has no partner, with the reason. By role means: the longest common
        subsequence of (kernel size, output channels, input channels) of what --map and names have left.

    Raises:
        UsageError: an entry of `mapping` matches no layer of the reference or leads to none of the candidate.
    """
    found: dict[str, Match] = {}
    for name, other in _mapped(reference, candidate, mapping):
        found[name] = Match(name, other, "map")
    taken = {match.candidate for match in found.values()}
    for name in reference:
        if name not in found and name in candidate and name not in taken:
            found[name] = Match(name, name, "name")
    taken = {match.candidate for match in found.values()}
    left = [layer for name, layer in reference.items() if name not in found]
    right = [layer for name, layer in candidate.items() if name not in taken]
    too_many = max(len(left), len(right)) > limits.ROLE_LAYERS
    for first, second in [] if too_many else _common([_role(one) for one in left], [_role(one) for one in right]):
        found[left[first].name] = Match(left[first].name, right[second].name, "role")
    taken = {match.candidate for match in found.values()}
    pairs = tuple(found[name] for name in reference if name in found)
    unmatched = [
        *(_alone("reference", one, candidate, too_many) for one in left if one.name not in found),
        *(_alone("candidate", one, reference, too_many) for one in right if one.name not in taken),
    ]
    return pairs, tuple(unmatched)


def captured(name: str, pattern: str) -> list[str] | None:
    """What each `*` of a pattern stands for in a name, the first as short as can be; None where it does not match.

    Not a regular expression: its time is linear, whatever the pattern.

    >>> captured("layer1.0.conv2", "layer*.*.conv*"), captured("conv", "c*x")
    (['1', '0', '2'], None)
    """
    first, *middle = pattern.split("*")
    if not middle:
        return [] if name == pattern else None
    last = middle.pop()
    if len(name) < len(first) + len(last) or not name.startswith(first) or not name.endswith(last):
        return None
    at, end = len(first), len(name) - len(last)
    parts = []
    for piece in middle:
        found = name.find(piece, at, end)
        if found < 0:
            return None
        parts.append(name[at:found])
        at = found + len(piece)
    return [*parts, name[at:end]]


def _mapped(reference: Layers, candidate: Layers, mapping: Sequence[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """Pairs by --map; the last entry that matches a layer wins."""
    pairs: dict[str, str] = {}
    for left, right in mapping:
        hits = 0
        wanted = right
        for name in reference:
            parts = captured(name, left)
            if parts is None:
                continue
            wanted = _filled(right, parts)
            if wanted in candidate:
                hits += 1
                pairs[name] = wanted
        if not hits:
            option = f"--map {f'{left}={right}'!r}"
            if wanted == right and not any(captured(name, left) is not None for name in reference):
                raise UsageError(f"{option} matches no layer of the reference", cure=_meant(left, reference))
            raise UsageError(f"{option}: the candidate has no layer {wanted!r}", cure=_meant(wanted, candidate))
    partners: dict[str, str] = {}
    for name, other in pairs.items():
        if other in partners:
            raise UsageError(f"--map gives {partners[other]!r} and {name!r} one partner, {other!r}")
        partners[other] = name
    return pairs.items()


def _filled(pattern: str, parts: Sequence[str]) -> str:
    pieces = pattern.split("*")
    return pieces[0] + "".join(part + piece for part, piece in zip(parts, pieces[1:], strict=True))


def _meant(name: str, layers: Layers) -> str:
    close = get_close_matches(name, list(layers)[: limits.ROLE_LAYERS], n=1, cutoff=0.4)
    return f"did you mean {close[0]!r}?" if close else "`gcx layers` lists the names"


def _role(layer: LayerResult) -> tuple[object, ...]:
    return (layer.weight_shape[2:], layer.out_channels, layer.in_channels, layer.transposed)


def _common(left: Sequence[object], right: Sequence[object]) -> list[tuple[int, int]]:
    """Index pairs of a longest common subsequence; of several the one that takes the earliest partners."""
    lengths = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i in range(len(left) - 1, -1, -1):
        row, below = lengths[i], lengths[i + 1]
        for j in range(len(right) - 1, -1, -1):
            row[j] = below[j + 1] + 1 if left[i] == right[j] else max(below[j], row[j + 1])
    pairs = []
    i = j = 0
    while i < len(left) and j < len(right):
        if left[i] == right[j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif lengths[i + 1][j] >= lengths[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def _alone(arm: Literal["reference", "candidate"], layer: LayerResult, others: Layers, too_many: bool) -> Unmatched:
    other = "candidate" if arm == "reference" else "reference"
    if too_many:
        reason = f"no layer of this name, and too many to match by role (limits.ROLE_LAYERS = {limits.ROLE_LAYERS})"
    elif any(_role(one) == _role(layer) for one in others.values()):
        reason = f"no layer of this name; those of its kernel size and channels in the {other} stand elsewhere"
    else:
        reason = f"no layer of this name, nor of its kernel size and channels, in the {other}"
    return Unmatched(arm=arm, name=layer.name, reason=reason)


def unmeasured(arm: Literal["reference", "candidate"], reasons: Mapping[str, str]) -> tuple[Unmatched, ...]:
    """Layers that some run of an arm does not have, or could not measure."""
    return tuple(Unmatched(arm=arm, name=name, reason=printable(reason, 300)) for name, reason in reasons.items())
