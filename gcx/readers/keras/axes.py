"""From Keras's order of axes to gcx's: references to its datasets, turned when they are read.

Keras stores (*kernel, in/groups, out); transposed (*kernel, out, in); depthwise (*kernel, in, multiplier), whose output
channel c * multiplier + q is the q-th of input channel c. `data_format` is about activations only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

from gcx.checkpoint import TensorRef
from gcx.readers.dtypes import unreadable_tensor
from gcx.readers.keras.hdf5_data import Dataset

if TYPE_CHECKING:
    from numpy.typing import NDArray

Turn = Callable[["NDArray[Any]"], "NDArray[Any]"]


def reference(name: str, dataset: Dataset, turn: Turn | None = None, policy: Any = None) -> TensorRef:
    """A dataset as the checkpoint's own record.

    Args:
        turn: what is done to its axes, `turned` or `depthwise`.
        policy: the layer's dtype in the configuration, for numbers that the file does not name.
    """
    dtype = dataset.kind.dtype
    if dtype is None and dataset.kind.opaque:
        dtype = "bfloat16" if "bfloat16" in (dataset.label, _named(policy)) else None
    shape = dataset.shape if turn is None else _shape_after(dataset.shape, turn)
    why = dataset.unreadable
    if dtype is None or why is not None:
        why = why or "holds two-byte numbers that the file does not name"
        return unreadable_tensor(name, dtype or "unknown", shape, why)
    storage = ("hdf5", dataset.layout.address, dataset.layout.kind, shape) if dataset.layout.address else None
    return TensorRef(name, dtype, shape, partial(_load, dataset, dtype, turn), storage)


def _named(policy: Any) -> Any:
    if isinstance(policy, dict):
        policy = policy.get("config")
    return policy.get("name") if isinstance(policy, dict) else policy


def _shape_after(shape: tuple[int, ...], turn: Turn) -> tuple[int, ...]:
    *kernel, ins, out = shape
    return (ins * out, 1, *kernel) if turn is depthwise else (out, ins, *kernel)


def _load(dataset: Dataset, dtype: str, turn: Turn | None) -> NDArray[Any]:
    import numpy as np

    array = dataset.load(dtype)
    # In a row, so that sums are made in the order in which they are for the same weight from another file.
    return array if turn is None else np.ascontiguousarray(turn(array))


def turned(array: NDArray[Any]) -> NDArray[Any]:
    """(*kernel, a, b) to (b, a, *kernel): transposed ones come out as gcx and torch store them, (in, out, *kernel)."""
    rank = array.ndim
    return array.transpose(rank - 1, rank - 2, *range(rank - 2))


def depthwise(array: NDArray[Any]) -> NDArray[Any]:
    """(*kernel, in, multiplier) to (in * multiplier, 1, *kernel), the filters of one input channel side by side."""
    rank, kernel = array.ndim, array.shape[:-2]
    return array.transpose(rank - 2, rank - 1, *range(rank - 2)).reshape(prod(array.shape[-2:]), 1, *kernel)
