"""The calls that stand in one line of a TorchScript archive's code, as they are written."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass

from gcx.readers.torch.convolutions import Operator, operator
from gcx.readers.torch.script_expressions import LONGEST

CHANGES = Operator(None, weight=0, bias=None)
"""What changes its first argument in place."""
ARGUMENTS = 64
"""Arguments of a call that are kept apart."""

_CALL = re.compile(
    r"(?:(?<![\w.])(?:(?:torch|ops)\.([\w.]{1,100})|(__torch__(?:\.\w+)++|\w++))"
    r"|\(((?:\w|[.])++|getattr\((?:\w|[.])++, \"(?:\w|[.])++\"\))\)\.(\w++))\("
)
"""One of torch's functions, one of the archive's, or a method of a module."""
_IN_PLACE = re.compile(r"(?!detach)[a-z]\w*[^\W_]_")
"""Functions that change their first argument."""
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\](){},]')


@dataclass(frozen=True, slots=True)
class Written:
    """A call that convolves, or that changes a tensor, as it is written."""

    name: str
    operator: Operator
    weight: str
    bias: str
    groups: str
    transposed: str


@dataclass(frozen=True, slots=True)
class Handing:
    """A call of the archive's own code, as it is written."""

    module: str
    """Of which a method is called; empty where it is a function."""
    name: str
    arguments: tuple[str, ...]


def calls(line: str, assigned: Container[str] = ()) -> Iterator[Written | Handing]:
    """The calls of a line that matter, inner ones too; one pass, however deep they stand.

    Args:
        line: of code.
        assigned: local names, among which torch may have named functions.

    >>> [(call.name, call.weight) for call in calls("    y = torch.conv2d(torch.relu_(x), w, b)")]
    [('relu_', 'x'), ('conv2d', 'w')]
    >>> list(calls("    y = (self.a).run(x, w, )"))
    [Handing(module='self.a', name='run', arguments=('x', 'w'))]
    """
    found = ((call.end() - 1, _opened(call, assigned)) for call in _CALL.finditer(line))
    opened = {place: call for place, call in found if call is not None}
    if not opened:
        return
    stack: list[tuple[_Opened | None, list[int]]] = []
    for token in _TOKEN.finditer(line):
        char = token[0]
        if char in "([{":
            stack.append((opened.get(token.start()), [token.end()]))
        elif not stack:
            continue
        elif char == ",":
            if stack[-1][0] is not None and len(stack[-1][1]) < ARGUMENTS:
                stack[-1][1].append(token.end())
        elif char in ")]}":
            call, starts = stack.pop()
            if call is not None:
                yield call.closed(line, starts, [*(start - 1 for start in starts[1:]), token.start()])


@dataclass(frozen=True, slots=True)
class _Opened:
    """A call of which the arguments are still to come."""

    module: str
    name: str
    operator: Operator | None

    def closed(self, line: str, starts: list[int], ends: list[int]) -> Written | Handing:
        """With its arguments: empty where one is left out, cut where it is too long to be looked into."""

        def argument(place: int | None) -> str:
            if place is None or place >= len(starts):
                return ""
            return line[starts[place] : min(ends[place], starts[place] + LONGEST + 1)].strip()

        called = self.operator
        if called is not None:
            places = (called.weight, called.bias, called.groups, called.transposed_at)
            return Written(self.name, called, *map(argument, places))
        arguments = tuple(map(argument, range(len(starts))))
        return Handing(self.module, self.name, arguments if arguments[-1] else arguments[:-1])


def _opened(call: re.Match[str], assigned: Container[str]) -> _Opened | None:
    builtin, function, module, method = call.groups()
    if builtin:
        name = builtin.rpartition(".")[2]
        found = operator(name) or (CHANGES if _IN_PLACE.fullmatch(name) else None)
        return None if found is None else _Opened("", name, found)
    if function:
        return _Opened("", function, None) if "." in function or function in assigned else None
    return _Opened(module, method, None)
