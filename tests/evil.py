"""Builders of torch files in which every field can lie: a pickle assembler, a raw zip writer, containers around them.

torch cannot write bad files; these can. A hostile pickle asks for `CANARY` to be made: no reader may let that happen.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

MAGIC = 0x1950A86A20F9469CFC6C
CANARY = "gcx-canary-was-here"


# --- pickle assembler ---


class Raw(bytes):
    """Opcodes as they are."""


class Ref:
    """A global by name."""

    def __init__(self, module: str, name: str):
        self.module, self.name = module, name


class Call:
    """`callee(*args)` by REDUCE, with a state by BUILD."""

    def __init__(self, callee: Any, *args: Any, state: Any = None):
        self.callee, self.args, self.state = callee, args, state


class Persistent:
    """A value behind BINPERSID."""

    def __init__(self, pid: Any):
        self.pid = pid


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def ops(value: Any) -> bytes:
    """The opcodes that push a value."""
    match value:
        case Raw():
            return bytes(value)
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            return number(value)
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return text(value)
        case bytes():
            return b"B" + struct.pack("<I", len(value)) + value
        case tuple():
            return b"(" + b"".join(map(ops, value)) + b"t"
        case list():
            return b"](" + b"".join(map(ops, value)) + b"e"
        case dict():
            return b"}(" + b"".join(ops(key) + ops(item) for key, item in value.items()) + b"u"
        case Ref():
            return b"c" + value.module.encode() + b"\n" + value.name.encode() + b"\n"
        case Call():
            made = ops(value.callee) + ops(tuple(value.args)) + b"R"
            return made if value.state is None else made + ops(value.state) + b"b"
        case Persistent():
            return ops(value.pid) + b"Q"
    raise TypeError(type(value))


def pickled(value: Any) -> bytes:
    return b"\x80\x02" + ops(value) + b"."


# --- torch's values ---


def storage(numel: int = 4, key: str = "0", kind: str = "FloatStorage", location: Any = "cpu") -> Persistent:
    return Persistent(("storage", Ref("torch", kind), key, location, numel))


def tensor(
    of: Any = None, offset: Any = 0, size: Any = (4,), stride: Any = (1,), function: str = "_rebuild_tensor_v2"
) -> Call:
    of = storage() if of is None else of
    return Call(Ref("torch._utils", function), of, offset, size, stride, False, Call(Ref("collections", "OrderedDict")))


FOUR = struct.pack("<4f", 1.0, 2.0, 3.0, 4.0)


# --- zip writer ---


@dataclass
class Record:
    """One entry; None means the truth."""

    name: str | bytes
    data: bytes = b""
    method: int = 0
    flags: int = 0
    crc: int | None = None
    stored: int | None = None
    size: int | None = None
    payload: bytes | None = None
    """What lies in the archive, where that is not `data` packed by `method`."""
    attributes: int = 0
    local: dict[str, Any] = field(default_factory=dict)
    """Fields of the local header that differ from the directory's: name, method, flags, crc, stored, size."""
    place: int | None = None
    """What the directory says about where it is."""
    extra: bytes = b""
    before: bytes = b""
    """Bytes between the entry before and this one."""

    def packed(self) -> bytes:
        if self.payload is not None:
            return self.payload
        if self.method != 8:
            return self.data
        engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        return engine.compress(self.data) + engine.flush()


def zip_bytes(
    records: Iterable[Record], *, prefix: bytes = b"", suffix: bytes = b"", zip64: bool = False, end: Any = None
) -> bytes:
    """An archive of these records; `end` changes fields of the end: count, length, begin, comment, disk."""
    body, directory, count = bytearray(prefix), bytearray(), 0
    for record in records:
        count += 1
        body += record.before
        packed = record.packed()
        name = record.name.encode() if isinstance(record.name, str) else record.name
        truth = {
            "name": name,
            "flags": record.flags,
            "method": record.method,
            "crc": zlib.crc32(record.data) if record.crc is None else record.crc,
            "stored": len(packed) if record.stored is None else record.stored,
            "size": len(record.data) if record.size is None else record.size,
        }
        here = truth | record.local
        place = len(body) if record.place is None else record.place
        numbers = (here["flags"], here["method"], 0, 0, here["crc"], here["stored"], here["size"])
        body += struct.pack("<4s5H3I2H", b"PK\3\4", 20, *numbers, len(here["name"]), 0) + here["name"] + packed
        numbers = (truth["flags"], truth["method"], 0, 0, truth["crc"], truth["stored"], truth["size"])
        tail = (len(name), len(record.extra), 0, 0, 0, record.attributes, place)
        directory += struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, *numbers, *tail) + name + record.extra
    fields = {"count": count, "length": len(directory), "begin": len(body), "comment": 0, "disk": 0} | (end or {})
    ending = b""
    if zip64:
        at = len(body) + len(directory)
        count, length, begin = fields["count"], fields["length"], fields["begin"]
        ending = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, begin)
        ending += struct.pack("<4sIQI", b"PK\6\7", 0, at, 1)
        fields |= {"count": min(count, 0xFFFF)}
    numbers = (fields["disk"], 0, fields["count"], fields["count"], fields["length"], fields["begin"])
    ending += struct.pack("<4s4H2IH", b"PK\5\6", *numbers, fields["comment"])
    return bytes(body + directory + ending + suffix)


