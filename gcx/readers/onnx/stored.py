"""What stands beside a weight in an ONNX graph, where it is stored: scales, zero points, masks, gains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gcx.readers.dtypes import numpy_dtype
from gcx.readers.onnx.graph import Graph, Node
from gcx.readers.onnx.tensors import DTYPES, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXACT = ("float64", "float32", "float16")
"""Formats that numpy computes in as ONNX does."""
FLOATS = (*EXACT, "bfloat16")
_INTEGERS = ("uint8", "int8", "uint16", "int16", "int32", "int64")
_WAY = 4
"""Nodes between stored numbers and the operator that uses them."""


@dataclass(frozen=True)
class Part:
    """Stored numbers beside a weight (a scale, a zero point, a mask, a gain), and the formats that they are cast to."""

    tensor: Tensor
    casts: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensor.shape

    @property
    def dtype(self) -> str:
        return self.casts[-1] if self.casts else self.tensor.dtype

    def cast(self, array: NDArray[Any]) -> NDArray[Any]:
        """The numbers as the operator gets them."""
        for dtype in self.casts:
            array = array.astype(numpy_dtype(dtype))
        return array


def stored_part(graph: Graph, name: str) -> Part | None:
    """Follow an input back to where it is stored, through casts that every implementation does alike."""
    casts: list[str] = []
    for _ in range(_WAY):
        found = graph.find(name)
        if isinstance(found, Node) and found.op == "Constant" and found.value is not None:
            found = found.value
        if isinstance(found, Tensor):
            # From a float to integers, what does not fit becomes one thing here and another there.
            rounded = found.dtype not in _INTEGERS and any(cast in _INTEGERS for cast in casts)
            return None if rounded else Part(found, tuple(reversed(casts)))
        if found is None:
            return None
        if found.op == "Cast" and DTYPES.get(found.to) in (*FLOATS, *_INTEGERS):
            casts.append(DTYPES[found.to])
        elif found.op != "Identity":
            return None
        name = found.inputs[0] if found.inputs else ""
    return None
