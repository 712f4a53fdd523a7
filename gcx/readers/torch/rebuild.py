"""What gcx answers where a pickle asks for something to be called: tensors by rule, everything else an inert value."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, NoReturn

from gcx.errors import CheckpointError, LimitError
from gcx.limits import RANK, VIEW_ELEMENTS
from gcx.readers.dtypes import ITEM_BYTES
from gcx.readers.torch import policy
from gcx.readers.torch.dtypes import DTYPES, TENSOR_CLASSES, UNUSUAL_BYTES
from gcx.readers.torch.values import CURE, Dtype, Global, Pairs, PerChannel, PerTensor, Placeholder, Storage, Tensor


def call(callee: Any, args: tuple[Any, ...], *, of_class: bool = False) -> Any:
    """The value that stands for `callee(*args)`; nothing is called.

    Raises:
        CheckpointError: what is to be called is no class and not among the functions that gcx answers, or its
            arguments are not what that function takes.
    """
    if type(callee) is not Global:
        policy.refuse_call(f"an object of {callee.cls.full}" if type(callee) is Placeholder else "what is no class")
    answer = ANSWERS.get(callee.full)
    if answer is not None:
        try:
            return answer(args)
        except (IndexError, ValueError):
            refuse(f"{callee.full} with {len(args)} arguments")
    if callee.module.startswith("torch") and callee.name.startswith("_rebuild_"):
        return Tensor(Dtype("unknown"), unreadable=f"is rebuilt by {callee.full}, which gcx does not know")
    policy.check_call(callee, of_class=of_class)
    return Placeholder(callee, args)


def build(target: Any, state: Any) -> Any:
    """The value that `target` becomes when given a state."""
    if type(target) is Placeholder:
        target.state = state
    elif type(target) is Tensor:
        if target.storage is None and type(state) is tuple and len(state) == 4 and type(state[0]) is Storage:
            return strided(state[0].dtype, *state)
    elif type(target) is not Pairs and type(target) is not list:
        if type(target) is Global:
            raise CheckpointError(f"asks to change {target.full}; refused, nothing was run", cure=policy.CURE)
        refuse("a state for what has none")
    return target


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
        return "holds complex numbers, which are not measured"
    if dtype.name not in ITEM_BYTES:
        return f"holds {dtype.name} numbers, which are not measured"
    return None


META = "is a meta tensor: a shape without numbers"


def _dtype(value: Any) -> Dtype:
    if type(value) is Global and value.full in DTYPES:
        return DTYPES[value.full]
    refuse("a tensor whose dtype is none")


def _typed(args: tuple[Any, ...]) -> Tensor:
    storage, offset, size, stride = args[:4]
    if type(storage) is not Storage:
        refuse("a tensor without a storage")
    return strided(storage.dtype, storage, offset, size, stride)


def _untyped(args: tuple[Any, ...]) -> Tensor:
    return strided(_dtype(args[6]), *args[:4])


def _first(args: tuple[Any, ...]) -> Any:
    if not args or type(args[0]) not in (Tensor, Placeholder):
        refuse("a parameter without a tensor")
    return args[0]


def _without_numbers(reason: str, dtype: Any, size: Any) -> Tensor:
    shape = sizes(size, "size")
    found = DTYPES.get(dtype.full) if type(dtype) is Global else None
    return Tensor(found or Dtype("unknown"), shape, unreadable=reason)


def _meta(args: tuple[Any, ...]) -> Tensor:
    return _without_numbers(META, args[0], args[1])


def _sparse(args: tuple[Any, ...]) -> Tensor:
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


def _nested(args: tuple[Any, ...]) -> Tensor:
    buffer = args[0]
    if type(buffer) is not Tensor:
        refuse("a nested tensor without its buffer")
    return Tensor(buffer.dtype, unreadable=NESTED)


NESTED = "is a nested tensor: its rows have different lengths"


def _jagged(_: tuple[Any, ...]) -> Tensor:
    return Tensor(Dtype("unknown"), unreadable=NESTED)


def _subclass(args: tuple[Any, ...]) -> Tensor:
    """`_rebuild_wrapper_subclass(cls, dtype, size, …)`: the numbers are in its state, in the class's own way."""
    return _without_numbers("is of a tensor class of its own", args[1], args[2])


def _quantised(args: tuple[Any, ...]) -> Tensor:
    storage, offset, size, stride, how = args[:5]
    if type(storage) is not Storage or not storage.dtype.quantised:
        refuse("a quantised tensor without its storage")
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


