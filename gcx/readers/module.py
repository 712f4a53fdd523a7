"""Live objects: a `torch.nn.Module`, or a mapping of names to tensors or arrays. Tensors are copied out when asked for.

torch is not imported here: whoever has a module has loaded it already.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from gcx.checkpoint import Checkpoint, ConvSpec, TensorRef
from gcx.errors import CheckpointError
from gcx.readers.base import ReadOptions
from gcx.readers.dtypes import COMPLEX, ITEM_BYTES, NUMPY_DTYPES, numpy_dtype, unreadable_tensor
from gcx.readers.names import module_of, present, shown_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WRAPPER_CLASSES = frozenset({"DataParallel", "DistributedDataParallel", "OptimizedModule"})

_PARTS = ("weight_g", "weight_v", "weight_u", "weight_orig", "weight_mask")
"""What the older parametrisations of torch (weight norm, spectral norm, pruning) keep instead of a weight."""


def from_module(module: Any) -> Checkpoint:
    """See a live `torch.nn.Module` as a checkpoint: groups are recorded, parametrised weights are the effective ones.

    Args:
        module: any module; convolutions are its children that state `groups` and `transposed`, as torch's do.

    Returns:
        Its state dict's tensors in its order; `path` is the name of the class. Nothing is read yet, and a change of
        the module before that is seen.

    >>> import torch
    >>> checkpoint = from_module(torch.nn.Sequential(torch.nn.Conv2d(8, 4, 3, groups=2)))
    >>> checkpoint.path, checkpoint.convs, checkpoint.tensors["0.weight"].shape
    ('Sequential', {'0': ConvSpec(groups=2, transposed=False)}, (4, 4, 3, 3))
    """
    refs: dict[str, TensorRef] = {}
    for name, value in module.state_dict().items():
        ref = _reference(name, value)
        if ref is not None:
            refs[name] = ref
    specs: dict[str, ConvSpec] = {}
    for prefix, child in module.named_modules(remove_duplicate=False):
        dot = f"{prefix}." if prefix else ""
        effective = _effective_weight(child)
        if effective is not None:
            refs = _with_effective(refs, dot, child, effective)
        spec = _spec(child)
        if spec is not None:
            specs[f"{dot}weight"] = spec
    shown = shown_names(refs)
    return Checkpoint(
        _class_name(module),
        "torch-module",
        {shown[name]: replace(ref, name=shown[name]) for name, ref in refs.items()},
        {module_of(shown[name]): spec for name, spec in specs.items() if name in shown},
    )


def from_state_dict(state: Mapping[str, Any], options: ReadOptions | None = None) -> Checkpoint:
    """See a mapping of names to torch tensors or arrays as a checkpoint; other values are passed over.

    Args:
        state: `model.state_dict()`, or names to numpy arrays (or what `numpy.asarray` takes: jax, tensorflow).
        options: which copy is meant where it holds a moving average too.

    Raises:
        CheckpointError: it has values but no tensors, or names that are no text.

    >>> import numpy as np
    >>> from_state_dict({"conv.weight": np.zeros((8, 4, 3, 3)), "epoch": 3}).tensors["conv.weight"].dtype
    'float64'
    """
    refs: dict[str, TensorRef] = {}
    for name, value in state.items():
        ref = _reference(name, value)
        if ref is None:
            continue
        if not isinstance(name, str):
            raise CheckpointError(f"has a tensor whose name is no text: {name!r:.60}", path="state_dict")
        refs[name] = ref
    if state and not refs:
        raise CheckpointError("maps no name to a tensor", path="state_dict", cure="give model.state_dict()")
    tensors, notes = present(refs, options or ReadOptions())
    return Checkpoint("state_dict", "state-dict", tensors, notes=notes)


def _class_name(module: Any) -> str:
    """The name of the class of what is wrapped."""
    while type(module).__name__ in _WRAPPER_CLASSES:
        module = module.module if hasattr(module, "module") else module._orig_mod  # noqa: SLF001
    return type(module).__name__


def _spec(child: Any) -> ConvSpec | None:
    groups, transposed = getattr(child, "groups", None), getattr(child, "transposed", None)
    if type(groups) is int and groups > 0 and isinstance(transposed, bool) and hasattr(child, "kernel_size"):
        return ConvSpec(groups, transposed)
    return None


def _effective_weight(child: Any) -> Callable[[], Any] | None:
    """How to compute the weight that a child's forward uses, where that is not a tensor of its state dict."""
    if "weight" in _parametrizations(child):
        return partial(_parametrised, child)
    for hook in getattr(child, "_forward_pre_hooks", {}).values():
        if hasattr(hook, "apply_mask") and getattr(hook, "_tensor_name", None) == "weight":
            return partial(hook.apply_mask, child)
        if hasattr(hook, "compute_weight") and getattr(hook, "name", None) == "weight":
            if type(hook).__name__ == "SpectralNorm":  # its power iteration would change the module
                return partial(hook.compute_weight, child, do_power_iteration=False)
            return partial(hook.compute_weight, child)
    return None


