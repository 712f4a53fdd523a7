"""The numbers of an HDF5 dataset: where they are, checked against the bytes present, and read one dataset at a time."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any, Literal

from gcx.errors import CheckpointError, LimitError, printable
from gcx.limits import HDF5_CHUNKS, INFLATE_RATIO, INFLATE_SLACK
from gcx.readers.dtypes import from_little_endian, numpy_dtype
from gcx.readers.keras.hdf5_types import NOWHERE, NumberKind, damaged, number_kind, shape_of, whole
from gcx.readers.keras.window import CURE, Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DATASPACE, _DATATYPE, _EXTERNAL, _LAYOUT, _FILTERS = 0x01, 0x03, 0x07, 0x08, 0x0B
_DEFLATE, _SHUFFLE, _CHECKSUM = 1, 2, 3
_FILTER_NAMES = {4: "szip", 5: "nbit", 6: "scaleoffset", 32000: "lzf", 32001: "blosc", 32015: "zstd"}
_TREE_HEAD = 24


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
        if flags & 2:
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
    unknown = [kind for kind in filters if kind not in (_DEFLATE, _SHUFFLE, _CHECKSUM)]
    why = None
    if unknown:
        why = f"is packed by {_FILTER_NAMES.get(unknown[0], f'filter {unknown[0]}')}, which gcx does not read"
    return Layout("chunked", layout.address, chunk=layout.chunk, filters=tuple(filters), unreadable=why)


@dataclass(frozen=True)
class _Chunk:
    at: tuple[int, ...]
    """Its first element."""
    address: int
    size: int
    skipped: int
    """Bit i: filter i was not applied."""


def _from_chunks(dataset: Dataset, dtype: str) -> NDArray[Any]:
    import numpy as np

    chunk, shape = dataset.layout.chunk, dataset.shape
    chunks = {piece.at: piece for piece in _chunks(dataset)}
    places = list(product(*(range(0, size, part) for size, part in zip(shape, chunk, strict=True))))
    missing = sum(place not in chunks for place in places)
    if missing:
        raise CheckpointError(f"has {missing} of {len(places)} chunks that are not in the file", cure=CURE)
    array = np.empty(shape, numpy_dtype(dtype))
    for place in places:
        whole_chunk = _numbers(_unpacked(dataset, chunks[place]), dtype, chunk, dataset.kind.big_endian)
        ends = [min(size, at + part) for size, at, part in zip(shape, place, chunk, strict=True)]
        inside = tuple(slice(0, end - at) for end, at in zip(ends, place, strict=True))
        array[tuple(slice(at, end) for at, end in zip(place, ends, strict=True))] = whole_chunk[inside]
    return array


def _chunks(dataset: Dataset) -> list[_Chunk]:
    """The chunks that the file has, by its B-tree; looked up once for each reading."""
    window, rank = dataset.window, len(dataset.shape)
    found: list[_Chunk] = []
    nodes, seen = [dataset.layout.address], {dataset.layout.address}
    while nodes and nodes[-1] != NOWHERE:
        address = nodes.pop()
        head = window.pread(address, _TREE_HEAD)
        if head[:5] != b"TREE\1":
            damaged("no index where chunks have one")
        count, key = whole(head, 6, 2), 8 * (rank + 2)
        body = window.pread(address + _TREE_HEAD, count * (key + 8))
        for at in range(0, count * (key + 8), key + 8):
            child = whole(body, at + key, 8)
            if whole(head, 5, 1):
                if child in seen:
                    damaged("an index that leads back to itself")
                seen.add(child)
                nodes.append(child)
                continue
            place = tuple(whole(body, at + 8 + 8 * axis, 8) for axis in range(rank))
            found.append(_Chunk(place, child, whole(body, at, 4), whole(body, at + 4, 4)))
        if len(found) + len(nodes) > HDF5_CHUNKS:
            raise LimitError(f"has more chunks than HDF5_CHUNKS allows, {HDF5_CHUNKS}")
    return found


def _unpacked(dataset: Dataset, chunk: _Chunk) -> bytes:
    """The bytes of one chunk, as many as it has elements."""
    item = dataset.kind.size
    size = prod(dataset.layout.chunk) * item
    data = dataset.window.pread(chunk.address, chunk.size)
    for index, kind in reversed(list(enumerate(dataset.layout.filters))):
        if chunk.skipped >> index & 1:
            continue
        if kind == _DEFLATE:
            data = _inflated(data, size + 4 * dataset.layout.filters[:index].count(_CHECKSUM))
        elif kind == _SHUFFLE:
            data = _unshuffled(data, item)
        else:
            data = _verified(data)
    if len(data) != size:
        damaged(f"a chunk of {len(data)} bytes where {size} belong")
    return data


def _inflated(data: bytes, most: int) -> bytes:
    engine = zlib.decompressobj()
    try:
        out = engine.decompress(data, most + 1)
    except zlib.error:
        damaged("a chunk that cannot be inflated")
    if len(out) > most or not engine.eof:
        damaged("a chunk that inflates to another length than it says")
    return out


def _unshuffled(data: bytes, item: int) -> bytes:
    """Undo HDF5's shuffle: first bytes of all elements, second bytes of all elements, ...; a rest stays behind."""
    import numpy as np

    count = len(data) // item
    planes = np.frombuffer(data, np.uint8, count * item).reshape(item, count)
    return planes.T.tobytes() + data[count * item :]


def _verified(data: bytes) -> bytes:
    """Check HDF5's Fletcher checksum, the last four bytes: two sums of big-endian pairs of bytes, modulo 65535."""
    import numpy as np

    data, stated = data[:-4], whole(data, len(data) - 4, 4)
    words = np.frombuffer(data + bytes(len(data) % 2), ">u2").astype(np.uint64)
    first = int(words.sum()) % 65535
    # In blocks, since a place times a word would overflow the sum in a long chunk.
    second = 0
    for start in range(0, words.size, 1 << 20):
        block = words[start : start + (1 << 20)]
        places = np.arange(words.size - start, words.size - start - block.size, -1, dtype=np.uint64)
        second += int((places % 65535 * block).sum())
    if (stated & 0xFFFF) % 65535 != first or (stated >> 16) % 65535 != second % 65535:
        raise CheckpointError("is damaged: a chunk has another checksum than recorded", cure=CURE)
    return data
