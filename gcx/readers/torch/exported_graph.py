"""The graph of an exported program, parsed from JSON: which weights its nodes convolve with, and in how many groups.

Source: torch's `_export/serde/schema.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from gcx.errors import MESSAGE_LIMIT, CheckpointError, LimitError, printable
from gcx.limits import EXPORT_JSON, EXPORT_VALUES
from gcx.readers.torch.archive import Archive
from gcx.readers.torch.convolutions import operator
from gcx.readers.torch.tensors import HUGE
from gcx.readers.torch.values import CURE, PerChannel, PerTensor, Tensor

_OPERATOR = re.compile(r"torch\.ops\.aten\.(\w+)\.\w+")
_SAME = re.compile(r"torch\.ops\.aten\.(?:to|_to_copy|detach|detach_|alias|clone|contiguous|lift_fresh_copy)\.\w+")
"""What hands on the weight that it is given, as it is or in another precision."""
_DEQUANTISES = re.compile(r"torch\.ops\.quantized_decomposed\.dequantize_per_(tensor|channel)\.default")
_NORMALISES = re.compile(r"torch\.ops\.aten\._weight_norm(?:_interface)?\.\w+")
_SCALES = re.compile(r"torch\.ops\.aten\.(?:mul|div)\.Tensor")
_PARTS = ("weight_v", "weight_orig", "original", "original1")
"""Of a weight that is computed by weight norm, spectral norm or pruning, the part that has its shape."""
_INPUTS = (("parameter", "parameter_name"), ("buffer", "buffer_name"), ("tensor_constant", "tensor_constant_name"))


class Program:
    """The graph of one program and the weights that it names.

    Args:
        graph: the value of the JSON.
        tensors: the weights by name; those that a node dequantises get their quantiser.
    """

    def __init__(self, graph: Any, tensors: Mapping[str, Tensor]):
        module = json_object(graph, "graph_module")
        self._signature, self._graph = json_object(module, "signature"), json_object(module, "graph")
        self.tensors = tensors

    def convolutions(self) -> Iterator[tuple[str, int | None, bool | None]]:
        """Name of a weight, groups, transposed, of every node that convolves with one; weights get their quantiser."""
        named = dict(self._inputs())
        for node in _list(self._graph, "nodes"):
            target = node.get("target") if isinstance(node, dict) else None
            if not isinstance(target, str):
                continue
            given = _arguments(node)
            if handed_on := self._handed_on(target, given, named):
                named.update(dict.fromkeys(map(_named, _list(node, "outputs")), handed_on))
                continue
            called = _OPERATOR.fullmatch(target)
            known = operator(called[1]) if called else None
            name = named.get(_named(given.get("weight"))) if known else None
            if known is not None and name is not None:
                transposed = known.transposed
                if not isinstance(transposed, bool):
                    transposed = given.get("transposed", {}).get("as_bool")
                # An argument that has its default is left out: one group.
                groups = whole_number(given["groups"]) if "groups" in given else 1
                yield name, groups, transposed if isinstance(transposed, bool) else None

    def _handed_on(self, target: str, given: Mapping[str, Any], named: Mapping[str, str]) -> str | None:
        """The weight that a node gives on, as it is, dequantised or normalised; None of any other node."""
        if _NORMALISES.fullmatch(target):
            return named.get(_named(given.get("v")))
        if _SCALES.fullmatch(target):
            factors = (named.get(_named(given.get(key)), "") for key in ("self", "other"))
            return next((name for name in factors if name.rpartition(".")[2] in _PARTS), None)
        quantised = _DEQUANTISES.fullmatch(target)
        if not quantised and not _SAME.fullmatch(target):
            return None
        name = named.get(_named(given.get("input") or given.get("self")))
        return None if name is None or (quantised and not self._quantise(name, given, named)) else name

    def _inputs(self) -> Iterator[tuple[str, str]]:
        """The graph's name of each weight, and its own."""
        for spec in _list(self._signature, "input_specs"):
            for kind, key in _INPUTS:
                held = spec.get(kind) if isinstance(spec, dict) else None
                if isinstance(held, dict) and isinstance(held.get(key), str) and held[key] in self.tensors:
                    argument = held.get("arg")
                    name = argument.get("name") if isinstance(argument, dict) else None
                    if isinstance(name, str):
                        yield name, held[key]

    def _quantise(self, name: str, given: Mapping[str, Any], named: Mapping[str, str]) -> bool:
        """Note how a weight's integers become numbers; False where that is not understood."""
        tensor = self.tensors[name]
        if "scales" in given:
            parts = [self.tensors.get(named.get(_named(given.get(key)), "")) for key in ("scales", "zero_points")]
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


def parsed(archive: Archive, name: str) -> Any:
    """The value of a JSON record.

    Raises:
        CheckpointError: no JSON.
        LimitError: longer, or with more values, than gcx allows.
    """
    entry = archive.entry(name)
    if entry.size > EXPORT_JSON:
        raise LimitError(f"has a graph of {entry.size} bytes, limit EXPORT_JSON is {EXPORT_JSON}")
    data = archive.read(name)
    values = sum(data.count(mark) for mark in (b",", b"[", b"{"))
    if values > EXPORT_VALUES:
        raise LimitError(f"has a graph of {values} values, limit EXPORT_VALUES is {EXPORT_VALUES}")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        refuse(f"'{printable(name, MESSAGE_LIMIT)}' is no JSON, or is nested too deeply")


def refuse(what: str) -> NoReturn:
    raise CheckpointError(f"is a damaged exported program: {what}", cure=CURE) from None


def json_object(value: Any, key: str | None) -> dict[str, Any]:
    """A JSON object, or that under a key of one."""
    found = value if key is None else value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, dict):
        refuse(f"its '{key}' is no object" if key else "it is no object")
    return found


def _list(value: Any, key: str) -> list[Any]:
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, list):
        refuse(f"its '{key}' is no list")
    return found


def _arguments(node: Mapping[str, Any]) -> dict[str, Any]:
    """A node's arguments by name: to each an object with one key, which says of what kind it is."""
    given = {}
    for argument in _list(node, "inputs"):
        if (
            isinstance(argument, dict)
            and isinstance(argument.get("name"), str)
            and isinstance(argument.get("arg"), dict)
        ):
            given[argument["name"]] = argument["arg"]
    return given


def _named(argument: Any) -> str:
    """The name of the tensor that an argument is; empty for anything else."""
    tensor = argument.get("as_tensor") if isinstance(argument, dict) else None
    name = tensor.get("name") if isinstance(tensor, dict) else None
    return name if isinstance(name, str) else ""


def whole_number(argument: Any) -> int | None:
    number = argument.get("as_int") if isinstance(argument, dict) else None
    return number if type(number) is int and 0 <= number < HUGE else None
