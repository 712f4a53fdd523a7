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
from gcx.readers.torch.convolutions import HANDED_ON
from gcx.readers.torch.script_calls import CHANGES, Written, calls, runs
from gcx.readers.torch.script_expressions import Values
from gcx.readers.torch.script_values import GIVEN, Place, Value

_LINE = 65_536
"""Characters of a line in which calls are looked for; torch folds what is deep."""

_CLASS = re.compile(r"class (\w+)(?:\((\w+)\))?:")
_NAMES = re.compile(r"  __(parameters|buffers)__ = \[(.*)\]")
_CONSTANT = re.compile(r"  (groups|kernel_size) : Final\[.{1,40}?\] = (.{1,100})")
_METHOD = re.compile(r"  def \w+\((\w+)")
_ASSIGNED = re.compile(r" {4,}(\w[\w, ]*?)(?:: [^=]{1,200})? = (.*)")
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
    runs: set[Place] = field(default_factory=set)
    """Where the modules are of which its methods call others."""
    unsaved: int = 0
    """Convolutions with weights that torch does not save."""


@dataclass(slots=True)
class _Method:
    """What is known inside one method."""

    this: str
    """The name of its first parameter, the module."""
    assigned: dict[str, list[tuple[str, bool]]] = field(default_factory=dict)
    """Local names, as `Values` takes them."""
    calls: dict[Written, None] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)
    """What is changed in place, as it is written, and by what."""
    runs: dict[str, None] = field(default_factory=dict)
    """Modules of which a method is called, as they are written."""


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
                method.assigned.setdefault(name, []).append((assigned[2], len(names) == 1))
        if len(line) <= _LINE:
            for module in runs(line):
                self._count(1)
                method.runs[module] = None
            for name, written in calls(line):
                self._count(1)
                if written.operator is CHANGES:
                    method.changed[written.weight] = name
                else:
                    method.calls[written] = None

    def _finish(self, method: _Method | None, found: Class) -> None:
        """Resolve a method's calls, now that all that it assigns is known."""
        if method is None or not (method.calls or method.runs):
            return
        values = Values(method.this, method.assigned, self._count)
        run = (values.of(text) for text in method.runs)
        found.runs.update(module.place for module in run if module is not None and module.place is not None)
        changed = self._changed(method, values)
        with_input = Values(method.this, method.assigned, self._count, GIVEN)
        for call in method.calls:
            weight = values.of(call.weight) or with_input.of(call.weight)
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
