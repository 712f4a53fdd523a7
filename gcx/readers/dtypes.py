"""Number formats by name: numpy's own, and ml_dtypes' where numpy has none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gcx.checkpoint import TensorRef
from gcx.errors import CheckpointError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VARINT_BLOCK = 1 << 16
"""Bytes of varints that are decoded at a time."""

COMPLEX = "holds complex numbers, which are not measured"

_NUMPY_BYTES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint64": 8,
    "uint32": 4,
    "uint16": 2,
    "uint8": 1,
    "bool": 1,
    "complex64": 8,
    "complex128": 16,
}
_ML_DTYPES_BYTES = {
    "bfloat16": 2,
    "float8_e4m3fn": 1,
    "float8_e4m3fnuz": 1,
    "float8_e5m2": 1,
    "float8_e5m2fnuz": 1,
    "float8_e8m0fnu": 1,
}
ITEM_BYTES = _NUMPY_BYTES | _ML_DTYPES_BYTES
"""Bytes of one number, by the name that `TensorRef.dtype` uses."""
NUMPY_DTYPES = frozenset(_NUMPY_BYTES)
"""Those that numpy has itself."""


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The dtype of one of the names in `ITEM_BYTES`.

    >>> numpy_dtype("bfloat16").itemsize
    2
    """
    import numpy as np

    if name in _NUMPY_BYTES:
        return np.dtype(name)
    import ml_dtypes

    found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
    return found


def unreadable_tensor(name: str, dtype: str, shape: tuple[int, ...], reason: str) -> TensorRef:
    """A tensor that is listed, and says why there are no numbers to measure."""

    def load() -> NDArray[Any]:
        raise CheckpointError(reason)

    return TensorRef(name, dtype, shape, load, unreadable=reason)


def from_little_endian(data: bytes, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Read bytes of a file as an array; both formats that we read raw store little-endian numbers.

    Args:
        data: as many bytes as the shape needs.
        dtype: a name in `ITEM_BYTES`.
        shape: of the result.

    >>> from_little_endian(bytes([1, 0, 2, 0]), "int16", (2, 1)).tolist()
    [[1], [2]]
    """
    import sys

    import numpy as np

    array = np.frombuffer(data, numpy_dtype(dtype))
    if sys.byteorder == "big":
        array = array.byteswap()
    return array.reshape(shape)


def from_varints(data: bytes, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Read numbers written as protobuf varints: seven bits a byte, the lowest first; short floats as their bits.

    Args:
        data: at least a byte for each number, else refused before anything is allocated.
        dtype: a name in `ITEM_BYTES`.
        shape: of the result.

    Raises:
        CheckpointError: more or fewer numbers than the shape has, or one that does not end.

    >>> from_varints(bytes([1, 172, 2]), "int32", (2,)).tolist()
    [1, 300]
    """
    from math import prod

    import numpy as np

    count = prod(shape)
    found = numpy_dtype(dtype)
    whole = found if found.kind in "iub" else np.dtype(f"u{found.itemsize}")
    numbers = np.empty(count if count <= len(data) else 0, whole)
    raw = np.frombuffer(data, np.uint8)
    filled = at = 0
    while at < raw.size:  # in blocks, since the work takes forty bytes for each of these
        block = raw[at : at + VARINT_BLOCK]
        ends = np.flatnonzero(block < 0x80)
        starts = np.concatenate(([0], ends[:-1] + 1))
        if not ends.size or (ends - starts).max() > 9:
            raise CheckpointError("has no number where one belongs", cure="download or export it again")
        block = block[: ends[-1] + 1]
        place = np.arange(block.size) - np.repeat(starts, ends - starts + 1)
        bits = (block & 0x7F).astype(np.uint64) << (7 * place).astype(np.uint64)
        if filled + ends.size <= numbers.size:
            numbers[filled : filled + ends.size] = np.add.reduceat(bits, starts).astype(whole)
        filled += int(ends.size)
        at += block.size
    if filled != count:
        what = f"has {filled} numbers where its shape has {count}"
        raise CheckpointError(what, cure="download or export it again")
    return numbers.view(found).reshape(shape)
