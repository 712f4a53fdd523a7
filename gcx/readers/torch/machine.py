"""A pickle interpreter that makes inert values: budgeted, without recursion, importing and calling nothing.

The opcodes are those of protocols 0 to 5, as CPython's `Lib/pickle.py` describes them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NoReturn

from gcx.errors import CheckpointError, LimitError
from gcx.limits import PICKLE_DEPTH, PICKLE_MEMO, PICKLE_OPS, PICKLE_TEXT
from gcx.readers.torch import policy
from gcx.readers.torch.rebuild import build, call
from gcx.readers.torch.values import Global, LongText, Pairs, Placeholder

CURE = "download or save it again"

_LINE = 8192
"""Longest line of a text opcode: 4300 digits of a number, a name."""
_LONG_BYTES = 4096

_STOP = ord(".")


class TruncatedPickle(CheckpointError):
    """The stream ends inside a pickle."""


class Machine:
    """One pickle's interpreter.

    Args:
        data: the stream.
        persistent: answers a persistent id; None refuses them.
        start: where the pickle begins.
    """

    def __init__(self, data: bytes, persistent: Callable[[Any], Any] | None = None, start: int = 0):
        self.data = data
        self.pos = start
        self.persistent = persistent
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        """The stacks under each mark."""
        self.memo: dict[int, Any] = {}
        self.globals: dict[tuple[str, str], Global] = {}

    def run(self) -> Any:
        """Interpret up to STOP, whose place `pos` then is.

        Raises:
            TruncatedPickle: the stream ends first.
            LimitError: operations, memo, marks.
            CheckpointError: damaged, or it asks for something to be called.
        """
        data, handlers = self.data, _HANDLERS
        try:
            for _ in range(PICKLE_OPS):
                op = data[self.pos]
                self.pos += 1
                if op == _STOP:
                    return self.stack.pop()
                handlers[op](self)
        except IndexError:
            if self.pos >= len(data):
                raise TruncatedPickle("is truncated: its pickle does not end", cure=CURE) from None
            self.refuse("takes more from the stack than is there")
        raise LimitError(f"has a pickle of more than {PICKLE_OPS} operations, limit PICKLE_OPS")

    def refuse(self, what: str) -> NoReturn:
        raise CheckpointError(f"has a damaged pickle: {what} (byte {self.pos})", cure=CURE) from None

    def take(self, length: int) -> bytes:
        end = self.pos + length
        if end > len(self.data):
            raise TruncatedPickle("is truncated: its pickle does not end", cure=CURE)
        part = self.data[self.pos : end]
        self.pos = end
        return part

    def number(self, length: int) -> int:
        return int.from_bytes(self.take(length), "little")

    def line(self) -> bytes:
        end = self.data.find(b"\n", self.pos, self.pos + _LINE)
        if end < 0:
            if len(self.data) - self.pos < _LINE:
                raise TruncatedPickle("is truncated: its pickle does not end", cure=CURE)
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

    # --- numbers and texts ---
    def none(self) -> None:
        self.stack.append(None)

    def true(self) -> None:
        self.stack.append(True)

    def false(self) -> None:
        self.stack.append(False)

    def int1(self) -> None:
        self.stack.append(self.data[self.pos])
        self.pos += 1

    def int2(self) -> None:
        self.stack.append(self.number(2))

    def int4(self) -> None:
        self.stack.append(int.from_bytes(self.take(4), "little", signed=True))

    def long1(self) -> None:
        self.stack.append(int.from_bytes(self.take(self.number(1)), "little", signed=True))

    def long4(self) -> None:
        length = self.number(4)
        if length > _LONG_BYTES:
            self.refuse(f"a whole number of {length} bytes")
        self.stack.append(int.from_bytes(self.take(length), "little", signed=True))

    def int_line(self) -> None:
        line = self.line()
        self.stack.append(line == b"01" if line in (b"00", b"01") else self.decimal(line))

    def long_line(self) -> None:
        self.stack.append(self.decimal(self.line().removesuffix(b"L")))

    def decimal(self, line: bytes) -> int:
        digits = line.removeprefix(b"-")
        if not digits.isdigit() or len(digits) > 4300:
            self.refuse("no whole number where one belongs")
        return int(line)

    def float8(self) -> None:
        self.stack.append(struct.unpack(">d", self.take(8))[0])

    def float_line(self) -> None:
        try:
            self.stack.append(float(self.line()))
        except ValueError:
            self.refuse("no number where one belongs")

    def text1(self) -> None:
        self.stack.append(self.text(self.take(self.number(1))))

    def text4(self) -> None:
        self.stack.append(self.text(self.take(self.number(4))))

    def text8(self) -> None:
        self.stack.append(self.text(self.take(self.number(8))))

    def text_line(self) -> None:
        line = self.line()
        try:
            self.stack.append(line.decode("raw-unicode-escape"))
        except UnicodeDecodeError:
            self.refuse("a text with a damaged escape")

    def old_text(self, raw: bytes) -> None:
        """Python 2's str: text or bytes."""
        if len(raw) > PICKLE_TEXT:
            self.stack.append(raw)
            return
        try:
            self.stack.append(raw.decode())
        except UnicodeDecodeError:
            self.stack.append(raw.decode("latin-1"))

    def old_text1(self) -> None:
        self.old_text(self.take(self.number(1)))

    def old_text4(self) -> None:
        self.old_text(self.take(self.number(4)))

    def old_text_line(self) -> None:
        line = self.line()
        if len(line) < 2 or line[:1] not in b"'\"" or line[:1] != line[-1:]:
            self.refuse("a text without its quotes")
        self.old_text(line[1:-1].replace(b"\\\\", b"\\"))

    def bytes1(self) -> None:
        self.stack.append(self.take(self.number(1)))

    def bytes4(self) -> None:
        self.stack.append(self.take(self.number(4)))

    def bytes8(self) -> None:
        self.stack.append(self.take(self.number(8)))

    # --- containers ---
    def mark(self) -> None:
        if len(self.below) >= PICKLE_DEPTH:
            raise LimitError(f"has a pickle nested deeper than {PICKLE_DEPTH}, limit PICKLE_DEPTH")
        self.below.append(self.stack)
        self.stack = []

    def marked(self) -> list[Any]:
        if not self.below:
            self.refuse("a mark is missing")
        items = self.stack
        self.stack = self.below.pop()
        return items

    def empty_list(self) -> None:
        self.stack.append([])

    def empty_tuple(self) -> None:
        self.stack.append(())

    def empty_dict(self) -> None:
        self.stack.append(Pairs())

    def empty_set(self) -> None:
        self.stack.append(Placeholder(_SET))

    def list_(self) -> None:
        items = self.marked()
        self.stack.append(items)

    def tuple_(self) -> None:
        items = self.marked()
        self.stack.append(tuple(items))

    def tuple1(self) -> None:
        self.stack[-1] = (self.stack[-1],)

    def tuple2(self) -> None:
        last = self.stack.pop()
        self.stack[-1] = (self.stack[-1], last)

    def tuple3(self) -> None:
        last, middle = self.stack.pop(), self.stack.pop()
        self.stack[-1] = (self.stack[-1], middle, last)

    def dict_(self) -> None:
        items = self.marked()
        self.stack.append(Pairs(self.paired(items)))

    def frozenset_(self) -> None:
        found = Placeholder(_FROZENSET)
        found.elements = self.marked()
        self.stack.append(found)

    def paired(self, items: list[Any]) -> list[tuple[Any, Any]]:
        if len(items) % 2:
            self.refuse("a key without its value")
        return list(zip(items[::2], items[1::2], strict=True))

    def append(self) -> None:
        item = self.stack.pop()
        self.add(self.stack[-1], [item])

    def appends(self) -> None:
        items = self.marked()
        self.add(self.stack[-1], items)

    def add(self, target: Any, items: list[Any]) -> None:
        if type(target) is list:
            target.extend(items)
        elif type(target) is Placeholder:
            if target.elements is None:
                target.elements = []
            target.elements.extend(items)
        else:
            self.refuse("appends to what is no list")

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_pairs(self.stack[-1], [(key, value)])

    def set_items(self) -> None:
        items = self.marked()
        self.set_pairs(self.stack[-1], self.paired(items))

    def set_pairs(self, target: Any, pairs: list[tuple[Any, Any]]) -> None:
        if type(target) is Pairs:
            target.items.extend(pairs)
        elif type(target) is Placeholder:
            if target.items is None:
                target.items = []
            target.items.extend(pairs)
        else:
            self.refuse("sets an item of what is no dict")

    # --- stack and memo ---
    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.marked()

    def duplicate(self) -> None:
        self.stack.append(self.stack[-1])

    def put(self, index: int) -> None:
        if not 0 <= index < PICKLE_MEMO:
            raise LimitError(f"has a pickle with memo index {index}, limit PICKLE_MEMO is {PICKLE_MEMO}")
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        try:
            self.stack.append(self.memo[index])
        except KeyError:
            self.refuse(f"memo {index} was never set")

    def put1(self) -> None:
        index = self.data[self.pos]
        self.pos += 1
        self.memo[index] = self.stack[-1]

    def put4(self) -> None:
        self.put(self.number(4))

    def put_line(self) -> None:
        self.put(self.decimal(self.line()))

    def memoize(self) -> None:
        self.put(len(self.memo))

    def get1(self) -> None:
        index = self.data[self.pos]
        self.pos += 1
        self.get(index)

    def get4(self) -> None:
        self.get(self.number(4))

    def get_line(self) -> None:
        self.get(self.decimal(self.line()))

    # --- objects ---
    def find(self, module: Any, name: Any) -> Global:
        if type(module) is not str or type(name) is not str:
            self.refuse("a global whose name is no text")
        found = self.globals.get((module, name))
        if found is None:
            found = self.globals[module, name] = Global(module, name)
            policy.check_reference(found)
        return found

    def global_line(self) -> None:
        module, name = self.line(), self.line()
        self.stack.append(self.find(self.text(module), self.text(name)))

    def stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(self.find(module, name))

    def reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = call(self.stack[-1], self.arguments(args))

    def arguments(self, args: Any) -> tuple[Any, ...]:
        if type(args) is not tuple:
            self.refuse("arguments that are no tuple")
        return args

    def new_object(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = call(self.stack[-1], self.arguments(args), of_class=True)

    def new_object_ex(self) -> None:
        named, args = self.stack.pop(), self.stack.pop()
        if type(named) is not Pairs:
            self.refuse("named arguments that are no dict")
        self.stack[-1] = call(self.stack[-1], self.arguments(args), of_class=True)

    def instance(self) -> None:
        module, name = self.line(), self.line()
        cls = self.find(self.text(module), self.text(name))
        args = self.marked()
        self.stack.append(call(cls, tuple(args)))

    def object_(self) -> None:
        args = self.marked()
        self.stack.append(call(args[0] if args else None, tuple(args[1:])))

    def build(self) -> None:
        state = self.stack.pop()
        self.stack[-1] = build(self.stack[-1], state)

    def persistent_id(self) -> None:
        if self.persistent is None:
            self.refuse("a persistent id where none belongs")
        self.stack[-1] = self.persistent(self.stack[-1])

    def persistent_line(self) -> None:
        line = self.line()
        if self.persistent is None:
            self.refuse("a persistent id where none belongs")
        self.stack.append(self.persistent(self.text(line)))

    # --- framing ---
    def protocol(self) -> None:
        version = self.number(1)
        if version > 5:
            self.refuse(f"protocol {version}")

    def frame(self) -> None:
        if self.number(8) > len(self.data) - self.pos:
            raise TruncatedPickle("is truncated: its pickle does not end", cure=CURE)

    def extension(self) -> None:
        raise CheckpointError("asks to call something from the extension registry; refused, nothing was run")

    def buffer(self) -> None:
        self.refuse("an out-of-band buffer")

    def unknown(self) -> None:
        self.refuse(f"no such operation: {self.data[self.pos - 1]:#04x}")


_SET, _FROZENSET = Global("builtins", "set"), Global("builtins", "frozenset")

_BY_CODE: dict[str, Callable[[Machine], None]] = {
    "(": Machine.mark, "0": Machine.pop, "1": lambda machine: (machine.marked(), None)[1], "2": Machine.duplicate,
    "F": Machine.float_line, "I": Machine.int_line, "J": Machine.int4, "K": Machine.int1, "L": Machine.long_line,
    "M": Machine.int2, "N": Machine.none, "P": Machine.persistent_line, "Q": Machine.persistent_id,
    "R": Machine.reduce, "S": Machine.old_text_line, "T": Machine.old_text4, "U": Machine.old_text1,
    "V": Machine.text_line, "X": Machine.text4, "a": Machine.append, "b": Machine.build, "c": Machine.global_line,
    "d": Machine.dict_, "}": Machine.empty_dict, "e": Machine.appends, "g": Machine.get_line, "h": Machine.get1,
    "i": Machine.instance, "j": Machine.get4, "l": Machine.list_, "]": Machine.empty_list, "o": Machine.object_,
    "p": Machine.put_line, "q": Machine.put1, "r": Machine.put4, "s": Machine.set_item, "t": Machine.tuple_,
    ")": Machine.empty_tuple, "u": Machine.set_items, "G": Machine.float8,
    "\x80": Machine.protocol, "\x81": Machine.new_object, "\x82": Machine.extension, "\x83": Machine.extension,
    "\x84": Machine.extension, "\x85": Machine.tuple1, "\x86": Machine.tuple2, "\x87": Machine.tuple3,
    "\x88": Machine.true, "\x89": Machine.false, "\x8a": Machine.long1, "\x8b": Machine.long4,
    "B": Machine.bytes4, "C": Machine.bytes1, "\x8c": Machine.text1, "\x8d": Machine.text8, "\x8e": Machine.bytes8,
    "\x8f": Machine.empty_set, "\x90": Machine.appends, "\x91": Machine.frozenset_, "\x92": Machine.new_object_ex,
    "\x93": Machine.stack_global, "\x94": Machine.memoize, "\x95": Machine.frame, "\x96": Machine.bytes8,
    "\x97": Machine.buffer, "\x98": Machine.buffer,
}  # fmt: skip
_HANDLERS = [_BY_CODE.get(chr(code), Machine.unknown) for code in range(256)]
