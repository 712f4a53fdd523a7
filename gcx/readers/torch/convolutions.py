"""torch's operators that convolve: where in their arguments the weight, the bias and the groups stand.

As ATen's `native_functions.yaml` declares them, by the name without its namespace and overload.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PLAIN = re.compile(r"conv[123]d")
_TRANSPOSED = re.compile(r"conv_transpose[123]d")


@dataclass(frozen=True, slots=True)
class Operator:
    """Positions of arguments, counted from 0; the input is the first of all."""

    groups: int | None
    transposed: bool | None = False
    """None where an argument says."""
    transposed_at: int | None = None
    weight: int = 1
    bias: int | None = 2


_BY_NAME = {
    "_convolution": Operator(8, None, 6),
    "convolution": Operator(8, None, 6),
    "convolution_overrideable": Operator(8, None, 6),
    "_convolution_mode": Operator(6),
    "mkldnn_convolution": Operator(6),
    "cudnn_convolution": Operator(5, bias=None),
    "cudnn_convolution_transpose": Operator(6, True, bias=None),
}


def operator(name: str) -> Operator | None:
    """The convolution of this name; None where there is no such.

    >>> operator("conv_transpose2d")
    Operator(groups=6, transposed=True, transposed_at=None, weight=1, bias=2)
    >>> operator("convert")
    """
    if _PLAIN.fullmatch(name):
        return Operator(6)
    if _TRANSPOSED.fullmatch(name):
        return Operator(6, True)
    return _BY_NAME.get(name)
