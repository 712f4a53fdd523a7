"""torch's legacy stream (0.1.10 to 1.5): five pickles, then the storages end to end."""

from __future__ import annotations

from typing import Any

from gcx.checkpoint import Checkpoint
from gcx.errors import CheckpointError, LimitError
from gcx.limits import PICKLE_BYTES
from gcx.readers.base import ReadOptions, Source
from gcx.readers.torch.container import storage_of
from gcx.readers.torch.machine import Budget, Machine, TruncatedPickleError
from gcx.readers.torch.tensors import item_bytes, refuse
from gcx.readers.torch.values import CURE, Global, Pairs, Storage
from gcx.readers.torch.wrappers import Parsed, checkpoint_of

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
_WINDOW = 1 << 16


class TorchLegacyReader:
    """`torch.save` before 1.6, or with `_use_new_zipfile_serialization=False`."""

    name = "torch legacy"
    suffixes: tuple[str, ...] = (".pth", ".pt", ".th", ".bin", ".tar", ".ckpt")

    def recognises(self, source: Source) -> bool:
        head = source.head[:64]
        return MAGIC.to_bytes(10, "little") in head or b"L%dL\n" % MAGIC in head

    def read(self, source: Source, options: ReadOptions) -> Checkpoint:
        """Parse the pickles and the storages' lengths; numbers are read when asked for.

        Raises:
            CheckpointError: damaged, or it asks for something to be called.
        """
        stream = Stream(source)
        if stream.value() != MAGIC:
            raise CheckpointError("is not torch's legacy stream, though it begins like one", cure=CURE)
        if stream.value() != PROTOCOL:
            raise CheckpointError("is a torch legacy stream of an unknown protocol", cure=CURE)
        little = _little_endian(stream.value())
        storages = Storages(source)
        root = stream.value(storages.persistent)
        end = storages.place(stream.value(), stream.at, little)
        left = source.size - end
        notes = (f"{left} bytes after the last storage are not read",) if left else ()
        return checkpoint_of(Parsed(root, storages.read, big_endian=not little, notes=notes), source, options)


class Stream:
    """Pickles one after another, of unknown lengths, in a file or a part of it."""

    def __init__(self, source: Source, at: int = 0, end: int | None = None, budget: Budget | None = None):
        self.source = source
        self.at = at
        self.end = source.size if end is None else end
        self.budget = Budget() if budget is None else budget
        self._begin = at
        self._window = b""

    def take(self, length: int) -> bytes:
        """Raw bytes between the pickles."""
        if length > self.end - self.at:
            raise CheckpointError("is truncated: numbers are missing between its pickles", cure=CURE)
        self.at += length
        return self.source.pread(self.at - length, length)

    def value(self, persistent: Any = None) -> Any:
        """The next pickle's value: tried on a window that grows until the pickle ends in it."""
        length = 0 if self._begin <= self.at < self._begin + len(self._window) else _WINDOW
        while True:
            if length:
                self._begin = self.at
                self._window = self.source.pread(self.at, min(length, self.end - self.at))
            machine = Machine(self._window, persistent, self.budget, self.at - self._begin)
            try:
                value = machine.run()
            except TruncatedPickleError:
                if self._begin == self.at and self.at + len(self._window) >= self.end:
                    raise
                if length >= PICKLE_BYTES:
                    raise LimitError(f"has a pickle of over {length} bytes, limit PICKLE_BYTES") from None
                length = max(_WINDOW, length * 16)
            else:
                self.at = self._begin + machine.pos
                return value


def _little_endian(info: Any) -> bool:
    if type(info) is not Pairs:
        refuse("system information that is no dict")
    little = info.named().get("little_endian", True)
    if type(little) is not bool:
        refuse("a byte order that is neither little nor big")
    return little


class Storages:
    """Storages by key; their places are known after the last pickle."""

    def __init__(self, source: Source):
        self.source = source
        self.roots: dict[str, Storage] = {}
        self.views: list[tuple[Storage, Storage]] = []

    def persistent(self, pid: Any) -> Any:
        """`('module', class, file, text)` or `('storage', class, key, location, numel, view)`."""
        if type(pid) is tuple and len(pid) == 4 and pid[0] == "module" and type(pid[1]) is Global:
            return pid[1]
        key, dtype, numel, location = storage_of(pid, 6)
        root = self.roots.get(key)
        if root is None:
            root = self.roots[key] = Storage(key, dtype, numel, item_bytes(dtype), location)
        elif (root.numel, root.dtype) != (numel, dtype):
            refuse(f"a storage '{key}' of two lengths or kinds")
        view = pid[5]
        if view is None:
            return root
        if type(view) is not tuple or len(view) != 3 or type(view[0]) is not str:
            refuse("a view of a storage that cannot be")
        _, offset, length = view
        if type(offset) is not int or type(length) is not int or offset < 0 or length < 0 or offset + length > numel:
            refuse("a view of a storage that reaches outside")
        part = Storage(key, dtype, length, root.item, location, begin=offset * root.item)
        self.views.append((part, root))
        return part

    def place(self, keys: Any, at: int, little: bool) -> int:
        """Find each storage's bytes: a count of 8 bytes, then the numbers, in the order of the key list.

        Returns:
            Where the last one ends.
        """
        if type(keys) is not list or not all(type(key) is str for key in keys):
            refuse("a list of storages that is none")
        if len(set(keys)) != len(keys):
            refuse("a storage that is listed twice")
        for key in keys:
            root = self.roots.get(key)
            if root is None:
                refuse(f"a listed storage '{key}' that no tensor names")
            count = int.from_bytes(self.source.pread(at, 8), "little" if little else "big", signed=True)
            if count != root.numel:
                refuse(f"a storage '{key}' of {root.numel} numbers, but {count} in its place")
            if at + 8 + root.nbytes > self.source.size:
                raise CheckpointError(
                    f"is truncated: storage '{key}' ends at byte {at + 8 + root.nbytes}, the file at"
                    f" {self.source.size}",
                    cure=CURE,
                )
            root.begin = at + 8
            at += 8 + root.nbytes
        missing = next((key for key, root in self.roots.items() if not root.begin), None)
        if missing is not None:
            refuse(f"a storage '{missing}' without its numbers")
        for part, root in self.views:
            part.begin += root.begin
        return at

    def read(self, storage: Storage, begin: int, length: int) -> bytes:
        return self.source.pread(storage.begin + begin, length)
