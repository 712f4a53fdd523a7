"""The calls that stand in one line of a TorchScript archive's code, as they are written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gcx.readers.torch.convolutions import Operator, operator
from gcx.readers.torch.script_expressions import LONGEST

CHANGES = Operator(None, weight=0, bias=None)
"""What changes its first argument in place."""
_ARGUMENTS = 16
"""Arguments of a call that are kept apart."""

_CALL = re.compile(r"(?:(?<![\w.])(?:torch|ops)\.([\w.]{1,100})|\(\w{1,100}\)\.(_conv_forward))\(")
_RUN = re.compile(r"\(((?:\w|[.])++|getattr\((?:\w|[.])++, \"(?:\w|[.])++\"\))\)\.\w++\(")
"""A method of a module that is called."""
_IN_PLACE = re.compile(r"(?!detach)[a-z]\w*[^\W_]_")
"""Functions that change their first argument."""
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\](){},]')


@dataclass(frozen=True, slots=True)
class Written:
    """A call that convolves, as it is written."""

    operator: Operator
    weight: str
    bias: str
    groups: str
    transposed: str


def runs(line: str) -> Iterator[str]:
    """The modules of which a method is called.

    >>> list(runs("    x = torch.add((self.a).forward(x, ), (_1).forward(y, ))"))
    ['self.a', '_1']
    """
    return (run[1] for run in _RUN.finditer(line))


def calls(line: str) -> Iterator[tuple[str, Written]]:
    """The convolutions of a line and what changes a tensor, inner ones too; one pass, however deep they stand.

    >>> [(name, call.weight) for name, call in calls("    y = torch.conv2d(torch.relu_(x), w, b)")]
    [('relu_', 'x'), ('conv2d', 'w')]
    """
    if "conv" not in line and "_(" not in line:
        return
    named = ((call.end() - 1, (call[2] or call[1]).rpartition(".")[2]) for call in _CALL.finditer(line))
    opened = {place: (name, called) for place, name in named if (called := _operator(name)) is not None}
    if not opened:
        return
    stack: list[tuple[tuple[str, Operator] | None, list[int]]] = []
    for token in _TOKEN.finditer(line):
        char = token[0]
        if char in "([{":
            stack.append((opened.get(token.start()), [token.end()]))
        elif not stack:
            continue
        elif char == ",":
            if stack[-1][0] is not None and len(stack[-1][1]) < _ARGUMENTS:
                stack[-1][1].append(token.end())
        elif char in ")]}":
            found, starts = stack.pop()
            if found is not None:
                ends = [*(start - 1 for start in starts[1:]), token.start()]
                yield found[0], _written(found[1], line, starts, ends)


def _operator(name: str) -> Operator | None:
    return operator(name) or (CHANGES if _IN_PLACE.fullmatch(name) else None)


def _written(found: Operator, line: str, starts: list[int], ends: list[int]) -> Written:
    """The arguments that matter; empty where one is left out, cut where it is too long to be looked into."""

    def argument(place: int | None) -> str:
        if place is None or place >= len(starts):
            return ""
        return line[starts[place] : min(ends[place], starts[place] + LONGEST + 1)].strip()

    return Written(found, *map(argument, (found.weight, found.bias, found.groups, found.transposed_at)))
