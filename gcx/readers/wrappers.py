"""From what a file holds to the weights in it: dicts within dicts, beside optimizer states, averages, other networks.

Chosen by structure: every mapping of names to tensors and every whole module is a set; those of an optimizer are left
out, of equal ones one is taken, of different ones all, each under its own prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from gcx.checkpoint import Checkpoint, ConvSpec, TensorRef
from gcx.errors import CheckpointError, LimitError, printable
from gcx.limits import NESTING, TENSORS
from gcx.readers.base import ReadOptions, Source
from gcx.readers.foreign import ARRAYS
from gcx.readers.names import module_of, no_moving_average, present, saved_epoch, shard_note, shown_names
from gcx.readers.torch.storages import ReadBytes, reference
from gcx.readers.torch.values import Pairs, Placeholder, Tensor
from gcx.readers.torch.weight_sets import KNOWN, UNKNOWN, Walk, WeightSet, by_text
from gcx.readers.torch.work import Work


@dataclass(frozen=True)
class Parsed:
    """A parsed file: its value and how to read its numbers."""

    root: Any
    read: ReadBytes
    big_endian: bool = False
    notes: tuple[str, ...] = ()


def checkpoint_of(parsed: Parsed, source: Source, options: ReadOptions) -> Checkpoint:
    """Choose the weights among what a file holds, and show them by name.

    Raises:
        CheckpointError: there are none, or no moving average where one is wanted.
        LimitError: more tensors than `TENSORS`.
    """
    work = Work()
    walk = Walk(parsed.root, work)
    chosen, notes, averaged = choose(walk.sets(), options)
    if not chosen and not (type(parsed.root) is Pairs and not parsed.root.items):
        _refuse(walk)
    if walk.nameless:
        notes += (f"left out, since they have no name: {walk.nameless} tensors of three axes or more",)
    if walk.cut:
        notes += (f"what lies deeper than {NESTING} dicts and lists was not looked at",)
    tensors: dict[str, TensorRef] = {}
    convs: dict[str, ConvSpec] = {}
    numbers: dict[str, int] = {}
    inner = ReadOptions() if averaged else options
    for prefix, chosen_set in zip(_prefixes(chosen), chosen, strict=True):
        refs, specs, more = _shown(chosen_set, parsed, inner)
        notes += more
        for name, ref in refs.items():
            if prefix:
                work.name(len(prefix) + len(name))
            unique = _unique(prefix + name, tensors, numbers)
            tensors[unique] = replace(ref, name=unique) if unique != ref.name else ref
        convs |= {prefix + name: spec for name, spec in specs.items()}
    if len(tensors) > TENSORS:
        raise LimitError(f"has more than {TENSORS} tensors, limit TENSORS")
    kind = "torch-module" if any(one.module for one in chosen) else "torch-state-dict"
    return Checkpoint(
        source.path,
        kind,
        tensors,
        convs,
        parsed.notes + notes + shard_note(source.path),
        source.close,
        saved_epoch(by_text(parsed.root.items)) if type(parsed.root) is Pairs else None,
    )


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
    return {shown[name]: replace(ref, name=shown[name]) for name, ref in refs.items()}, specs, chosen.notes


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
        notes = (f"weights from {taken}; the file also holds {names}{more}",)
    elif len(chosen) > 1:
        places = [f"'{one.place}'" for one in chosen]
        notes = (f"holds {len(chosen)} sets of weights: {', '.join(places[:5])}",)
    elif meant and meant is averages and options.weights == "plain":
        notes = (f"weights from '{chosen[0].place}', a moving average: the file holds no others",)
    return chosen, notes, bool(meant) and meant is averages


def _one_of_each(sets: list[WeightSet]) -> list[WeightSet]:
    """Of sets that could be copies of one network, the one that a module or a known word marks; all where none does."""
    copies: dict[frozenset[tuple[str, tuple[int, ...]]], list[WeightSet]] = {}
    for one in sets:
        copies.setdefault(one.likeness, []).append(one)
    dropped: set[int] = set()
    for group in copies.values():
        if not any(one.module or "." in name for one in group for name in one.tensors):
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


def _unique(name: str, taken: Mapping[str, Any], numbers: dict[str, int]) -> str:
    """A name that is free; `numbers` keeps how far each has been counted."""
    unique = name
    while unique in taken:
        numbers[name] = numbers.get(name, 1) + 1
        unique = f"{name} ({numbers[name]})"
    return unique


def _refuse(walk: Walk) -> NoReturn:
    """Say what a file holds that holds no weights."""
    if walk.arrays:
        raise CheckpointError("holds arrays of numpy, no tensors of torch", cure=ARRAYS)
    if walk.optimizer:
        raise CheckpointError("holds an optimizer's state, no weights", cure="name the checkpoint with the weights")
    raise CheckpointError(
        f"holds {_what(walk.root)}, no names with tensors", cure="save the state dict with torch.save"
    )


def _what(root: Any) -> str:
    """A value in a few words."""
    if type(root) is Tensor:
        return "one tensor without a name"
    if type(root) is Placeholder:
        return f"an object of {printable(root.cls.full, 100)}"
    if type(root) is Pairs:
        keys = [f"'{printable(key, 40)}'" for key, _ in root.items if type(key) is str]
        return f"a dict of {', '.join(keys[:5]) or 'no names'}"
    if type(root) in (list, tuple):
        return f"a list of {len(root)} values"
    return f"one value ({type(root).__name__})"
