"""Names as they are shown, and which of two copies of the weights is meant: for formats whose names are flat."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gcx.checkpoint import TensorRef
from gcx.errors import CheckpointError, UsageError, printable
from gcx.readers.base import ReadOptions

EMA_PREFIXES = ("ema.", "ema_model.", "model_ema.")
"""Under these a moving average of the weights lies beside them."""

_MODULE = "module."
_PARAMETRISED = "parametrizations.weight"
"""Under it torch keeps what a weight is computed from."""
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.\w+)")
_COUNTERS = frozenset({"n_averaged"})
"""torch's AveragedModel counts beside the module that it wraps."""


def shown_names(names: Iterable[str]) -> dict[str, str]:
    """Drop what wrappers put before every name: `module.` (DataParallel, DDP) and `_orig_mod.` (torch.compile).

    `module.` goes only where every name has it, since a network may have a child of that name; `_orig_mod` is torch's
    own word and goes wherever it stands. Names that would fall together stay as they are.

    Returns:
        Original name to shown name, in the order given; no two are shown alike.

    >>> shown_names(["module._orig_mod.conv.weight", "module.conv.bias"])
    {'module._orig_mod.conv.weight': 'conv.weight', 'module.conv.bias': 'conv.bias'}
    """
    shown = {name: _without_orig_mod(name) for name in names}
    times = min((_wrapped(short) for short in shown.values() if _last(short) not in _COUNTERS), default=0)
    shown = {name: short[min(times, _wrapped(short)) * len(_MODULE) :] for name, short in shown.items()}
    counts = Counter(shown.values())
    clashing = {short for short, count in counts.items() if count > 1}
    while clashing:
        shown = {name: name if short in clashing else short for name, short in shown.items()}
        counts = Counter(shown.values())
        clashing = {short for short, count in counts.items() if count > 1}
    return shown


def _without_orig_mod(name: str) -> str:
    if "_orig_mod." not in name:
        return name
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def _wrapped(name: str) -> int:
    """How many times `module.` stands before a name."""
    at = 0
    while name.startswith(_MODULE, at) and len(name) > at + len(_MODULE):
        at += len(_MODULE)
    return at // len(_MODULE)


def _last(name: str) -> str:
    """What stands behind them."""
    return name[_wrapped(name) * len(_MODULE) :]


def shard_note(path: str) -> tuple[str, ...]:
    """A note for whoever names one part of a checkpoint in several files.

    >>> shard_note("model-00001-of-00003.safetensors")
    ('one shard of 3: model.safetensors.index.json names them all',)
    >>> shard_note("model.safetensors")
    ()
    """
    part = _SHARD.fullmatch(Path(path).name)
    if part is None or int(part[3]) < 2:
        return ()
    return (f"one shard of {int(part[3])}: {part[1]}{part[4]}.index.json names them all",)


def present(refs: Mapping[str, TensorRef], options: ReadOptions) -> tuple[dict[str, TensorRef], tuple[str, ...]]:
    """Choose between the weights and their moving average, then show the names.

    Args:
        refs: by the names in the file.
        options: `weights` chooses.

    Returns:
        The chosen tensors by shown name, and notes on what else there was.

    Raises:
        UsageError: a moving average is wanted and there is none.
    """
    chosen = dict(refs)
    notes: tuple[str, ...] = ()
    prefix, twins = _moving_average(refs)
    if twins:
        chosen = {name: ref for name, ref in refs.items() if not name.startswith(prefix)}
        if options.weights == "ema":
            chosen |= {plain: refs[averaged] for averaged, plain in twins.items()}
        other = f"the moving average under '{prefix}'"
        notes = (f"measured {other}" if options.weights == "ema" else f"left out {other}: --weights ema measures it",)
    elif options.weights == "ema":
        raise no_moving_average()
    shown = shown_names(chosen)
    return {shown[name]: _renamed(ref, shown[name]) for name, ref in chosen.items()}, notes


def no_moving_average() -> UsageError:
    """The error for whoever asks for a moving average that is not there."""
    return UsageError("holds no moving average of its weights", cure="leave out --weights ema")


def module_of(tensor: str) -> str:
    """The module that a tensor belongs to; a weight without one stands for itself, a parametrised one for its whole.

    >>> module_of("layer1.conv.weight"), module_of("weight"), module_of("a.parametrizations.weight.original")
    ('layer1.conv', 'weight', 'a')
    """
    module = tensor.rpartition(".")[0]
    if module == _PARAMETRISED or module.endswith(f".{_PARAMETRISED}"):
        return module[: -len(_PARAMETRISED)].removesuffix(".") or "weight"
    return module or tensor


def _renamed(ref: TensorRef, name: str) -> TensorRef:
    return ref if ref.name == name else replace(ref, name=name)


def _moving_average(refs: Mapping[str, TensorRef]) -> tuple[str, dict[str, str]]:
    """Find names under an EMA prefix of which each has a plain twin of its shape; some writers leave out the dots."""
    for prefix in EMA_PREFIXES:
        averaged = [name for name in refs if name.startswith(prefix)]
        if not averaged:
            continue
        plain: dict[str, str] = {}
        for name in refs:
            if not name.startswith(prefix):
                for short in (name, name.removeprefix("model."), name.removeprefix("module.")):
                    plain.setdefault(short.replace(".", ""), name)
        twins: dict[str, str] = {}
        for name in averaged:
            short = name.removeprefix(prefix)
            for key in (short, short.removeprefix("module."), short.removeprefix("model.")):
                twin = plain.get(key.replace(".", ""))
                if twin is not None and refs[twin].shape == refs[name].shape:
                    twins[name] = twin
                    break
        if all(name in twins for name in averaged if len(refs[name].shape) > 1) and twins:
            return prefix, twins
    return "", {}


def check_beside(name: str, what: str) -> None:
    """Hold a file name that a file states to the file's own folder: no folder in it, no way up, nothing odd.

    Raises:
        CheckpointError: it is not a plain file name.
    """
    if name in ("", ".", "..") or len(name.encode()) > 255 or any(char in "/\\:" or char < " " for char in name):
        raise CheckpointError(
            f"names {what} that is not a plain file name: '{printable(name, 100)}'",
            cure="put it into the same folder",
        )


EPOCHS = ("epoch", "epochs", "current_epoch", "global_step", "step", "iteration", "iter")
"""Keys under which training scripts keep when a checkpoint was saved, the likeliest first."""
_LAST_EPOCH = 10**12


def saved_epoch(values: Mapping[Any, Any]) -> int | None:
    """When a checkpoint was saved, of what stands beside its weights.

    >>> saved_epoch({"step": 500, "epoch": 3, "state_dict": {}}), saved_epoch({"epoch": True}), saved_epoch({})
    (3, None, None)
    """
    for key in EPOCHS:
        value = values.get(key)
        if type(value) is int and 0 <= value < _LAST_EPOCH:
            return value
    return None
