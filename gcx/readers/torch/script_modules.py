"""The modules of a TorchScript archive: placeholders whose attributes are tensors, numbers and other modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gcx.errors import MESSAGE_LIMIT, CheckpointError, LimitError, printable
from gcx.limits import TENSORS
from gcx.readers.torch.modules import walk_modules
from gcx.readers.torch.packed import CLASSES, Numbers, Packed, packed_parameters, quantised_conv
from gcx.readers.torch.program_weights import is_large
from gcx.readers.torch.script_code import Class
from gcx.readers.torch.script_values import Place
from gcx.readers.torch.values import CURE, Pairs, Placeholder, Tensor
from gcx.readers.torch.work import Work

_HOME = "__torch__."
_PACKED = "_packed_params."
"""Quantised modules keep their parameters under this name; their state dict shows `weight` all the same."""
_SHOWN = 3
"""Names of tensors that are left out which are said."""


@dataclass(frozen=True, slots=True)
class _Held:
    """What a module holds."""

    attributes: dict[str, Any]
    packed: Packed | None = None


class Modules:
    """The modules of one program, its tensors by name, and what is kept where.

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
        self.parameters: set[str] = set()
        """Names of those that are trained."""
        self.packed: list[tuple[str, Packed]] = []
        """Quantised convolutions that are kept packed, by the name of the weight."""
        self._left_out = 0
        self._left_out_names: list[str] = []
        """Tensors that could be convolutions, and are neither parameters nor buffers."""
        self._not_understood = 0
        """Objects of torch's own."""
        self._held: dict[int, _Held] = {}

    def walk(self, root: Any) -> Iterator[tuple[str, Placeholder]]:
        """Every module, once its parameters and buffers have their names.

        They are those of `named_parameters` and `named_buffers`.

        Raises:
            CheckpointError: the root is no module, or one contains itself.
            LimitError: `MODULES`, `TENSORS`, `LOOKS`, or names beyond `NAME` and `NAMES`.
        """
        if not self._is_module(root):
            raise CheckpointError("is a TorchScript archive without a module", cure=CURE)
        for prefix, module in walk_modules(root, self._children, self.work):
            self._name_tensors(prefix, module)
            if len(self.tensors) > TENSORS:
                raise LimitError(f"has more than {TENSORS} tensors, limit TENSORS")
            yield prefix, module

    def notes(self) -> tuple[str, ...]:
        notes: tuple[str, ...] = ()
        if self._left_out:
            names = ", ".join(printable(name, MESSAGE_LIMIT) for name in self._left_out_names)
            more = self._left_out - len(self._left_out_names)
            also = f" and {more} more" if more else ""
            notes += (f"left out, since neither parameter nor buffer: {names}{also}",)
        if self._not_understood:
            what = "object" if self._not_understood == 1 else "objects"
            how = "in which torch packs parameters in a way not understood"
            notes += (f"left out: {self._not_understood} {what} {how}",)
        return notes

    def attributes(self, module: Placeholder) -> dict[str, Any]:
        return self._of(module).attributes

    def known(self, module: Placeholder) -> Class | None:
        return self.classes.get(module.cls.full)

    def quantised(self, module: Placeholder) -> Packed | None:
        """What a module is that keeps a quantised convolution itself."""
        return self._of(module).packed

    def at(self, module: Placeholder, place: Place) -> Any:
        """The value in a place; None where there is none."""
        if isinstance(place, int):
            self.work.look(1)
            return self.constants[place] if place < len(self.constants) else None
        value: Any = module
        for name in place if isinstance(place, tuple) else ():
            if type(value) is not Placeholder:
                return None
            self.work.look(1)
            value = self.attributes(value).get(name)
        return value

    def name(self, *parts: str) -> str:
        name = "".join(parts)
        self.work.name(len(name))
        return name

    def unpack(self, prefix: str, value: Any) -> None:
        """Name the weight and bias of a quantised layer that is kept packed."""
        packed = packed_parameters(value, self.numbers)
        if packed is None:
            self._not_understood += type(value) is Placeholder and value.cls.full.startswith(CLASSES)
            return
        prefix = prefix.removesuffix(_PACKED).removesuffix(_PACKED)
        for name, tensor in (("weight", packed.weight), ("bias", packed.bias)):
            if tensor is not None:
                self.tensors.setdefault(self.name(prefix, name), tensor)
        if packed.transposed is not None:
            self.packed.append((f"{prefix}weight", packed))

    def _of(self, module: Placeholder) -> _Held:
        found = self._held.get(id(module))
        if found is None:
            packed = quantised_conv(module)
            if packed is not None:
                found = _Held({"weight": packed.weight, "bias": packed.bias}, packed)
            else:
                found = _Held(module.state.named() if type(module.state) is Pairs else {})
            self.work.look(len(found.attributes))
            self._held[id(module)] = found
        return found

    def _is_module(self, value: Any) -> bool:
        if type(value) is not Placeholder or not f"{value.cls.full}.".startswith(_HOME):
            return False
        known = self.known(value)
        return not value.cls.full.startswith(CLASSES) and (known is None or known.module)

    def _children(self, module: Placeholder) -> Iterator[tuple[str, Placeholder]]:
        found = self.attributes(module)
        self.work.look(len(found))
        return ((name, child) for name, child in found.items() if self._is_module(child))

    def _name_tensors(self, prefix: str, module: Placeholder) -> None:
        """Name what a module holds itself: parameters, then buffers, in the order in which its class lists them."""
        found, known = self.attributes(module), self.known(module)
        self.work.look(len(found))
        held = {name: value for name, value in found.items() if type(value) is Tensor}
        if known is not None and known.parameters is not None and type(module.state) is Pairs:
            places = known.parameters
            trained = sorted((name for name in held if name in places), key=places.__getitem__)
            listed = dict.fromkeys(held, 0) if known.buffers is None else known.buffers
            others = sorted((name for name in held if name in listed and name not in places), key=listed.__getitem__)
            self.parameters.update(prefix + name for name in trained)
            held = {name: held[name] for name in (*trained, *others)}
        for name, tensor in held.items():
            self.tensors[self.name(prefix, name)] = tensor
        for name, value in found.items():
            self._leave_out(prefix, name, value if name not in held else None)
            self.unpack(f"{prefix}{name}.", value)

    def _leave_out(self, prefix: str, name: str, value: Any) -> None:
        values = value if type(value) is list else [value]
        self.work.look(len(values))
        count = sum(map(is_large, values))
        self._left_out += count
        if count and len(self._left_out_names) < _SHOWN:
            self._left_out_names.append(prefix + name)
