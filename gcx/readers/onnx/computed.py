"""Convolution weights that an ONNX graph computes: from which stored tensors, and whether their names say how."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from math import prod

from gcx.readers.onnx.graph import Graph
from gcx.readers.onnx.names import is_called_weight, is_numbered
from gcx.readers.onnx.tensors import Tensor
from gcx.weight_parts import AXES

TRAINED = (("weight", "bn.weight", "bn.running_var", "weight_fake_quant.scale", "weight_fake_quant.zero_point"),)
"""As `TORCH_PARTS`, of a convolution that quantisation-aware training rounds in the scale of its batch norm."""
_VALUES = 64
"""Values of a graph that are looked at to find what one weight is computed from."""


@dataclass(frozen=True)
class Origins:
    """The stored tensors behind a value."""

    named: tuple[Tensor, ...] = ()
    numbered: tuple[Tensor, ...] = ()
    """Those without a name of their own: constants, and what an exporter computed ahead of time."""
    complete: bool = False
    """There are no others, and no input of the model is behind the value."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.named + self.numbered

    def main(self, quantisers: Container[int]) -> Tensor | None:
        """The one that is likely to be the weight: the largest of its rank, of such the one that is called so."""
        fitting = [one for one in self.tensors if len(one.shape) >= AXES and id(one) not in quantisers]
        return max(fitting, key=lambda one: (prod(one.shape), is_called_weight(one.name)), default=None)

    def whole(self, kinds: tuple[tuple[str, ...], ...]) -> Tensor | None:
        """The main part, where these are the parts of one weight under torch's own names and nothing else changes it.

        Args:
            kinds: names within a module, that of the main part first.
        """
        named = {one.name: one for one in self.named}
        for kind in kinds if self.complete else ():
            for name, main in named.items():
                prefix = name.removesuffix(kind[0])
                if named.keys() == {prefix + part for part in kind} and (not prefix or prefix.endswith(".")):
                    return main if all(_is_helper(one, main) for one in self.numbered) else None
        return None


def origins(graph: Graph, name: str, ends: Container[str]) -> Origins:
    """Follow a value back to the stored tensors that it is computed from.

    Args:
        graph: where the value stands.
        name: the value's.
        ends: operations whose results are no weights any more.
    """
    tensors: dict[int, Tensor] = {}
    constants: dict[int, Tensor] = {}
    seen: set[str] = set()
    todo = [name]
    complete = True
    while todo:
        name = todo.pop()
        if name in seen or not name:
            continue
        if len(seen) == _VALUES:
            complete = False
            break
        seen.add(name)
        found = graph.find(name)
        if isinstance(found, Tensor):
            tensors[id(found)] = found
        elif found is None or found.op in ends:
            complete = False
        elif found.value is not None:
            constants[id(found.value)] = found.value
        else:
            complete = complete and bool(found.inputs) and len(found.inputs) <= _VALUES
            todo += found.inputs[:_VALUES][::-1]
    named = tuple(one for one in tensors.values() if not is_numbered(one.name))
    numbered = tuple(one for one in tensors.values() if is_numbered(one.name))
    return Origins(named, (*numbered, *constants.values()), complete)


def _is_helper(tensor: Tensor, main: Tensor) -> bool:
    """Axes, shapes and single numbers; or the matrix of the whole weight, which spectral norm multiplies."""
    return (
        tensor.dtype == "int64"
        or prod(tensor.shape) == 1
        or (len(tensor.shape) == 2 and prod(tensor.shape) == prod(main.shape))
    )
