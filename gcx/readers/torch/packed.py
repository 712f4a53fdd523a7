"""Quantised convolutions: torch packs weight, bias and settings into a tuple, or into an object of its own class.

`torch.ao.nn.quantized.ConvNd` keeps a tuple of fifteen, `__torch__.torch.classes.quantized.ConvNdPackedParamsBase` one
of the forms in ATen's `native/quantized/cpu/conv_serialization.h`, `xnnpack.Conv2dOpContext` the arguments that it was
made with.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gcx.readers.torch.values import Pairs, Placeholder, Tensor

CLASSES = "__torch__.torch.classes."
"""Under it are objects of torch's own, which are no modules."""

Numbers = Callable[[Tensor], list[int]]
"""Reads a tensor of a few whole numbers; empty where it holds none."""

_MODULE = re.compile(r"\.quantized\.(.*\.)?(conv|conv_\w+|___torch_mangle_\d+)\.(\w*Conv\w*)$")
_CONV = re.compile(r"Conv([123])dPackedParamsBase")
_PARTS = 15
_WEIGHT = 10
"""Where in the tuple: 2 kernel size, 6 transposed, 8 groups, 10 weight, 11 bias."""


@dataclass(frozen=True, slots=True)
class Packed:
    """What a quantised layer keeps; `groups` and `transposed` are None where it is no convolution."""

    weight: Tensor
    bias: Tensor | None
    groups: int | None = None
    transposed: bool | None = None

    def attributes(self) -> dict[str, Any]:
        """As a module that is not quantised would keep them."""
        held: list[tuple[Any, Any]] = [("weight", self.weight), ("bias", self.bias)]
        settings = {"groups": self.groups, "transposed": self.transposed, "kernel_size": None}
        return {"_parameters": Pairs(held), "_buffers": Pairs(), "_modules": Pairs(), **settings}


def quantised_conv(value: Placeholder) -> Packed | None:
    """A quantised convolution of `torch.ao.nn.quantized` or its relatives; None for anything else."""
    state = value.state
    if type(state) is not tuple or len(state) != _PARTS or not _MODULE.search(value.cls.full):
        return None
    weight, bias = state[_WEIGHT : _WEIGHT + 2]
    if type(weight) is not Tensor or type(state[8]) is not int or type(state[6]) is not bool:
        return None
    return Packed(weight, bias if type(bias) is Tensor else None, state[8], state[6])


def packed_parameters(value: Any, numbers: Numbers) -> Packed | None:
    """What an object of torch's own class holds; None where it is not understood."""
    if type(value) is not Placeholder or not value.cls.full.startswith(CLASSES):
        return None
    kind, state = value.cls.full.removeprefix(CLASSES), value.state
    if type(state) is not tuple or not state:
        return None
    if _CONV.search(kind):
        return _conv(state, numbers)
    if kind == "quantized.LinearPackedParamsBase" and len(state) == 2:
        return _made(state[0], state[1], None, None)
    if kind == "xnnpack.Conv2dOpContext" and len(state) == 8:
        return _made(state[0], state[1], state[5], False)
    if kind == "xnnpack.TransposeConv2dOpContext" and len(state) == 9:
        return _made(state[0], state[1], state[6], True)
    if kind == "xnnpack.LinearOpContext" and len(state) == 4:
        return _made(state[0], state[1], None, None)
    return None


def _conv(state: tuple[Any, ...], numbers: Numbers) -> Packed | None:
    """Version 1 is a flat tuple, 2 keeps the settings in a tensor, 3 in a list."""
    if type(state[0]) is Tensor and len(state) == 6:
        groups = numbers(state[5]) if type(state[5]) is Tensor else []
        return _made(state[0], state[1], groups[0] if len(groups) == 1 else None, False)
    if len(state) != 3 or type(state[1]) is not list or type(state[2]) is not list:
        return None
    if state[0] == "2" and len(state[1]) == 2 and type(state[1][0]) is Tensor:
        bias = state[2][0] if state[2] else None
        return _configured(state[1][1], bias, numbers(state[1][0]))
    if type(state[0]) is int and state[0] == 3 and len(state[2]) == 3:
        return _configured(state[2][1], state[2][2], state[1])
    return None


def _configured(weight: Any, bias: Any, settings: list[Any]) -> Packed | None:
    """Axes, then for each a stride, padding, dilation and output padding, then groups and whether it is transposed."""
    if not all(type(one) is int for one in settings) or not settings or len(settings) != 4 * settings[0] + 3:
        return _made(weight, bias, None, None)
    return _made(weight, bias, settings[-2], bool(settings[-1] & 1))


def _made(weight: Any, bias: Any, groups: Any, transposed: bool | None) -> Packed | None:
    if type(weight) is not Tensor:
        return None
    return Packed(weight, bias if type(bias) is Tensor else None, groups if type(groups) is int else None, transposed)
