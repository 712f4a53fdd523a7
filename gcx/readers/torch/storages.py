"""From a checked tensor to its numbers: only the bytes that it spans are read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

from gcx.checkpoint import TensorRef
from gcx.errors import CheckpointError
from gcx.readers.dtypes import ITEM_BYTES, numpy_dtype
from gcx.readers.torch.values import CURE, Dtype, PerChannel, PerTensor, Storage, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

ReadBytes = Callable[[Storage, int, int], bytes]
"""Storage, first byte in it, how many."""


def reference(name: str, tensor: Tensor, read: ReadBytes, *, big_endian: bool = False) -> TensorRef:
    """A tensor of a pickle as the checkpoint's own record; `read` gives the bytes of its storage."""
    storage: tuple[object, ...] | None = None
    if tensor.storage is not None and 0 not in tensor.shape:
        place = tensor.storage
        storage = ("torch", place.key, place.begin + tensor.offset, tensor.dtype.name, tensor.shape, tensor.stride)
    if tensor.unreadable is not None:
        return TensorRef(name, tensor.dtype.name, tensor.shape, partial(_refuse, tensor), storage, tensor.unreadable)
    load = partial(_load, tensor, read, big_endian)
    if tensor.quantiser is not None:
        channels = ", per channel" if isinstance(tensor.quantiser, PerChannel) else ""
        notes = (f"dequantised from {_torch_name(tensor.dtype)}{channels}",)
        load = partial(_dequantised, tensor.quantiser, load, read, big_endian)
        return TensorRef(name, "float32", tensor.shape, load, storage, notes=notes)
    return TensorRef(name, tensor.dtype.name, tensor.shape, load, storage)


def _torch_name(dtype: Dtype) -> str:
    return f"q{dtype.name}" if dtype.quantised else dtype.name


def _refuse(tensor: Tensor) -> NDArray[Any]:
    raise CheckpointError(tensor.unreadable or "has no numbers")


def _load(tensor: Tensor, read: ReadBytes, big_endian: bool) -> NDArray[Any]:
    import numpy as np

    dtype, shape = numpy_dtype(tensor.dtype.name), tensor.shape
    if tensor.storage is None:
        raise CheckpointError("has no numbers", cure=CURE)
    if not prod(shape):
        return np.zeros(shape, dtype)
    item = ITEM_BYTES[tensor.dtype.name]
    span = 1 + sum((extent - 1) * step for extent, step in zip(shape, tensor.stride, strict=True))
    flat = np.frombuffer(read(tensor.storage, tensor.offset, span * item), f"<u{item}" if item < 16 else "V16")
    if big_endian and item > 1:
        half = item // 2 if tensor.dtype.name.startswith("complex") else item
        flat = flat.view(f"u{half}").byteswap().view(flat.dtype)
    if span == prod(shape) and _is_contiguous(shape, tensor.stride):
        whole = flat.reshape(shape)
    else:
        # On plain integers: numpy's strided views do not know the 8-bit floats.
        steps = tuple(0 if extent == 1 else step * item for extent, step in zip(shape, tensor.stride, strict=True))
        view = np.lib.stride_tricks.as_strided(flat, shape, steps, writeable=False)
        whole = np.ascontiguousarray(view).reshape(shape)
    return whole != 0 if dtype == np.bool_ else whole.view(dtype)


def _is_contiguous(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    expected = 1
    for extent, step in zip(reversed(shape), reversed(stride), strict=True):
        if extent != 1 and step != expected:
            return False
        expected *= extent
    return True


def _dequantised(
    how: PerTensor | PerChannel, load: Callable[[], NDArray[Any]], read: ReadBytes, big_endian: bool
) -> NDArray[Any]:
    """To the last bit as torch's `dequantize`.

    Per tensor, the difference is one of 32-bit integers, and then a product of float32; per channel, it is one of
    float32, and the product is taken in the scales' own precision, which is float64, and rounded.
    """
    import numpy as np

    if isinstance(how, PerTensor):
        difference = load().astype(np.int32)
        difference -= np.int32(how.zero_point)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is seen where it is measured
            return np.asarray(difference.astype(np.float32) * np.float32(how.scale), np.float32)
    stored = load().astype(np.float32)
    along = tuple(-1 if axis == how.axis else 1 for axis in range(stored.ndim))
    scales, zeros = (_load(part, read, big_endian).reshape(along) for part in (how.scales, how.zero_points))
    with np.errstate(over="ignore", invalid="ignore"):
        stored -= zeros.astype(np.float32)
        # In the wider of the two precisions, block by block, so that no array of it is held.
        np.multiply(stored, scales, out=stored, dtype=np.result_type(scales, stored), casting="unsafe")
    return np.asarray(stored, np.float32)
