"""What a program states about its convolutions, settled: one statement per weight, none that cannot be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from gcx.checkpoint import ConvSpec
from gcx.errors import MESSAGE_LIMIT, printable
from gcx.readers.names import module_of
from gcx.readers.torch.values import Tensor

_MAGNITUDES = ("weight_g", "original0", "weight_mask")
"""Of the rank of a weight, and no weight: what weight norm and pruning keep beside one."""
_CONVOLUTION = 3
"""Axes of a convolution's weight at least."""


class Recorded:
    """Collects statements about the weights of one program.

    Args:
        tensors: the program's, by name; a statement about another is passed over.
    """

    def __init__(self, tensors: Mapping[str, Tensor]):
        self.tensors = tensors
        self._specs: dict[str, ConvSpec] = {}
        self._disputed: set[str] = set()
        self._impossible: dict[str, None] = {}

    def state(self, name: str, groups: int | None, transposed: bool | None) -> None:
        """A convolution with a weight of this name; None where it is not known."""
        tensor = self.tensors.get(name)
        if tensor is None or len(tensor.shape) < _CONVOLUTION:
            return
        # The first axis of both kinds, out_channels or in_channels, holds whole groups.
        if groups is not None and (groups < 1 or tensor.shape[0] % groups):
            self._impossible[name] = None
            return
        before = self._specs.get(name)
        spec = ConvSpec(groups, transposed)
        if before is None or before.groups is None:
            self._specs[name] = spec
        elif groups is not None and before != spec:
            self._disputed.add(name)

    def by_module(self, shown: Mapping[str, str]) -> dict[str, ConvSpec]:
        """The specs by the name under which the weight's layer is shown.

        A second weight of a module is a layer of its own name; so is the first where nothing is stated about it, since
        it may turn out to be no convolution.

        Args:
            shown: name to shown name, of every tensor.
        """
        weights = [
            name
            for name, tensor in self.tensors.items()
            if len(tensor.shape) >= _CONVOLUTION and name.rpartition(".")[2] not in _MAGNITUDES
        ]
        specs = self._with_ties(weights)
        several = Counter(module_of(shown[name]) for name in weights)
        found: dict[str, ConvSpec] = {}
        seen: set[str] = set()
        for name in weights:
            module = module_of(shown[name])
            key = shown[name] if several[module] > 1 and module in seen else module
            seen.add(module)
            if name in specs:
                found[key] = specs[name]
        return found

    def _with_ties(self, weights: Iterable[str]) -> dict[str, ConvSpec]:
        """The other names of one weight take what is stated about the first."""
        specs = {name: spec for name, spec in self._specs.items() if name not in self._disputed}
        by_place = {_place(self.tensors[name]): spec for name, spec in specs.items()}
        by_place.pop(None, None)
        for name in weights:
            place = _place(self.tensors[name])
            if name not in self._disputed and place in by_place:
                specs.setdefault(name, by_place[place])
        return specs

    def notes(self) -> tuple[str, ...]:
        """What was stated and is not used."""
        notes: tuple[str, ...] = ()
        for names, what in (
            (list(self._impossible), "numbers of groups that cannot be, which are not used"),
            (sorted(self._disputed), "two numbers of groups for one weight, which are not used"),
        ):
            if names:
                first = ", ".join(
                    f"{printable(name, MESSAGE_LIMIT)} of shape {self.tensors[name].shape}" for name in names[:3]
                )
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                notes += (f"the file states {what}: {first}{more}",)
        return notes


def _place(tensor: Tensor) -> tuple[object, ...] | None:
    """Equal for two names of one weight."""
    if tensor.storage is None:
        return None
    return tensor.storage.key, tensor.storage.begin + tensor.offset, tensor.shape, tensor.stride