def _from_type(args: tuple[Any, ...]) -> Any:
    """`_rebuild_from_type_v2(function, class, arguments, state)`."""
    function, _, arguments = args[:3]
    if type(arguments) is not tuple or len(arguments) > RELAYED:
        refuse("arguments that are no short tuple")
    return call(_relayed(function), arguments)


RELAYED = 64
"""Arguments of a call within a call."""


def _relayed(function: Any) -> Any:
    """What another call is asked to call; a chain of such would be a recursion that the file steers."""
    if type(function) is Global and ANSWERS.get(function.full) in (_from_type, _new_object, _reconstructor):
        refuse(f"a call of {function.full} within a call")
    return function


def _mapping(args: tuple[Any, ...]) -> Pairs:
    if not args:
        return Pairs()
    pairs = args[0]
    if type(pairs) is Pairs:
        return Pairs(list(pairs.items))
    if type(pairs) is not list or not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
        refuse("an OrderedDict of what are no pairs")
    return Pairs([(pair[0], pair[1]) for pair in pairs])


def _size(args: tuple[Any, ...]) -> tuple[int, ...]:
    return sizes(args[0] if args else (), "size")


def _new_object(args: tuple[Any, ...]) -> Any:
    return call(_relayed(args[0]), tuple(args[1:]), of_class=True)


def _reconstructor(args: tuple[Any, ...]) -> Any:
    return call(_relayed(args[0]), (), of_class=True)


def _getattr(args: tuple[Any, ...]) -> Placeholder:
    """A constant of a class (an enum's member) or a bound method of an object, kept unread and uncalled."""
    owner, name = args[:2]
    of_class = type(owner) is Global and policy.looks_like_class(owner.name)
    if not (of_class or type(owner) is Placeholder) or type(name) is not str or not name[:1].isalpha():
        policy.refuse_call("builtins.getattr")
    return Placeholder(_GETATTR, args)


_GETATTR = Global("builtins", "getattr")
_TYPING = ("typing", "typing_extensions", "collections.abc")


def _subscript(args: tuple[Any, ...]) -> Placeholder:
    """`Optional[int]` in a configuration; of anything but a type a subscript could run something."""
    if type(args[0]) is not Global or args[0].module not in _TYPING:
        policy.refuse_call("operator.getitem")
    return Placeholder(Global("operator", "getitem"), args)


def _union(args: tuple[Any, ...]) -> Placeholder:
    """`int | None` in a configuration."""
    if type(args[0]) is not Global or args[0].full not in ("operator.or_", "_operator.or_") or len(args) != 2:
        policy.refuse_call("functools.reduce")
    return Placeholder(Global("functools", "reduce"), args)


def _unfilled(dtype: Dtype) -> Callable[[tuple[Any, ...]], Tensor]:
    """A tensor of torch 0.1 is made empty and filled by its state; with a size it would be memory as it was found."""

    def answer(args: tuple[Any, ...]) -> Tensor:
        if args and type(args[0]) is Tensor:
            return args[0]
        if args:
            refuse("a tensor without numbers")
        return Tensor(dtype, (0,), (1,), unreadable="has no numbers")

    return answer


ANSWERS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "torch._utils._rebuild_tensor": _typed,
    "torch._utils._rebuild_tensor_v2": _typed,
    "torch._utils._rebuild_tensor_v3": _untyped,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch.nn.parameter.Parameter": _first,
    "torch.nn.parameter.Buffer": _first,
    "torch.nn.Parameter": _first,
    "torch.autograd.variable.Variable": _first,
    "torch.autograd.Variable": _first,
    "torch._utils._rebuild_qtensor": _quantised,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_sparse_csr_tensor": _sparse,
    "torch._utils._rebuild_meta_tensor_no_storage": _meta,
    "torch._utils._rebuild_nested_tensor": _nested,
    "torch.nested._internal.nested_tensor._rebuild_njt": _jagged,
    "torch._utils._rebuild_wrapper_subclass": _subclass,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch._tensor._rebuild_from_type": _from_type,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _first,
    "torch.Size": _size,
    "builtins.getattr": _getattr,
    "__builtin__.getattr": _getattr,
    "operator.getitem": _subscript,
    "_operator.getitem": _subscript,
    "functools.reduce": _union,
    "__builtin__.reduce": _union,
    "collections.OrderedDict": _mapping,
    "copyreg.__newobj__": _new_object,
    "copy_reg.__newobj__": _new_object,
    "copyreg._reconstructor": _reconstructor,
    "copy_reg._reconstructor": _reconstructor,
    "torch.Tensor": _unfilled(DTYPES["torch.float32"]),
    **{name: _unfilled(dtype) for name, dtype in TENSOR_CLASSES.items()},
}
"""The allow-list: what a file may ask to be called, and our own code that answers."""