def records(pickle: bytes, *, top: str = "archive", data: dict[str, bytes] | None = None) -> list[Record]:
    held = {"0": FOUR} if data is None else data
    return [
        Record(f"{top}/data.pkl", pickle),
        Record(f"{top}/byteorder", b"little"),
        *(Record(f"{top}/data/{key}", value) for key, value in held.items()),
        Record(f"{top}/version", b"3\n"),
    ]


def zip_file(value: Any, *, data: dict[str, bytes] | None = None) -> bytes:
    """A checkpoint in torch's zip container, whose storages are `data`."""
    return zip_bytes(records(value if isinstance(value, Raw) else pickled(value), data=data))


def changed(found: list[Record], name: str, **fields: Any) -> list[Record]:
    """The records, one of them with other fields."""
    assert any(str(record.name).endswith(name) for record in found)
    return [replace(one, **fields) if str(one.name).endswith(name) else one for one in found]


# --- legacy stream and tar ---


def legacy_file(
    value: Any,
    *,
    data: dict[str, tuple[int, bytes]] | None = None,
    keys: Any = None,
    magic: Any = MAGIC,
    protocol: Any = 1001,
    info: Any = None,
) -> bytes:
    """A checkpoint in the legacy stream; `data` maps storage keys to (count, bytes)."""
    held = {"0": (4, FOUR)} if data is None else data
    info = {"protocol_version": 1001, "little_endian": True} if info is None else info
    stream = b"".join(map(pickled, (magic, protocol, info)))
    stream += value if isinstance(value, Raw) else pickled(value)
    stream += pickled(list(held) if keys is None else keys)
    return stream + b"".join(struct.pack("<q", count) + numbers for count, numbers in held.values())


def legacy_storage(numel: int = 4, key: str = "0", kind: str = "FloatStorage", view: Any = None) -> Persistent:
    return Persistent(("storage", Ref("torch", kind), key, "cpu", numel, view))


def tar_file(members: dict[str, bytes], **header: Any) -> bytes:
    """A tar of plain files; `header` changes a field of every header: kind, checksum."""
    packed = b""
    for name, data in members.items():
        block = bytearray(512)
        block[:100] = name.encode().ljust(100, b"\0")
        block[100:108] = b"0000644\0"
        block[124:136] = b"%011o\0" % len(data)
        block[156:157] = header.get("kind", b"0")
        block[257:265] = b"ustar\x0000"
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % (header.get("checksum") or sum(block))
        packed += bytes(block) + data + bytes(-len(data) % 512)
    return packed + bytes(1024)


def old_tar(
    value: Any, *, numel: int = 4, numbers: bytes = FOUR, size: Any = (4,), stride: Any = (1,)
) -> dict[str, bytes]:
    """The files of torch 0.1's tar: one storage of key 7, one tensor of key 8."""
    axes = len(size)
    described = struct.pack("<i4x", axes) + struct.pack(f"<{2 * axes + 1}q", *size, *stride, 0)
    return {
        "sys_info": pickled({"little_endian": True}),
        "storages": pickled(1)
        + pickled((7, "cpu", Ref("torch", "FloatStorage")))
        + struct.pack("<q", numel)
        + numbers
        + pickled([]),
        "tensors": pickled(1) + pickled((8, 7, Ref("torch", "FloatTensor"))) + described,
        "pickle": pickled(value),
    }
