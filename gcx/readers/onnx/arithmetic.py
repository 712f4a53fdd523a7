"""Masks, gains and shifts that an ONNX graph puts on a stored weight: one of four operators with stored numbers."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from gcx.readers.onnx.graph import Graph, Node
from gcx.readers.onnx.names import is_called_weight
from gcx.readers.onnx.stored import EXACT, Part, stored_part

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SAID = {"Mul": "multiplied by", "Div": "divided by", "Add": "shifted by", "Sub": "less"}
_SAID_FIRST = {"Div": "in place of the divisor of", "Sub": "taken from"}
_REASON = "its weight is computed by"


@dataclass(frozen=True)
class Arithmetic:
    """One operator with the weight and other stored numbers."""

    op: str
    other: Part
    first: bool
    """The other numbers are its first operand."""

    def problem(self, shape: tuple[int, ...], dtype: str) -> str | None:
        """Why it cannot be applied to numbers of this shape and format; None where it can."""
        fits = all(size in (1, mine) for size, mine in zip(self.other.shape[::-1], shape[::-1], strict=False))
        if not fits or len(self.other.shape) > len(shape):
            return f"{_REASON} {self.op} with numbers of shape {self.other.shape}, which do not fit its {shape}"
        if dtype not in EXACT or self.other.dtype != dtype:
            return f"{_REASON} {self.op} from {dtype} and {self.other.dtype} numbers"
        if self.other.tensor.unreadable is not None:
            return f"{_REASON} {self.op} with what {self.other.tensor.unreadable}"
        return None

    @property
    def parts(self) -> tuple[Part, ...]:
        return (self.other,)

    @property
    def note(self) -> str:
        """What was done, in the words of a layer's notes."""
        said = _SAID_FIRST.get(self.op) if self.first else None
        return f"{said or _SAID[self.op]} stored numbers of shape {self.other.shape} ({self.op})"

    def apply(self, array: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
        """The operator's output; the other numbers as they are stored."""
        import numpy as np

        operate = {"Mul": np.multiply, "Div": np.divide, "Add": np.add, "Sub": np.subtract}[self.op]
        operands = (self.other.cast(other), array) if self.first else (array, self.other.cast(other))
        with np.errstate(all="ignore"):  # what is not finite is seen where it is measured
            return np.asarray(operate(*operands))


def arithmetic(graph: Graph, node: Node) -> tuple[Arithmetic, str] | None:
    """The operator, and the input that is the weight; None where a node is no such operator on stored numbers.

    Of two stored operands the larger is the weight, of two of one size the one that is called so, or the first.
    """
    if node.op not in _SAID or len(node.inputs) != 2 or node.broadcast:
        return None
    parts = [stored_part(graph, name) for name in node.inputs]
    first, second = parts
    if first is not None and second is not None:
        sizes = [(prod(part.shape), is_called_weight(part.tensor.name)) for part in (first, second)]
        other = 0 if sizes[1] > sizes[0] else 1
    else:
        other = 0 if second is None else 1
    part = parts[other]
    return None if part is None else (Arithmetic(node.op, part, other == 0), node.inputs[1 - other])
