"""From a path to a `Checkpoint`: the reader that recognises the content parses it; nothing is executed."""

from __future__ import annotations

from pathlib import PurePath

from gcx.checkpoint import Checkpoint
from gcx.errors import CheckpointError, GcxError
from gcx.readers.base import Reader, ReadOptions, Source, open_source
from gcx.readers.foreign import describe
from gcx.readers.keras import KerasArchiveReader, KerasHdf5Reader
from gcx.readers.onnx import OnnxReader
from gcx.readers.safetensors import SafetensorsReader
from gcx.readers.shards import ShardIndexReader
from gcx.readers.torch import (
    PlainPickleReader,
    TorchLegacyReader,
    TorchTarReader,
    TorchZipReader,
)
from gcx.settings import Weights

_TORCH: tuple[Reader, ...] = (TorchZipReader(), TorchLegacyReader(), TorchTarReader())
READERS: tuple[Reader, ...] = (
    *_TORCH,
    SafetensorsReader(),
    ShardIndexReader(_TORCH),
    OnnxReader(),
    KerasArchiveReader(),
    KerasHdf5Reader(),
    PlainPickleReader(),
)
"""Every format gcx reads; a new one is a file beside this one and a line here."""

_UNFORESEEN = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
"""What bad bytes might still provoke in a parser: never let out as such."""


def read_checkpoint(path: str, *, weights: Weights = "plain") -> Checkpoint:
    """Open a checkpoint of any known format; close it after use, it is a context manager.

    Args:
        path: a file.
        weights: which copy is meant where a file holds a moving average too.

    Raises:
        CheckpointError: it cannot be read; the message names the file and the cause.
        UsageError: a moving average is wanted and there is none.
    """
    source = open_source(path)
    try:
        return _read(source, ReadOptions(weights))
    except GcxError as error:
        source.close()
        raise error.located(path=path) from error.__cause__
    except _UNFORESEEN as error:
        source.close()
        raise CheckpointError(f"is damaged: {type(error).__name__} while reading", path=path) from error
    except BaseException:
        source.close()
        raise


def _read(source: Source, options: ReadOptions) -> Checkpoint:
    suffix = PurePath(source.path).suffix.lower()
    for reader in sorted(READERS, key=lambda reader: suffix not in reader.suffixes):
        if reader.recognises(source):
            return reader.read(source, options)
    raise describe(source) or CheckpointError(
        "is not a checkpoint that gcx reads", cure="save the state dict with torch.save"
    )
