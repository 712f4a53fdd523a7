"""Files of given bytes, opened as gcx opens them, under the eye of the audit hook."""

from __future__ import annotations

from pathlib import Path

import pytest

import gcx.readers
from gcx.errors import CheckpointError


def opened(data: bytes, watched, *, weights="plain", name="file.pt"):
    """Name to array (None where unreadable), and the checkpoint; every tensor is read while the file is open."""
    Path(name).write_bytes(data)
    with watched(), gcx.readers.read_checkpoint(name, weights=weights) as checkpoint:
        arrays = {key: None if ref.unreadable else ref.read() for key, ref in checkpoint.tensors.items()}
    return arrays, checkpoint


def refused(data: bytes, watched, *, name="file.pt") -> str:
    """The one line that says why; the file must be closed again."""
    Path(name).write_bytes(data)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with watched(), pytest.raises(CheckpointError) as caught, gcx.readers.read_checkpoint(name) as checkpoint:
        for ref in checkpoint.tensors.values():
            ref.read()
    message = str(caught.value)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert message.isprintable()
    assert caught.value.path == name or caught.value.tensor is not None
    assert not isinstance(caught.value.__cause__, (TypeError, AttributeError, KeyError, IndexError)), caught.value
    return message
