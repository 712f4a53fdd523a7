"""The operations of pickle protocols 0 to 5, as CPython's `Lib/pickle.py` describes them, on inert values."""

from __future__ import annotations

import struct
from codecs import raw_unicode_escape_decode  # .decode() would import it
from collections.abc import Callable
from typing import TYPE_CHECKING

from gcx.errors import LimitError
from gcx.limits import PICKLE_DEPTH
from gcx.readers.torch import policy
from gcx.readers.torch.rebuild import build, call
from gcx.readers.torch.values import Global, Pairs, Placeholder

if TYPE_CHECKING:
    from gcx.readers.torch.machine import Machine

Operation = Callable[["Machine"], None]

_LONG_BYTES = 4096

_SET, _FROZENSET = Global("builtins", "set"), Global("builtins", "frozenset")


def none(machine: Machine) -> None:
    machine.stack.append(None)


def true(machine: Machine) -> None:
    machine.stack.append(True)


def false(machine: Machine) -> None:
    machine.stack.append(False)


def int1(machine: Machine) -> None:
    machine.stack.append(machine.data[machine.pos])
    machine.pos += 1


def int2(machine: Machine) -> None:
    machine.stack.append(machine.number(2))


def int4(machine: Machine) -> None:
    machine.stack.append(int.from_bytes(machine.take(4), "little", signed=True))


def long1(machine: Machine) -> None:
    machine.stack.append(int.from_bytes(machine.take(machine.number(1)), "little", signed=True))


def long4(machine: Machine) -> None:
    length = machine.number(4)
    if length > _LONG_BYTES:
        machine.refuse(f"a whole number of {length} bytes")
    machine.stack.append(int.from_bytes(machine.take(length), "little", signed=True))


def int_line(machine: Machine) -> None:
    line = machine.line()
    machine.stack.append(line == b"01" if line in (b"00", b"01") else machine.decimal(line))


def long_line(machine: Machine) -> None:
    machine.stack.append(machine.decimal(machine.line().removesuffix(b"L")))


def float8(machine: Machine) -> None:
    machine.stack.append(struct.unpack(">d", machine.take(8))[0])


def float_line(machine: Machine) -> None:
    try:
        machine.stack.append(float(machine.line()))
    except ValueError:
        machine.refuse("no number where one belongs")


def text1(machine: Machine) -> None:
    machine.stack.append(machine.text(machine.take(machine.number(1))))


def text4(machine: Machine) -> None:
    machine.stack.append(machine.text(machine.take(machine.number(4))))


def text8(machine: Machine) -> None:
    machine.stack.append(machine.text(machine.take(machine.number(8))))


def text_line(machine: Machine) -> None:
    line = machine.line()
    try:
        machine.stack.append(raw_unicode_escape_decode(line)[0])
    except UnicodeDecodeError:
        machine.refuse("a text with a damaged escape")


def old_text1(machine: Machine) -> None:
    machine.old_text(machine.take(machine.number(1)))


def old_text4(machine: Machine) -> None:
    machine.old_text(machine.take(machine.number(4)))


def old_text_line(machine: Machine) -> None:
    line = machine.line()
    if len(line) < 2 or line[:1] not in b"'\"" or line[:1] != line[-1:]:
        machine.refuse("a text without its quotes")
    machine.old_text(line[1:-1].replace(b"\\\\", b"\\"))


def bytes1(machine: Machine) -> None:
    machine.stack.append(machine.take(machine.number(1)))


def bytes4(machine: Machine) -> None:
    machine.stack.append(machine.take(machine.number(4)))


def bytes8(machine: Machine) -> None:
    machine.stack.append(machine.take(machine.number(8)))


# --- containers ---


def mark(machine: Machine) -> None:
    if len(machine.below) >= PICKLE_DEPTH:
        raise LimitError(f"has a pickle nested deeper than {PICKLE_DEPTH}, limit PICKLE_DEPTH")
    machine.below.append(machine.stack)
    machine.stack = []


def empty_list(machine: Machine) -> None:
    machine.made()
    machine.stack.append([])


def empty_tuple(machine: Machine) -> None:
    machine.stack.append(())


def empty_dict(machine: Machine) -> None:
    machine.made()
    machine.stack.append(Pairs())


def empty_set(machine: Machine) -> None:
    machine.made()
    machine.stack.append(Placeholder(_SET))


def list_(machine: Machine) -> None:
    machine.made()
    items = machine.marked()
    machine.stack.append(items)


def tuple_(machine: Machine) -> None:
    machine.made()
    items = machine.marked()
    machine.stack.append(tuple(items))


def tuple1(machine: Machine) -> None:
    machine.made()
    machine.stack[-1] = (machine.stack[-1],)


def tuple2(machine: Machine) -> None:
    machine.made()
    last = machine.stack.pop()
    machine.stack[-1] = (machine.stack[-1], last)


def tuple3(machine: Machine) -> None:
    machine.made()
    last, middle = machine.stack.pop(), machine.stack.pop()
    machine.stack[-1] = (machine.stack[-1], middle, last)


def dict_(machine: Machine) -> None:
    machine.made()
    items = machine.marked()
    machine.stack.append(Pairs(machine.paired(items)))


def frozenset_(machine: Machine) -> None:
    machine.made()
    found = Placeholder(_FROZENSET)
    found.elements = machine.marked()
    machine.stack.append(found)


