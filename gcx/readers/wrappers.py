"""From what a file holds to the weights in it: dicts within dicts, beside optimizer states, averages, other networks.

Chosen by structure: every mapping of names to tensors and every whole module is a set; those of an optimizer are left
out, of equal ones one is taken, of different ones all, each under its own prefix.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from gcx.checkpoint import Checkpoint, ConvSpec, TensorRef
from gcx.errors import MESSAGE_LIMIT, CheckpointError, LimitError, printable
from gcx.limits import NAME, TENSORS
from gcx.readers.base import ReadOptions, Source
from gcx.readers.names import module_of, no_moving_average, present, shard_note, shown_names
from gcx.readers.torch.modules import attributes, is_module, read_tree
from gcx.readers.torch.storages import ReadBytes, reference
from gcx.readers.torch.values import Pairs, Placeholder, Tensor

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
_OPTIMIZER = re.compile(
    r"optim|(^|_)opt($|_)|sched|scaler|^amp$|rng|^callbacks$|^loops$|^hyper_parameters$|^param_groups$|momentum|exp_avg",
    re.IGNORECASE,
)
_MOMENT_WORDS = "exp_avg exp_avg_sq max_exp_avg_sq momentum_buffer square_avg acc_delta grad_avg step sum exp_inf"
_MOMENTS = frozenset(_MOMENT_WORDS.split())


@dataclass(frozen=True)
class Parsed:
    """A parsed file: its value and how to read its numbers."""

    root: Any
    read: ReadBytes
    big_endian: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class WeightSet:
    """Names to tensors in one place of the file."""

    path: tuple[str, ...]
    """Keys from the root."""
    tensors: dict[str, Tensor]
    convs: dict[str, ConvSpec] = field(default_factory=dict)
    module: bool = False

    @property
    def place(self) -> str:
        return printable(".".join(self.path), MESSAGE_LIMIT // 2) or "the top"

    @property
    def score(self) -> int:
        """Tensors that could be convolutions."""
        return sum(len(tensor.shape) >= 3 for tensor in self.tensors.values())

    @property
    def average(self) -> bool:
        return any(_AVERAGE.search(key) for key in self.path)

    @property
    def likeness(self) -> frozenset[tuple[str, tuple[int, ...]]]:
        """Equal for two copies of one network."""
        shown = shown_names(self.tensors)
        return frozenset((shown[name], tensor.shape) for name, tensor in self.tensors.items() if len(tensor.shape) > 1)

    @property
    def rank(self) -> tuple[bool, int]:
        """Sorts copies: a module first, since it records groups, then by the known words."""
        words = [KNOWN.index(key) for key in self.path if key in KNOWN]
        return not self.module, min(words, default=len(KNOWN))


def checkpoint_of(parsed: Parsed, source: Source, options: ReadOptions) -> Checkpoint:
    """Choose the weights among what a file holds, and show them by name.

    Raises:
        CheckpointError: there are none, or no moving average where one is wanted.
        LimitError: more tensors than `TENSORS`.
    """
    chosen, notes, averaged = choose(list(weight_sets(parsed.root)), options)
    if not chosen and not (type(parsed.root) is Pairs and not parsed.root.items):
        raise CheckpointError(
            f"holds {_what(parsed.root)}, no names with tensors", cure="save the state dict with torch.save"
        )
    tensors: dict[str, TensorRef] = {}
    convs: dict[str, ConvSpec] = {}
    inner = ReadOptions() if averaged else options
    for prefix, chosen_set in zip(_prefixes(chosen), chosen, strict=True):
        refs, specs, more = _shown(chosen_set, parsed, inner)
        notes += more
        for name, ref in refs.items():
            unique = _unique(prefix + name, tensors)
            tensors[unique] = replace(ref, name=unique) if unique != ref.name else ref
        convs |= {prefix + name: spec for name, spec in specs.items()}
    if len(tensors) > TENSORS:
        raise LimitError(f"has more than {TENSORS} tensors, limit TENSORS")
    kind = "torch-module" if any(one.module for one in chosen) else "torch-state-dict"
    return Checkpoint(source.path, kind, tensors, convs, parsed.notes + notes + shard_note(source.path), source.close)


def _shown(
    chosen: WeightSet, parsed: Parsed, options: ReadOptions
) -> tuple[dict[str, TensorRef], dict[str, ConvSpec], tuple[str, ...]]:
    refs = {
        name: reference(name, tensor, parsed.read, big_endian=parsed.big_endian)
        for name, tensor in chosen.tensors.items()
    }
    if not chosen.module:
        tensors, notes = present(refs, options)
        return tensors, {}, notes
    if options.weights == "ema":
        raise no_moving_average()
    shown = shown_names(refs)
    specs = {module_of(shown[name]): spec for name, spec in chosen.convs.items()}
    return {shown[name]: replace(ref, name=shown[name]) for name, ref in refs.items()}, specs, ()


def weight_sets(root: Any) -> Iterator[WeightSet]:
    """Every set of named tensors in a value, in file order; what belongs to an optimizer is passed over.

    The walk needs no recursion and visits each container once, however often it is reached.
    """
    waiting: list[tuple[tuple[str, ...], Any]] = [((), root)]
    seen: set[int] = set()
    while waiting:
        path, value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if is_module(value):
            tree = read_tree(value)
            if tree.tensors:
                yield WeightSet(path, tree.tensors, tree.convs, module=True)
            continue
        children = _children(value)
        if {"param_groups", "state"} <= {key for key, _ in children}:
            continue
        tensors = {key: child for key, child in children if type(child) is Tensor}
        if tensors and not tensors.keys() <= _MOMENTS:
            yield WeightSet(path, tensors)
        inner = [
            ((*path, key), child)
            for key, child in dict(children).items()
            if type(child) in _CONTAINERS and not _OPTIMIZER.search(key)
        ]
        if inner and sum(len(key) for key in inner[0][0]) > NAME:
            raise LimitError(f"has names nested beyond {NAME} characters, limit NAME")
        waiting.extend(reversed(inner))


_CONTAINERS = (Pairs, Placeholder, list, tuple)


def _children(value: Any) -> list[tuple[str, Any]]:
    """What a container holds, by key, index or attribute."""
    if type(value) is Pairs:
        return _by_text(value.items)
    if type(value) is Placeholder:
        if "optim" in value.cls.full.lower():
            return []
        given = value.args if type(value.args) is tuple else ()
        return [*_by_text(value.items or []), *attributes(value).items(), *_children(given)]
    if type(value) in (list, tuple):
        return [(str(index), item) for index, item in enumerate(value) if type(item) in _CONTAINERS]
    return []


def _by_text(items: list[tuple[Any, Any]]) -> list[tuple[str, Any]]:
    """Numbers are names too; `1` and `"1"` stay apart."""
    named = [(key, value) for key, value in items if type(key) is str]
    taken = {key for key, _ in named}
    if len(named) == len(items):
        return named
    return [
        (key if type(key) is str else _unique(str(key), taken), value)
        for key, value in items
        if type(key) is str or (type(key) is int and abs(key) < 2**63)
    ]


def choose(sets: list[WeightSet], options: ReadOptions) -> tuple[list[WeightSet], tuple[str, ...], bool]:
    """Which sets are meant: the networks, one copy of each; averages only where they are wanted or alone.

    Returns:
        The sets, notes on what else there was, and whether moving averages were chosen.
    """
    sets = _with_numbers(sets)
    averages = [one for one in sets if one.average]
    plain = [one for one in sets if not one.average]
    if options.weights == "ema" and averages:
        meant, others = averages, plain
    elif plain:
        meant, others = plain, averages
    else:
        meant, others = averages, []
    copies: dict[frozenset[tuple[str, tuple[int, ...]]], list[WeightSet]] = {}
    for one in meant:
        copies.setdefault(one.likeness, []).append(one)
    chosen = [min(group, key=lambda one: one.rank) for group in copies.values()]
    taken_ids = {id(one) for one in chosen}
    left = [one for one in meant if id(one) not in taken_ids] + others
    notes: tuple[str, ...] = ()
    if left:
        names = ", ".join(f"'{one.place}'" for one in left[:5])
        more = f" and {len(left) - 5} more" if len(left) > 5 else ""
        taken = ", ".join(f"'{one.place}'" for one in chosen[:5])
        notes = (f"weights from {taken}; the file also holds {names}{more}",)
    elif len(chosen) > 1:
        notes = (f"holds {len(chosen)} sets of weights: {', '.join(repr(one.place) for one in chosen[:5])}",)
    elif meant and meant is averages and options.weights == "plain":
        notes = (f"weights from '{chosen[0].place}', a moving average: the file holds no others",)
    return chosen, notes, bool(meant) and meant is averages


def _with_numbers(sets: list[WeightSet]) -> list[WeightSet]:
    """Leave out stray tensors (a best accuracy, a class weight) where there are networks."""
    scored = [one for one in sets if one.score]
    if not scored:
        most = max((len(one.tensors) for one in sets), default=0)
        return [one for one in sets if len(one.tensors) == most][:1]
    parents = {one.path[:-1] for one in scored if one.path[:-1]}
    return [one for one in sets if one.score or one.path[:-1] in parents]


def _prefixes(chosen: list[WeightSet]) -> list[str]:
    """What distinguishes several sets, without the words that only wrap."""
    if len(chosen) < 2:
        return [""] * len(chosen)
    short = [[key for key in one.path if key not in KNOWN] for one in chosen]
    prefixes = ["".join(f"{key}." for key in keys) for keys in short]
    if len(set(prefixes)) == len(prefixes):
        return prefixes
    return ["".join(f"{key}." for key in one.path) for one in chosen]


def _unique(name: str, taken: Any) -> str:
    unique, number = name, 2
    while unique in taken:
        unique, number = f"{name} ({number})", number + 1
    return unique


def _what(root: Any) -> str:
    """A value in a few words."""
    if type(root) is Tensor:
        return "one tensor without a name"
    if type(root) is Placeholder:
        return f"an object of {printable(root.cls.full, 100)}"
    if type(root) is Pairs:
        keys = [key for key, _ in root.items if type(key) is str]
        return f"a dict of {', '.join(repr(printable(key, 40)) for key in keys[:5]) or 'no names'}"
    if type(root) in (list, tuple):
        return f"a list of {len(root)} values"
    return f"one value ({type(root).__name__})"
