"""The graph of an exported program, parsed from JSON: which weights its nodes convolve with, and in how many groups.

Source: torch's `_export/serde/schema.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from gcx.errors import LimitError
from gcx.limits import EXPORT_DEPTH
from gcx.readers.torch.convolutions import operator
from gcx.readers.torch.exported_json import (
    arguments,
    inner_graph,
    json_list,
    json_object,
    named,
    operands,
    whole_number,
)
from gcx.readers.torch.program_weights import MOST_PARTS, is_large
from gcx.readers.torch.recorded import Recorded
from gcx.readers.torch.values import PerChannel, PerTensor, Tensor

_OPERATOR = re.compile(r"torch\.ops\.aten\.(\w+)\.\w+")
_AS_IT_IS = re.compile(r"to|_to_copy|type_as|detach_?|alias|clone|contiguous|lift_fresh(?:_copy)?")
"""What hands on the weight that it is given, as it is or in another precision."""
_VIEWS = re.compile(r"_?(?:unsafe_)?view|_?reshape(?:_alias|_as)?|expand(?:_as)?|slice|narrow|(?:un)?squeeze")
"""What does so where the first two axes stay as they are: then every kernel does."""
_DEQUANTISES = re.compile(r"torch\.ops\.quantized_decomposed\.dequantize_per_(tensor|channel)\.default")
_RUNS_GRAPHS = re.compile(
    r"torch\.ops\.higher_order\.(?:wrap_with_set_grad_enabled|wrap_with_autocast|wrap_activation_checkpoint"
    r"|tag_activation_checkpoint|invoke_subgraph|wrap|cond)"
)
"""What runs a graph, or one of several, on the last of its operands."""
_INPUTS = (("parameter", "parameter_name"), ("buffer", "buffer_name"), ("tensor_constant", "tensor_constant_name"))


@dataclass(frozen=True, slots=True)
class _Value:
    """A tensor of the graph that is kept, or computed from such."""

    made_of: tuple[str, ...]
    """Weights."""
    by: str | None = None
    """What computes it; None of a weight as it is kept."""
    with_input: bool = False
    """And from the program's input."""


