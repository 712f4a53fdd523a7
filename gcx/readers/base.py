"""What every reader is given, and what it must be: an opened regular file in, a Checkpoint out.

A reader recognises content, cheaply, and parses; it executes, imports and unpickles nothing. It builds tensor
references that were checked against the bytes present before anything is allocated.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from gcx.checkpoint import Checkpoint
from gcx.errors import CheckpointError, printable
from gcx.settings import Weights

HEAD = 4096
"""Bytes that `Source.head` holds for recognition."""
CURE = "download or save it again"
"""What helps against damage."""


@dataclass(frozen=True)
class Source:
    """An open regular file, read by position: no state, and a file that shrinks is an error, never a SIGBUS."""

    path: str
    """As typed; only for messages and for finding shards beside it."""
    fd: int
    size: int

    def pread(self, offset: int, length: int) -> bytes:
        """Read exactly `length` bytes at `offset`.

        Raises:
            CheckpointError: the range lies outside the file, or the file shrank, or the disk fails.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise CheckpointError(
                f"is truncated: {length} bytes wanted at {offset}, it has {self.size}", path=self.path
            )
        parts: list[bytes] = []
        while length:
            try:
                part = os.pread(self.fd, min(length, 1 << 30), offset)
            except OSError as error:
                raise CheckpointError(f"cannot be read: {error.strerror}", path=self.path) from error
            if not part:
                raise CheckpointError("changed while it was read", path=self.path)
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @cached_property
    def head(self) -> bytes:
        return self.pread(0, min(HEAD, self.size))

    def close(self) -> None:
        os.close(self.fd)


@dataclass(frozen=True)
class Section(Source):
    """A run of bytes within a file, read as if it were a file of its own."""

    begin: int

    @staticmethod
    def of(source: Source, begin: int, length: int) -> Section:
        return Section(source.path, source.fd, length, begin)

    def pread(self, offset: int, length: int) -> bytes:
        """Read exactly `length` bytes at `offset` of the section; see `Source.pread`."""
        if offset < 0 or length < 0 or offset + length > self.size:
            wanted = f"{length} bytes wanted at {offset} of a part, it has {self.size}"
            raise CheckpointError(f"is truncated: {wanted}", path=self.path)
        return Source(self.path, self.fd, self.begin + self.size).pread(self.begin + offset, length)


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What the user may choose about reading."""

    weights: Weights = "plain"


class Reader(Protocol):
    """One file format."""

    name: str
    """For messages: "safetensors"."""
    suffixes: tuple[str, ...]
    """Only order the guesses; content decides."""

    def recognises(self, source: Source) -> bool:
        """Whether the content is of this format, from a few bytes; never raises for bad content."""

    def read(self, source: Source, options: ReadOptions) -> Checkpoint:
        """Parse. The checkpoint's `close` must close `source`.

        Raises:
            CheckpointError: damaged, hostile, or a variant not understood; `source` is the caller's to close.
        """


def open_source(path: str) -> Source:
    """Open a regular file for reading, without blocking on a FIFO or a device.

    Raises:
        CheckpointError: missing, a directory, not a regular file, not readable, empty.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise CheckpointError(_open_problem(error), path=path) from error
    try:
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            raise CheckpointError("is a directory", path=path, cure="name the checkpoint file in it")
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointError("is not a regular file", path=path, cure="save it to a file first")
        if status.st_size == 0:
            raise CheckpointError("is empty", path=path, cure=CURE)
        return Source(path, fd, status.st_size)
    except BaseException:
        os.close(fd)
        raise


def open_beside(path: str, name: str, what: str, *, cure: str) -> Source:
    """Open a file of this name in the folder of another, which names it.

    Args:
        path: the other's.
        name: a plain file name, as `gcx.readers.names.check_beside` holds it to.
        what: what the file is.
        cure: what helps where it is missing.

    Raises:
        CheckpointError: as `open_source`; of the other file where this one is missing.
    """
    try:
        return open_source(str(Path(path).parent / name))
    except CheckpointError as error:
        if error.what != "no such file":
            raise
        raise CheckpointError(f"{what} '{printable(name, 100)}' is missing", path=path, cure=cure) from None


def _open_problem(error: OSError | ValueError) -> str:
    if isinstance(error, ValueError):  # an embedded NUL
        return "is not a file name"
    known = {
        errno.ENOENT: "no such file",
        errno.EACCES: "is not readable: permission denied",
        errno.ELOOP: "is a loop of symbolic links",
        errno.ENXIO: "is not a regular file",
    }
    return known.get(error.errno or 0, f"cannot be opened: {error.strerror}")
