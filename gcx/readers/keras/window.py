"""Where an HDF5 file lies: a file of its own, a part of a `.keras` archive, or in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gcx.errors import CheckpointError
from gcx.readers.base import CURE


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
class Held:
    """Bytes in memory, as a compressed record becomes them; its size was bounded before."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def pread(self, offset: int, length: int) -> bytes:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise CheckpointError(f"is truncated: {length} bytes wanted at {offset} of {self.size}", cure=CURE)
        return self.data[offset : offset + length]
