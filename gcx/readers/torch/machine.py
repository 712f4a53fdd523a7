"""A pickle interpreter that makes inert values: budgeted, without recursion, importing and calling nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from gcx.errors import CheckpointError, LimitError
from gcx.limits import PICKLE_CONTAINERS, PICKLE_GLOBALS, PICKLE_MEMO, PICKLE_OPS, PICKLE_TEXT
from gcx.readers.torch import policy
from gcx.readers.torch.opcodes import HANDLERS
from gcx.readers.torch.rebuild import RELAYED
from gcx.readers.torch.values import CURE, Global, LongText, Pairs, Placeholder

_LINE = 8192
"""Longest line of a text opcode: 4300 digits of a number, a name."""
_DIGITS = 4300
"""What Python itself converts without complaint."""
_STOP = ord(".")


class TruncatedPickleError(CheckpointError):
    """The stream ends inside a pickle."""

    def __init__(self) -> None:
        super().__init__("is truncated: its pickle does not end", cure=CURE)


class Budget:
    """What all pickles of one file may cost together."""

    def __init__(self) -> None:
        self.operations = PICKLE_OPS
        self.containers = PICKLE_CONTAINERS
        self.handed = PICKLE_OPS
        """Items handed to calls: one list may be handed over again and again."""


def _length(value: Any) -> int:
    if type(value) in (list, tuple):
        return len(value)
    return len(value.items) if type(value) is Pairs else 0


class Machine:
    """One pickle's interpreter: the stack, the memo, and how the stream is read; `opcodes` has the operations.

    Args:
        data: the stream.
        persistent: answers a persistent id; None refuses them.
        budget: shared by the pickles of a file.
        start: where in the stream the pickle begins.
    """

    def __init__(self, data: bytes, persistent: Callable[[Any], Any] | None, budget: Budget, start: int = 0) -> None:
        self.data = data
        self.pos = start
        self.budget = budget
        self.persistent = persistent
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        """The stacks under each mark."""
        self.memo: dict[int, Any] = {}
        self.globals: dict[tuple[str, str], Global] = {}

    def run(self) -> Any:
        """Interpret up to STOP, whose place `pos` then is.

        Raises:
            TruncatedPickleError: the stream ends first.
            LimitError: operations, containers, memo, marks, globals.
            CheckpointError: damaged, or it asks for something to be called.
        """
        data, handlers, done = self.data, HANDLERS, 0
        try:
            for done in range(self.budget.operations):  # noqa: B007
                op = data[self.pos]
                self.pos += 1
                if op == _STOP:
                    return self.stack.pop()
                handlers[op](self)
        except IndexError:
            if self.pos >= len(data):
                raise TruncatedPickleError from None
            self.refuse("takes more from the stack than is there")
        finally:
            self.budget.operations -= done + 1
        raise LimitError(f"has a pickle of more than {PICKLE_OPS} operations, limit PICKLE_OPS")

    def charge(self, args: tuple[Any, ...]) -> None:
        """Count what a call has to look through, so that a short stream cannot ask for endless work.

        Raises:
            LimitError: more than PICKLE_OPS in all.
        """
        self.made()
        self.budget.handed -= len(args)
        for arg in args:
            self.budget.handed -= _length(arg)
            if type(arg) is tuple and len(arg) <= RELAYED:
                self.budget.handed -= sum(map(_length, arg))
        if self.budget.handed < 0:
            raise LimitError(f"has a pickle that hands more than {PICKLE_OPS} items to calls, limit PICKLE_OPS")

    def made(self) -> None:
        """Count a list, tuple, dict or object.

        Raises:
            LimitError: more than PICKLE_CONTAINERS in all.
        """
        self.budget.containers -= 1
        if self.budget.containers < 0:
            raise LimitError(
                f"has pickles of more than {PICKLE_CONTAINERS} lists, dicts and objects, limit PICKLE_CONTAINERS"
            )

    def refuse(self, what: str) -> NoReturn:
        raise CheckpointError(f"has a damaged pickle: {what} (byte {self.pos})", cure=CURE) from None

    def end_early(self) -> NoReturn:
        raise TruncatedPickleError

    def take(self, length: int) -> bytes:
        end = self.pos + length
        if end > len(self.data):
            raise TruncatedPickleError
        part = self.data[self.pos : end]
        self.pos = end
        return part

    def number(self, length: int) -> int:
        begin = self.pos
        self.pos += length  # beyond the end, the next operation ends the stream
        return int.from_bytes(self.data[begin : self.pos], "little")

    def line(self) -> bytes:
        end = self.data.find(b"\n", self.pos, self.pos + _LINE)
        if end < 0:
            if len(self.data) - self.pos < _LINE:
                raise TruncatedPickleError
            self.refuse("a line does not end")
        part = self.data[self.pos : end]
        self.pos = end + 1
        return part

    def text(self, utf8: bytes) -> Any:
        if len(utf8) > PICKLE_TEXT:
            return LongText(utf8)
        try:
            return utf8.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            self.refuse("a text is not UTF-8")

    def decimal(self, line: bytes) -> int:
        digits = line.removeprefix(b"-")
        if not digits.isdigit() or len(digits) > _DIGITS:
            self.refuse("no whole number where one belongs")
        return int(line)

    def old_text(self, raw: bytes) -> None:
        """Python 2's str: text or bytes."""
        if len(raw) > PICKLE_TEXT:
            self.stack.append(raw)
            return
        try:
            self.stack.append(raw.decode())
        except UnicodeDecodeError:
            self.stack.append(raw.decode("latin-1"))

    def marked(self) -> list[Any]:
        items = self.stack
        self.stack = self.below.pop()
        return items

    def paired(self, items: list[Any]) -> list[tuple[Any, Any]]:
        if len(items) % 2:
            self.refuse("a key without its value")
        return list(zip(items[::2], items[1::2], strict=True))

    def add(self, target: Any, items: list[Any]) -> None:
        if type(target) is list:
            target.extend(items)
        elif type(target) is Placeholder:
            if target.elements is None:
                target.elements = []
            target.elements.extend(items)
        else:
            self.refuse("appends to what is no list")

    def set_pairs(self, target: Any, pairs: list[tuple[Any, Any]]) -> None:
        if type(target) is Pairs:
            target.items.extend(pairs)
        elif type(target) is Placeholder:
            if target.items is None:
                target.items = []
            target.items.extend(pairs)
        else:
            self.refuse("sets an item of what is no dict")

    def put(self, index: int) -> None:
        if not 0 <= index < PICKLE_MEMO:
            raise LimitError(f"has a pickle with memo index {index}, limit PICKLE_MEMO is {PICKLE_MEMO}")
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        try:
            self.stack.append(self.memo[index])
        except KeyError:
            self.refuse(f"memo {index} was never set")

    def find(self, module: Any, name: Any) -> Global:
        if type(module) is not str or type(name) is not str:
            self.refuse("a global whose name is no text")
        found = self.globals.get((module, name))
        if found is None:
            if len(self.globals) >= PICKLE_GLOBALS:
                raise LimitError(f"has a pickle that names more than {PICKLE_GLOBALS} globals, limit PICKLE_GLOBALS")
            found = self.globals[module, name] = Global(module, name)
            policy.check_reference(found)
        return found

    def arguments(self, args: Any) -> tuple[Any, ...]:
        if type(args) is not tuple:
            self.refuse("arguments that are no tuple")
        self.charge(args)
        return args
