"""What gcx answers where a pickle asks for something to be called: tensors by rule, everything else an inert value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gcx.errors import CheckpointError
from gcx.readers.torch import policy, tensors
from gcx.readers.torch.dtypes import DTYPES, TENSOR_CLASSES
from gcx.readers.torch.tensors import refuse, sizes, strided
from gcx.readers.torch.values import Dtype, Global, Pairs, Placeholder, Storage, Tensor


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


def _handed_on(args: tuple[Any, ...]) -> Any:
    """A list or dict of TorchScript, whose type is said again."""
    if type(args[0]) not in (list, Pairs):
        refuse("a list or dict that is none")
    return args[0]


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


ANSWERS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "torch._utils._rebuild_tensor": tensors.typed,
    "torch._utils._rebuild_tensor_v2": tensors.typed,
    "torch._utils._rebuild_tensor_v3": tensors.untyped,
    "torch._utils._rebuild_parameter": tensors.first,
    "torch._utils._rebuild_parameter_with_state": tensors.first,
    "torch.nn.parameter.Parameter": tensors.first,
    "torch.nn.parameter.Buffer": tensors.first,
    "torch.nn.Parameter": tensors.first,
    "torch.autograd.variable.Variable": tensors.first,
    "torch.autograd.Variable": tensors.first,
    "torch._utils._rebuild_qtensor": tensors.quantised,
    "torch._utils._rebuild_sparse_tensor": tensors.sparse,
    "torch._utils._rebuild_sparse_csr_tensor": tensors.sparse,
    "torch._utils._rebuild_meta_tensor_no_storage": tensors.meta,
    "torch._utils._rebuild_nested_tensor": tensors.nested,
    "torch.nested._internal.nested_tensor._rebuild_njt": tensors.jagged,
    "torch._utils._rebuild_wrapper_subclass": tensors.subclass,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch._tensor._rebuild_from_type": _from_type,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": tensors.first,
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
    **dict.fromkeys(policy.HANDING_ON, _handed_on),
    "torch.Tensor": tensors.unfilled(DTYPES["torch.float32"]),
    **{name: tensors.unfilled(dtype) for name, dtype in TENSOR_CLASSES.items()},
}
"""The allow-list: what a file may ask to be called, and our own code that answers."""
