"""What the code text of a TorchScript archive states, read line by line: nothing of it is compiled or run.

torch prints one statement a line, functions at the margin, methods at two blanks, statements deeper. Of these lines
only few matter: the names of parameters and buffers, constants of a class, assignments that give a weight a local name,
and calls that convolve or hand on what others convolve with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from gcx.errors import LimitError
from gcx.limits import SCRIPT_STATEMENTS
from gcx.readers.torch.script_calls import CHANGES, Handing, calls
from gcx.readers.torch.script_routines import Call, Method, Routine, resolved
from gcx.readers.torch.script_values import Place

_LINE = 65_536
"""Characters of a line in which calls are looked for; torch folds what is deep."""
_KEPT = 16
"""Characters of arguments that are kept which count as one statement."""

_CLASS = re.compile(r"class (\w+)(?:\((\w+)\))?:")
_NAMES = re.compile(r"  __(parameters|buffers)__ = \[(.*)\]")
_CONSTANT = re.compile(r"  (groups|kernel_size) : Final\[.{1,40}?\] = (.{1,100})")
_METHOD = re.compile(r"  def (\w+)\((\w+)")
_FUNCTION = re.compile(r"def (\w+)\((\w*)")
_PARAMETER = re.compile(r"    (\w+): ")
_ASSIGNED = re.compile(r" {2,}(\w[\w, ]*?)(?:: [^=]{1,200})? = (.*)")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*+)"?')


@dataclass(slots=True)
class Class:
    """What the code says about one class; a function stands for a class with that one method."""

    module: bool
    parameters: dict[str, int] | None = None
    """Each name once, and where it stands; as those of the buffers, which before torch 1.7 no class listed apart."""
    buffers: dict[str, int] | None = None
    constants: dict[str, str] = field(default_factory=dict)
    """`groups` and `kernel_size`, as `nn.ConvNd` has them, as text."""
    calls: dict[Call, None] = field(default_factory=dict)
    """In order, each once; what a method is given is `GIVEN`."""
    methods: dict[str, Routine] = field(default_factory=dict)
    """Those that convolve or call others."""
    runs: set[Place] = field(default_factory=set)
    """Where the modules are of which its methods call others."""
    unsaved: int = 0
    """Convolutions with weights that torch does not save."""


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
        method: Method | None = None
        name = ""
        for line in _lines(text):
            if not line.startswith(" "):
                if current is not None:
                    self._finish(method, current)
                    yield name, current
                current, method, name = None, None, ""
                if opened := _CLASS.match(line):
                    current, name = Class(opened[2] == "Module"), f"{home}.{opened[1]}"
                elif opened := _FUNCTION.match(line):
                    current, name = Class(module=False), f"{home}.{opened[1]}"
                    method = Method(opened[1], "", not line.endswith(":"), [opened[2]] if opened[2] else [])
                self._count(1)
            elif current is None:
                continue
            elif method is not None and (not method.this or line.startswith("    ")):
                self._statement(line, method)
            elif started := _METHOD.match(line):
                self._finish(method, current)
                method = Method(started[1], started[2], not line.endswith(":"))
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

    def _statement(self, line: str, method: Method) -> None:
        if method.opening:
            if parameter := _PARAMETER.match(line):
                self._count(1)
                method.parameters.append(parameter[1])
            method.opening = not line.endswith(":")
            return
        if assigned := _ASSIGNED.match(line):
            names = [name.strip() for name in assigned[1].split(",")]
            self._count(len(names))
            for name in names:
                method.assigned.setdefault(name, []).append((assigned[2], len(names) == 1))
        for call in calls(line, method.assigned) if len(line) <= _LINE else ():
            self._count(1)
            if isinstance(call, Handing):
                self._count(sum(map(len, call.arguments)) // _KEPT)
                method.handed[call] = None
            elif call.operator is CHANGES:
                method.changed[call.weight] = call.name
            else:
                method.calls[call] = None

    def _finish(self, method: Method | None, found: Class) -> None:
        """Resolve a method's calls, now that all that it assigns is known."""
        if method is None or not (method.calls or method.handed):
            return
        routine = resolved(method, self._count)
        found.methods[method.name] = routine
        found.unsaved += routine.unsaved
        found.runs.update(call.module for call in routine.handed if call.module is not None)
        found.calls.update((call.bound((), lambda _: None), None) for call in routine.calls)


def _lines(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        yield text[at:end]
        at = end + 1
