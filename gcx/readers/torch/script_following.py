"""Convolutions over what a method is given: followed to where the weight is kept, through all that hand it on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from gcx.readers.torch.script_calls import ARGUMENTS
from gcx.readers.torch.script_code import Class
from gcx.readers.torch.script_modules import Modules
from gcx.readers.torch.script_routines import Call, Handed, Routine
from gcx.readers.torch.script_values import NOT_FOLLOWED, Parameter, Value
from gcx.readers.torch.values import Placeholder

_DEEPEST = 64
"""Calls between a weight and the convolution over it."""
_MOST = 256
"""Convolutions over what one method or function is given."""
_COUNTED = 100
"""Values that a convolution counts as, each time that it is followed through a call."""
_UNKNOWN = (Call(Value(tuple(map(Parameter, range(ARGUMENTS))), NOT_FOLLOWED), None, None),)
"""Of what is called too deep or by itself, or does too much: it may convolve over all that it is given."""


class Followed:
    """Follows the calls of one program."""

    def __init__(self, modules: Modules):
        self.modules = modules
        self._open: dict[tuple[int, str], tuple[Call, ...]] = {}
        """Of each method and function that was looked into, the convolutions over what it is given."""

    def calls(self, module: Placeholder, known: Class) -> Iterator[Call]:
        """The convolutions over what the methods of a module hand to others, as if they stood in these."""
        for routine in known.methods.values():
            for call in self._handed_on(module, routine, 0):
                yield call.bound((), lambda _: None)

    def _handed_on(self, module: Placeholder, routine: Routine, depth: int) -> Iterator[Call]:
        self.modules.work.look(len(routine.handed))
        for handed in routine.handed:
            for call in self._called(module, handed, depth):
                here = call.bound(handed.module or (), handed.argument)
                self.modules.work.look(_COUNTED + (0 if here.weight is None else len(here.weight.places)))
                yield here

    def _called(self, module: Placeholder, handed: Handed, depth: int) -> tuple[Call, ...]:
        """The convolutions over what it is given of what is called."""
        owner, known = module, self.modules.classes.get(handed.name)
        if handed.module is not None:
            owner = self.modules.at(module, handed.module)
            known = self.modules.known(owner) if type(owner) is Placeholder else None
        routine = None if known is None else known.methods.get(handed.name.rpartition(".")[2])
        if routine is None:
            return ()
        # A function has no module: it is one and the same, whichever calls it.
        key = (0 if handed.module is None else id(owner), handed.name)
        if key not in self._open:
            if depth == _DEEPEST:
                return _UNKNOWN
            self._open[key] = _UNKNOWN
            calls = chain(routine.calls, self._handed_on(owner, routine, depth + 1))
            found = dict.fromkeys(call for call in calls if call.is_open)
            self._open[key] = tuple(found) if len(found) <= _MOST else _UNKNOWN
        return self._open[key]
