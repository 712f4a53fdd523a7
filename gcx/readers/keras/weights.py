"""From the variables of Keras's layers to tensors in gcx's order, with what is stated about the convolutions.

Keras stores (*kernel, in/groups, out); transposed (*kernel, out, in); depthwise (*kernel, in, multiplier), whose output
channel c * multiplier + q is the q-th of input channel c. `data_format` is about activations only.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

from gcx.checkpoint import ConvSpec, TensorRef
from gcx.errors import CheckpointError, LimitError
from gcx.limits import TENSORS
from gcx.readers.dtypes import unreadable_tensor
from gcx.readers.keras.config import Kind
from gcx.readers.keras.hdf5_data import Dataset
from gcx.readers.keras.layers import Layer, without_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

GATES = "its filters are those of four gates, input, forget, cell and output, one behind the other"
THEANO = "is stored in the order of Keras 1 on Theano, which gcx does not read; save it again with Keras 2 or later"
LORA = "has a low-rank update (LoRA) beside it, which gcx does not add; save the model as .keras, which does"

_NAMES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
"""Keras's names of a norm's variables to those that gcx looks for."""
_BY_NUMBER: dict[Kind | None, tuple[str, ...]] = {
    "conv": ("kernel", "bias"),
    "transposed": ("kernel", "bias"),
    "depthwise": ("kernel", "bias"),
    "separable": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "gates": ("kernel", "recurrent_kernel", "bias"),
    "dense": ("kernel", "bias", "kernel_scale"),
}
_LONGEST = 33
"""Of a kernel of a layer whose class is not known; what is longer is a table."""


@dataclass(frozen=True)
class Weight:
    """One tensor in gcx's order."""

    ref: TensorRef
    module: str
    spec: ConvSpec | None = None
    other: str | None = None
    """What it is, if it is stated to be no convolution."""


def weights_of(layers: Iterable[Layer]) -> Iterator[Weight]:
    """All variables, with names that differ.

    Raises:
        CheckpointError: groups that do not divide the kernel.
        LimitError: more tensors than gcx allows.
    """
    layer_names, tensor_names = _Names(), _Names()
    for layer in layers:
        for weight in _weights(replace(layer, name=layer_names.free(layer.name or "model"))):
            yield _called(weight, tensor_names)
        if len(tensor_names) > TENSORS:
            raise LimitError(f"has more than {TENSORS} tensors, limit TENSORS")


class _Names:
    """Those that are taken; Keras lets layers share one, and two of its names may become one of gcx's."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._counts)

    def free(self, module: str, parameter: str = "") -> str:
        """Take a name, numbered where it is taken; the module's part of it."""
        found = module
        while (name := found + parameter) in self._counts:
            self._counts[module + parameter] += 1
            found = f"{module}#{self._counts[module + parameter]}"
        self._counts[name] = 1
        return found


def _called(weight: Weight, names: _Names) -> Weight:
    parameter = weight.ref.name.removeprefix(weight.module)
    module = names.free(weight.module, parameter)
    return replace(weight, module=module, ref=replace(weight.ref, name=module + parameter))


def _weights(layer: Layer) -> Iterator[Weight]:
    kind = layer.about.kind if layer.about is not None else None
    variables = _named(layer, kind)
    by_name = dict(variables)
    if kind is None:
        kind = _guessed(layer, by_name)
    for name, dataset in variables:
        rank = len(dataset.shape)
        if rank >= 3 and kind != "other" and name.endswith("kernel"):
            yield _kernel(layer, name, dataset, kind, by_name)
        elif name == "kernel" and rank == 2 and kind in ("dense", None):
            yield Weight(_reference(f"{layer.name}.weight", dataset, _turned, layer), layer.name)
        else:
            other = None
            if rank >= 3:
                other = _what(layer, name, kind)
            yield Weight(
                _reference(f"{layer.name}.{_NAMES.get(name, name)}", dataset, None, layer), layer.name, other=other
            )


def _what(layer: Layer, name: str, kind: Kind | None) -> str | None:
    """What a variable of rank 3 or more is, where it is known to be no convolution's; None leaves it to its shape."""
    if name.startswith("lora_"):
        return "part of a low-rank update"
    if kind is not None and layer.about is not None:
        return f"variable of layer class {layer.about.class_name}"
    return "variable of a layer whose class the file does not tell" if name.startswith("variable") else None


