"""The variables of Keras's layers as tensors by gcx's names, with what is stated about the convolutions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from gcx.checkpoint import ConvSpec, TensorRef
from gcx.errors import CheckpointError, LimitError
from gcx.limits import TENSORS
from gcx.readers.keras.axes import depthwise, reference, turned
from gcx.readers.keras.config import Kind
from gcx.readers.keras.hdf5_data import Dataset
from gcx.readers.keras.layers import Layer
from gcx.readers.keras.names import BY_NUMBER, names_by_shape, norm_names, without_number

GATES = "its filters are those of four gates, input, forget, cell and output, one behind the other"
THEANO = "is stored in the order of Keras 1 on Theano, which gcx does not read; save it again with Keras 2 or later"
LORA = "has a low-rank update (LoRA) beside it, which gcx does not add; save the model as .keras, which does"

_NAMES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
"""Keras's names of a norm's variables to those that gcx looks for."""


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
    policy = layer.setting("dtype")
    if kind is None:
        kind = _guessed(layer, by_name)
    for name, dataset in variables:
        rank = len(dataset.shape)
        if rank >= 3 and kind != "other" and name.endswith("kernel"):
            yield _kernel(layer, name, dataset, kind, by_name)
        elif name == "kernel" and rank == 2 and kind in ("dense", None):
            yield Weight(reference(f"{layer.name}.weight", dataset, turned, policy), layer.name)
        else:
            ref = reference(f"{layer.name}.{_NAMES.get(name, name)}", dataset, None, policy)
            yield Weight(ref, layer.name, other=_what(layer, name, kind) if rank >= 3 else None)


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
    names = BY_NUMBER.get(kind, ())
    shapes = [dataset.shape for _, dataset in layer.variables]
    if kind is None and layer.variables[0][0] == "0":
        names = names_by_shape(shapes)
    elif layer.about is not None and layer.about.class_name == "BatchNormalization":
        names = norm_names(layer.about.config if layer.configured else {}, len(shapes))
    # Not by their place: of a layer's variables the first may lie in another file.
    by_number = {str(number): name for number, name in enumerate(names)}
    return [(by_number.get(name, f"variable{name}"), dataset) for name, dataset in layer.variables]


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
    size, filters = layer.setting("kernel_size"), layer.setting("filters")
    if isinstance(size, list) and (*size, filters) == (*kernel.shape[:-2], kernel.shape[-1]):
        return "conv"
    ins, out = kernel.shape[-2:]
    if bias is not None and bias.shape == (ins * out,) and ins > 1 and ins * out != out:
        return "depthwise"
    words = re.split(r"[^a-z]+", layer.name.rpartition("/")[2].lower())
    return "depthwise" if out == 1 and ins > 1 and bias is None and {"depthwise", "dw", "dwconv"} & set(words) else None


def _kernel(layer: Layer, name: str, dataset: Dataset, kind: Kind | None, beside: dict[str, Dataset]) -> Weight:
    several = kind in ("separable", "gates") or name not in ("kernel", "depthwise_kernel")
    module = f"{layer.name}/{name}" if several else layer.name
    if name == "depthwise_kernel":
        kind = "depthwise"
    ref = reference(f"{module}.weight", dataset, depthwise if kind == "depthwise" else turned, layer.setting("dtype"))
    ins, out = dataset.shape[-2:]
    try:
        return Weight(_described(ref, layer, kind, beside, out), module, _stated(layer, kind, ins, out))
    except CheckpointError as error:
        raise error.located(tensor=ref.name) from None


def _described(ref: TensorRef, layer: Layer, kind: Kind | None, beside: dict[str, Dataset], out: int) -> TensorRef:
    """With what is to be said about its numbers, or why they are not read."""
    notes, why = ref.notes, ref.unreadable
    if kind == "gates":
        notes += (GATES,)
    if kind == "conv" and not _believed(layer, out):
        notes += (
            f"the configuration states {layer.setting('filters')!s:.20} filters, so its groups were not believed",
        )
    if layer.setting("dim_ordering") == "th":
        why = THEANO
    if "lora_kernel_a" in beside:
        why = LORA
    return replace(ref, notes=notes, unreadable=why)


def _stated(layer: Layer, kind: Kind | None, ins: int, out: int) -> ConvSpec | None:
    """What the class states about a kernel, or the configuration; None where neither does."""
    if kind == "depthwise":
        return ConvSpec(ins, False) if ins else None
    if kind in ("transposed", "separable", "gates"):
        return ConvSpec(1, kind == "transposed")
    if kind != "conv":
        return None
    if not layer.configured or not _believed(layer, out):
        return ConvSpec(None, False)
    groups = layer.setting("groups", 1)
    if type(groups) is not int or groups < 1 or out % groups:
        raise CheckpointError(f"states {groups!s:.20} groups, which do not divide its {out} filters")
    return ConvSpec(groups, False)


def _believed(layer: Layer, out: int) -> bool:
    """Whether the configuration describes this kernel; of another its groups say nothing."""
    return not layer.configured or layer.setting("filters", out) == out
