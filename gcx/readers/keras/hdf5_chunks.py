"""Chunks of an HDF5 dataset: found by their index, unpacked one at a time into no more bytes than they may have."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from gcx.errors import CheckpointError, LimitError
from gcx.limits import HDF5_CHUNKS
from gcx.readers.base import CURE
from gcx.readers.keras.hdf5_types import NOWHERE, damaged, whole
from gcx.readers.keras.window import Window

DEFLATE, SHUFFLE, CHECKSUM = 1, 2, 3
"""Filters that are undone here, by HDF5's numbers."""
_TREE_HEAD = 24


@dataclass(frozen=True)
class Chunk:
    """One chunk as it is stored."""

    at: tuple[int, ...]
    """Its first element."""
    address: int
    size: int
    skipped: int
    """Bit i: filter i was not applied."""


def find_chunks(window: Window, address: int, shape: Sequence[int], chunk: Sequence[int]) -> list[Chunk]:
    """All chunks of a dataset, by the B-tree at `address`, in the order of their places.

    Args:
        chunk: elements of one along each axis.

    Raises:
        CheckpointError: one is not in the file, so that its numbers would come from nowhere.
    """
    found = {piece.at: piece for piece in _listed(window, address, len(shape))}
    places = list(product(*(range(0, size, part) for size, part in zip(shape, chunk, strict=True))))
    missing = sum(place not in found for place in places)
    if missing:
        raise CheckpointError(f"has {missing} of {len(places)} chunks that are not in the file", cure=CURE)
    return [found[place] for place in places]


def _listed(window: Window, tree: int, rank: int) -> list[Chunk]:
    found: list[Chunk] = []
    nodes, seen = [tree], {tree}
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
            found.append(Chunk(place, child, whole(body, at, 4), whole(body, at + 4, 4)))
        if len(found) + len(nodes) > HDF5_CHUNKS:
            raise LimitError(f"has more chunks than HDF5_CHUNKS allows, {HDF5_CHUNKS}")
    return found


def unpacked(window: Window, chunk: Chunk, filters: Sequence[int], size: int, item: int) -> bytes:
    """The bytes of one chunk.

    Args:
        size: how many these have to be.
        item: bytes of one element.

    Raises:
        CheckpointError: not as many, or not what was written.
    """
    data = window.pread(chunk.address, chunk.size)
    for index, kind in reversed(list(enumerate(filters))):
        if chunk.skipped >> index & 1:
            continue
        if kind == DEFLATE:
            data = _inflated(data, size + 4 * list(filters[:index]).count(CHECKSUM))
        elif kind == SHUFFLE:
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
