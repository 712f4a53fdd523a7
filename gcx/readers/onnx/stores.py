"""Where the numbers of an ONNX model lie: in its own file, or in files of external data beside it."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from gcx.checkpoint import TensorRef
from gcx.errors import CheckpointError, GcxError, LimitError, printable
from gcx.limits import SHARDS
from gcx.readers.base import Source, open_beside
from gcx.readers.dtypes import from_little_endian, from_varints, unreadable_tensor
from gcx.readers.names import check_beside
from gcx.readers.onnx.tensors import Tensor
from gcx.readers.protobuf import CURE

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Stores:
    """The model file and the files of external data beside it; each is opened once."""

    def __init__(self, source: Source, stack: ExitStack):
        self._source = source
        self._stack = stack
        self._beside: dict[str, Source] = {}

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the files of external data that were opened."""
        return tuple(source.path for source in self._beside.values())

    def reference(self, name: str, tensor: Tensor) -> TensorRef:
        """A stored tensor under the name that it is shown by.

        Raises:
            CheckpointError: external data that is missing, elsewhere, or too short.
            LimitError: SHARDS.
        """
        storage = ("onnx", tensor.location, tensor.start, tensor.shape)
        if tensor.unreadable is not None:
            return unreadable_tensor(name, tensor.dtype, tensor.shape, tensor.unreadable)
        source = self._source
        if tensor.location is not None:
            source = self._open(tensor.location)
            if tensor.start + tensor.length > source.size:
                raise CheckpointError(
                    f"needs bytes {tensor.start} to {tensor.start + tensor.length} of external data"
                    f" '{printable(tensor.location, 100)}', which has {source.size}",
                    tensor=name,
                    cure=CURE,
                )
        return TensorRef(
            name, tensor.dtype, tensor.shape, partial(_load, source, tensor), storage if tensor.length else None
        )

    def _open(self, location: str) -> Source:
        if location in self._beside:
            return self._beside[location]
        if len(self._beside) >= SHARDS:
            raise LimitError(f"names more than {SHARDS} files of external data, limit SHARDS")
        check_beside(location, "external data")
        cure = "put it into the folder of the model"
        source = open_beside(self._source.path, location, "external data", cure=cure)
        self._stack.callback(source.close)
        _refuse_link(source)
        self._beside[location] = source
        return source


def _refuse_link(source: Source) -> None:
    """A model that comes with a link in its folder could have any file read as its weights."""
    try:
        here = os.lstat(source.path)
    except OSError as error:
        raise CheckpointError("changed while it was read", path=source.path) from error
    opened = os.fstat(source.fd)
    if stat.S_ISLNK(here.st_mode) or (here.st_ino, here.st_dev) != (opened.st_ino, opened.st_dev):
        raise CheckpointError(
            "is a symbolic link, which external data may not be", path=source.path, cure="copy the file there"
        )


def _load(source: Source, tensor: Tensor) -> NDArray[Any]:
    data = source.pread(tensor.start, tensor.length)
    if not tensor.varints:
        return from_little_endian(data, tensor.dtype, tensor.shape)
    try:
        return from_varints(data, tensor.dtype, tensor.shape)
    except GcxError as error:
        raise error.located(path=source.path) from None
