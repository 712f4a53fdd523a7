"""What an HDF5 group holds: names and addresses, in the old way as a table of symbols, in the new one by messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from gcx.errors import CheckpointError, printable
from gcx.readers.keras.hdf5_types import NOWHERE, SAVE_AGAIN, SHARED, Message, damaged, whole

Read = Callable[[int, int], bytes]
"""Metadata by offset and length, within the budget."""
_SYMBOLS, _LINK, _LINK_INFO = 0x11, 0x06, 0x02


def links(messages: Iterable[Message], read: Read) -> Iterator[tuple[str, int]]:
    """Names and addresses of what a group holds.

    Raises:
        CheckpointError: a link by name, within the file or out of it.
    """
    for kind, flags, data in messages:
        if kind in (_SYMBOLS, _LINK, _LINK_INFO) and flags & SHARED:
            damaged("a group kept elsewhere")
        if kind == _SYMBOLS:
            yield from _symbols(read, whole(data, 0, 8), whole(data, 8, 8))
        elif kind == _LINK:
            yield _link(data)
        elif kind == _LINK_INFO and whole(data, 2 + 8 * (whole(data, 1, 1) & 1), 8) != NOWHERE:
            raise CheckpointError("has HDF5 links in a fractal heap, which gcx does not read", cure=SAVE_AGAIN)


def _symbols(read: Read, tree: int, heap: int) -> Iterator[tuple[str, int]]:
    head = read(heap, 32)
    if head[:4] != b"HEAP":
        damaged("no names where a group has them")
    names = read(whole(head, 24, 8), whole(head, 8, 8))
    for leaf in _leaves(read, tree):
        head = read(leaf, 8)
        if head[:4] != b"SNOD":
            damaged("no entries where a group has them")
        entries = read(leaf + 8, 40 * whole(head, 6, 2))
        for at in range(0, len(entries), 40):
            start = whole(entries, at, 8)
            end = names.find(b"\0", start)
            if start >= len(names) or end < 0:
                damaged("a name beyond its heap")
            name = names[start:end].decode("utf-8", "replace")
            if whole(entries, at + 16, 4) == 2:
                _refuse_link(name, "symbolic")
            yield name, whole(entries, at + 8, 8)


def _leaves(read: Read, tree: int) -> Iterator[int]:
    nodes, seen = [tree], {tree}
    while nodes:
        head = read(nodes[-1], 24)
        if head[:5] != b"TREE\0":
            damaged("no index where a group has one")
        count = whole(head, 6, 2)
        body = read(nodes.pop() + 24, 16 * count)
        children = [whole(body, 16 * index + 8, 8) for index in range(count)]
        if whole(head, 5, 1) == 0:
            yield from children
            continue
        for child in reversed(children):
            if child in seen:
                damaged("an index that leads back to itself")
            seen.add(child)
            nodes.append(child)


def _link(data: bytes) -> tuple[str, int]:
    flags = whole(data, 1, 1)
    at = 2
    kind = whole(data, at, 1) if flags & 8 else 0
    at += bool(flags & 8) + 8 * bool(flags & 4) + bool(flags & 16)
    width = 1 << (flags & 3)
    length = whole(data, at, width)
    name = data[at + width : at + width + length].decode("utf-8", "replace")
    if kind:
        _refuse_link(name, {1: "symbolic", 64: "external"}.get(kind, "unknown"))
    return name, whole(data, at + width + length, 8)


def _refuse_link(name: str, kind: str) -> None:
    raise CheckpointError(
        f"has a link of the {kind} kind, '{printable(name, 60)}', which gcx does not follow",
        cure="put the weights themselves into the file",
    )
