"""Where an HDF5 file lies: a file of its own, or a record of a `.keras` archive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gcx.errors import CheckpointError
from gcx.readers.base import Source

CURE = "download or save it again"


class Window(Protocol):
    """Bytes that are read by position."""

    @property
    def size(self) -> int: ...

    def pread(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes at `offset`.

        Raises:
            CheckpointError: the range lies outside.
        """


@dataclass(frozen=True)
class Part:
    """A run of bytes of a file, as an archive stores a record that it does not compress."""

    source: Source
    begin: int
    size: int

    def pread(self, offset: int, length: int) -> bytes:
        _check(offset, length, self.size)
        return self.source.pread(self.begin + offset, length)


@dataclass(frozen=True)
class Held:
    """Bytes in memory, as a compressed record becomes them; its size was bounded before."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def pread(self, offset: int, length: int) -> bytes:
        _check(offset, length, len(self.data))
        return self.data[offset : offset + length]


def _check(offset: int, length: int, size: int) -> None:
    if offset < 0 or length < 0 or offset + length > size:
        raise CheckpointError(f"is truncated: {length} bytes wanted at {offset} of {size}", cure=CURE)
