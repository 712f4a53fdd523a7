"""What an HDF5 object says about itself: the shape, the kind of number, the texts of its attributes.

The layouts follow "HDF5 File Format Specification Version 3.0", sections IV.A.2 (messages).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import NoReturn

from gcx.errors import CheckpointError, LimitError, printable
from gcx.limits import RANK
from gcx.readers.base import CURE

NOWHERE = 2**64 - 1
"""The address of what is not stored."""
SHARED = 2
"""Flag of a message that is kept elsewhere."""
SAVE_AGAIN = "save it again with Keras"
Message = tuple[int, int, bytes]
"""One of an object's header: (type, flags, data)."""


def damaged(what: str) -> NoReturn:
    raise CheckpointError(f"has a damaged HDF5 structure: {what}", cure=CURE)


def whole(data: bytes, at: int, length: int) -> int:
    """A little-endian number of `length` bytes; refused where it would reach beyond the data."""
    if at < 0 or at + length > len(data):
        damaged("a record ends too early")
    return int.from_bytes(data[at : at + length], "little")


@dataclass(frozen=True)
class NumberKind:
    """A datatype message."""

    size: int
    """Bytes of one element."""
    dtype: str | None
    """A name that `TensorRef.dtype` uses; None where these are no such numbers."""
    big_endian: bool = False
    text: str | None = None
    """"fixed" or "variable" for texts."""
    opaque: bool = False

    @property
    def what(self) -> str:
        """For a message: what it is, if it is no number."""
        return "text" if self.text else "bytes without a type" if self.opaque else "numbers of an unusual kind"


_FLOATS = {
    (8, 64, 52, 11, 0, 52, 1023): "float64",
    (4, 32, 23, 8, 0, 23, 127): "float32",
    (2, 16, 10, 5, 0, 10, 15): "float16",
    (2, 16, 7, 8, 0, 7, 127): "bfloat16",
}
"""(size, precision, exponent at, exponent bits, mantissa at, mantissa bits, bias) to a name."""


def number_kind(data: bytes) -> NumberKind:
    """Read a datatype message; an unknown one is no damage."""
    kind, bits, size = whole(data, 0, 1) & 15, whole(data, 1, 3), whole(data, 4, 4)
    big = bool(bits & 1)
    if kind == 0 and (whole(data, 8, 2), whole(data, 10, 2)) == (0, 8 * size) and size in (1, 2, 4, 8):
        return NumberKind(size, f"{'int' if bits & 8 else 'uint'}{8 * size}", big)
    if kind == 1:
        exponent, mantissa = (whole(data, 12, 1), whole(data, 13, 1)), (whole(data, 14, 1), whole(data, 15, 1))
        layout = (size, whole(data, 10, 2), *exponent, *mantissa, whole(data, 16, 4))
        plain = whole(data, 8, 2) == 0 and bits & 0x40 == 0 and (bits >> 4) & 3 == 2 and bits >> 8 == 8 * size - 1
        return NumberKind(size, _FLOATS.get(layout) if plain else None, big)
    if kind == 3:
        return NumberKind(size, None, text="fixed")
    if kind == 5:
        return NumberKind(size, None, opaque=True)
    if kind == 9 and bits & 15 == 1:
        return NumberKind(size, None, text="variable")
    return NumberKind(size, None)


def shape_of(data: bytes) -> tuple[int, ...] | None:
    """Read a dataspace message; None for one without any elements by definition.

    Raises:
        CheckpointError: damaged, or beyond any memory.
    """
    version, rank, flags = whole(data, 0, 1), whole(data, 1, 1), whole(data, 2, 1)
    if version not in (1, 2):
        damaged(f"a dataspace of version {version}")
    if rank > RANK:
        raise LimitError(f"has a dataset of {rank} axes, limit RANK is {RANK}")
    if version == 2 and whole(data, 3, 1) == 2:
        return None
    start = 8 if version == 1 else 4
    shape = tuple(whole(data, start + 8 * axis, 8) for axis in range(rank))
    if flags & ~3 or prod(size or 1 for size in shape) >= 2**56:
        damaged("a dataset with a shape beyond any memory")
    return shape


@dataclass(frozen=True)
class Attribute:
    """An attribute message, taken apart."""

    name: str
    kind: NumberKind
    shape: tuple[int, ...] | None
    data: bytes


def attribute(message: bytes) -> Attribute | None:
    """Take an attribute message apart; None where its type is stored elsewhere."""
    version, flags = whole(message, 0, 1), whole(message, 1, 1)
    if version not in (1, 2, 3):
        damaged(f"an attribute of version {version}")
    if version > 1 and flags & 3:
        return None
    at = 9 if version == 3 else 8
    parts = []
    for length in (whole(message, place, 2) for place in (2, 4, 6)):
        if at + length > len(message):
            damaged("an attribute ends too early")
        parts.append(message[at : at + length])
        at += length if version > 1 else -(-length // 8) * 8
    name = parts[0].split(b"\0")[0].decode("utf-8", "replace")
    return Attribute(name, number_kind(parts[1]), shape_of(parts[2]), message[at:])


def texts_of(found: Attribute, heap: Callable[[int, int], bytes]) -> list[str]:
    """The texts of an attribute.

    Args:
        heap: gives a text of variable length, by the address of its collection and its number; bounds what it gives.

    Raises:
        CheckpointError: no texts, or not as many as it says.
    """
    count = 0 if found.shape is None else prod(found.shape)
    size = found.kind.size
    if count == 0:  # h5py writes an empty list as numbers
        return []
    if found.kind.text is None or size < 1 or count * size > len(found.data):
        damaged(f"attribute '{printable(found.name, 60)}' does not hold the texts that it says")
    texts = []
    for at in range(0, count * size, size):
        item = found.data[at : at + size]
        if found.kind.text == "variable":
            length = whole(item, 0, 4)
            item = heap(whole(item, 4, 8), whole(item, 12, 4))[:length] if length else b""
        texts.append(item.split(b"\0")[0].decode("utf-8", "replace"))
    return texts
