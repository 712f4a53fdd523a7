"""HDF5, as far as Keras uses it, by a parser of our own: groups, datasets and texts, nothing that leads elsewhere.

The HDF5 library is not used: from one in some hundred files with a few changed bytes it does not come back, and what it
will allocate for a text of variable length cannot be known before. In the tests it writes the files and is the oracle.
What other writers do (many links in a "fractal heap", virtual or external data, links by name) is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from gcx.errors import CheckpointError, LimitError, printable
from gcx.limits import HDF5_METADATA, HDF5_OBJECTS, NESTING
from gcx.readers.base import CURE
from gcx.readers.keras.hdf5_data import Dataset, dataset_of
from gcx.readers.keras.hdf5_links import links
from gcx.readers.keras.hdf5_types import (
    NOWHERE,
    SAVE_AGAIN,
    SHARED,
    Attribute,
    Message,
    attribute,
    damaged,
    texts_of,
    whole,
)
from gcx.readers.keras.window import Window

MAGIC = b"\x89HDF\r\n\x1a\n"
_ATTRIBUTE, _CONTINUATION, _ATTRIBUTE_INFO = 0x0C, 0x10, 0x15


@dataclass(eq=False)
class Node:
    """A group or a dataset, with the texts of its attributes."""

    path: str
    messages: list[Message]
    file: Hdf5File
    members: dict[str, Node] = field(default_factory=dict)
    dataset: Dataset | None = None

    def texts(self, name: str) -> list[str] | None:
        """The texts of an attribute; None if there is none of this name.

        Raises:
            CheckpointError: damaged, or kept in a way that is not read.
        """
        for kind, flags, data in self.messages:
            if kind == _ATTRIBUTE and not flags & SHARED:
                found = _named(data, name)
                if found is not None:
                    return texts_of(found, self.file.heap_text)
            elif kind == _ATTRIBUTE_INFO and whole(data, 2 + 2 * (whole(data, 1, 1) & 1), 8) != NOWHERE:
                raise CheckpointError("has HDF5 attributes in a fractal heap, which gcx does not read", cure=SAVE_AGAIN)
        return None

    def text(self, name: str) -> str | None:
        found = self.texts(name)
        return found[0] if found else None

    def child(self, path: str) -> Node | None:
        """The group or dataset at a path of names below this one."""
        node: Node | None = self
        for part in path.split("/"):
            node = node.members.get(part) if node is not None and part else node
        return node


def _named(message: bytes, name: str) -> Attribute | None:
    raw = name.encode()
    if raw not in message[: 16 + len(raw)]:
        return None
    found = attribute(message)
    return found if found is not None and found.name == name else None


class Hdf5File:
    """The tree of groups and datasets; nothing of the numbers is read.

    Raises:
        CheckpointError: damaged, cut off, or with what leads out of the file.
        LimitError: more metadata or more objects than gcx allows.
    """

    def __init__(self, window: Window):
        self.window = window
        self._spent = 0
        self._heaps: dict[int, dict[int, bytes]] = {}
        self.root = self._tree(self._root_address())

    def metadata(self, offset: int, length: int) -> bytes:
        """Read what is no number, within the budget."""
        self._spend(length)
        return self.window.pread(offset, length)

    def _spend(self, length: int) -> None:
        self._spent += length
        if self._spent > HDF5_METADATA:
            raise LimitError(f"has more HDF5 metadata than HDF5_METADATA allows, {HDF5_METADATA} bytes")

    def _root_address(self) -> int:
        head = self.metadata(0, min(96, self.window.size))
        version = whole(head, 8, 1)
        if version not in (0, 1, 2, 3):
            damaged(f"a superblock of version {version}")
        sizes = (13, 14) if version < 2 else (9, 10)
        if any(whole(head, at, 1) != 8 for at in sizes):
            raise CheckpointError("is an HDF5 file with short addresses, which gcx does not read", cure=SAVE_AGAIN)
        base = 24 + 4 * (version == 1) if version < 2 else 12
        end = whole(head, base + 16, 8)
        if whole(head, base, 8) != 0:
            raise CheckpointError("is an HDF5 file behind other data, which gcx does not read", cure=SAVE_AGAIN)
        if end > self.window.size:
            raise CheckpointError(f"is truncated: HDF5 data of {end} bytes, {self.window.size} are there", cure=CURE)
        return whole(head, base + (40 if version < 2 else 24), 8)

    def _tree(self, address: int) -> Node:
        root = self._node("", address)
        groups, count = {address}, 1
        waiting = [(root, 1)]
        while waiting:
            node, depth = waiting.pop()
            for name, target in links(node.messages, self.metadata):
                count += 1
                if count > HDF5_OBJECTS:
                    raise LimitError(f"has more than {HDF5_OBJECTS} HDF5 objects, limit HDF5_OBJECTS")
                if name in node.members or not name or "/" in name:
                    damaged(f"a link with the name '{printable(name, 60)}'")
                child = node.members[name] = self._node(f"{node.path}/{name}"[-400:], target)
                if child.dataset is not None:
                    continue
                if target in groups:
                    damaged(f"group '{printable(name, 60)}' is linked twice")
                if depth >= NESTING:
                    raise LimitError(f"has HDF5 groups {depth + 1} deep, limit NESTING is {NESTING}")
                groups.add(target)
                waiting.append((child, depth + 1))
        return root

    def _node(self, path: str, address: int) -> Node:
        messages = list(self._messages(address))
        node = Node(path, messages, self)
        node.dataset = dataset_of(messages, self.window, path)
        if node.dataset is not None:
            if node.dataset.kind.opaque:
                node.dataset = replace(node.dataset, label=node.text("dtype"))
            node.messages = []
        return node

    def _messages(self, address: int) -> Iterator[Message]:
        head = self.metadata(address, min(24, max(0, self.window.size - address)))
        if head[:4] == b"OHDR":
            flags = whole(head, 5, 1)
            at = 6 + 16 * bool(flags & 0x20) + 4 * bool(flags & 0x10)
            head = self.metadata(address, at + 8)
            width = 1 << (flags & 3)
            first = (address + at + width, whole(head, at, width))
            yield from self._blocks(first, prefix=4 + 2 * bool(flags & 4), checksum=True)
        elif whole(head, 0, 1) == 1:
            yield from self._blocks((address + 16, whole(head, 8, 4)), prefix=8, checksum=False)
        else:
            damaged("no object where one belongs")

    def _blocks(self, first: tuple[int, int], prefix: int, checksum: bool) -> Iterator[Message]:
        """The messages of one object header, over its continuations; version 2 has short prefixes and checksums."""
        blocks, seen = [first], {first[0]}
        for begin, length in blocks:
            data = self.metadata(begin, length)
            if checksum and begin != first[0]:
                if data[:4] != b"OCHK":
                    damaged("an object header that does not go on")
                data = data[4:-4]
            at = 0
            while at + prefix <= len(data):
                kind = whole(data, at, 1 if checksum else 2)
                size = whole(data, at + (1 if checksum else 2), 2)
                flags = whole(data, at + (3 if checksum else 4), 1)
                body = data[at + prefix : at + prefix + size]
                if len(body) < size:
                    damaged("an object header ends too early")
                at += prefix + size
                if kind == _CONTINUATION:
                    follow = (whole(body, 0, 8), whole(body, 8, 8))
                    if follow[0] in seen:
                        damaged("an object header that leads back to itself")
                    seen.add(follow[0])
                    blocks.append(follow)
                elif kind:
                    yield kind, flags, body

    def heap_text(self, address: int, number: int) -> bytes:
        """A text of variable length, by its collection and its number there."""
        if address not in self._heaps:
            self._heaps[address] = self._collection(address)
        found = self._heaps[address].get(number)
        if found is None:
            damaged("a text that is not in its heap")
        self._spend(len(found))
        return found

    def _collection(self, address: int) -> dict[int, bytes]:
        head = self.metadata(address, 16)
        if head[:4] != b"GCOL":
            damaged("no texts where an attribute has them")
        data = self.metadata(address, whole(head, 8, 8))
        found: dict[int, bytes] = {}
        at = 16
        while at + 16 <= len(data) and (number := whole(data, at, 2)):
            size = whole(data, at + 8, 8)
            if at + 16 + size > len(data):
                damaged("a text beyond its heap")
            found[number] = data[at + 16 : at + 16 + size]
            at += 16 + -(-size // 8) * 8
        return found
