"""Quantised weights of ONNX graphs: what QuantizeLinear, DequantizeLinear, QLinearConv and ConvInteger make of them.

As the operators are defined (https://onnx.ai/onnx/operators): a number is (q - zero_point) * scale, with one scale for
all, one for each index along an axis, or one for each block along an axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from gcx.readers.onnx_graph import Graph, Node
from gcx.readers.onnx_tensors import DTYPES, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEIGHT_OF = {"QLinearConv": 3, "ConvInteger": 1}
"""Convolutions on quantised weights, and which input that is."""
_FLOATS = ("float64", "float32", "float16", "bfloat16")
_RANGES = {"uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65535), "int16": (-32768, 32767)}
_STEPS = 4
"""Nodes between a stored scale and the operator that uses it."""


@dataclass(frozen=True)
class Quantisation:
    """One operator on the way from what is stored to what the convolution computes with."""

    op: str
    scale: Tensor | None
    """None for ConvInteger, which leaves its scale to a later node."""
    zero: Tensor | None
    axis: int
    block: int
    to: str
    """Number format that it gives."""
    levels: str = ""
    """Whole numbers that QuantizeLinear rounds to; it gives them as numbers of `to`, since a node back follows."""
    missing: str = ""
    """Why it cannot be applied, as far as the graph tells."""

    def problem(self, shape: tuple[int, ...]) -> str | None:
        """Why it cannot be applied to numbers of this shape; None where it can."""
        if self.missing:
            return f"is quantised ({self.op}), and {self.missing}"
        for part in (self.scale, self.zero):
            if part is None or prod(part.shape) == 1:
                continue
            axis = self._axis(shape)
            if axis is None:
                return f"is quantised ({self.op}) along an axis that it does not have: {self.axis}"
            expected = shape[axis] if not self.block else -(-shape[axis] // self.block)
            blocked = (*shape[:axis], expected, *shape[axis + 1 :])
            if part.shape != (blocked if self.block else (expected,)):
                return f"is quantised ({self.op}) by numbers of shape {part.shape}, which do not fit its {shape}"
        return None

    @property
    def parts(self) -> tuple[Tensor, ...]:
        return tuple(part for part in (self.scale, self.zero) if part is not None)

    def note(self, dtype: str) -> str:
        """What was done, in the words of a layer's notes."""
        if self.op == "QuantizeLinear":
            return f"rounded to levels of {self.levels} and back (QuantizeLinear)"
        per = ""
        if self.scale is not None and prod(self.scale.shape) != 1:
            per = f", in blocks of {self.block}" if self.block else ", per channel"
        if self.op == "ConvInteger":
            return f"{dtype} less its zero point (ConvInteger): its scale comes after the convolution"
        return f"dequantised from {dtype}{per}"

    def apply(self, array: NDArray[Any], *parts: NDArray[Any]) -> NDArray[Any]:
        """The operator's output; `parts` are the numbers of `self.parts`."""
        import numpy as np

        given = dict(zip((id(part) for part in self.parts), parts, strict=True))
        scale, zero = (
            None if part is None else self._along(given[id(part)], array.shape) for part in (self.scale, self.zero)
        )
        with np.errstate(all="ignore"):  # what is not finite is seen where it is measured
            if self.op == "QuantizeLinear" and scale is not None:
                low, high = _RANGES[self.levels]
                levels = np.rint(array / scale).astype(np.float32) + (0 if zero is None else zero.astype(np.float32))
                # A number that is none is left to be seen: as an integer it would look like one.
                return np.asarray(np.clip(levels, low, high), scale.dtype)
            numbers = array.astype(np.float32)
            if zero is not None:
                numbers -= zero.astype(np.float32)
            return np.asarray(numbers if scale is None else (numbers * scale).astype(scale.dtype, copy=False))

    def _axis(self, shape: tuple[int, ...]) -> int | None:
        axis = self.axis + len(shape) if self.axis < 0 else self.axis
        return axis if 0 <= axis < len(shape) else None

    def _along(self, part: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Scales or zero points as they stand against the numbers."""
        import numpy as np

        axis = self._axis(shape)
        if part.size == 1 or axis is None:
            return part.reshape(())
        if not self.block:
            return part.reshape([-1 if place == axis else 1 for place in range(len(shape))])
        kept = tuple(slice(shape[axis]) if place == axis else slice(None) for place in range(len(shape)))
        return np.repeat(part, min(self.block, shape[axis]), axis=axis)[kept]


def quantisation(graph: Graph, node: Node) -> Quantisation:
    """What a node does to its weight.

    Args:
        graph: where the node stands.
        node: QuantizeLinear, DequantizeLinear, or a convolution on quantised weights.
    """
    places = {"QLinearConv": (4, 5), "ConvInteger": (None, 3)}.get(node.op, (1, 2))
    found, missing = [], ""
    for place, what in zip(places, ("scale", "zero point"), strict=True):
        name = node.inputs[place] if place is not None and place < len(node.inputs) else ""
        stored = _stored(graph, name)
        if stored is None and (name or (what == "scale" and place is not None)):
            missing = f"its {what} is not stored"
        elif stored is not None and stored.unreadable is not None:
            missing = f"its {what} {stored.unreadable}"
        elif stored is not None and what == "scale" and stored.dtype not in _FLOATS:
            missing = f"its scale is of {stored.dtype}"
        found.append(stored)
    scale, zero = found
    if node.block < 0 or (node.block and scale is not None and prod(scale.shape) == 1):
        missing = missing or f"its blocks of {node.block} are none"
    levels = ""
    if node.op == "QuantizeLinear":
        levels = zero.dtype if zero is not None else DTYPES.get(node.to, "uint8")
        missing = missing or ("" if levels in _RANGES else f"its levels are of {levels}")
    to = "float32" if scale is None else scale.dtype
    # Of a convolution's weight the first axis is that of the filters.
    axis = 0 if node.op in WEIGHT_OF else node.axis
    return Quantisation(node.op, scale, zero, axis, 0 if node.op in WEIGHT_OF else node.block, to, levels, missing)


def _stored(graph: Graph, name: str) -> Tensor | None:
    for _ in range(_STEPS):
        found = graph.find(name)
        if isinstance(found, Tensor):
            return found
        if found is None:
            return None
        if found.op == "Constant" and found.value is not None:
            return found.value
        if found.op != "Identity" or not found.inputs:
            return None
        name = found.inputs[0]
    return None
