"""Where the weights are in a file's value: every mapping of names to tensors, every whole module."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from gcx.errors import MESSAGE_LIMIT, LimitError
from gcx.limits import NESTING, WEIGHT_SETS
from gcx.readers.torch.modules import attributes, is_module, read_tree
from gcx.readers.torch.program_weights import is_large
from gcx.readers.torch.values import Pairs, Placeholder, Tensor
from gcx.readers.torch.work import Work
from gcx.readers.weight_sets import MOMENTS, WeightSet, by_text, is_name, stands_beside

_OPTIMIZER_CLASS = re.compile(r"optim(?!izedmodule)", re.IGNORECASE)
"""torch.compile's OptimizedModule holds weights."""
_CONTAINERS = (Pairs, Placeholder, list, tuple)


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
        if tensors.keys() <= MOMENTS:
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
        if not stands_beside(key):
            return True
        self.optimizer = True
        return False
