"""References to tensors and arrays in memory; their numbers are copied out when asked for.

torch is not imported here: whoever has a tensor has loaded it already.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from gcx.checkpoint import TensorRef
from gcx.errors import CheckpointError
from gcx.readers.dtypes import COMPLEX, ITEM_BYTES, NUMPY_DTYPES, numpy_dtype, unreadable_tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray


def live_reference(name: str, value: Any) -> TensorRef | None:
    """A reference to a tensor or an array; None for anything else."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _tensor_reference(name, value)
    if hasattr(value, "__array__") and hasattr(value, "shape") and hasattr(value, "dtype"):
        return _array_reference(name, value)
    return None


def _tensor_reference(name: str, tensor: Any) -> TensorRef:
    dtype = str(tensor.dtype).removeprefix("torch.")
    if hasattr(tensor, "cls_to_become"):  # the parameter of a lazy module
        return unreadable_tensor(name, dtype, (), "is not initialised yet: run the model once")
    if getattr(tensor, "is_nested", False):
        return unreadable_tensor(name, dtype, (), "is a nested tensor: its rows have different lengths")
    shape = tuple(int(size) for size in tensor.shape)
    if tensor.is_meta:
        return unreadable_tensor(name, dtype, shape, "is a meta tensor: a shape without numbers")
    if str(tensor.layout) != "torch.strided":
        return unreadable_tensor(name, dtype, shape, "is a sparse tensor")
    if tensor.is_quantized:
        channels = ", per channel" if "per_channel" in str(tensor.qscheme()) else ""
        notes = (f"dequantised from {dtype}{channels}",)
        return TensorRef(name, "float32", shape, partial(numbers_of, tensor), _torch_storage(tensor), notes=notes)
    if tensor.is_complex():
        return unreadable_tensor(name, dtype, shape, COMPLEX)
    if dtype not in ITEM_BYTES:
        return unreadable_tensor(name, dtype, shape, f"holds {dtype} numbers, which are not measured")
    return TensorRef(name, dtype, shape, partial(numbers_of, tensor), _torch_storage(tensor))


def _torch_storage(tensor: Any) -> tuple[Any, ...] | None:
    """Equal for views of the same numbers; None where there is no memory to compare."""
    try:
        address = tensor.untyped_storage().data_ptr()
    except (NotImplementedError, RuntimeError):  # tensor subclasses without a storage of their own
        return None
    if not address:
        return None
    return (str(tensor.device), address, tensor.storage_offset(), tuple(tensor.shape), tensor.stride())


def numbers_of(tensor: Any) -> NDArray[Any]:
    torch = sys.modules["torch"]
    try:
        plain = tensor.detach()
        if plain.is_quantized:
            plain = plain.dequantize()
        plain = plain.cpu().resolve_neg()
        dtype = str(plain.dtype).removeprefix("torch.")
        if dtype in NUMPY_DTYPES:
            array: NDArray[Any] = plain.numpy()
        else:
            bits = torch.int16 if plain.element_size() == 2 else torch.uint8
            array = plain.contiguous().view(bits).numpy().view(numpy_dtype(dtype))
    except (RuntimeError, TypeError, NotImplementedError) as error:  # exotic subclasses and devices
        raise CheckpointError(f"cannot be copied out of torch: {error!s:.120}") from error
    return array


def _array_reference(name: str, value: Any) -> TensorRef | None:
    import numpy as np

    if isinstance(value, np.generic):  # a scalar beside the weights
        value = np.asarray(value)
    shape = tuple(int(size) for size in value.shape)
    dtype = getattr(value.dtype, "name", str(value.dtype))
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "USMm":
            return None
        if value.dtype.kind == "O" or value.dtype.names is not None:
            return unreadable_tensor(name, dtype, shape, "holds Python objects, not numbers")
        where = value.__array_interface__["data"][0]
        storage = ("cpu", where, shape, value.strides, dtype) if value.size else None
    else:
        storage = None
    if "complex" in dtype:
        return unreadable_tensor(name, dtype, shape, COMPLEX)
    return TensorRef(name, dtype, shape, partial(np.asarray, value), storage)
