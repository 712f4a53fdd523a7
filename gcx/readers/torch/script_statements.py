"""What a TorchScript archive states about its convolutions: in the state of modules, in constants, in code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from gcx.readers.torch.program_weights import ELSEWHERE, KEPT_AS, PARTS, is_large
from gcx.readers.torch.recorded import Recorded
from gcx.readers.torch.script_code import Class
from gcx.readers.torch.script_following import Followed
from gcx.readers.torch.script_modules import Modules
from gcx.readers.torch.script_routines import Call
from gcx.readers.torch.script_values import GIVEN, Kept, Parameter, Place, Value
from gcx.readers.torch.values import Placeholder, Tensor

_CONSTANTS = "CONSTANTS"
"""Under this name torch's code speaks of the archive's constants."""
_MOST_TENSORS = 64
"""Of a module that computes a weight; one with more is not looked through."""


@dataclass
class Program:
    """The tensors of a program, constants among them, and what it states about them."""

    modules: Modules
    recorded: Recorded = field(init=False)
    unsaved: int = 0
    """Convolutions whose weights torch does not save."""
    _used: set[int] = field(default_factory=set)
    """Constants that have a name as weight or bias."""
    _run: set[int] = field(default_factory=set)
    _home: str = _CONSTANTS
    _followed: Followed = field(init=False)

    def __post_init__(self) -> None:
        self.recorded = Recorded(self.modules.tensors, self.modules.parameters)
        self._followed = Followed(self.modules)

    def read(self, root: Any) -> None:
        """Look through all modules, then name the constants.

        Raises:
            CheckpointError: the root is no module, or one contains itself.
            LimitError: `MODULES`, `TENSORS`, `LOOKS`, or names beyond `NAME` and `NAMES`.
        """
        modules = self.modules
        while type(root) is Placeholder and self._home in modules.attributes(root):
            self._home += "_"
        # A module may use what one that comes later keeps.
        found = list(modules.walk(root))
        self._run = self._all_run(root)
        late: list[tuple[str, Placeholder, Call, bool]] = []
        for prefix, module in found:
            known = modules.known(module)
            packed = modules.quantised(module)
            if packed is not None:
                self.recorded.used(f"{prefix}weight", packed.groups, packed.transposed)
            if known is not None:
                self.unsaved += known.unsaved
                self._constants_of(prefix, module, known)
                late += ((prefix, module, call, len(known.calls) == 1) for call in self._code_of(prefix, module, known))
        for prefix, module, call, alone in late:
            self._computed(prefix, module, call, alone)
        for number, constant in enumerate(modules.constants):
            name = modules.name(f"{self._home}.c{number}")
            if type(constant) is Tensor and number not in self._used:
                modules.tensors[name] = constant
            else:
                modules.unpack(f"{name}.", constant)
        for name, packed in modules.packed:
            self.recorded.used(name, packed.groups, packed.transposed)

    def notes(self) -> tuple[str, ...]:
        notes = (*self.recorded.notes(), *self.modules.notes())
        if self.unsaved:
            what = "convolution" if self.unsaved == 1 else "convolutions"
            notes += (f"{self.unsaved} {what} without weights: {UNSAVED}",)
        return notes

    def _constants_of(self, prefix: str, module: Placeholder, known: Class) -> None:
        """What the class's constants say, as `nn.ConvNd` has them."""
        if not {"groups", "kernel_size"} <= known.constants.keys():
            return
        transposed = self.modules.attributes(module).get("transposed")
        weight = next((name for name in KEPT_AS if prefix + name in self.modules.tensors), None)
        if weight is not None:
            groups = _whole(known.constants["groups"])
            self.recorded.state(prefix + weight, groups, transposed if type(transposed) is bool else None)

    def _code_of(self, prefix: str, module: Placeholder, known: Class) -> list[Call]:
        """Say what is used as it is kept; the calls that are left are those over weights that are computed or given."""
        calls = [*self._followed.calls(module, known), *known.calls]
        self.modules.work.look(len(calls))
        left = []
        for call in calls:
            if call.weight is not None and call.weight.place is not None:
                self._used_as_kept(prefix, module, call.weight.place, call)
            else:
                left.append(call)
        return left

    def _computed(self, prefix: str, module: Placeholder, call: Call, alone: bool) -> None:
        """A convolution over a weight that is computed or given, once it is known what others use as it is kept."""
        weight = call.weight
        if weight is not None and weight.places:
            # What a layer makes of its input is no form of that layer's weight.
            parts = list(self._made_of(prefix, module, weight))
            made_of = [name for name in parts if not self.recorded.is_used(name)]
            if made_of == parts or any(is_large(self.modules.tensors.get(name)) for name in made_of):
                by = self._maker(module, weight)
                self.recorded.computed(made_of, by, self._groups(module, call), call.transposed)
        elif alone:
            self._given(prefix, module, call)

    def _given(self, prefix: str, module: Placeholder, call: Call) -> None:
        """The one convolution of a module that is given its weight: by a hook, or by those that run it."""
        groups = self._groups(module, call)
        if made_of := self._parts(prefix, module):
            self.recorded.computed(made_of, ELSEWHERE, groups, call.transposed)
        elif call.weight == GIVEN:
            # A module that torch found under two names is given its own weight by those that run it.
            self.recorded.state(f"{prefix}weight", groups, call.transposed)

    def _all_run(self, root: Any) -> set[int]:
        """By `id` the modules that run when the program does; torch writes the code of others, too."""
        found: dict[int, Placeholder] = {id(root): root}
        ahead = [root]
        while ahead:
            module = ahead.pop()
            known = self.modules.known(module)
            for place in () if known is None else known.runs:
                value = self.modules.at(module, place)
                if type(value) is Placeholder and id(value) not in found:
                    found[id(value)] = value
                    ahead.append(value)
        return set(found)

    def _used_as_kept(self, prefix: str, module: Placeholder, place: Place, call: Call) -> None:
        if not isinstance(place, Parameter) and is_large(self.modules.at(module, place)):
            name = self._weight_name(prefix, module, place, call)
            state = self.recorded.used if id(module) in self._run else self.recorded.state
            state(name, self._groups(module, call), call.transposed)

    def _parts(self, prefix: str, module: Placeholder) -> list[str]:
        """The part that stands for the weight of a module that is given its weight, as the older hooks of torch do."""
        held = [part for part in PARTS if is_large(self.modules.at(module, tuple(part.split("."))))]
        return [self.modules.name(prefix, held[0])] if len(held) == 1 else []

    def _made_of(self, prefix: str, module: Placeholder, weight: Value) -> Iterator[str]:
        """The tensors that a weight is computed from; of a module whose method computes it, all that it holds."""
        for place in weight.places:
            found = self.modules.at(module, place)
            if type(found) is Tensor and isinstance(place, tuple):
                yield self.modules.name(prefix, ".".join(place))
            elif type(found) is Tensor:
                name = self.modules.name(f"{self._home}.c{place}")
                self.modules.tensors[name] = found
                yield name
            elif type(found) is Placeholder and isinstance(place, tuple):
                held = self.modules.attributes(found)
                self.modules.work.look(len(held))
                inside = "".join(f"{name}." for name in place)
                if len(held) <= _MOST_TENSORS:
                    for name, value in held.items():
                        if type(value) is Tensor:
                            yield self.modules.name(prefix, inside, name)

    def _maker(self, module: Placeholder, weight: Value) -> str:
        """What computes a weight; where that is a list of parametrizations, their classes."""
        place = weight.places[0] if len(weight.places) == 1 else None
        found = None if place is None else self.modules.at(module, place)
        if type(found) is not Placeholder:
            return weight.by or ""
        held = self.modules.attributes(found)
        made_by = [value.cls.name for name, value in held.items() if name.isdecimal() and type(value) is Placeholder]
        return ", ".join(made_by) or weight.by or ""

    def _groups(self, module: Placeholder, call: Call) -> int | None:
        value = call.groups
        if value is None:
            return None
        if value.by is None:
            kept = None if value.place is None else self.modules.at(module, value.place)
            return _whole(kept if value.literal is None else value.literal)
        axis = _whole(value.literal)
        if value.by == "size" and axis is not None and len(value.places) == 1:
            tensor = self.modules.at(module, value.places[0])
            return tensor.shape[axis] if type(tensor) is Tensor and axis < len(tensor.shape) else None
        return None

    def _weight_name(self, prefix: str, module: Placeholder, place: Kept, call: Call) -> str:
        """The name of the weight that a call means; a constant gets one here."""
        modules = self.modules
        if isinstance(place, tuple):
            return modules.name(prefix, ".".join(place))
        home = modules.name(f"{self._home}.c{place}.")
        modules.tensors[f"{home}weight"] = modules.constants[place]
        self._used.add(place)
        bias = None if call.bias is None else call.bias.place
        added = modules.at(module, bias) if isinstance(bias, int) else None
        if type(added) is Tensor and isinstance(bias, int):
            modules.tensors[f"{home}bias"] = added
            self._used.add(bias)
        return f"{home}weight"


UNSAVED = "torch does not save them once optimize_for_inference has made the program ready for oneDNN"


def _whole(value: Any) -> int | None:
    """A number of groups, from text or a value; None for anything else."""
    if type(value) is str:
        return int(value) if value.isdecimal() and value.isascii() and len(value) < 10 else None
    return value if type(value) is int else None