def _named(layer: Layer, kind: Kind | None) -> list[tuple[str, Dataset]]:
    """The variables by Keras's names for them; a number where the file has none and the class does not tell."""
    if not all(name.isdigit() for name, _ in layer.variables):
        return [(without_number(name), dataset) for name, dataset in layer.variables]
    names = _BY_NUMBER.get(kind, ())
    shapes = [dataset.shape for _, dataset in layer.variables]
    if kind is None and layer.variables[0][0] == "0":
        names = _names_by_shape(shapes)
    elif layer.about is not None and layer.about.class_name == "BatchNormalization":
        names = _norm_names(layer, len(shapes))
    # Not by their place: of a layer's variables the first may lie in another file.
    by_number = {str(number): name for number, name in enumerate(names)}
    return [(by_number.get(name, f"variable{name}"), dataset) for name, dataset in layer.variables]


def _norm_names(layer: Layer, count: int) -> tuple[str, ...]:
    config = layer.about.config if layer.about is not None and layer.configured else {}
    scale = config.get("scale", count != 3) is not False
    center = config.get("center", count != 2) is not False
    return (*("gamma",) * scale, *("beta",) * center, "moving_mean", "moving_variance")


def _names_by_shape(shapes: list[tuple[int, ...]]) -> tuple[str, ...]:
    """For a layer of an unknown class whose variables have no names: a kernel with its bias, or a norm."""
    vectors = all(len(shape) == 1 and shape == shapes[0] for shape in shapes)
    if vectors and len(shapes) in (2, 4):
        return ("gamma", "beta", "moving_mean", "moving_variance")[: len(shapes)]
    rank = len(shapes[0])
    if len(shapes) == 3 and 3 <= rank == len(shapes[1]) and len(shapes[2]) == 1:
        first, second, bias = shapes
        if first[-1] == second[-1] == bias[0] == 4 * second[-2] and first[:-2] == second[:-2]:
            return _BY_NUMBER["gates"]
    if 2 <= len(shapes) <= 3 and 3 <= rank == len(shapes[1]) and set(shapes[1][:-2]) == {1}:
        first, second = shapes[:2]
        if first[-1] * first[-2] == second[-2] and shapes[2:] in ([], [second[-1:]]):
            return _BY_NUMBER["separable"]
    alone = len(shapes) == 1 or (len(shapes) == 2 and len(shapes[1]) == 1)
    biased = len(shapes) == 2 and shapes[1][:1] in _possible_biases(shapes[0])
    kernel = 3 <= rank <= 5 and max(shapes[0][: rank - 2]) <= _LONGEST and (biased or rank > 3)
    return ("kernel", "bias") if alone and (kernel or (rank == 2 and biased)) else ()


