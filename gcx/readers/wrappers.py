"""From what a file holds to the weights in it: dicts within dicts, beside optimizer states and averages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gcx.checkpoint import Checkpoint
from gcx.errors import CheckpointError
from gcx.readers.base import ReadOptions, Source
from gcx.readers.names import present
from gcx.readers.torch.storages import reference
from gcx.readers.torch.values import Pairs, Storage, Tensor


@dataclass(frozen=True)
class Weighed:
    """A parsed file: its value and how to read its numbers."""

    root: Any
    read: Callable[[Storage, int, int], bytes]
    big_endian: bool = False
    notes: tuple[str, ...] = ()


def checkpoint_of(weighed: Weighed, source: Source, options: ReadOptions) -> Checkpoint:
    root = weighed.root
    if type(root) is Pairs:
        named = root.named()
        for key in ("state_dict", "model_state_dict", "model", "net", "params"):
            if type(named.get(key)) is Pairs:
                root = named[key]
                break
    if type(root) is not Pairs:
        raise CheckpointError("holds no state dict")
    refs = {
        name: reference(name, value, weighed.read, big_endian=weighed.big_endian)
        for name, value in root.named().items()
        if type(value) is Tensor
    }
    tensors, notes = present(refs, options)
    return Checkpoint(source.path, "torch-state-dict", tensors, notes=weighed.notes + notes, close=source.close)
