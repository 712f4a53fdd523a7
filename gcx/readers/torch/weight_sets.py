"""Where the weights are in a file's value: every mapping of names to tensors, every whole module."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gcx.checkpoint import ConvSpec
from gcx.errors import MESSAGE_LIMIT, LimitError, printable
from gcx.limits import NESTING, WEIGHT_SETS
from gcx.readers.names import shown_names
from gcx.readers.torch.modules import attributes, is_module, read_tree
from gcx.readers.torch.values import Pairs, Placeholder, Tensor
from gcx.readers.torch.weight_parts import is_large
from gcx.readers.torch.work import Work

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
    r"optim|(^|_)opt($|_)|(^|_)(lr_?)?sched(ulers?)?($|_)|(^|_)(grad|loss|amp)?_?scalers?($|_)|^amp$|(^|_)rng(_|$)|^callbacks$|^loops$"
    r"|^hyper_parameters$|^param_groups$|^momentum(_buffers?)?$|exp_avg",
    re.IGNORECASE,
)
"""Keys of what stands beside weights and may hold tensors of their shapes."""
_OPTIMIZER_CLASS = re.compile(r"optim(?!izedmodule)", re.IGNORECASE)
"""torch.compile's OptimizedModule holds weights."""
_MOMENT_WORDS = "exp_avg exp_avg_sq max_exp_avg_sq momentum_buffer square_avg acc_delta grad_avg step sum exp_inf"
_MOMENTS = frozenset(_MOMENT_WORDS.split())
_CONTAINERS = (Pairs, Placeholder, list, tuple)


@dataclass(frozen=True, eq=False)
class WeightSet:
    """Names to tensors in one place of the file."""

    path: tuple[str, ...]
    """Keys from the root."""
    tensors: dict[str, Tensor]
    convs: dict[str, ConvSpec] = field(default_factory=dict)
    module: bool = False
    notes: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        return printable(".".join(self.path), MESSAGE_LIMIT // 2) or "the top"

    @property
    def score(self) -> int:
        """Tensors that could be convolutions."""
        return sum(map(is_large, self.tensors.values()))

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


class Walk:
    """One look through a value, in file order, without recursion, each container once."""

    def __init__(self, root: Any, work: Work):
        self.root = root
        self.work = work
        self.seen: set[int] = set()
        self.path: list[str] = []
        self.optimizer = False
        """An optimizer's state was passed over."""
        self.arrays = False
        """There were arrays of numpy."""
        self.cut = False
        """Something lies too deep."""
        self.nameless = 0
        """Tensors that could be convolutions and have no name."""

    def sets(self) -> list[WeightSet]:
        """Every set of named tensors; what belongs to an optimizer is passed over.

        Raises:
            LimitError: `WEIGHT_SETS`, `LOOKS`, or a name longer than `NAME`.
        """
        found: list[WeightSet] = []
        waiting = [iter([("", self.root)])]
        while waiting:
            step = next(waiting[-1], None)
            if step is None:
                waiting.pop()
                if self.path:
                    self.path.pop()
                continue
            key, value = step
            if id(value) in self.seen:
                continue
            if len(waiting) > NESTING:
                self.cut = True
                continue
            self.seen.add(id(value))
            if len(waiting) > 1:
                self.path.append(key)
            here, inner = self._look_into(value)
            if here is not None:
                self.work.name(sum(map(len, self.path)))
                found.append(here)
                if len(found) > WEIGHT_SETS:
                    raise LimitError(f"has more than {WEIGHT_SETS} dicts of tensors, limit WEIGHT_SETS")
            waiting.append(inner)
        return found

    def _look_into(self, value: Any) -> tuple[WeightSet | None, Iterator[tuple[str, Any]]]:
        """The tensors that a container names, and the containers in it."""
        path = tuple(self.path)
        if type(value) in (list, tuple):
            self.work.look(len(value))
            self.nameless += sum(map(is_large, value))
            return None, ((str(at), item) for at, item in enumerate(value) if type(item) in _CONTAINERS)
        if is_module(value, self.work):
            tree = read_tree(value, self.work)
            if tree.tensors:
                return WeightSet(path, tree.tensors, tree.convs, module=True, notes=tree.notes), iter(())
        named, given = self._named(value)
        if named.keys() >= {"param_groups", "state"}:
            self.optimizer = True
            return None, iter(())
        tensors = {key: child for key, child in named.items() if type(child) is Tensor}
        inner = [(key, child) for key, child in named.items() if type(child) in _CONTAINERS and self._is_weighty(key)]
        if tensors.keys() <= _MOMENTS:
            self.optimizer = self.optimizer or bool(tensors)
            return None, iter(inner + given)
        return WeightSet(path, tensors), iter(inner + given)

    def _named(self, value: Any) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
        """What a dict or an object holds by name, and what it was given without one."""
        if type(value) is Pairs:
            self.work.look(len(value.items))
            self.nameless += sum(is_large(one) and not is_name(key) for key, one in value.items)
            return by_text(value.items), []
        if type(value) is not Placeholder:
            return {}, []
        if _OPTIMIZER_CLASS.search(value.cls.full[:MESSAGE_LIMIT]):
            self.optimizer = True
            return {}, []
        if value.cls.full.endswith("multiarray._reconstruct"):
            self.arrays = True
            return {}, []
        items, given = value.items or [], [value.args, value.elements or []]
        self.work.look(len(items))
        held = by_text(items) | attributes(value, self.work)
        return held, [(str(at), one) for at, one in enumerate(given) if type(one) in _CONTAINERS and one]

    def _is_weighty(self, key: str) -> bool:
        if _OPTIMIZER.search(key[:MESSAGE_LIMIT]) is None:
            return True
        self.optimizer = True
        return False


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