def append(machine: Machine) -> None:
    item = machine.stack.pop()
    machine.add(machine.stack[-1], [item])


def appends(machine: Machine) -> None:
    items = machine.marked()
    machine.add(machine.stack[-1], items)


def set_item(machine: Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    machine.set_pairs(machine.stack[-1], [(key, value)])


def set_items(machine: Machine) -> None:
    items = machine.marked()
    machine.set_pairs(machine.stack[-1], machine.paired(items))


# --- stack and memo ---


def pop(machine: Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.marked()


def duplicate(machine: Machine) -> None:
    machine.stack.append(machine.stack[-1])


def put1(machine: Machine) -> None:
    index = machine.data[machine.pos]
    machine.pos += 1
    machine.memo[index] = machine.stack[-1]


def put4(machine: Machine) -> None:
    machine.put(machine.number(4))


def put_line(machine: Machine) -> None:
    machine.put(machine.decimal(machine.line()))


def memoize(machine: Machine) -> None:
    machine.put(len(machine.memo))


def get1(machine: Machine) -> None:
    index = machine.data[machine.pos]
    machine.pos += 1
    machine.get(index)


def get4(machine: Machine) -> None:
    machine.get(machine.number(4))


def get_line(machine: Machine) -> None:
    machine.get(machine.decimal(machine.line()))


# --- objects ---


def global_line(machine: Machine) -> None:
    module, name = machine.line(), machine.line()
    machine.stack.append(machine.find(machine.text(module), machine.text(name)))


def stack_global(machine: Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(machine.find(module, name))


def reduce(machine: Machine) -> None:
    args = machine.stack.pop()
    machine.stack[-1] = call(machine.stack[-1], machine.arguments(args))


def new_object(machine: Machine) -> None:
    args = machine.stack.pop()
    machine.stack[-1] = call(machine.stack[-1], machine.arguments(args), of_class=True)


def new_object_ex(machine: Machine) -> None:
    named, args = machine.stack.pop(), machine.stack.pop()
    if type(named) is not Pairs:
        machine.refuse("named arguments that are no dict")
    machine.stack[-1] = call(machine.stack[-1], machine.arguments(args), of_class=True)


def instance(machine: Machine) -> None:
    module, name = machine.line(), machine.line()
    cls = machine.find(machine.text(module), machine.text(name))
    args = machine.arguments(tuple(machine.marked()))
    machine.stack.append(call(cls, args))


def object_(machine: Machine) -> None:
    args = machine.arguments(tuple(machine.marked()))
    machine.stack.append(call(args[0] if args else None, args[1:]))


def give_state(machine: Machine) -> None:
    state = machine.stack.pop()
    machine.stack[-1] = build(machine.stack[-1], state)


def persistent_id(machine: Machine) -> None:
    if machine.persistent is None:
        machine.refuse("a persistent id where none belongs")
    machine.stack[-1] = machine.persistent(machine.stack[-1])


def persistent_line(machine: Machine) -> None:
    line = machine.line()
    if machine.persistent is None:
        machine.refuse("a persistent id where none belongs")
    machine.stack.append(machine.persistent(machine.text(line)))


# --- framing ---


def protocol(machine: Machine) -> None:
    version = machine.number(1)
    if version > 5:
        machine.refuse(f"protocol {version}")


def frame(machine: Machine) -> None:
    if machine.number(8) > len(machine.data) - machine.pos:
        machine.end_early()


def extension(machine: Machine) -> None:
    policy.refuse_call(f"what the extension registry has at byte {machine.pos}")


def buffer(machine: Machine) -> None:
    machine.refuse("an out-of-band buffer")


def unknown(machine: Machine) -> None:
    machine.refuse(f"no such operation: {machine.data[machine.pos - 1]:#04x}")


def pop_mark(machine: Machine) -> None:
    machine.marked()


_BY_CODE: dict[str, Operation] = {
    "(": mark, "0": pop, "1": pop_mark, "2": duplicate,
    "F": float_line, "I": int_line, "J": int4, "K": int1, "L": long_line,
    "M": int2, "N": none, "P": persistent_line, "Q": persistent_id,
    "R": reduce, "S": old_text_line, "T": old_text4, "U": old_text1,
    "V": text_line, "X": text4, "a": append, "b": give_state, "c": global_line,
    "d": dict_, "}": empty_dict, "e": appends, "g": get_line, "h": get1,
    "i": instance, "j": get4, "l": list_, "]": empty_list, "o": object_,
    "p": put_line, "q": put1, "r": put4, "s": set_item, "t": tuple_,
    ")": empty_tuple, "u": set_items, "G": float8,
    "\x80": protocol, "\x81": new_object, "\x82": extension, "\x83": extension,
    "\x84": extension, "\x85": tuple1, "\x86": tuple2, "\x87": tuple3,
    "\x88": true, "\x89": false, "\x8a": long1, "\x8b": long4,
    "B": bytes4, "C": bytes1, "\x8c": text1, "\x8d": text8, "\x8e": bytes8,
    "\x8f": empty_set, "\x90": appends, "\x91": frozenset_, "\x92": new_object_ex,
    "\x93": stack_global, "\x94": memoize, "\x95": frame, "\x96": bytes8,
    "\x97": buffer, "\x98": buffer,
}  # fmt: skip
HANDLERS = [_BY_CODE.get(chr(code), unknown) for code in range(256)]
