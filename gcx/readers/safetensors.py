"""safetensors: a strict parser of our own, since the library hands out neither byte ranges nor bfloat16 for numpy.

The header is read entry by entry, never as one JSON value: so a header of a hundred megabytes of brackets costs neither
memory nor recursion. What the format allows and no writer writes (duplicate keys, further fields) is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any, NoReturn

from gcx.checkpoint import Checkpoint, TensorRef
from gcx.errors import CheckpointError, GcxError, LimitError
from gcx.limits import RANK, SAFETENSORS_HEADER, TENSORS
from gcx.readers.base import CURE, ReadOptions, Source
from gcx.readers.dtypes import COMPLEX, from_little_endian
from gcx.readers.json_text import Scanner
from gcx.readers.names import present, shard_note

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENTRY_LENGTH = 4096
"""Characters of one tensor's entry; 64 axes of 20 digits take half of it."""

DTYPES = {
    "F64": ("float64", 64),
    "F32": ("float32", 32),
    "F16": ("float16", 16),
    "BF16": ("bfloat16", 16),
    "F8_E4M3": ("float8_e4m3fn", 8),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 8),
    "F8_E5M2": ("float8_e5m2", 8),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", 8),
    "F8_E8M0": ("float8_e8m0fnu", 8),
    "F6_E2M3": ("float6_e2m3fn", 6),
    "F6_E3M2": ("float6_e3m2fn", 6),
    "F4": ("float4_e2m1fn", 4),
    "I64": ("int64", 64),
    "I32": ("int32", 32),
    "I16": ("int16", 16),
    "I8": ("int8", 8),
    "U64": ("uint64", 64),
    "U32": ("uint32", 32),
    "U16": ("uint16", 16),
    "U8": ("uint8", 8),
    "BOOL": ("bool", 8),
    "C64": ("complex64", 64),
}
"""The format's name of a number to (our name, bits)."""

