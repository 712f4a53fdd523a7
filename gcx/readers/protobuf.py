"""The outside of a protobuf message: which fields it has and where they lie, without building any of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gcx.readers.base import Source

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_HEADER = 20
"""Bytes of a tag and a length, both at their longest."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message."""

    number: int
    wire: int
    start: int
    """Where its content begins, after tag and length."""
    length: int
    """Of the content in bytes; what the file claims, even beyond its end."""
    value: int = 0
    """Of a varint."""


def fields(source: Source, start: int, end: int, limit: int) -> Iterator[Field]:
    """Walk over the fields of the message between two positions, reading a few bytes of each.

    Ends at `end`, at the first thing that is no field, after one whose content goes beyond `end`, and after `limit`
    fields; whoever wants to know compares the last field with `end`.
    """
    at = start
    for _ in range(limit):
        if at >= end:
            return
        field = _field(source.pread(at, min(_HEADER, end - at)), at)
        if field is None:
            return
        yield field
        at = field.start + field.length
        if at > end:
            return


def _field(data: bytes, at: int) -> Field | None:
    tag, used = _varint(data, 0)
    number, wire = tag >> 3, tag & 7
    if not used or not 0 < number < 2**29:
        return None
    if wire in (FIXED32, FIXED64):
        return Field(number, wire, at + used, 4 if wire == FIXED32 else 8)
    if wire not in (VARINT, BYTES):
        return None
    value, end = _varint(data, used)
    if not end:
        return None
    if wire == BYTES:
        return Field(number, wire, at + end, value)
    return Field(number, wire, at + used, end - used, value)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at a position and the position after it; 0, 0 where there is none."""
    value = 0
    for place, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    return 0, 0
