"""Protobuf messages by position: which fields they have and where these lie, without building any of it.

The library would hold a whole model in memory, and turns two hostile bytes into a hundred; we need a few names, shapes
and positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gcx.errors import CheckpointError, LimitError
from gcx.limits import ONNX_FIELDS, ONNX_NAME
from gcx.readers.base import Source

CURE = "download or export it again"
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

_HEADER = 20
"""Bytes of a tag and a length, both at their longest."""
_WINDOW = 4096


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message."""

    number: int
    wire: int
    start: int
    """Where its content begins, after tag and length."""
    length: int
    """Of the content in bytes; `fields` has checked that it lies within the message."""
    value: int = 0
    """Of a varint, as unsigned."""

    @property
    def end(self) -> int:
        return self.start + self.length

    @property
    def signed(self) -> int:
        """Of a varint that may be negative: two's complement in 64 bits."""
        return self.value - 2**64 if self.value >= 2**63 else self.value


class Wire:
    """A source read in small pieces, with a budget of fields."""

    def __init__(self, source: Source, budget: int = ONNX_FIELDS):
        self.source = source
        self._budget = self._left = budget
        self._window = b""
        self._at = 0

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """Walk over the fields of the message between two positions.

        Raises:
            CheckpointError: something that is no field, or one that is longer than the message.
            LimitError: ONNX_FIELDS.
        """
        at = start
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise LimitError(f"has more than {self._budget} protobuf fields, limit ONNX_FIELDS")
            field = _field(self._bytes(at, min(_HEADER, end - at)), at)
            if field is None:
                raise CheckpointError(f"protobuf message is damaged at byte {at}", cure=CURE)
            if field.end > end:
                raise CheckpointError(
                    f"is truncated or damaged: the field at byte {at} ends at {field.end}, its message at {end}",
                    cure=CURE,
                )
            yield field
            at = field.end

    def text(self, field: Field) -> str:
        """A name; bytes that are not UTF-8 stay visible as escapes."""
        if field.wire != BYTES:
            raise CheckpointError(f"protobuf message has a number for a name at byte {field.start}", cure=CURE)
        if field.length > ONNX_NAME:
            raise LimitError(f"has a name of {field.length} bytes, limit ONNX_NAME is {ONNX_NAME}")
        return self._bytes(field.start, field.length).decode("utf-8", "backslashreplace")

    def numbers(self, field: Field) -> Iterator[int]:
        """The signed integers of a repeated field: packed, or one of several."""
        if field.wire == VARINT:
            yield field.signed
            return
        at = field.start
        while at < field.end:
            self._left -= 1
            if self._left < 0:
                raise LimitError(f"has more than {self._budget} protobuf fields, limit ONNX_FIELDS")
            value, used = _varint(self._bytes(at, min(10, field.end - at)), 0)
            if not used:
                raise CheckpointError(f"protobuf message is damaged at byte {at}", cure=CURE)
            yield value - 2**64 if value >= 2**63 else value
            at += used

    def _bytes(self, at: int, length: int) -> bytes:
        """A few bytes, most often from the last window that was read."""
        offset = at - self._at
        if offset >= 0 and offset + length <= len(self._window):
            return self._window[offset : offset + length]
        if length > _WINDOW:
            return self.source.pread(at, length)
        self._window = self.source.pread(at, min(_WINDOW, max(length, self.source.size - at)))
        self._at = at
        return self._window[:length]


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
            return (value, at + place + 1) if value < 2**64 else (0, 0)
    return 0, 0
