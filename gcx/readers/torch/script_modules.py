"""The modules of a TorchScript archive: placeholders whose attributes are tensors, numbers and other modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gcx.errors import CheckpointError, LimitError
from gcx.limits import TENSORS
from gcx.readers.torch.modules import walk_modules
from gcx.readers.torch.packed import CLASSES, Numbers, packed_parameters, quantised_conv
from gcx.readers.torch.script_code import Class, Place
from gcx.readers.torch.values import CURE, Pairs, Placeholder, Tensor
from gcx.readers.torch.work import Work

_HOME = "__torch__."
_WEIGHTS = ("weight", "weight_v", "weight_orig")
"""Under one of these `nn.ConvNd` keeps its numbers."""
_PARTS = (
    ("weight_v",),
    ("weight_orig",),
    ("parametrizations", "weight", "original"),
    ("parametrizations", "weight", "original1"),
)
"""Where a module keeps what its weight is computed from, the part of the weight's shape."""
_CONVOLUTION = 3
_PACKED = "_packed_params."
"""Quantised modules keep their parameters under this name; their state dict shows `weight` all the same."""


class ScriptWalk:
    """One look through a program: its tensors by name, and what it states about convolutions.

    Args:
        constants: the value of `constants.pkl`, to which the code refers by number.
        classes: what the code says, by full name of the class.
        numbers: reads the settings of quantised convolutions.
    """

    def __init__(self, constants: Any, classes: Mapping[str, Class], numbers: Numbers):
        self.constants: tuple[Any, ...] = constants if type(constants) is tuple else ()
        self.classes = classes
        self.numbers = numbers
        self.work = Work()
        self.tensors: dict[str, Tensor] = {}
        self.stated: list[tuple[str, int | None, bool | None]] = []
        """Name of a weight, groups, transposed."""
        self.left_out = 0
        """Tensors that could be convolutions, and are neither parameters nor buffers."""
        self.packed = 0
        """Objects of torch's own that are not understood."""
        self._attributes: dict[int, dict[str, Any]] = {}
        self._used: set[int] = set()
        """Constants that have a name as weight or bias."""

    def read(self, root: Any) -> dict[str, Tensor]:
        """Parameters and buffers as `named_parameters` and `named_buffers` name them; then the code's constants.

        Raises:
            CheckpointError: the root is no module, or one contains itself.
            LimitError: `MODULES`, `TENSORS`, `LOOKS`, or names beyond `NAME` and `NAMES`.
        """
        if not self._is_module(root):
            raise CheckpointError("is a TorchScript archive without a module", cure=CURE)
        for prefix, module in walk_modules(root, self._children, self.work):
            self._hold(prefix, module)
            self._state(prefix, module)
            if len(self.tensors) > TENSORS:
                raise LimitError(f"has more than {TENSORS} tensors, limit TENSORS")
        for number, constant in enumerate(self.constants):
            name = self._name(f"CONSTANTS.c{number}")
            if type(constant) is Tensor and number not in self._used:
                self.tensors[name] = constant
            else:
                self._unpack(f"{name}.", constant)
        return self.tensors

    def notes(self) -> tuple[str, ...]:
        notes: tuple[str, ...] = ()
        if self.left_out:
            what = "tensors of three axes or more that are neither parameters nor buffers"
            notes += (f"left out: {self.left_out} {what}",)
        if self.packed:
            notes += (f"left out: {self.packed} objects in which torch packs parameters in a way not understood",)
        return notes

    def _of(self, module: Placeholder) -> dict[str, Any]:
        """A module's attributes by name."""
        found = self._attributes.get(id(module))
        if found is None:
            packed = quantised_conv(module)
            if packed is not None:
                found = {"weight": packed.weight, "bias": packed.bias}
            else:
                found = module.state.named() if type(module.state) is Pairs else {}
            self.work.look(len(found))
            self._attributes[id(module)] = found
        return found

    def _is_module(self, value: Any) -> bool:
        if type(value) is not Placeholder or not f"{value.cls.full}.".startswith(_HOME):
            return False
        known = self.classes.get(value.cls.full)
        return not value.cls.full.startswith(CLASSES) and (known is None or known.module)

    def _children(self, module: Placeholder) -> Iterator[tuple[str, Placeholder]]:
        found = self._of(module)
        self.work.look(len(found))
        return ((name, child) for name, child in found.items() if self._is_module(child))

    def _hold(self, prefix: str, module: Placeholder) -> None:
        """Name what a module holds itself: parameters, then buffers, in the order in which its class lists them."""
        found, known = self._of(module), self.classes.get(module.cls.full)
        self.work.look(len(found))
        names = list(found)
        if known is not None and known.parameters is not None and type(module.state) is Pairs:
            # Before torch 1.7 no class listed its buffers apart.
            names = list(dict.fromkeys([*known.parameters, *(names if known.buffers is None else known.buffers)]))
        held = {name: found[name] for name in names if type(found.get(name)) is Tensor}
        for name, tensor in held.items():
            self.tensors[self._name(prefix + name)] = tensor
        self.left_out += sum(_is_large(value) for name, value in found.items() if name not in held)
        for name, value in found.items():
            self._unpack(f"{prefix}{name}.", value)

    def _unpack(self, prefix: str, value: Any) -> None:
        """Name the weight and bias of a quantised layer that is kept packed."""
        packed = packed_parameters(value, self.numbers)
        if packed is None:
            if type(value) is Placeholder and value.cls.full.startswith(CLASSES):
                self.packed += 1
            return
        prefix = prefix.removesuffix(_PACKED).removesuffix(_PACKED)
        for name, tensor in (("weight", packed.weight), ("bias", packed.bias)):
            if tensor is not None:
                self.tensors.setdefault(self._name(prefix + name), tensor)
        if packed.transposed is not None:
            self.stated.append((f"{prefix}weight", packed.groups, packed.transposed))

    def _state(self, prefix: str, module: Placeholder) -> None:
        """What a module's state, its class's constants and its class's code say about convolutions."""
        packed = quantised_conv(module)
        if packed is not None:
            self.stated.append((f"{prefix}weight", packed.groups, packed.transposed))
        known = self.classes.get(module.cls.full)
        if known is None:
            return
        if {"groups", "kernel_size"} <= known.constants.keys():
            transposed = self._of(module).get("transposed")
            groups = _whole(known.constants["groups"])
            weight = next((name for name in _WEIGHTS if prefix + name in self.tensors), None)
            if weight is not None:
                self.stated.append((prefix + weight, groups, transposed if type(transposed) is bool else None))
        self.work.look(len(known.calls))
        for call in known.calls:
            if call.weight is None:
                name = self._parametrised(prefix, module) if len(known.calls) == 1 else None
            else:
                name = self._weight(prefix, module, call.weight, call.bias)
            if name is not None:
                count = call.groups if isinstance(call.groups, str) else self._at(module, call.groups)
                self.stated.append((name, _whole(count), call.transposed))

    def _parametrised(self, prefix: str, module: Placeholder) -> str | None:
        """The part that stands for the weight of a module that computes it: weight norm, spectral norm, pruning."""
        held = [place for place in _PARTS if _is_large(self._at(module, place))]
        return self._name(prefix + ".".join(held[0])) if len(held) == 1 else None

    def _weight(self, prefix: str, module: Placeholder, place: Place, bias: Place | None) -> str | None:
        """The name of the weight that a call means; a constant gets one here."""
        if isinstance(place, tuple):
            return self._name(prefix + ".".join(place))
        found = self._at(module, place)
        if type(found) is not Tensor:
            return None
        home = self._name(f"CONSTANTS.c{place}.")
        self.tensors[f"{home}weight"] = found
        self._used.add(place)
        added = self._at(module, bias) if isinstance(bias, int) else None
        if type(added) is Tensor and isinstance(bias, int):
            self.tensors[f"{home}bias"] = added
            self._used.add(bias)
        return f"{home}weight"

    def _at(self, module: Placeholder, place: Place | None) -> Any:
        """The value in a place; None where there is none."""
        if place is None:
            return None
        if isinstance(place, int):
            return self.constants[place] if place < len(self.constants) else None
        value: Any = module
        for name in place:
            if type(value) is not Placeholder:
                return None
            self.work.look(1)
            value = self._of(value).get(name)
        return value

    def _name(self, name: str) -> str:
        self.work.name(len(name))
        return name


def _whole(value: Any) -> int | None:
    """A number of groups, from text or a value; None for anything else."""
    if type(value) is str:
        return int(value) if value.isdecimal() and value.isascii() and len(value) < 10 else None
    return value if type(value) is int else None


def _is_large(value: Any) -> int:
    """How many tensors that could be convolutions an attribute holds."""
    if type(value) is list:
        return sum(type(item) is Tensor and len(item.shape) >= _CONVOLUTION for item in value)
    return int(type(value) is Tensor and len(value.shape) >= _CONVOLUTION)
