"""Builders of safetensors files in which every field can lie, and of sources in memory."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gcx.readers.base import Source


class _ClosedOnce(Source):
    """A reader that refuses leaves its source open, one that reads closes it with the checkpoint: both are fine."""

    def close(self) -> None:
        if not self.__dict__.get("closed"):
            self.__dict__["closed"] = True
            super().close()


@contextmanager
def source_of(data: bytes, path: str = "file") -> Iterator[Source]:
    """An open source of exactly these bytes, closed at the end."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        source = _ClosedOnce(path, os.dup(file.fileno()), len(data))
        try:
            yield source
        finally:
            source.close()


def safetensors_bytes(header: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
    """A file with this header: an object to be written as JSON, or the very text or bytes."""
    if not isinstance(header, str | bytes):
        header = json.dumps(header)
    text = header.encode() if isinstance(header, str) else header
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(dtype: str = "F32", shape: Any = (), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}