_NUMBER = re.compile(r"0|[1-9][0-9]{0,19}")
_FIELDS = {"dtype", "shape", "data_offsets"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of a header, checked against the bytes present."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    """Absolute position in the file."""
    end: int
    unreadable: str | None


class SafetensorsReader:
    """`name.safetensors`, one file."""

    name = "safetensors"
    suffixes: tuple[str, ...] = (".safetensors",)

    def recognises(self, source: Source) -> bool:
        """A length of eight bytes, then a JSON object of names; damaged ones too, so that the message fits."""
        head = source.head
        length = int.from_bytes(head[:8], "little")
        start = head[8:72].removeprefix(b"\xef\xbb\xbf").lstrip()
        if not start.startswith(b"{"):
            return False
        if 2 <= length <= source.size - 8:
            return True
        return start[1:].lstrip()[:1] in (b'"', b"}") and not all(byte >= 9 and byte < 127 for byte in head[:8])

    def read(self, source: Source, options: ReadOptions) -> Checkpoint:
        """Parse the header; tensors are read from the file when asked for.

        Raises:
            CheckpointError: the header is not what the format says, or does not fit the file.
        """
        tensors, notes = present(tensors_of(source), options)
        notes += shard_note(source.path)
        return Checkpoint(source.path, "safetensors", tensors, notes=notes, close=source.close)


def tensors_of(source: Source) -> dict[str, TensorRef]:
    """The tensors of one file by their names in it, in natural order where the writer sorted them.

    Raises:
        CheckpointError: see `SafetensorsReader.read`.
    """
    try:
        entries = parse_header(source)
    except GcxError as error:
        raise error.located(path=source.path) from error.__cause__
    return {
        entry.name: TensorRef(
            entry.name, entry.dtype, entry.shape, partial(_load, source, entry), unreadable=entry.unreadable
        )
        for entry in in_reading_order(entries)
    }


def parse_header(source: Source) -> list[Entry]:
    """Read and check the header; entries in its order.

    Raises:
        CheckpointError: not strict JSON of the expected fields; sizes that do not fit; bytes without an owner.
        LimitError: header length, number of tensors, rank.
    """
    if source.size < 10:
        raise CheckpointError("is truncated: shorter than any safetensors header", cure=CURE)
    length = int.from_bytes(source.pread(0, 8), "little")
    if length > SAFETENSORS_HEADER:
        raise LimitError(
            f"claims a header of {length} bytes, limit SAFETENSORS_HEADER is {SAFETENSORS_HEADER}", cure=CURE
        )
    if length > source.size - 8:
        raise CheckpointError(f"is truncated: its header has {length} bytes, the file {source.size} in all", cure=CURE)
    try:
        text = source.pread(8, length).decode()
    except UnicodeDecodeError as error:
        raise CheckpointError(f"safetensors header is not UTF-8 at byte {8 + error.start}", cure=CURE) from None
    start = 8 + length
    entries = [_entry(name, fields, start) for name, fields in _header(text)]
    _check_cover(entries, start, source.size)
    return entries


def in_reading_order(entries: list[Entry]) -> list[Entry]:
    """Undo the alphabet: the usual writer sorts by name, so `layer.10` stands before `layer.2`.

    A file whose entries are in another order keeps it: then the order is the writer's and may be the network's.
    """
    by_dtype: dict[str, str] = {}
    for entry in entries:
        if entry.name < by_dtype.get(entry.dtype, ""):
            return entries
        by_dtype[entry.dtype] = entry.name
    return sorted(entries, key=lambda entry: _natural(entry.name))


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Numbers in a name count as numbers; no int() of untrusted digits, which is quadratic: length, then text."""
    parts = re.split(r"([0-9]+)", name)
    return [
        (0, len(digits), digits) if place % 2 and (digits := part.lstrip("0") or "0") else (1, 0, part)
        for place, part in enumerate(parts)
    ]


def _load(source: Source, entry: Entry) -> NDArray[Any]:
    return from_little_endian(source.pread(entry.begin, entry.end - entry.begin), entry.dtype, entry.shape)


def _header(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The entries of a header, one after the other."""
    scanner = Scanner(text, "safetensors header")
    if not text.startswith("{"):
        scanner.refuse("it does not begin with '{'")
    decoder = json.JSONDecoder(
        object_pairs_hook=_unique, parse_int=_size, parse_float=_not_a_size, parse_constant=_not_a_size
    )
    budget = TENSORS
    for name in scanner.members():
        if name == "__metadata__":
            for _ in scanner.members():
                scanner.string()  # texts by texts; nothing of it is used
            continue
        budget -= 1
        if budget < 0:
            raise LimitError(f"has more than {TENSORS} tensors, limit TENSORS", cure=CURE)
        yield name, _fields(scanner, decoder, name)
    scanner.end()


def _fields(scanner: Scanner, decoder: json.JSONDecoder, name: str) -> dict[str, Any]:
    """The object of one entry; no writer nests anything in it, so it ends at the next brace."""
    if scanner.next() != "{":
        raise CheckpointError("safetensors entry is not an object", tensor=name, cure=CURE)
    fragment = scanner.until("}", ENTRY_LENGTH)
    if fragment is None:
        raise CheckpointError("safetensors entry does not end", tensor=name, cure=CURE)
    try:
        fields: dict[str, Any] = decoder.decode(fragment)
    except GcxError as error:
        raise error.located(tensor=name) from None
    except (ValueError, RecursionError):
        raise CheckpointError("safetensors entry is not valid JSON", tensor=name, cure=CURE) from None
    return fields


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise CheckpointError("safetensors entry has a field twice", cure=CURE)
    return fields


def _size(digits: str) -> int:
    if not _NUMBER.fullmatch(digits):
        raise CheckpointError(f"safetensors entry has a size that cannot be: {digits[:30]}", cure=CURE)
    return int(digits)


def _not_a_size(literal: str) -> NoReturn:
    raise CheckpointError(f"safetensors entry has a size that is no whole number: {literal[:30]}", cure=CURE)


def _entry(name: str, fields: dict[str, Any], start: int) -> Entry:
    """Check one tensor by itself: fields, types, and that its shape takes the bytes that its offsets give."""

    def refuse(what: str) -> NoReturn:
        raise CheckpointError(f"safetensors entry {what}", tensor=name, cure=CURE)

    if fields.keys() != _FIELDS:
        refuse("needs exactly the fields dtype, shape and data_offsets")
    kind, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(kind, str) or kind not in DTYPES:
        refuse(f"has an unknown dtype: {kind!s:.30}")
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        refuse("has a shape that is no list of whole numbers")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(offset) is int for offset in offsets):
        refuse("has data_offsets that are no two whole numbers")
    if len(shape) > RANK:
        raise LimitError(f"has {len(shape)} axes, limit RANK is {RANK}", tensor=name)
    dtype, bits = DTYPES[kind]
    begin, end = offsets
    # The product without zeros has to fit too: numpy refuses such shapes even where nothing is in them.
    if prod(size or 1 for size in shape) * bits >= 2**63:
        refuse("has a shape beyond any memory")
    if prod(shape) * bits != 8 * (end - begin):
        refuse(f"has a shape of {prod(shape)} {dtype} numbers, but {end - begin} bytes")
    return Entry(name, dtype, tuple(shape), start + begin, start + end, _unreadable(dtype, bits))


def _unreadable(dtype: str, bits: int) -> str | None:
    if dtype == "complex64":
        return COMPLEX
    return f"holds packed {dtype} numbers, which are not measured" if bits < 8 else None


def _check_cover(entries: list[Entry], start: int, size: int) -> None:
    """The tensors, put end to end, are exactly the bytes after the header: no hole, no overlap, nothing behind."""
    at = start
    for entry in sorted(entries, key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != at:
            what = f"leaves a hole of {entry.begin - at} bytes before it" if entry.begin > at else "overlaps another"
            raise CheckpointError(f"safetensors entry {what}", tensor=entry.name, cure=CURE)
        at = entry.end
    if at > size:
        raise CheckpointError(f"is truncated: its tensors end at byte {at}, the file at {size}", cure=CURE)
    if at < size:
        raise CheckpointError(f"has {size - at} bytes after its last tensor, which belong to nothing", cure=CURE)