class Program:
    """The graph of one program and the weights that it names.

    Args:
        graph: the value of the JSON.
        tensors: the weights by name; those that a node dequantises get their quantiser.

    Raises:
        CheckpointError: damaged.
        LimitError: graphs in graphs beyond `EXPORT_DEPTH`.
    """

    def __init__(self, graph: Any, tensors: Mapping[str, Tensor]):
        module = json_object(graph, "graph_module")
        self._signature, nodes = json_object(module, "signature"), json_object(module, "graph")
        self.tensors = tensors
        self._changed: dict[str, str] = {}
        """Weights of which something was changed in place, and by what."""
        inputs = [(name, kind, held) for kind, name, held in self._inputs()]
        self.recorded = Recorded(tensors, {held for _, kind, held in inputs if kind == "parameter"})
        self._run(nodes, {name: _Value((held,)) for name, _, held in inputs}, 0)

    def _inputs(self) -> Iterator[tuple[str, str, str]]:
        """Kind of each weight, the graph's name for it, and its own."""
        for spec in json_list(self._signature, "input_specs"):
            for kind, key in _INPUTS:
                held = spec.get(kind) if isinstance(spec, dict) else None
                if isinstance(held, dict) and isinstance(held.get(key), str) and held[key] in self.tensors:
                    argument = held.get("arg")
                    name = argument.get("name") if isinstance(argument, dict) else None
                    if isinstance(name, str):
                        yield kind, name, held[key]

    def _run(self, graph: Mapping[str, Any], known: dict[str, _Value], depth: int) -> None:
        """Record what the nodes of one graph state, and those of the graphs in it.

        Args:
            graph: as the JSON has it.
            known: the values of its inputs by name; those of its nodes are added.
            depth: graphs around it.
        """
        if depth > EXPORT_DEPTH:
            raise LimitError(f"has graphs within {depth} others, limit EXPORT_DEPTH is {EXPORT_DEPTH}")
        sizes = graph.get("tensor_values")
        for node in json_list(graph, "nodes"):
            target = node.get("target") if isinstance(node, dict) else None
            if not isinstance(target, str):
                continue
            given = arguments(node)
            results = [name for result in node.get("outputs") or () for name in operands(result)]
            if any(inner_graph(argument) for _, argument in given):
                self._run_inner(target, [argument for _, argument in given], results, known, depth)
                continue
            by_name = dict(given)
            self._convolution(target, by_name, known)
            value = self._made(target, by_name, results, known, sizes if isinstance(sizes, dict) else {})
            if value is not None:
                known.update(dict.fromkeys(results, value))

    def _run_inner(
        self, target: str, given: list[dict[str, Any]], results: list[str], known: dict[str, _Value], depth: int
    ) -> None:
        """Record what graphs state that a node runs; what they give on is known where they agree."""
        graphs = {place: graph for place, argument in enumerate(given) if (graph := inner_graph(argument)) is not None}
        outer = [name for argument in given[max(graphs) + 1 :] for name in operands(argument)]
        given_on: list[list[_Value | None]] = []
        for graph in graphs.values():
            inner: dict[str, _Value] = {}
            names = [name for argument in json_list(graph, "inputs") for name in operands(argument)]
            if _RUNS_GRAPHS.fullmatch(target) and 0 < len(names) <= len(outer):
                inner = {
                    name: known[held] for name, held in zip(names, outer[-len(names) :], strict=True) if held in known
                }
            self._run(graph, inner, depth + 1)
            ends = [name for argument in json_list(graph, "outputs") for name in operands(argument)]
            given_on.append([inner.get(name) for name in ends])
        for name, *values in zip(results, *given_on, strict=False):
            if values[0] is not None and all(value == values[0] for value in values):
                known[name] = values[0]

    def _convolution(self, target: str, given: Mapping[str, Any], known: Mapping[str, _Value]) -> None:
        called = _OPERATOR.fullmatch(target)
        found = operator(called[1]) if called else None
        weight = known.get(named(given.get("weight")))
        if found is None or weight is None:
            return
        transposed = found.transposed
        if found.transposed_at is not None:
            stated = given.get("transposed", {}).get("as_bool")
            transposed = stated if isinstance(stated, bool) else None
        # An argument that has its default is left out: one group.
        groups = whole_number(given["groups"]) if "groups" in given else 1
        by = weight.by or self._changed.get(weight.made_of[0])
        if by is None:
            self.recorded.used(weight.made_of[0], groups, transposed)
        else:
            self.recorded.computed(weight.made_of, by, groups, transposed)

    def _made(
        self,
        target: str,
        given: Mapping[str, Any],
        results: list[str],
        known: Mapping[str, _Value],
        sizes: Mapping[str, Any],
    ) -> _Value | None:
        """What a node makes; None where no weight is in it, or many are."""
        called = _OPERATOR.fullmatch(target)
        operator_name = called[1] if called else target
        weight = known.get(named(given.get("input") or given.get("self")))
        if called and weight and _AS_IT_IS.fullmatch(operator_name):
            return weight
        if called and weight and operator_name.endswith("_"):
            # It may be one copy of several that is changed; none is taken for the weight as it is kept.
            self._changed.update(dict.fromkeys(weight.made_of, operator_name))
        names = [name for argument in given.values() for name in operands(argument) if name]
        if any(name not in known or known[name].with_input for name in names):
            return self._with_input(operator_name, [known[name] for name in names if name in known])
        if called and weight and _VIEWS.fullmatch(operator_name) and len(results) == 1:
            same = _keeps_kernels(sizes.get(names[0]), sizes.get(results[0]))
            return weight if weight.by or same else _Value(weight.made_of, operator_name)
        dequantised = weight is not None and weight.by is None and _DEQUANTISES.fullmatch(target)
        if weight is not None and dequantised and self._quantise(weight.made_of[0], given, known):
            return weight
        made_of = dict.fromkeys(part for name in names for part in known[name].made_of)
        return _Value(tuple(made_of), operator_name) if len(made_of) <= MOST_PARTS else None

    def _with_input(self, operator_name: str, given: list[_Value]) -> _Value | None:
        """What a node makes of weights and of the program's input; what a convolution makes is no weight of its own."""
        parts = dict.fromkeys(part for value in given for part in value.made_of if is_large(self.tensors[part]))
        if not parts or len(parts) > MOST_PARTS or operator(operator_name) is not None:
            return None
        return _Value(tuple(parts), operator_name, with_input=True)

    def _quantise(self, name: str, given: Mapping[str, Any], known: Mapping[str, _Value]) -> bool:
        """Note how a weight's integers become numbers; False where that is not understood."""
        tensor = self.tensors[name]
        if "scales" in given:
            kept = [known.get(named(given.get(key))) for key in ("scales", "zero_points")]
            parts = [self.tensors[value.made_of[0]] if value and value.by is None else None for value in kept]
            scales, zeros, axis = *parts, whole_number(given.get("axis"))
            if scales is None or zeros is None or axis is None or not axis < len(tensor.shape):
                return False
            if any(part.shape != (tensor.shape[axis],) or part.unreadable for part in (scales, zeros)):
                return False
            how: PerTensor | PerChannel = PerChannel(scales, zeros, axis)
        else:
            scale, zero = (given.get(key) for key in ("scale", "zero_point"))
            number = scale.get("as_float") if isinstance(scale, dict) else None
            whole = zero.get("as_int") if isinstance(zero, dict) else None
            if type(number) is not float or type(whole) is not int or not -(2**31) <= whole < 2**31:
                return False
            how = PerTensor(number, whole)
        if "int" not in tensor.dtype.name or tensor.quantiser is not None:
            return tensor.quantiser == how
        tensor.quantiser = how
        return True


def _keeps_kernels(before: Any, after: Any) -> bool:
    """Whether two tensors, as the graph describes them, have the same first two axes and as many numbers."""
    shapes = [_shape(before), _shape(after)]
    if any(len(shape) < 2 for shape in shapes):
        return False
    return shapes[0][:2] == shapes[1][:2] and prod(shapes[0]) == prod(shapes[1])


def _shape(tensor: Any) -> list[int]:
    """Of a tensor as the graph describes it; empty where that is not known."""
    sizes = tensor.get("sizes") if isinstance(tensor, dict) else None
    found = [whole_number(size) for size in sizes] if isinstance(sizes, list) else []
    return [size for size in found if size is not None] if None not in found else []
