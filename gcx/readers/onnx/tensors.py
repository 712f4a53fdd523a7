"""Tensors of ONNX models: what they claim, held against the bytes that are there, and where their numbers lie."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from math import prod

from gcx.errors import CheckpointError, GcxError, LimitError
from gcx.limits import RANK
from gcx.readers.dtypes import COMPLEX, ITEM_BYTES
from gcx.readers.protobuf import BYTES, CURE, FIXED32, FIXED64, VARINT, Field, Wire

DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    14: "complex64",
    15: "complex128",
    16: "bfloat16",
    17: "float8_e4m3fn",
    18: "float8_e4m3fnuz",
    19: "float8_e5m2",
    20: "float8_e5m2fnuz",
    21: "uint4",
    22: "int4",
    23: "float4_e2m1fn",
    24: "float8_e8m0fnu",
    25: "uint2",
    26: "int2",
}
"""TensorProto.DataType to our name."""

_SHORT = ("int32", "int16", "int8", "uint16", "uint8", "bool", "float16", "bfloat16")
_FLOAT_DATA, _INT32_DATA, _INT64_DATA, _RAW, _DOUBLE_DATA, _UINT64_DATA, _EXTERNAL = 4, 5, 7, 9, 10, 11, 13
_WHERE = {
    _RAW: (BYTES, tuple(ITEM_BYTES)),
    _FLOAT_DATA: (FIXED32, ("float32",)),
    _DOUBLE_DATA: (FIXED64, ("float64",)),
    _INT32_DATA: (VARINT, (*_SHORT, *(dtype for dtype in ITEM_BYTES if dtype.startswith("float8")))),
    _INT64_DATA: (VARINT, ("int64",)),
    _UINT64_DATA: (VARINT, ("uint64", "uint32")),
}
"""Fields that hold numbers: how one of them is written where it is not packed, and for which dtypes."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A TensorProto, checked against the bytes that it brings."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int = 0
    length: int = 0
    """Where its numbers lie, in the model file or, with a `location`, in that file beside it."""
    varints: bool = False
    """Its numbers are protobuf varints, not little-endian numbers."""
    location: str | None = None
    unreadable: str | None = None

    @property
    def bytes_needed(self) -> int:
        return prod(self.shape) * ITEM_BYTES.get(self.dtype, 1)


def read_tensor(wire: Wire, message: Field) -> Tensor:
    """Parse a TensorProto and hold its shape against its bytes.

    Raises:
        CheckpointError: more numbers claimed than there are, or fewer; numbers in two places.
    """
    name, data_type, external = "", 0, False
    shape: list[int] = []
    where: list[Field] = []
    entries: dict[str, str] = {}
    segment = False
    for part in wire.fields(message.start, message.end):
        if part.number == 1:
            shape += islice(wire.numbers(part), RANK + 1)
            if len(shape) > RANK:
                raise LimitError(f"has more than {RANK} axes, limit RANK", tensor=name)
        elif part.number == 2 and part.wire == VARINT:
            data_type = part.value
        elif part.number == 8:
            name = wire.text(part)
        elif part.number == 14 and part.wire == VARINT:
            external = part.value == 1
        elif part.number == _EXTERNAL and part.wire == BYTES:
            key, value = _entry(wire, part)
            entries[key] = value
        elif part.number == 3:
            segment = True
        elif part.number in _WHERE and part.length:
            where.append(part)
    try:
        tensor = _checked(name, data_type, shape)
        if tensor.unreadable is not None:
            return tensor
        if segment:
            return _unreadable(tensor, "is stored in segments, which gcx does not read")
        return _external(tensor, entries) if external else _placed(tensor, where)
    except GcxError as error:
        raise error.located(tensor=name) from error.__cause__


def _entry(wire: Wire, message: Field) -> tuple[str, str]:
    texts = {part.number: wire.text(part) for part in wire.fields(message.start, message.end) if part.number in (1, 2)}
    return texts.get(1, ""), texts.get(2, "")


def _checked(name: str, data_type: int, shape: list[int]) -> Tensor:
    dtype = DTYPES.get(data_type, f"type {data_type}")
    if any(size < 0 for size in shape):
        raise CheckpointError(f"has a negative size in its shape: {min(shape)}", cure=CURE)
    if prod(size or 1 for size in shape) * 16 >= 2**63:
        raise CheckpointError("has a shape beyond any memory", cure=CURE)
    tensor = Tensor(name, dtype, tuple(shape))
    if dtype.startswith("complex"):
        return _unreadable(tensor, COMPLEX)
    if dtype not in ITEM_BYTES:
        return _unreadable(tensor, f"holds {dtype} elements, which are not measured")
    return tensor


def _unreadable(tensor: Tensor, reason: str) -> Tensor:
    return Tensor(tensor.name, tensor.dtype, tensor.shape, unreadable=reason)


def _placed(tensor: Tensor, where: list[Field]) -> Tensor:
    """Find its numbers in the model file."""
    if len(where) > 1:
        raise CheckpointError("has its numbers in several places", cure=CURE)
    place = where[0] if where else Field(_RAW, BYTES, 0, 0)
    single, dtypes = _WHERE[place.number]
    if place.wire not in (BYTES, single) or tensor.dtype not in dtypes:
        raise CheckpointError(f"has {tensor.dtype} numbers in a field of other numbers", cure=CURE)
    varints = single == VARINT
    count = prod(tensor.shape)
    fits = count <= place.length <= 10 * count if varints else place.length == tensor.bytes_needed
    if not fits:
        raise CheckpointError(f"has a shape of {count} {tensor.dtype} numbers, but {place.length} bytes", cure=CURE)
    return Tensor(tensor.name, tensor.dtype, tensor.shape, place.start, place.length, varints)


def _external(tensor: Tensor, entries: dict[str, str]) -> Tensor:
    """Find its numbers in a file beside the model; that the file has them is checked when it is opened."""
    needed = tensor.bytes_needed
    offset = _whole(entries.get("offset", "0"))
    length = _whole(entries.get("length", str(needed)))
    if length != needed:
        raise CheckpointError(f"needs {needed} bytes, but names {length} of external data", cure=CURE)
    return Tensor(tensor.name, tensor.dtype, tensor.shape, offset, length, location=entries.get("location", ""))


def _whole(digits: str) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 19):
        raise CheckpointError("names external data at a place that is no number", cure=CURE)
    return int(digits)
