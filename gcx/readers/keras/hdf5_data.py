"""The numbers of an HDF5 dataset: where they are, checked against the bytes present, and read one dataset at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Literal

from gcx.errors import CheckpointError, LimitError, printable
from gcx.limits import HDF5_CHUNKS, INFLATE_RATIO, INFLATE_SLACK
from gcx.readers.dtypes import from_little_endian, numpy_dtype
from gcx.readers.keras.hdf5_chunks import CHECKSUM, DEFLATE, SHUFFLE, find_chunks, unpacked
from gcx.readers.keras.hdf5_types import NOWHERE, SHARED, NumberKind, damaged, number_kind, shape_of, whole
from gcx.readers.keras.window import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DATASPACE, _DATATYPE, _EXTERNAL, _LAYOUT, _FILTERS = 0x01, 0x03, 0x07, 0x08, 0x0B
_FILTER_NAMES = {4: "szip", 5: "nbit", 6: "scaleoffset", 32000: "lzf", 32001: "blosc", 32015: "zstd"}


@dataclass(frozen=True)
class Layout:
    """Where the numbers are; `unreadable` says why they cannot be got."""

    kind: Literal["held", "contiguous", "chunked", "none"]
    address: int = 0
    held: bytes = b""
    chunk: tuple[int, ...] = ()
    """Elements of one chunk along each axis."""
    filters: tuple[int, ...] = ()
    unreadable: str | None = None


@dataclass(frozen=True)
class Dataset:
    """One array of the file."""

    shape: tuple[int, ...]
    kind: NumberKind
    layout: Layout
    window: Window
    label: str | None = None
    """What the writer says of a kind that HDF5 has no name for."""

    @property
    def unreadable(self) -> str | None:
        """Why there are no numbers to measure, where nothing but the file decides that."""
        if self.kind.dtype is None and not (self.kind.opaque and self.kind.size == 2):
            return f"holds {self.kind.what}, which gcx does not read"
        return self.layout.unreadable

    def load(self, dtype: str) -> NDArray[Any]:
        """Read the numbers as `dtype`, of the size that the file states.

        Raises:
            CheckpointError: bytes that are not there, or not what was written.
        """
        data = self.layout.held
        if self.layout.kind == "contiguous":
            data = self.window.pread(self.layout.address, prod(self.shape) * self.kind.size)
        elif self.layout.kind == "chunked":
            return _from_chunks(self, dtype)
        return _numbers(data, dtype, self.shape, self.kind.big_endian)


def _numbers(data: bytes, dtype: str, shape: tuple[int, ...], big_endian: bool) -> NDArray[Any]:
    if not big_endian:
        return from_little_endian(data, dtype, shape)
    import numpy as np

    swapped = np.frombuffer(data, f">u{numpy_dtype(dtype).itemsize}")
    return from_little_endian(swapped.astype(swapped.dtype.newbyteorder("<")).tobytes(), dtype, shape)


def dataset_of(messages: Sequence[tuple[int, int, bytes]], window: Window, path: str) -> Dataset | None:
    """Put a dataset together from an object's messages; None for a group.

    Raises:
        CheckpointError: damaged, or numbers in another file, or more than the bytes present can hold.
    """
    found: dict[int, bytes] = {}
    shared = set()
    for kind, flags, data in messages:
        if kind in found and kind in (_DATASPACE, _DATATYPE, _LAYOUT):
            damaged(f"'{printable(path, 60)}' has two shapes or places")
        found.setdefault(kind, data)
        if flags & SHARED:
            shared.add(kind)
    if _LAYOUT not in found or _DATASPACE not in found or _DATATYPE not in found:
        return None
    if _EXTERNAL in found:
        refuse_elsewhere(path, "in another file")
    number = NumberKind(1, None) if _DATATYPE in shared else number_kind(found[_DATATYPE])
    if shared & {_DATASPACE, _LAYOUT, _FILTERS}:
        damaged(f"'{printable(path, 60)}' keeps its shape elsewhere")
    shape = shape_of(found[_DATASPACE]) or ()
    count = 0 if shape_of(found[_DATASPACE]) is None else prod(shape)
    layout = _layout(found[_LAYOUT], shape, count, number.size, window, path)
    if _FILTERS in found and layout.kind == "chunked":
        layout = _filtered(layout, found[_FILTERS])
    if count == 0:
        layout = Layout("held")
        shape = shape if prod(shape) == 0 else (0,)
    return Dataset(shape, number, layout, window)


def refuse_elsewhere(path: str, where: str) -> None:
    raise CheckpointError(
        f"has the numbers of '{printable(path, 100)}' {where}, which gcx does not follow",
        cure="put the weights themselves into the file",
    )


def _layout(data: bytes, shape: tuple[int, ...], count: int, item: int, window: Window, path: str) -> Layout:
    version, kind = whole(data, 0, 1), whole(data, 1, 1)
    if version not in (3, 4):
        return Layout("none", unreadable=f"is stored in a way that gcx does not read (HDF5 layout {version})")
    needed = count * item
    if kind == 0:
        held = data[4 : 4 + whole(data, 2, 2)]
        if len(held) < needed:
            damaged(f"'{printable(path, 60)}' has {len(held)} bytes, its shape needs {needed}")
        return Layout("held", held=held[:needed])
    if kind == 1:
        address, size = whole(data, 2, 8), whole(data, 10, 8)
        if address == NOWHERE and needed:
            return Layout("none", unreadable="has a shape but no numbers in the file")
        if size < needed or (needed and address + needed > window.size):
            damaged(f"'{printable(path, 60)}' needs {needed} bytes, its place has fewer")
        return Layout("contiguous", address)
    if kind == 3:
        refuse_elsewhere(path, "in other datasets (virtual)")
    if kind != 2 or version == 4:
        return Layout("none", unreadable="is stored in chunks of a kind that gcx does not read")
    axes = whole(data, 2, 1)
    chunk = tuple(whole(data, 11 + 4 * axis, 4) for axis in range(axes))
    if axes != len(shape) + 1 or 0 in chunk or chunk[-1] != item:
        damaged(f"'{printable(path, 60)}' has chunks of another rank or kind")
    _check_chunks(shape, chunk, window, path)
    return Layout("chunked", whole(data, 3, 8), chunk=chunk[:-1])


def _check_chunks(shape: tuple[int, ...], chunk: tuple[int, ...], window: Window, path: str) -> None:
    """Hold what the chunks would take in memory to what a file of this size may inflate to."""
    chunks = prod(-(-size // part) for size, part in zip(shape, chunk, strict=False))
    if chunks > HDF5_CHUNKS:
        raise LimitError(f"has {chunks} chunks, limit HDF5_CHUNKS is {HDF5_CHUNKS}", tensor=path)
    allowed = INFLATE_RATIO * window.size + INFLATE_SLACK
    needed = max(chunks, 1) * prod(chunk)
    if needed > allowed:
        raise LimitError(
            f"declares {needed} bytes of numbers, limit INFLATE_RATIO x size + INFLATE_SLACK is {allowed}",
            tensor=path,
        )


def _filtered(layout: Layout, data: bytes) -> Layout:
    version, count = whole(data, 0, 1), whole(data, 1, 1)
    at = 8 if version == 1 else 2
    filters = []
    for _ in range(count):
        kind = whole(data, at, 2)
        named = version == 1 or kind >= 256
        name = whole(data, at + 2, 2) if named else 0
        at += 4 if named else 2
        values = whole(data, at + 2, 2)
        at += 4 + (-(-name // 8) * 8 if version == 1 else name) + 4 * values + 4 * (version == 1 and values % 2)
        filters.append(kind)
    unknown = [kind for kind in filters if kind not in (DEFLATE, SHUFFLE, CHECKSUM)]
    why = None
    if unknown:
        why = f"is packed by {_FILTER_NAMES.get(unknown[0], f'filter {unknown[0]}')}, which gcx does not read"
    return Layout("chunked", layout.address, chunk=layout.chunk, filters=tuple(filters), unreadable=why)


def _from_chunks(dataset: Dataset, dtype: str) -> NDArray[Any]:
    import numpy as np

    layout, shape, item = dataset.layout, dataset.shape, dataset.kind.size
    chunks = find_chunks(dataset.window, layout.address, shape, layout.chunk)
    array = np.empty(shape, numpy_dtype(dtype))
    for chunk in chunks:
        data = unpacked(dataset.window, chunk, layout.filters, prod(layout.chunk) * item, item)
        inside, place = [], []
        for at, part, size in zip(chunk.at, layout.chunk, shape, strict=True):
            end = min(size, at + part)
            place.append(slice(at, end))
            inside.append(slice(0, end - at))
        array[tuple(place)] = _numbers(data, dtype, layout.chunk, dataset.kind.big_endian)[tuple(inside)]
    return array
