"""Quantised weights of ONNX graphs: what QuantizeLinear, DequantizeLinear, QLinearConv and ConvInteger make of them.

As the operators are defined (https://onnx.ai/onnx/operators): a number is (q - zero_point) * scale, with one scale for
all, one for each index along an axis, or one for each block along an axis.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from gcx.readers.onnx.graph import Graph, Node
from gcx.readers.onnx.stored import FLOATS, Part, stored_part
from gcx.readers.onnx.tensors import DTYPES

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEPS = ("QuantizeLinear", "DequantizeLinear")
"""Operators between a stored weight and its convolution."""
WEIGHT_OF = {"QLinearConv": 3, "ConvInteger": 1}
"""Convolutions on quantised weights, and which input that is."""
_PLACES = dict.fromkeys(STEPS, (1, 2)) | {"QLinearConv": (4, 5), "ConvInteger": (None, 3)}
"""Which inputs are the scale and the zero point of the weight."""
_RANGES = {"uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65535), "int16": (-32768, 32767)}


@dataclass(frozen=True)
class Quantisation:
    """One operator on the way from what is stored to what the convolution computes with."""

    op: str
    scale: Part | None
    """None for ConvInteger, which leaves its scale to a later node."""
    zero: Part | None
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
        if self.op in STEPS and self.scale and self.zero and prod(self.scale.shape) != prod(self.zero.shape):
            shapes = f"{self.zero.shape}, its scales {self.scale.shape}"
            return f"is quantised ({self.op}), and its zero points are of shape {shapes}"
        return None

    @property
    def parts(self) -> tuple[Part, ...]:
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

    def apply(self, array: NDArray[Any], scale: NDArray[Any] | None, zero: NDArray[Any] | None) -> NDArray[Any]:
        """The operator's output; the scales and zero points as they are stored, None where there are none."""
        import numpy as np

        if scale is not None and self.scale is not None:
            scale = self._along(self.scale.cast(scale), array.shape)
        if zero is not None and self.zero is not None:
            zero = self._along(self.zero.cast(zero), array.shape)
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
    scale_at, zero_at = _PLACES[node.op]
    scale, missing = _part(graph, node, scale_at, "scale")
    zero, no_zero = _part(graph, node, zero_at, "zero point")
    missing = missing or no_zero
    if scale is None and scale_at is not None:
        missing = missing or "its scale is not stored"
    if scale is not None and scale.dtype not in FLOATS:
        missing = missing or f"its scale is of {scale.dtype}"
    if node.block < 0 or (node.block and scale is not None and prod(scale.shape) == 1):
        missing = missing or f"its blocks of {node.block} are none"
    levels = ""
    if node.op == "QuantizeLinear":
        levels = zero.dtype if zero is not None else DTYPES.get(node.to, "uint8")
        missing = missing or ("" if levels in _RANGES else f"its levels are of {levels}")
    to = "float32" if scale is None else scale.dtype
    # Of a convolution's weight the first axis is that of the filters.
    axis, block = (0, 0) if node.op in WEIGHT_OF else (node.axis, node.block)
    return Quantisation(node.op, scale, zero, axis, block, to, levels, missing)


def quantiser_parts(graphs: Iterable[Graph]) -> set[int]:
    """The stored scales and zero points of the graphs, by `id`."""
    nodes = ((graph, node) for graph in graphs for node in graph.nodes if node.op in _PLACES)
    found = (_part(graph, node, place, "")[0] for graph, node in nodes for place in _PLACES[node.op])
    return {id(part.tensor) for part in found if part is not None}


def _part(graph: Graph, node: Node, place: int | None, what: str) -> tuple[Part | None, str]:
    """The stored numbers behind an input; and why they cannot be had, where there is such an input."""
    name = node.inputs[place] if place is not None and place < len(node.inputs) else ""
    if not name:
        return None, ""
    part = stored_part(graph, name)
    if part is None:
        return None, f"its {what} is not stored"
    return part, "" if part.tensor.unreadable is None else f"its {what} {part.tensor.unreadable}"
