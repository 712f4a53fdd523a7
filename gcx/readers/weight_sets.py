"""Names to tensors in several places of one value, and which of them are meant: of a file as of a live mapping.

Chosen by structure: every mapping of names to tensors and every whole module is a set; of equal ones one is taken, of
different ones all, each under its own prefix.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from gcx.checkpoint import ConvSpec, TensorRef
from gcx.errors import MESSAGE_LIMIT, printable
from gcx.limits import NESTING
from gcx.readers.base import ReadOptions
from gcx.readers.names import shown_names
from gcx.weight_parts import AXES
from gcx.words import plural

KNOWN = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "params",
    "weights",
    "module",
    "net_state_dict",
    "state_dict_model",
    "model_dict",
    "params_ema",
)
"""Words that wrap the weights, the likeliest first; they do not show in names."""

_AVERAGE = re.compile(r"(^|[_.])(ema|swa|averaged?|avg|shadow)([_.]|$)|^ema|ema$", re.IGNORECASE)
_BESIDE = re.compile(
    r"optim|(^|_)opt($|_)|(^|_)(lr_?)?sched(ulers?)?($|_)|(^|_)(grad|loss|amp)?_?scalers?($|_)|^amp$|(^|_)rng(_|$)|^callbacks$|^loops$"
    r"|^hyper_parameters$|^param_groups$|^momentum(_buffers?)?$|exp_avg",
    re.IGNORECASE,
)
"""Keys of what stands beside weights and may hold tensors of their shapes."""
_MOMENT_WORDS = "exp_avg exp_avg_sq max_exp_avg_sq momentum_buffer square_avg acc_delta grad_avg step sum exp_inf"
MOMENTS = frozenset(_MOMENT_WORDS.split())


def stands_beside(key: str) -> bool:
    """Whether a key is that of an optimizer's state, or of what else training keeps beside the weights.

    >>> stands_beside("lr_scheduler"), stands_beside("scheduled_net"), stands_beside("upscaler")
    (True, False, False)
    """
    return _BESIDE.search(key[:MESSAGE_LIMIT]) is not None


@dataclass(frozen=True, eq=False)
class WeightSet:
    """Names to tensors in one place."""

    path: tuple[str, ...]
    """Keys from the root."""
    tensors: Mapping[str, Any]
    """Whatever has a shape."""
    convs: Mapping[str, ConvSpec] = field(default_factory=dict)
    module: bool = False
    notes: tuple[str, ...] = ()
    name: str | None = None
    """Of the class, where that is known."""

    @property
    def place(self) -> str:
        return printable(".".join(self.path), MESSAGE_LIMIT // 2) or "the top"

    @property
    def score(self) -> int:
        """Tensors that could be convolutions."""
        return sum(len(tensor.shape) >= AXES for tensor in self.tensors.values())

    @property
    def average(self) -> bool:
        return any(_AVERAGE.search(key) for key in self.path)

    @property
    def likeness(self) -> frozenset[tuple[str, tuple[int, ...]]]:
        """Equal for two copies of one network."""
        shown = shown_names(self.tensors)
        return frozenset((shown[name], tensor.shape) for name, tensor in self.tensors.items() if len(tensor.shape) > 1)

    def rank(self, shared: int) -> tuple[bool, int]:
        """Sorts copies: a module first, since it records groups, then by the known words behind a shared path."""
        words = [KNOWN.index(key) for key in self.path[shared:] if key in KNOWN]
        return not self.module, min(words, default=len(KNOWN))


UNKNOWN = (True, len(KNOWN))
"""The rank of what no word marks."""


def choose(sets: list[WeightSet], options: ReadOptions) -> tuple[list[WeightSet], tuple[str, ...], bool]:
    """Which sets are meant: the networks, one copy of each; averages only where they are wanted or alone.

    Returns:
        The sets, notes on what else there was, and whether moving averages were chosen.
    """
    sets, strays = _with_numbers(sets)
    averages = [one for one in sets if one.average]
    plain = [one for one in sets if not one.average]
    if options.weights == "ema" and averages:
        meant, others = averages, plain
    elif plain:
        meant, others = plain, averages
    else:
        meant, others = averages, []
    chosen = _one_of_each(meant)
    taken_ids = {id(one) for one in chosen}
    left = [one for one in meant if id(one) not in taken_ids] + others + strays
    notes: tuple[str, ...] = ()
    if left:
        names = ", ".join(f"'{one.place}'" for one in left[:5])
        more = f" and {len(left) - 5} more" if len(left) > 5 else ""
        taken = ", ".join(f"'{one.place}'" for one in chosen[:5])
        notes = (f"weights from {taken}; there is also {names}{more}",)
    elif len(chosen) > 1:
        places = [f"'{one.place}'" for one in chosen]
        notes = (f"holds {len(chosen)} sets of weights: {', '.join(places[:5])}",)
    elif meant and meant is averages and options.weights == "plain":
        notes = (f"weights from '{chosen[0].place}', a moving average: there are no others",)
    return chosen, notes, bool(meant) and meant is averages


def _one_of_each(sets: list[WeightSet]) -> list[WeightSet]:
    """Of sets that could be copies of one network, the one that a module or a known word marks; all where none does."""
    copies: dict[frozenset[tuple[str, tuple[int, ...]]], list[WeightSet]] = {}
    for one in sets:
        copies.setdefault(one.likeness, []).append(one)
    dropped: set[int] = set()
    for group in copies.values():
        if not any(map(_is_network, group)):
            continue  # dicts of one layer each are no networks: many are alike
        shared = _shared([one.path for one in group])
        ranks = [one.rank(shared) for one in group]
        best = min(ranks)
        if best != UNKNOWN and ranks.count(best) == 1:
            dropped |= {id(one) for one, rank in zip(group, ranks, strict=True) if rank != best}
    return [one for one in sets if id(one) not in dropped]


def _shared(paths: list[tuple[str, ...]]) -> int:
    """How many keys all paths begin with."""
    first, last = min(paths), max(paths)
    return next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))


def _with_numbers(sets: list[WeightSet]) -> tuple[list[WeightSet], list[WeightSet]]:
    """Part networks from stray tensors: a best accuracy, class weights, pictures beside a dict called `state_dict`."""
    scored = [one for one in sets if one.score]
    if not scored:
        most = max((len(one.tensors) for one in sets), default=0)
        return [one for one in sets if len(one.tensors) == most][:1], []
    wrapping = {one.path[:-1] for one in scored if one.path and one.path[-1] in KNOWN}
    networks = [one for one in scored if one.path not in wrapping]
    parents = {one.path[:-1] for one in networks if one.path and one.path[-1] not in KNOWN}
    ids = {id(one) for one in networks}
    taken = [one for one in sets if id(one) in ids or (not one.score and one.path and one.path[:-1] in parents)]
    return taken, [one for one in scored if one.path in wrapping]


def _prefixes(chosen: list[WeightSet]) -> list[str]:
    """What distinguishes several sets, without the words that only wrap."""
    if len(chosen) < 2:
        return [""] * len(chosen)
    short = [[key for key in one.path if key not in KNOWN] for one in chosen]
    prefixes = ["".join(f"{key}." for key in keys) for keys in short]
    if len(set(prefixes)) == len(prefixes):
        return prefixes
    return ["".join(f"{key}." for key in one.path) for one in chosen]


def left_out(nameless: int, cut: bool) -> tuple[str, ...]:
    """Notes on what was not taken: tensors without a name, and what lies too deep.

    >>> left_out(1, False)
    ('left out, since it has no name: 1 tensor of three axes or more',)
    """
    notes: tuple[str, ...] = ()
    if nameless:
        who = "it has" if nameless == 1 else "they have"
        notes += (f"left out, since {who} no name: {plural(nameless, 'tensor')} of three axes or more",)
    if cut:
        notes += (f"what lies deeper than {NESTING} dicts and lists was not looked at",)
    return notes


Shown = tuple[Mapping[str, TensorRef], Mapping[str, ConvSpec], tuple[str, ...]]
"""Tensors and specs of one set by shown names, and notes."""


def merged(
    chosen: list[WeightSet], show: Callable[[WeightSet], Shown], spend: Callable[[int], None] | None = None
) -> tuple[dict[str, TensorRef], dict[str, ConvSpec], tuple[str, ...]]:
    """Put the chosen sets together, under a prefix each where they are several.

    Args:
        chosen: as `choose` has it.
        show: what one set holds.
        spend: told the length of every name that is made.
    """
    tensors: dict[str, TensorRef] = {}
    convs: dict[str, ConvSpec] = {}
    notes: tuple[str, ...] = ()
    numbers: dict[str, int] = {}
    for prefix, one in zip(_prefixes(chosen), chosen, strict=True):
        refs, specs, more = show(one)
        notes += more
        renamed: dict[str, str] = {}
        for name, ref in refs.items():
            if prefix and spend is not None:
                spend(len(prefix) + len(name))
            unique = renamed[name] = _unique(prefix + name, tensors, numbers)
            tensors[unique] = replace(ref, name=unique) if unique != ref.name else ref
        for name, spec in specs.items():
            # Of two networks whose names fall together the second has other tensors' names, and so has its spec.
            taken = prefix + name in convs
            convs[renamed.get(f"{name}.weight", prefix + name) if taken else prefix + name] = spec
    return tensors, convs, notes


def networks(chosen: list[WeightSet]) -> tuple[str, ...]:
    """The prefixes of several networks: where each has one, none is that of a part of another, and none is a layer."""
    found = _prefixes(chosen)
    # What begins with a name follows it in their order.
    apart = len(found) > 1 and all(found) and not any(b.startswith(a) for a, b in pairwise(sorted(set(found))))
    return tuple(found) if apart and all(map(_is_network, chosen)) else ()


def _is_network(one: WeightSet) -> bool:
    """A dict of one layer is none."""
    return one.module or any("." in name for name in one.tensors)


def _unique(name: str, taken: Mapping[str, Any], numbers: dict[str, int]) -> str:
    """A name that is free; `numbers` keeps how far each has been counted."""
    unique = name
    while unique in taken:
        numbers[name] = numbers.get(name, 1) + 1
        unique = f"{name} ({numbers[name]})"
    return unique


def by_text(items: list[tuple[Any, Any]]) -> dict[str, Any]:
    """Numbers and bytes are names too; `1` and `"1"` stay apart. The last of equal keys counts.

    >>> by_text([("1", "a"), (1, "b"), (1, "c"), (2.5, "d"), (b"e", "f")])
    {'1': 'a', '1 (2)': 'c', 'e': 'f'}
    """
    named = {key: value for key, value in items if type(key) is str}
    if len(named) == len(items):
        return named
    held = {(type(key), key): value for key, value in items if is_name(key)}
    whole: dict[str, Any] = {}
    for (kind, key), value in held.items():
        name = key if kind is str else str(key) if kind is int else key.decode("latin-1")
        number, unique = 2, name
        while kind is not str and (unique in named or unique in whole):
            unique, number = f"{name} ({number})", number + 1
        whole[unique] = value
    return whole


def is_name(key: Any) -> bool:
    """Text, a number of a list, or bytes: what Python 2 and careless scripts name tensors by."""
    return type(key) is str or (type(key) is int and abs(key) < 2**63) or type(key) is bytes
