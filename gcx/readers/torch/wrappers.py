"""From what a file holds to the weights in it: dicts within dicts, beside optimizer states, averages, other networks.

What belongs to an optimizer is left out; `weight_sets` chooses among the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NoReturn

from gcx.checkpoint import Checkpoint
from gcx.errors import CheckpointError, LimitError, printable
from gcx.limits import TENSORS
from gcx.readers.base import ReadOptions, Source
from gcx.readers.foreign import ARRAYS
from gcx.readers.names import module_of, no_moving_average, present, saved_epoch, shard_note, shown_names
from gcx.readers.torch.storages import ReadBytes, reference
from gcx.readers.torch.values import Pairs, Placeholder, Tensor
from gcx.readers.torch.walk import Walk
from gcx.readers.torch.work import Work
from gcx.readers.weight_sets import Shown, WeightSet, by_text, choose, left_out, merged, networks


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
    notes += left_out(walk.nameless, walk.cut)
    inner = ReadOptions() if averaged else options
    tensors, convs, more = merged(chosen, lambda one: _shown(one, parsed, inner), work.name)
    notes += more
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
        networks=networks(chosen),
    )


def _shown(chosen: WeightSet, parsed: Parsed, options: ReadOptions) -> Shown:
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