def _possible_biases(shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    return ((shape[-1],), (shape[-2],), (shape[-1] * shape[-2],)) if len(shape) >= 2 else ()


def _guessed(layer: Layer, variables: dict[str, Dataset]) -> Kind | None:
    """The kind of a layer of an unknown class, where names, settings or shapes leave no doubt."""
    if "pointwise_kernel" in variables:
        return "separable"
    if "depthwise_kernel" in variables:
        return "depthwise"
    if "recurrent_kernel" in variables and len(variables["recurrent_kernel"].shape) >= 3:
        return "gates"
    kernel, bias = variables.get("kernel"), variables.get("bias")
    if kernel is None or not 3 <= len(kernel.shape) <= 5:
        return None
    config = layer.about.config if layer.about is not None else {}
    size = config.get("kernel_size")
    if config.get("filters") == kernel.shape[-1] and tuple(size if isinstance(size, list) else ()) == kernel.shape[:-2]:
        return "conv"
    ins, out = kernel.shape[-2:]
    if bias is not None and bias.shape == (ins * out,) and ins > 1 and ins * out != out:
        return "depthwise"
    words = re.split(r"[^a-z]+", layer.name.rpartition("/")[2].lower())
    return "depthwise" if out == 1 and ins > 1 and bias is None and {"depthwise", "dw", "dwconv"} & set(words) else None


def _kernel(layer: Layer, name: str, dataset: Dataset, kind: Kind | None, beside: dict[str, Dataset]) -> Weight:
    several = kind in ("separable", "gates") or name not in ("kernel", "depthwise_kernel")
    module = f"{layer.name}/{name}" if several else layer.name
    ins, out = dataset.shape[-2:]
    if kind == "depthwise" or name == "depthwise_kernel":
        ref = _reference(f"{module}.weight", dataset, _depthwise, layer)
        return Weight(ref, module, ConvSpec(ins, False) if ins else None)
    ref = _reference(f"{module}.weight", dataset, _turned, layer)
    if kind == "gates":
        ref = replace(ref, notes=(*ref.notes, GATES))
    if layer.about is not None and layer.about.config.get("dim_ordering") == "th":
        ref = replace(ref, unreadable=THEANO)
    if "lora_kernel_a" in beside:
        ref = replace(ref, unreadable=LORA)
    if kind in ("transposed", "separable", "gates"):
        return Weight(ref, module, ConvSpec(1, kind == "transposed"))
    if kind != "conv":
        return Weight(ref, module)
    if not layer.configured or layer.about is None:
        return Weight(ref, module, ConvSpec(None, False))
    filters = layer.about.config.get("filters", out)
    if filters != out:  # not what this configuration describes, so its groups say nothing either
        note = f"the configuration states {filters!s:.20} filters, so its groups were not believed"
        return Weight(replace(ref, notes=(*ref.notes, note)), module, ConvSpec(None, False))
    groups = layer.about.config.get("groups", 1)
    if type(groups) is not int or groups < 1 or out % groups:
        raise CheckpointError(f"states {groups!s:.20} groups, which do not divide its {out} filters", tensor=ref.name)
    return Weight(ref, module, ConvSpec(groups, False))


def _reference(name: str, dataset: Dataset, turn: Any, layer: Layer) -> TensorRef:
    dtype = dataset.kind.dtype
    if dtype is None and dataset.kind.opaque:
        dtype = "bfloat16" if _is_bfloat16(layer, dataset) else None
    shape = dataset.shape if turn is None else _shape_after(dataset.shape, turn)
    why = dataset.unreadable
    if dtype is None or why is not None:
        why = why or "holds two-byte numbers that the file does not name"
        return unreadable_tensor(name, dtype or "unknown", shape, why)
    storage = ("hdf5", dataset.layout.address, dataset.layout.kind, shape) if dataset.layout.address else None
    return TensorRef(name, dtype, shape, partial(_load, dataset, dtype, turn), storage)


def _is_bfloat16(layer: Layer, dataset: Dataset) -> bool:
    policy = layer.about.config.get("dtype") if layer.about is not None else None
    if isinstance(policy, dict):
        policy = policy.get("config")
    named = policy.get("name") if isinstance(policy, dict) else policy
    return dataset.label == "bfloat16" or named == "bfloat16"


def _shape_after(shape: tuple[int, ...], turn: Any) -> tuple[int, ...]:
    *kernel, ins, out = shape
    return (ins * out, 1, *kernel) if turn is _depthwise else (out, ins, *kernel)


def _load(dataset: Dataset, dtype: str, turn: Any) -> NDArray[Any]:
    import numpy as np

    array = dataset.load(dtype)
    # In a row, so that sums are made in the order in which they are for the same weight from another file.
    return array if turn is None else np.ascontiguousarray(turn(array))


def _turned(array: NDArray[Any]) -> NDArray[Any]:
    """(*kernel, a, b) to (b, a, *kernel): transposed ones come out as gcx and torch store them, (in, out, *kernel)."""
    rank = array.ndim
    return array.transpose(rank - 1, rank - 2, *range(rank - 2))


def _depthwise(array: NDArray[Any]) -> NDArray[Any]:
    """(*kernel, in, multiplier) to (in * multiplier, 1, *kernel), the filters of one input channel side by side."""
    rank, kernel = array.ndim, array.shape[:-2]
    return array.transpose(rank - 2, rank - 1, *range(rank - 2)).reshape(prod(array.shape[-2:]), 1, *kernel)
