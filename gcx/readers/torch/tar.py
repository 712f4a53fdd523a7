"""torch 0.1's first container: a tar of four files, each pickles and raw numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gcx.checkpoint import Checkpoint
from gcx.errors import CheckpointError
from gcx.readers.base import ReadOptions, Source
from gcx.readers.torch.dtypes import STORAGES
from gcx.readers.torch.legacy import Stream
from gcx.readers.torch.machine import Budget
from gcx.readers.torch.tensors import item_bytes, refuse, strided
from gcx.readers.torch.values import CURE, Global, Storage, Tensor
from gcx.readers.torch.wrappers import Parsed, checkpoint_of

_BLOCK = 512
_FILES = ("sys_info", "pickle", "storages", "tensors")
_MEMBERS = 64


@dataclass(frozen=True)
class Member:
    """One file of the tar."""

    begin: int
    size: int


class TorchTarReader:
    """`torch.save` of torch 0.1."""

    name = "torch tar"
    suffixes: tuple[str, ...] = (".tar", ".pth", ".pt")

    def recognises(self, source: Source) -> bool:
        head = source.head
        return head[257:262] == b"ustar" and _name(head) in _FILES

    def read(self, source: Source, options: ReadOptions) -> Checkpoint:
        """Parse its files; numbers are read when asked for.

        Raises:
            CheckpointError: damaged, or it asks for something to be called.
        """
        members = _members(source)
        for name in _FILES[1:]:
            if name not in members:
                raise CheckpointError(f"is a torch tar without its file '{name}'", cure=CURE)
        if "sys_info" in members:
            _stream(source, members["sys_info"], Budget()).value()
        objects = Objects(source)
        objects.read_storages(members["storages"])
        objects.read_tensors(members["tensors"])
        root = _stream(source, members["pickle"], objects.budget).value(objects.persistent)
        return checkpoint_of(Parsed(root, objects.read), source, options)


class Objects:
    """Storages and tensors by key; the pickle refers to both."""

    def __init__(self, source: Source):
        self.source = source
        self.by_key: dict[int, Storage | Tensor] = {}
        self.budget = Budget()

    def persistent(self, pid: Any) -> Any:
        """A key written as text, or a module's class with its source."""
        if type(pid) is tuple and pid and type(pid[0]) is Global:
            return pid[0]
        if type(pid) is str and pid.isdecimal() and pid.isascii() and len(pid) < 20:
            pid = int(pid)
        return self._known(pid)

    def _known(self, key: Any) -> Storage | Tensor:
        if type(key) is not int or key not in self.by_key:
            refuse("a persistent id that names nothing")
        return self.by_key[key]

    def _storage(self, key: Any) -> Storage:
        found = self._known(key)
        if type(found) is not Storage:
            refuse("a tensor where a storage belongs")
        return found

    def _add(self, key: Any, value: Storage | Tensor) -> None:
        if type(key) is not int or not 0 <= key < 2**64 or key in self.by_key:
            refuse("a key that is no number, or is there twice")
        self.by_key[key] = value

    def read_storages(self, member: Member) -> None:
        """How many; for each its key, place and class, a count of 8 bytes, the numbers; then views of them."""
        stream = _stream(self.source, member, self.budget)
        for _ in range(_count(stream.value())):
            described = stream.value()
            if type(described) is not tuple or len(described) != 3 or type(described[2]) is not Global:
                refuse("a storage that is not described")
            key, location, cls = described
            dtype = STORAGES.get(cls.full)
            if dtype is None:
                refuse("a storage of an unknown class")
            numel = int.from_bytes(stream.take(8), "little", signed=True)
            item = item_bytes(dtype)
            if numel < 0 or numel * item > stream.end - stream.at:
                raise CheckpointError(f"has a storage of {numel} numbers that are not there", cure=CURE)
            place = location if type(location) is str else ""
            self._add(key, Storage(str(key), dtype, numel, item, place, begin=stream.at))
            stream.at += numel * item
        views = stream.value()
        if type(views) is not list:
            refuse("a list of views that is none")
        for view in views:
            if type(view) is not tuple or len(view) != 4 or not all(type(part) is int for part in view):
                refuse("a view of a storage that cannot be")
            key, root_key, offset, numel = view
            root = self._storage(root_key)
            if offset < 0 or numel < 0 or offset + numel > root.numel:
                refuse("a view of a storage that reaches outside")
            begin = root.begin + offset * root.item
            self._add(key, Storage(root.key, root.dtype, numel, root.item, root.location, begin))

    def read_tensors(self, member: Member) -> None:
        """How many; for each its key, storage and class, then axes, sizes, strides and offset as numbers."""
        stream = _stream(self.source, member, self.budget)
        for _ in range(_count(stream.value())):
            described = stream.value()
            if type(described) is not tuple or len(described) != 3:
                refuse("a tensor that is not described")
            storage = self._storage(described[1])
            axes = int.from_bytes(stream.take(8)[:4], "little", signed=True)
            if not 0 <= axes <= 64:
                refuse(f"a tensor of {axes} axes")
            numbers = stream.take(16 * axes + 8)
            values = [int.from_bytes(numbers[at : at + 8], "little", signed=True) for at in range(0, len(numbers), 8)]
            tensor = strided(storage.dtype, storage, values[-1], tuple(values[:axes]), tuple(values[axes : 2 * axes]))
            self._add(described[0], tensor)

    def read(self, storage: Storage, begin: int, length: int) -> bytes:
        return self.source.pread(storage.begin + begin, length)


def _stream(source: Source, member: Member, budget: Budget) -> Stream:
    return Stream(source, member.begin, member.begin + member.size, budget)


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        refuse("a count that is none")
    return value


def _name(header: bytes) -> str:
    return header[:100].split(b"\0", 1)[0].decode("latin-1").removeprefix("./")


def _members(source: Source) -> dict[str, Member]:
    """Plain files of the archive; anything else (a link, a device, a folder, a second of a name) is refused."""
    members: dict[str, Member] = {}
    at = 0
    while at + _BLOCK <= source.size:
        header = source.pread(at, _BLOCK)
        if not header.strip(b"\0"):
            break
        name, size = _name(header), _octal(header[124:136])
        blanked = header[:148] + b" " * 8 + header[156:]
        if header[257:262] != b"ustar" or _octal(header[148:156]) != sum(blanked):
            raise CheckpointError(f"has a damaged tar header at byte {at}", cure=CURE)
        if at + _BLOCK + size > source.size:
            raise CheckpointError(f"is truncated: '{name}' in its tar ends behind the file", cure=CURE)
        if header[156:157] in (b"0", b"\0"):
            if name in members:
                raise CheckpointError(f"has '{name}' twice in its tar", cure=CURE)
            members[name] = Member(at + _BLOCK, size)
        elif header[156:157] not in (b"x", b"g"):
            raise CheckpointError(f"has '{name}' in its tar, which is no plain file", cure=CURE)
        if len(members) > _MEMBERS:
            raise CheckpointError("has more files in its tar than torch writes", cure=CURE)
        at += _BLOCK + -(-size // _BLOCK) * _BLOCK
    return members


def _octal(field: bytes) -> int:
    digits = field.strip(b"\0 ")
    if not digits.isdigit() or digits.strip(b"01234567"):
        raise CheckpointError("has a damaged tar header", cure=CURE)
    return int(digits, 8)
