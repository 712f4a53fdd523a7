"""What the code text of a TorchScript archive states, read line by line: nothing of it is compiled or run.

torch prints one statement a line, methods at two blanks, statements deeper. Of these lines only few matter: the names
of parameters and buffers, constants of a class, assignments that give a weight a local name, and calls that convolve.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from gcx.errors import LimitError
from gcx.limits import SCRIPT_STATEMENTS
from gcx.readers.torch.convolutions import Operator, operator

LONGEST = 300
"""Characters of an argument or assignment that is looked into; names and numbers are shorter."""
_LINE = 65_536
"""Characters of a line in which calls are looked for; torch folds what is deep."""
_ARGUMENTS = 16
"""Arguments of a call that are kept apart."""
_DEEPEST = 64
"""Assignments, attributes and casts between an argument and the weight that it means."""

_CLASS = re.compile(r"class (\w+)(?:\((\w+)\))?:")
_NAMES = re.compile(r"  __(parameters|buffers)__ = \[(.*)\]")
_CONSTANT = re.compile(r"  (groups|kernel_size) : Final\[.{1,40}?\] = (.+)")
_METHOD = re.compile(r"  def \w+\((\w+)")
_ASSIGNED = re.compile(r" {4,}(\w[\w, ]*?)(?:: [^=]{1,200})? = (.*)")
_CALL = re.compile(r"(?<![\w.])(?:torch|ops)\.([\w.]{1,100})\(")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\](){},]')
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*+)"?')
_ATTRIBUTE = re.compile(r'getattr\((.+), "((?:[^"\\]|\\.)*+)"\)')
_MEMBER = re.compile(r"(.+)\.(\w+)")
_SAME = re.compile(r"(?:torch\.(?:to|contiguous|detach|alias|_weight_norm)|unchecked_cast)\((.+)\)")
"""Calls that hand on the weight among their arguments, as it is, in another precision, or normalised."""
_CONSTANTS = re.compile(r"CONSTANTS\.c([0-9]{1,9})")
_NUMBER = re.compile(r"[0-9]{1,9}")

Place = tuple[str, ...] | int
"""Attributes on the way from a module to a value, or the number of a constant."""


@dataclass(frozen=True, slots=True)
class Call:
    """A convolution and where, as the code says, its weight is kept."""

    weight: Place | None
    """None where it is computed."""
    groups: Place | str | None
    """A number as text, or where one is kept."""
    transposed: bool | None
    bias: Place | None = None


@dataclass(slots=True)
class Class:
    """What the code says about one class."""

    module: bool
    parameters: list[str] | None = None
    buffers: list[str] | None = None
    constants: dict[str, str] = field(default_factory=dict)
    """`groups` and `kernel_size`, as `nn.ConvNd` has them, as text."""
    calls: dict[Call, None] = field(default_factory=dict)
    """In order, each once."""


@dataclass(slots=True)
class _Method:
    """What is known inside one method."""

    this: str
    """The name of its first parameter, the module."""
    values: dict[str, str | None] = field(default_factory=dict)
    """Local names; None for what has no one value."""
    calls: list[tuple[Operator, list[str]]] = field(default_factory=list)


class CodeReader:
    """Reads the files of one archive, within one budget."""

    def __init__(self) -> None:
        self.statements = 0

    def read(self, text: str, home: str) -> Iterator[tuple[str, Class]]:
        """The classes of one file of code, by full name.

        Args:
            text: as torch printed it.
            home: the dotted name of the file, `__torch__.torch.nn.modules.conv`.

        Raises:
            LimitError: more classes, names, assignments and calls than `SCRIPT_STATEMENTS` in all.

        >>> text = "class C(Module):\\n  def forward(s,\\n    x: Tensor) -> Tensor:\\n    w = s.w\\n"
        >>> text += "    return torch.conv2d(x, w, None, [1, 1], [0, 0], [1, 1], 2)\\n"
        >>> [(name, list(found.calls)) for name, found in CodeReader().read(text, "__torch__")]
        [('__torch__.C', [Call(weight=('w',), groups='2', transposed=False, bias=None)])]
        """
        current: Class | None = None
        method: _Method | None = None
        name = ""
        for line in _lines(text):
            if not line.startswith(" "):
                if current is not None:
                    _finish(method, current)
                    yield name, current
                opened = _CLASS.match(line)
                current, method = (Class(opened[2] == "Module"), None) if opened else (None, None)
                name = f"{home}.{opened[1]}" if opened else ""
                self._count(1)
            elif current is None:
                continue
            elif line.startswith("    "):
                if method is not None:
                    self._statement(line, method)
            elif started := _METHOD.match(line):
                _finish(method, current)
                method = _Method(started[1])
            else:
                self._declaration(line, current)
        if current is not None:
            _finish(method, current)
            yield name, current

    def _count(self, more: int) -> None:
        self.statements += more
        if self.statements > SCRIPT_STATEMENTS:
            raise LimitError(f"has code of more than {SCRIPT_STATEMENTS} statements, limit SCRIPT_STATEMENTS")

    def _declaration(self, line: str, found: Class) -> None:
        if names := _NAMES.match(line):
            listed: list[str] = []
            for name in _TEXT.finditer(names[2]):
                self._count(1)
                listed.append(name[1])
            if names[1] == "parameters":
                found.parameters = listed
            else:
                found.buffers = listed
        elif constant := _CONSTANT.match(line):
            found.constants[constant[1]] = constant[2][:LONGEST]

    def _statement(self, line: str, method: _Method) -> None:
        if assigned := _ASSIGNED.match(line):
            value = assigned[2] if len(assigned[2]) <= LONGEST else None
            names = [name.strip() for name in assigned[1].split(",")]
            self._count(len(names))
            for name in names:
                # A second value, of a branch or a loop, leaves it open which one is meant.
                method.values[name] = None if name in method.values or len(names) > 1 else value
        if "conv" in line and len(line) <= _LINE:
            found = list(_calls(line))
            self._count(len(found))
            method.calls += found


def _lines(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        yield text[at:end]
        at = end + 1


def _calls(line: str) -> Iterator[tuple[Operator, list[str]]]:
    """The convolutions of a line with their arguments, inner ones too; one pass, however deep they stand."""
    named = ((call.end() - 1, operator(call[1].rpartition(".")[2])) for call in _CALL.finditer(line))
    opened = {place: found for place, found in named if found is not None}
    if not opened:
        return
    stack: list[tuple[Operator | None, list[int]]] = []
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
                pairs = zip(starts, ends, strict=True)
                yield found, [line[start : min(end, start + LONGEST + 1)] for start, end in pairs]


def _finish(method: _Method | None, found: Class) -> None:
    """Resolve a method's calls, now that all that it assigns is known."""
    for called, arguments in method.calls if method is not None else ():
        weight = _place(_argument(arguments, called.weight), method)
        bias = None if called.bias is None else _place(_argument(arguments, called.bias), method)
        groups = _argument(arguments, called.groups)
        transposed: bool | None
        if isinstance(called.transposed, bool):
            transposed = called.transposed
        else:
            transposed = {"True": True, "False": False}.get(_value(_argument(arguments, called.transposed), method))
        # Trailing arguments with their default are left out: one group.
        stated = _number(groups, method) if groups else "1"
        found.calls[Call(weight, stated, transposed, bias)] = None


