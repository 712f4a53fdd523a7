"""What an expression in a TorchScript archive's code comes to: where it is kept, or what it is computed from.

None stands for what depends on a method's input, and for what is not understood.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from gcx.readers.torch.program_weights import MOST_PARTS

_AS_IT_IS = re.compile(
    r"to|type_as|contiguous|detach_?|alias|clone|float|half|double|bfloat16|_autocast_to_(?:reduced|full)_precision"
)
"""Functions that hand on their first argument as it is, or in another precision."""
_VIEWS = re.compile(r"view(?:_as)?|reshape(?:_as)?|expand(?:_as)?|slice|narrow|squeeze|unsqueeze")
"""Those of which it is not said what they do to a weight that another has made."""
_CASTS = frozenset({"unchecked_cast", "annotate"})
"""Those that hand on their second, the first being a type."""
A_LIST = "a list"
_INDEX = "an index"


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a method is given beside its module."""

    number: int


Kept = tuple[str, ...] | int
"""Attributes on the way from a module to a value, or the number of a constant."""
Place = Kept | Parameter


@dataclass(frozen=True, slots=True)
class Value:
    """What does not depend on a method's input."""

    places: tuple[Place, ...] = ()
    """Where it is kept, or what it is computed from is."""
    by: str | None = None
    """What computes it; None of what is kept in its one place."""
    literal: str | None = None
    """A number or text as it is written; with `by="size"`, the axis; with `by="an index"`, which."""
    held: tuple[Value | None, ...] = ()
    """What a list holds, each as if it stood alone; of lists in it only what they are computed from is kept."""

    @property
    def place(self) -> Place | None:
        return self.places[0] if self.by is None and len(self.places) == 1 else None


GIVEN = Value(by="what a method is given")
"""What depends on a method's input and on nothing that is kept."""

NOT_FOLLOWED = "code that is not followed"
"""What computes a weight from all that a method is given, where nothing better is known."""


def bound(value: Value | None, home: tuple[str, ...], argument: Callable[[int], Value | None]) -> Value | None:
    """What a value of a method comes to where the method is called.

    Args:
        value: of the method.
        home: the way from the module that calls to the method's.
        argument: what is given as the parameter of a number; None where that is not known.

    >>> doubled = Value((Parameter(1),), by="mul")
    >>> bound(doubled, (), lambda _: Value((("weight",),))).places
    (('weight',),)
    """
    if value is None or not value.places:
        return value
    parts = [_bound(place, home, argument) for place in value.places]
    if value.by is None:
        return parts[0]
    if value.by == "size" and parts[0].place is None:
        return GIVEN
    if value.by == _INDEX and parts[0].by == A_LIST:
        return _item(parts[0], value.literal)
    held = tuple(bound(one, home, argument) for one in value.held)
    return replace(
        value, places=tuple(dict.fromkeys(place for part in parts for place in part.places)), held=_flat(held)
    )


def _bound(place: Place, home: tuple[str, ...], argument: Callable[[int], Value | None]) -> Value:
    if isinstance(place, Parameter):
        return argument(place.number) or GIVEN
    return Value(((*home, *place) if isinstance(place, tuple) else place,))


def member(value: Value | None, name: str) -> Value | None:
    place = None if value is None else value.place
    return Value(((*place, name),)) if isinstance(place, tuple) else None


def indexed(value: Value | None, index: list[Value | None]) -> Value | None:
    if value is None or len(index) != 1:
        return None
    literal = None if index[0] is None else index[0].literal
    if value.by == A_LIST:
        return _item(value, literal)
    if value.by == "size" and value.literal is None:
        return replace(value, literal=literal)
    return value if value.by is not None else replace(value, by=_INDEX, literal=literal)


def _item(listed: Value, index: str | None) -> Value | None:
    """One of a list; where it is not known which, what it may be as in branches."""
    number = int(index) if index is not None and index.isdecimal() and len(index) < 5 else len(listed.held)
    return listed.held[number] if number < len(listed.held) else either(listed.held)


def a_list(values: Iterable[Value | None]) -> Value | None:
    held = tuple(values)
    found = together(held, A_LIST)
    return None if found is None else replace(found, held=_flat(held))


def _flat(held: Iterable[Value | None]) -> tuple[Value | None, ...]:
    return tuple(one if one is None or not one.held else replace(one, held=()) for one in held)


def one_of(value: Value) -> Value | None:
    """One of several results of a call."""
    return value if value.by not in (None, A_LIST) else None


def either(values: Sequence[Value | None]) -> Value | None:
    """What one name means in several branches: computed where it is so in one, unless all of them keep it."""
    if all(value == values[0] for value in values):
        return values[0] if values else None
    by = next((value.by for value in values if value is not None and value.by not in (None, GIVEN.by)), None)
    return None if by is None else together(values, by)


def called(arguments: list[Value | None], name: str) -> Value | None:
    if _AS_IT_IS.fullmatch(name) and arguments:
        return arguments[0]
    if _VIEWS.fullmatch(name) and arguments and arguments[0] and arguments[0].by:
        return together(arguments, arguments[0].by)
    if name in _CASTS and len(arguments) == 2:
        return arguments[1]
    if name == "size" and arguments:
        known = arguments[0] is not None and arguments[0].place is not None
        axis = arguments[1].literal if len(arguments) == 2 and arguments[1] else None
        return replace(arguments[0], by=name, literal=axis) if known and arguments[0] else None
    return together(arguments, name)


def method_of(value: Value | None, arguments: list[Value | None], name: str) -> Value | None:
    """What a method of a module makes of its arguments and of all that the module holds."""
    place = None if value is None else value.place
    module = place[-1] if isinstance(place, tuple) and place else name
    return called([value, *arguments], module if name == "forward" else name)


def together(parts: Iterable[Value | None], by: str) -> Value | None:
    """What is computed from several; None where one of them depends on the input."""
    places: dict[Place, None] = {}
    for part in parts:
        if part is None:
            return None
        places.update(dict.fromkeys(part.places))
        if len(places) > MOST_PARTS:
            return None
    return Value(tuple(places), by)
