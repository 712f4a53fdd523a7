"""What a program states about its convolutions, settled: one statement per weight, none that cannot be."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from gcx.checkpoint import ConvSpec, TensorRef
from gcx.errors import MESSAGE_LIMIT, printable
from gcx.readers.torch.program_weights import is_large, is_put_together, main_parts, whole_name
from gcx.readers.torch.values import Tensor

T = TypeVar("T")


class Recorded:
    """Collects statements about the weights of one program.

    Args:
        tensors: the program's, by name; a statement about another is passed over.
        parameters: names of those that are trained.
    """

    def __init__(self, tensors: Mapping[str, Tensor], parameters: Collection[str]):
        self.tensors = tensors
        self.parameters = parameters
        self._specs: dict[str, ConvSpec] = {}
        self._used: set[str] = set()
        self._computed: dict[str, str] = {}
        self._disputed: dict[str, None] = {}
        self._both_ways: dict[str, None] = {}
        self._impossible: dict[str, None] = {}
        self._reshaped: dict[str, None] = {}

    def state(self, name: str, groups: int | None, transposed: bool | None) -> None:
        """A convolution with a weight of this name; None where it is not known."""
        if not is_large(self.tensors.get(name)):
            return
        if not self._divides(name, groups):
            self._impossible[name] = None
            return
        before = self._specs.get(name)
        if before is None or before.groups is None:
            self._specs[name] = ConvSpec(groups, before.transposed if before and transposed is None else transposed)
        elif groups is not None and groups != before.groups:
            self._disputed[name] = None
        elif transposed is not None and before.transposed is not None and transposed != before.transposed:
            self._both_ways[name] = None
            self._specs[name] = ConvSpec(groups, False)

    def used(self, name: str, groups: int | None, transposed: bool | None) -> None:
        """A convolution that uses a weight as it is kept."""
        self._used.add(name)
        self.state(name, groups, transposed)

    def is_used(self, name: str) -> bool:
        """Whether a convolution uses a weight as it is kept."""
        return name in self._used

    def computed(self, made_of: Collection[str], by: str, groups: int | None, transposed: bool | None) -> None:
        """A convolution with a weight that is computed.

        Args:
            made_of: the tensors that it is computed from.
            by: what computes it.
            groups: None where it is not known; so is the next.
            transposed: whether the convolution is.
        """
        mains = main_parts(made_of, self.tensors, self.parameters)
        if not mains:
            self._reshaped.update(dict.fromkeys(name for name in made_of if name in self.tensors))
        if not any(is_put_together(main, made_of, by, self.tensors) for main in mains):
            for name in filter(lambda name: is_large(self.tensors.get(name)), made_of):
                self._computed.setdefault(name, by)
        for main in mains:
            # The weight may have another shape than what it is computed from.
            if self._divides(main, groups):
                self.state(main, groups, transposed)

    def _divides(self, name: str, groups: int | None) -> bool:
        """The first axis of both kinds, out_channels or in_channels, holds whole groups."""
        return groups is None or (groups >= 1 and self.tensors[name].shape[0] % groups == 0)

    def specs(self, shown: Mapping[str, str]) -> dict[str, ConvSpec]:
        """What is stated, by the name under which a weight is shown; of a part, also by that of the whole.

        Args:
            shown: name to shown name, of every tensor.
        """
        sure = {name: spec for name, spec in self._specs.items() if name not in self._disputed}
        specs = {shown[name]: spec for name, spec in self._with_ties(sure).items() if name not in self._disputed}
        return {whole_name(name): spec for name, spec in specs.items()} | specs

    def unreadable(self) -> dict[str, str]:
        """Names of the weights that no convolution uses as they are kept, and why they are not measured."""
        used = {_place(self.tensors[name]) for name in self._used if name in self.tensors}
        found = self._with_ties(self._computed)
        return {
            name: f"is no weight itself: the program computes one from it (by `{printable(by, MESSAGE_LIMIT // 3)}`)"
            for name, by in found.items()
            if name not in self._used and (_place(self.tensors[name]) or name) not in used
        }

    def _with_ties(self, by_name: Mapping[str, T]) -> dict[str, T]:
        """The other names of one weight take what is said of the first."""
        by_place = {_place(self.tensors[name]): said for name, said in by_name.items()}
        by_place.pop(None, None)
        found = {}
        for name, tensor in self.tensors.items():
            if name in by_name:
                found[name] = by_name[name]
            elif is_large(tensor) and (place := _place(tensor)) in by_place:
                found[name] = by_place[place]
        return found

    def notes(self) -> tuple[str, ...]:
        """What was stated and is not used, and what is left open."""
        late = [name for name, spec in self._specs.items() if spec.groups is None]
        said = (
            (self._impossible, "the file states numbers of groups that cannot be, which are not used"),
            (self._disputed, "the file states two numbers of groups for one weight, which are not used"),
            (self._both_ways, "used as convolution and as transposed convolution"),
            (self._reshaped, "convolutions with a weight that is computed from others of fewer axes, not measured"),
            (late, "the number of groups is not known before the program runs"),
        )
        return tuple(f"{what}: {self._listed(names)}" for names, what in said if names)

    def _listed(self, names: Iterable[str]) -> str:
        shown = [f"{printable(name, MESSAGE_LIMIT)} of shape {self.tensors[name].shape}" for name in names]
        return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")


def without(refs: Mapping[str, TensorRef], unreadable: Mapping[str, str]) -> dict[str, TensorRef]:
    """The references, those that are not measured with the reason.

    Args:
        refs: by name.
        unreadable: name to reason.
    """
    return {
        name: replace(ref, unreadable=unreadable[name]) if name in unreadable and ref.unreadable is None else ref
        for name, ref in refs.items()
    }


def _place(tensor: Tensor) -> tuple[object, ...] | None:
    """Equal for two names of one weight."""
    if tensor.storage is None:
        return None
    return tensor.storage.key, tensor.storage.begin + tensor.offset, tensor.shape, tensor.stride
