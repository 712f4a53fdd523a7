"""What the fuzz targets of the flat formats have in common: bytes in, every tensor read, only GcxError out."""

from __future__ import annotations

from math import prod

from readers.flat import source_of

from gcx.errors import GcxError
from gcx.readers.base import Reader, ReadOptions

MOST = 200
"""Tensors of one input that are read."""


def read_all(reader: Reader, data: bytes, path: str, held: int | None = None) -> str:
    """Read everything with one reader, whether or not it recognises the content.

    Args:
        held: bytes that the input has for all its numbers; a tensor with more came from nowhere.

    Returns:
        "read", or why it was refused.
    """
    with source_of(data, path) as source:
        try:
            reader.recognises(source)
            checkpoint = reader.read(source, ReadOptions())
        except GcxError as error:
            assert str(error).isprintable()
            return error.what
        with checkpoint:
            for name, ref in list(checkpoint.tensors.items())[:MOST]:
                assert ref.name == name
                if ref.unreadable is not None:
                    continue
                try:
                    array = ref.read()
                except GcxError:
                    continue
                assert (array.shape, array.dtype.name) == (ref.shape, ref.dtype)
                assert prod(ref.shape) <= (len(data) if held is None else held)
    return "read"