def _argument(arguments: list[str], place: int) -> str:
    """One argument, stripped; empty where it is left out, and where it is too long to be a name or a number."""
    text = arguments[place].strip() if place < len(arguments) else ""
    return text if len(text) <= LONGEST else "?"


def _value(text: str, method: _Method | None) -> str:
    """What a local name stands for, where that is one thing."""
    for _ in range(_DEEPEST):
        meant = None if method is None else method.values.get(text)
        if meant is None:
            break
        text = meant.strip()
    return text


def _number(text: str, method: _Method | None) -> Place | str | None:
    value = _value(text, method)
    return value if _NUMBER.fullmatch(value) else _place(value, method)


def _place(text: str, method: _Method | None) -> Place | None:
    """Where a value is kept: attributes from the module, a constant; None where it is computed."""
    if method is None:
        return None
    path: list[str] = []
    for _ in range(_DEEPEST):
        text = text.strip()
        if text.startswith("(") and text.endswith(")") and "(" not in text[1:]:
            text = text[1:-1]
        if text == method.this:
            return tuple(reversed(path)) or None
        if constant := _CONSTANTS.fullmatch(text):
            return None if path else int(constant[1])
        if text in method.values:
            text = method.values[text] or ""
        elif found := _ATTRIBUTE.fullmatch(text) or _MEMBER.fullmatch(text):
            path.append(found[2])
            text = found[1]
        elif same := _SAME.fullmatch(text):
            arguments = [part.strip() for part in same[1].split(",")]
            text = arguments[1] if text.startswith("unchecked") and len(arguments) > 1 else arguments[0]
        else:
            return None
    return None
