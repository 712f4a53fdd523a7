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
from gcx.readers.torch.convolutions import HANDED_ON, Operator, operator
from gcx.readers.torch.script_values import LONGEST, Place, Value, Values

_CHANGES = Operator(None, weight=0, bias=None)
"""What changes its first argument in place."""
_LINE = 65_536
"""Characters of a line in which calls are looked for; torch folds what is deep."""
_ARGUMENTS = 16
"""Arguments of a call that are kept apart."""

_CLASS = re.compile(r"class (\w+)(?:\((\w+)\))?:")
_NAMES = re.compile(r"  __(parameters|buffers)__ = \[(.*)\]")
_CONSTANT = re.compile(r"  (groups|kernel_size) : Final\[.{1,40}?\] = (.{1,100})")
_METHOD = re.compile(r"  def \w+\((\w+)")
_ASSIGNED = re.compile(r" {4,}(\w[\w, ]*?)(?:: [^=]{1,200})? = (.*)")
_CALL = re.compile(r"(?:(?<![\w.])(?:torch|ops)\.([\w.]{1,100})|\(\w{1,100}\)\.(_conv_forward))\(")
_IN_PLACE = re.compile(r"(?!detach)[a-z]\w*[^\W_]_")
"""Functions that change their first argument."""
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\](){},]')
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*+)"?')
_UNSAVED = "ConstantMKLDNNTensor"
"""What stands where a weight was, in a program that was made ready for oneDNN."""


@dataclass(frozen=True, slots=True)
class Call:
    """A convolution and what its arguments come to; None of what is not known before it runs."""

    weight: Value | None
    groups: Value | None
    transposed: bool | None
    bias: Value | None = None
    handed_on: bool = False
    """To another method of the module, which convolves as the module's constants say."""


@dataclass(slots=True)
class Class:
    """What the code says about one class."""

    module: bool
    parameters: dict[str, int] | None = None
    """Each name once, and where it stands; as those of the buffers, which before torch 1.7 no class listed apart."""
    buffers: dict[str, int] | None = None
    constants: dict[str, str] = field(default_factory=dict)
    """`groups` and `kernel_size`, as `nn.ConvNd` has them, as text."""
    calls: dict[Call, None] = field(default_factory=dict)
    """In order, each once."""
    unsaved: int = 0
    """Convolutions with weights that torch does not save."""


@dataclass(frozen=True, slots=True)
class _Written:
    """A call that convolves, as it is written."""

    operator: Operator
    weight: str
    bias: str
    groups: str
    transposed: str


@dataclass(slots=True)
class _Method:
    """What is known inside one method."""

    this: str
    """The name of its first parameter, the module."""
    assigned: dict[str, tuple[str, bool] | None] = field(default_factory=dict)
    """Local names, as `Values` takes them."""
    calls: dict[_Written, None] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)
    """What is changed in place, as it is written, and by what."""


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
        >>> for name, found in CodeReader().read(text, "__torch__"):
        ...     print(name, [(call.weight.place, call.groups.literal) for call in found.calls])
        __torch__.C [(('w',), '2')]
        """
        current: Class | None = None
        method: _Method | None = None
        name = ""
        for line in _lines(text):
            if not line.startswith(" "):
                if current is not None:
                    self._finish(method, current)
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
                self._finish(method, current)
                method = _Method(started[1])
            else:
                self._declaration(line, current)
        if current is not None:
            self._finish(method, current)
            yield name, current

    def _count(self, more: int) -> None:
        self.statements += more
        if self.statements > SCRIPT_STATEMENTS:
            raise LimitError(f"has code of more than {SCRIPT_STATEMENTS} statements, limit SCRIPT_STATEMENTS")

    def _declaration(self, line: str, found: Class) -> None:
        if names := _NAMES.match(line):
            listed: dict[str, int] = {}
            for name in _TEXT.finditer(names[2]):
                self._count(1)
                listed.setdefault(name[1], len(listed))
            if names[1] == "parameters":
                found.parameters = listed
            else:
                found.buffers = listed
        elif constant := _CONSTANT.match(line):
            found.constants[constant[1]] = constant[2]

    def _statement(self, line: str, method: _Method) -> None:
        if assigned := _ASSIGNED.match(line):
            names = [name.strip() for name in assigned[1].split(",")]
            self._count(len(names))
            for name in names:
                # A second value, of a branch or a loop, leaves it open which one is meant.
                method.assigned[name] = None if name in method.assigned else (assigned[2], len(names) == 1)
        if ("conv" in line or "_(" in line) and len(line) <= _LINE:
            for name, written in _calls(line):
                self._count(1)
                if written.operator is _CHANGES:
                    method.changed[written.weight] = name
                else:
                    method.calls[written] = None

    def _finish(self, method: _Method | None, found: Class) -> None:
        """Resolve a method's calls, now that all that it assigns is known."""
        if method is None or not method.calls:
            return
        values = Values(method.this, method.assigned, self._count)
        changed = self._changed(method, values)
        for call in method.calls:
            weight = values.of(call.weight)
            if weight is not None and weight.place in changed:
                weight = Value(weight.places, changed[weight.place])
            if weight is not None and weight.by == _UNSAVED:
                found.unsaved += 1
            # Trailing arguments with their default are left out: one group.
            groups = values.of(call.groups or "1")
            transposed = call.operator.transposed
            if call.operator.transposed_at is not None:
                stated = values.of(call.transposed)
                transposed = {"True": True, "False": False}.get(stated.literal or "") if stated else None
            bias = values.of(call.bias or "None")
            found.calls[Call(weight, groups, transposed, bias, call.operator == HANDED_ON)] = None

    @staticmethod
    def _changed(method: _Method, values: Values) -> dict[Place, str]:
        """The places of which something is changed in place: it may be a copy, and none is told from the other."""
        found: dict[Place, str] = {}
        for text, name in method.changed.items():
            value = values.of(text)
            found.update(dict.fromkeys(value.places if value else (), name))
        return found


def _lines(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        yield text[at:end]
        at = end + 1


def _calls(line: str) -> Iterator[tuple[str, _Written]]:
    """The convolutions of a line and what changes a tensor, inner ones too; one pass, however deep they stand."""
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
    return operator(name) or (_CHANGES if _IN_PLACE.fullmatch(name) else None)


def _written(found: Operator, line: str, starts: list[int], ends: list[int]) -> _Written:
    """The arguments that matter; empty where one is left out, cut where it is too long to be looked into."""

    def argument(place: int | None) -> str:
        if place is None or place >= len(starts):
            return ""
        return line[starts[place] : min(ends[place], starts[place] + LONGEST + 1)].strip()

    return _Written(found, *map(argument, (found.weight, found.bias, found.groups, found.transposed_at)))
