"""Tensors of a pickle: descriptions checked against the storages that they lie in, before anything is allocated.

Each answer takes the arguments that a rebuild function of torch's is given, and trusts none.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, NoReturn

from gcx.errors import CheckpointError, LimitError
from gcx.limits import RANK, VIEW_ELEMENTS
from gcx.readers.dtypes import COMPLEX, ITEM_BYTES
from gcx.readers.torch.dtypes import DTYPES, UNUSUAL_BYTES
from gcx.readers.torch.values import CURE, Dtype, Global, PerChannel, PerTensor, Placeholder, Storage, Tensor


def refuse(what: str) -> NoReturn:
    raise CheckpointError(f"has a damaged pickle: {what}", cure=CURE) from None


def item_bytes(dtype: Dtype) -> int:
    return ITEM_BYTES.get(dtype.name) or UNUSUAL_BYTES.get(dtype.name, 1)


def sizes(value: Any, what: str) -> tuple[int, ...]:
    if type(value) not in (tuple, list):
        refuse(f"a tensor whose {what} is no list of whole numbers")
    if len(value) > RANK:
        raise LimitError(f"has a tensor of {len(value)} axes, limit RANK is {RANK}")
    if not all(type(size) is int for size in value):
        refuse(f"a tensor whose {what} is no list of whole numbers")
    if any(size < 0 for size in value):
        refuse(f"a tensor of negative {what}")
    if any(size >= HUGE for size in value):
        refuse(f"a tensor whose {what} is beyond any memory")
    return tuple(value)


HUGE = 2**63
"""No size, stride, offset or count reaches it."""


def strided(dtype: Dtype, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """A view of a storage, checked against its length.

    Raises:
        CheckpointError: it would read outside, or has sizes that cannot be.
        LimitError: it is expanded beyond what its storage could fill.
    """
    if type(storage) is not Storage:
        refuse("a tensor without a storage")
    shape, strides = sizes(size, "size"), sizes(stride, "stride")
    if type(offset) is not int or not 0 <= offset < HUGE or len(shape) != len(strides):
        refuse("a tensor whose offset or strides cannot be")
    item = item_bytes(dtype)
    numel = prod(shape)
    if prod(max(extent, 1) for extent in shape) * item >= HUGE:
        refuse("a tensor of a shape beyond any memory")
    if numel:
        last = offset + sum((extent - 1) * step for extent, step in zip(shape, strides, strict=True))
        if (last + 1) * item > storage.nbytes:
            raise CheckpointError(
                f"has a tensor that reaches byte {(last + 1) * item} of a storage of {storage.nbytes} bytes", cure=CURE
            )
        if numel > max(storage.nbytes // item, VIEW_ELEMENTS):
            raise LimitError(
                f"has a tensor of {numel} numbers over a storage of {storage.nbytes // item}, limit VIEW_ELEMENTS"
                f" is {VIEW_ELEMENTS}"
            )
    return Tensor(dtype, shape, strides, offset * item, storage, unreadable=_unreadable(dtype, storage))


def _unreadable(dtype: Dtype, storage: Storage) -> str | None:
    if storage.location == "meta":
        return META
    if dtype.name.startswith("complex"):
        return COMPLEX
    if dtype.name not in ITEM_BYTES:
        return f"holds {dtype.name} numbers, which are not measured"
    return None


META = "is a meta tensor: a shape without numbers"


def _dtype(value: Any) -> Dtype:
    if type(value) is Global and value.full in DTYPES:
        return DTYPES[value.full]
    refuse("a tensor whose dtype is none")


def typed(args: tuple[Any, ...]) -> Tensor:
    storage, offset, size, stride = args[:4]
    if type(storage) is not Storage:
        refuse("a tensor without a storage")
    return strided(storage.dtype, storage, offset, size, stride)


def untyped(args: tuple[Any, ...]) -> Tensor:
    return strided(_dtype(args[6]), *args[:4])


def first(args: tuple[Any, ...]) -> Any:
    if not args or type(args[0]) not in (Tensor, Placeholder):
        refuse("a parameter without a tensor")
    return args[0]


def _without_numbers(reason: str, dtype: Any, size: Any) -> Tensor:
    shape = sizes(size, "size")
    found = DTYPES.get(dtype.full) if type(dtype) is Global else None
    return Tensor(found or Dtype("unknown"), shape, unreadable=reason)


def meta(args: tuple[Any, ...]) -> Tensor:
    return _without_numbers(META, args[0], args[1])


def sparse(args: tuple[Any, ...]) -> Tensor:
    """`(layout, (indices, values, size, …))` and its compressed relatives: the size is the last tuple of numbers."""
    parts = args[1]
    if type(parts) is not tuple:
        refuse("a sparse tensor without its parts")
    values = next((part for part in reversed(parts) if type(part) is Tensor), None)
    size = next((part for part in reversed(parts) if type(part) in (tuple, Placeholder)), ())
    tensor = _without_numbers("is a sparse tensor", None, size)
    if values is not None:
        tensor.dtype = values.dtype
    return tensor


def nested(args: tuple[Any, ...]) -> Tensor:
    buffer = args[0]
    if type(buffer) is not Tensor:
        refuse("a nested tensor without its buffer")
    return Tensor(buffer.dtype, unreadable=NESTED)


NESTED = "is a nested tensor: its rows have different lengths"


def jagged(_: tuple[Any, ...]) -> Tensor:
    return Tensor(Dtype("unknown"), unreadable=NESTED)


def subclass(args: tuple[Any, ...]) -> Tensor:
    """`_rebuild_wrapper_subclass(cls, dtype, size, …)`: the numbers are in its state, in the class's own way."""
    return _without_numbers("is of a tensor class of its own", args[1], args[2])


