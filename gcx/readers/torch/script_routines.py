"""One method or function of a TorchScript archive's code: what it convolves with, and to what it hands weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

from gcx.readers.torch.program_weights import MOST_PARTS
from gcx.readers.torch.script_calls import Handing, Written
from gcx.readers.torch.script_expressions import Values
from gcx.readers.torch.script_values import NOT_FOLLOWED, Parameter, Place, Value, bound

_UNSAVED = "ConstantMKLDNNTensor"
"""What stands where a weight was, in a program that was made ready for oneDNN."""


@dataclass(slots=True)
class Method:
    """One method, as far as it is read."""

    name: str
    this: str
    """The name of the parameter that is the module; empty in a function."""
    opening: bool
    """Its parameters are still to come."""
    parameters: list[str] = field(default_factory=list)
    """Beside the module."""
    assigned: dict[str, list[tuple[str, bool]]] = field(default_factory=dict)
    """Local names, as `Values` takes them."""
    calls: dict[Written, None] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)
    """What is changed in place, as it is written, and by what."""
    handed: dict[Handing, None] = field(default_factory=dict)
    """Calls of the archive's own code."""


@dataclass(frozen=True, slots=True)
class Call:
    """A convolution and what its arguments come to; None of what is not known before it runs."""

    weight: Value | None
    groups: Value | None
    transposed: bool | None
    bias: Value | None = None

    def bound(self, home: tuple[str, ...], argument: Callable[[int], Value | None]) -> Call:
        """The same where the method is called, as `script_values.bound` has it."""
        weight, groups, bias = (bound(value, home, argument) for value in (self.weight, self.groups, self.bias))
        return Call(weight, groups, self.transposed, bias)

    @property
    def is_open(self) -> bool:
        """Whether its weight or its groups are known only where the method is called."""
        values = (value for value in (self.weight, self.groups) if value is not None)
        return any(isinstance(place, Parameter) for value in values for place in value.places)


class Scope:
    """What the local names of one method come to.

    Args:
        method: that was read to its end.
        count: is told of the work, in statements.
    """

    def __init__(self, method: Method, count: Callable[[int], None]):
        given = {name: Value((Parameter(number),)) for number, name in enumerate(method.parameters)}
        self.values = Values(method.this, method.assigned, count)
        self._with_input = Values(method.this, method.assigned, count, given)
        self._changed = method.changed

    def of(self, text: str) -> Value | None:
        value = self.values.of(text) or self._with_input.of(text)
        place = None if value is None else value.place
        by = self._given_changed if isinstance(place, Parameter) else self._kept_changed
        return replace(value, by=by[place]) if value is not None and place in by else value

    @cached_property
    def _kept_changed(self) -> dict[Place, str]:
        """The places of which something is changed in place: it may be a copy, and none is told from the other."""
        return self._places_changed(self.values)

    @cached_property
    def _given_changed(self) -> dict[Place, str]:
        """The same of what is given; what is computed from several, as the result of a convolution, is neither."""
        return self._places_changed(self._with_input, most=1)

    def _places_changed(self, values: Values, most: int = MOST_PARTS) -> dict[Place, str]:
        found: dict[Place, str] = {}
        for text, by in self._changed.items():
            value = values.of(text)
            if value is not None and len(value.places) <= most:
                found.update(dict.fromkeys(value.places, by))
        return found


@dataclass(frozen=True, slots=True)
class Handed:
    """A method or function of the archive that is called."""

    module: tuple[str, ...] | None
    """The way to the one of which a method is called; None where it is a function."""
    name: str
    arguments: tuple[str, ...]
    """As they are written: they are looked into once it is known that what is called convolves with them."""
    scope: Scope

    def argument(self, number: int) -> Value | None:
        return self.scope.of(self.arguments[number]) if number < len(self.arguments) else None


@dataclass(frozen=True, slots=True)
class Routine:
    """A method or a function."""

    calls: tuple[Call, ...]
    """In order, each once."""
    handed: tuple[Handed, ...]
    unsaved: int
    """Convolutions with weights that torch does not save."""


def resolved(method: Method, count: Callable[[int], None]) -> Routine:
    """What a method does, now that all that it assigns is known.

    Args:
        method: that was read to its end.
        count: is told of the work, in statements.

    >>> from gcx.readers.torch.script_calls import calls
    >>> method = Method("run", "self", opening=False, parameters=["x", "w"])
    >>> method.calls.update(dict.fromkeys(calls("    y = torch.conv2d(x, w)")))
    >>> resolved(method, lambda _: None).calls[0].weight.place
    Parameter(number=1)
    """
    scope = Scope(method, count)
    handed = tuple(call for written in method.handed if (call := _handed(written, scope)) is not None)
    weights = (scope.of(call.weight) for call in method.calls)
    unsaved = sum(weight is not None and weight.by == _UNSAVED for weight in weights)
    return Routine(tuple(dict.fromkeys(_call(call, method, scope) for call in method.calls)), handed, unsaved)


def _call(written: Written, method: Method, scope: Scope) -> Call:
    parameters = tuple(map(Parameter, range(len(method.parameters))))
    weight = scope.of(written.weight) or Value(parameters, NOT_FOLLOWED)
    # Trailing arguments with their default are left out: one group.
    groups = scope.of(written.groups or "1")
    transposed = written.operator.transposed
    if written.operator.transposed_at is not None:
        stated = scope.of(written.transposed)
        transposed = {"True": True, "False": False}.get(stated.literal or "") if stated else None
    return Call(weight, groups, transposed, scope.of(written.bias or "None"))


def _handed(written: Handing, scope: Scope) -> Handed | None:
    """None where it is not known what is called."""
    if written.module:
        module = scope.values.of(written.module)
        if module is None or not isinstance(module.place, tuple):
            return None
        return Handed(module.place, written.name, written.arguments, scope)
    name = written.name if "." in written.name else scope.values.function(written.name)
    return None if name is None else Handed(None, name, written.arguments, scope)