def _parametrizations(child: Any) -> Mapping[str, Any]:
    # A module may answer any attribute (OptimizedModule does): only its own children count.
    found: Mapping[str, Any] = getattr(child, "_modules", {}).get("parametrizations") or {}
    return found


def _parametrised(child: Any) -> Any:
    """The weight as evaluation sees it: in training mode, spectral norm would take a step when it is looked at."""
    parts = [part for part in _parametrizations(child)["weight"].modules() if part.training]
    try:
        for part in parts:
            part.training = False
        return child.weight
    finally:
        for part in parts:
            part.training = True


def _with_effective(
    refs: dict[str, TensorRef], dot: str, child: Any, effective: Callable[[], Any]
) -> dict[str, TensorRef]:
    """Put the effective weight where the first of the tensors that make it up stood, and leave those out."""
    weight = _without_gradient(effective)
    ref = _reference(f"{dot}weight", weight)
    if ref is None:
        return refs
    ref = replace(
        ref,
        load=lambda: _numbers(_without_gradient(effective)),
        storage=("module", id(child)),
        notes=(*ref.notes, "the effective weight, after its parametrisation"),
    )
    sources = {f"{dot}{part}" for part in _PARTS}
    changed: dict[str, TensorRef] = {}
    for name, old in refs.items():
        if name in sources or name.startswith(f"{dot}parametrizations.weight."):
            changed.setdefault(ref.name, ref)
        elif name != ref.name:
            changed[name] = old
    return changed


def _without_gradient(compute: Callable[[], Any]) -> Any:
    with sys.modules["torch"].no_grad():
        return compute()


def _reference(name: str, value: Any) -> TensorRef | None:
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
        notes = (f"dequantised from {dtype}",)
        return TensorRef(name, "float32", shape, partial(_numbers, tensor), _torch_storage(tensor), notes=notes)
    if tensor.is_complex():
        return unreadable_tensor(name, dtype, shape, COMPLEX)
    if dtype not in ITEM_BYTES:
        return unreadable_tensor(name, dtype, shape, f"holds {dtype} numbers, which are not measured")
    return TensorRef(name, dtype, shape, partial(_numbers, tensor), _torch_storage(tensor))


def _torch_storage(tensor: Any) -> tuple[Any, ...] | None:
    """Equal for views of the same numbers; None where there is no memory to compare."""
    try:
        address = tensor.untyped_storage().data_ptr()
    except (NotImplementedError, RuntimeError):  # tensor subclasses without a storage of their own
        return None
    if not address:
        return None
    return (str(tensor.device), address, tensor.storage_offset(), tuple(tensor.shape), tensor.stride())


def _numbers(tensor: Any) -> NDArray[Any]:
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