PACKED = ("quint4x2", "quint2x4")


def quantised(args: tuple[Any, ...]) -> Tensor:
    storage, offset, size, stride, how = args[:5]
    if type(storage) is not Storage or not storage.dtype.quantised:
        refuse("a quantised tensor without its storage")
    if storage.dtype.name in PACKED:
        why = f"holds {storage.dtype.name} numbers, several to a byte, which are not measured"
        return Tensor(storage.dtype, sizes(size, "size"), unreadable=why)
    tensor = strided(storage.dtype, storage, offset, size, stride)
    scheme = how[0].full if type(how) is tuple and how and type(how[0]) is Global else ""
    if scheme == "torch.per_tensor_affine" and len(how) >= 3:
        scale, zero_point = how[1], how[2]
        if type(scale) is not float or type(zero_point) is not int or not -(2**31) <= zero_point < 2**31:
            refuse("a quantised tensor whose scale or zero point is no number")
        tensor.quantiser = PerTensor(scale, zero_point)
    elif scheme in _PER_CHANNEL and len(how) >= 4:
        scale, zero_point, axis = how[1:4]
        if type(axis) is not int or not 0 <= axis < len(tensor.shape):
            refuse("a quantised tensor whose axis is none of its axes")
        for part in (scale, zero_point):
            if type(part) is not Tensor or part.shape != (tensor.shape[axis],):
                refuse("a quantised tensor whose scales do not fit its axis")
            if part.unreadable is not None or part.quantiser is not None:
                refuse("a quantised tensor whose scales are no numbers")
        tensor.quantiser = PerChannel(scale, zero_point, axis)
    else:
        tensor.unreadable = "is quantised in a way that is not understood"
    return tensor


_PER_CHANNEL = ("torch.per_channel_affine", "torch.per_channel_affine_float_qparams")


def unfilled(dtype: Dtype) -> Callable[[tuple[Any, ...]], Tensor]:
    """A tensor of torch 0.1 is made empty and filled by its state; with a size it would be memory as it was found."""

    def answer(args: tuple[Any, ...]) -> Tensor:
        if args and type(args[0]) is Tensor:
            return args[0]
        if args:
            refuse("a tensor without numbers")
        return Tensor(dtype, (0,), (1,), unreadable="has no numbers")

    return answer
