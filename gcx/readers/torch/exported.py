"""Exported programs (`torch.export.save`): raw weights, and groups from the arguments in the program's JSON graph.

A .pt2 archive holds `models/NAME.json`, the graph, and `data/weights/NAME_weights_config.json`, which says for each
weight in which record its bytes lie. Source: torch's `export/pt2_archive` and `_export/serde/schema.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NoReturn

from gcx.checkpoint import Checkpoint
from gcx.errors import MESSAGE_LIMIT, CheckpointError, LimitError, printable
from gcx.limits import EXPORT_JSON, EXPORT_VALUES, TENSORS
from gcx.readers.base import ReadOptions
from gcx.readers.names import no_moving_average, shown_names
from gcx.readers.torch.archive import Archive
from gcx.readers.torch.convolutions import operator
from gcx.readers.torch.dtypes import DTYPES
from gcx.readers.torch.recorded import Recorded
from gcx.readers.torch.storages import reference
from gcx.readers.torch.tensors import HUGE, item_bytes, strided
from gcx.readers.torch.values import CURE, Dtype, PerChannel, PerTensor, Storage, Tensor
from gcx.readers.torch.work import Work

FORMAT = "exported program"

_PROGRAM = re.compile(r"([^/]+)/models/([^/]+)\.json")
_COMPILED = re.compile(r"([^/]+)/data/aotinductor/.+", re.DOTALL)
_OPERATOR = re.compile(r"torch\.ops\.aten\.(\w+)\.\w+")
_SAME = re.compile(r"torch\.ops\.aten\.(?:to|_to_copy|detach|detach_|alias|clone|contiguous|lift_fresh_copy)\.\w+")
"""What hands on the weight that it is given, as it is or in another precision."""
_DEQUANTISES = re.compile(r"torch\.ops\.quantized_decomposed\.dequantize_per_(tensor|channel)\.default")
_NORMALISES = re.compile(r"torch\.ops\.aten\._weight_norm(?:_interface)?\.\w+")
_SCALES = re.compile(r"torch\.ops\.aten\.(?:mul|div)\.Tensor")
_PARTS = ("weight_v", "weight_orig", "original", "original1")
"""Of a weight that is computed by weight norm, spectral norm or pruning, the part that has its shape."""
_INPUTS = (("parameter", "parameter_name"), ("buffer", "buffer_name"), ("tensor_constant", "tensor_constant_name"))

# fmt: off
_NUMBERED = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64", 9: "complex32",
    10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16", 29: "float8_e4m3fn",
    30: "float8_e5m2", 31: "float8_e4m3fnuz", 32: "float8_e5m2fnuz", 33: "float8_e8m0fnu", 34: "uint32", 35: "uint64",
}
# fmt: on
"""The schema's ScalarType."""


def is_exported(archive: Archive) -> bool:
    """Whether an archive holds a program of `torch.export`, or one that was compiled from it."""
    return any(_PROGRAM.fullmatch(name) or _COMPILED.fullmatch(name) for name in archive.entries)


def read_exported(archive: Archive, options: ReadOptions) -> Checkpoint:
    """Parse the graph and the list of weights of the one program in an archive.

    Raises:
        CheckpointError: damaged, compiled, or with several programs.
        LimitError: a longer graph, or more values in it, than gcx allows.
        UsageError: a moving average is wanted.
    """
    found = [match for name in archive.entries if (match := _PROGRAM.fullmatch(name))]
    if not found:
        raise CheckpointError(
            "is a program that AOTInductor compiled, without its graph", cure="name what torch.export.save wrote"
        )
    if len(found) > 1:
        names = ", ".join(printable(match[2], MESSAGE_LIMIT) for match in found[:3])
        raise CheckpointError(f"holds {len(found)} exported programs: {names}", cure="save one of them alone")
    program = _Program(archive, *found[0].groups())
    tensors = program.tensors
    if not tensors:
        raise CheckpointError("is an exported program without weights", cure="name one that has weights")
    if options.weights == "ema":
        raise no_moving_average()
    recorded = Recorded(tensors)
    for name, groups, transposed in program.convolutions():
        recorded.state(name, groups, transposed)
    shown = shown_names(tensors)
    refs = {name: reference(name, tensor, program.read, big_endian=program.big) for name, tensor in tensors.items()}
    return Checkpoint(
        archive.source.path,
        FORMAT,
        {shown[name]: replace(ref, name=shown[name]) for name, ref in refs.items()},
        recorded.by_module(shown),
        (*archive.notes, *recorded.notes()),
        archive.source.close,
    )


class _Program:
    """One program of an archive: its weights by name, and the nodes of its graph."""

    def __init__(self, archive: Archive, top: str, name: str):
        self._archive, self._top = archive, top
        self._work = Work()
        order = f"{top}/byteorder"
        self.big = order in archive.entries and archive.read(order, 0, min(16, archive.entry(order).size)) == b"big"
        graph = _object(_object(self._parsed(f"{top}/models/{name}.json"), "graph_module"), None)
        self._signature, self._graph = _object(graph, "signature"), _object(graph, "graph")
        self.tensors: dict[str, Tensor] = {}
        for kind in ("weights", "constants"):
            config = f"{top}/data/{kind}/{name}_{kind}_config.json"
            if config in archive.entries:
                self._hold(kind, _object(self._parsed(config), "config"))

    def read(self, storage: Storage, begin: int, length: int) -> bytes:
        return self._archive.read(storage.key, begin, length)

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
                groups = _whole(given["groups"]) if "groups" in given else 1
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
            scales, zeros, axis = *parts, _whole(given.get("axis"))
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

    def _hold(self, kind: str, config: Mapping[str, Any]) -> None:
        for name, about in config.items():
            if len(self.tensors) >= TENSORS:
                raise LimitError(f"has more than {TENSORS} tensors, limit TENSORS")
            self._work.name(len(name))
            meta = about.get("tensor_meta") if isinstance(about, dict) else None
            if meta is None and kind == "constants":
                continue  # an object of a class, no tensor
            self.tensors[name] = self._tensor(kind, name, about)

    def _tensor(self, kind: str, name: str, about: Any) -> Tensor:
        """A weight as the list of weights describes it, checked against the record that holds it."""
        shown = printable(name, MESSAGE_LIMIT)
        meta = _object(about, "tensor_meta")
        number = meta.get("dtype")
        dtype = DTYPES.get(f"torch.{_NUMBERED.get(number, '')}") if type(number) is int else None
        shape, strides = (_sizes(meta.get(key), shown) for key in ("sizes", "strides"))
        offset = _whole(meta.get("storage_offset"))
        if offset is None or len(shape) != len(strides):
            _refuse(f"the offset or strides of '{shown}' cannot be")
        if dtype is None or about.get("use_pickle") is not False:
            reason = "is of a number format that is not known" if dtype is None else "is pickled inside the program"
            return Tensor(dtype or Dtype("unknown"), shape, unreadable=reason)
        path = about.get("path_name")
        if type(path) is not str:
            _refuse(f"'{shown}' has no record")
        entry = self._archive.entry(f"{self._top}/data/{kind}/{path}")
        item = item_bytes(dtype)
        return strided(dtype, Storage(entry.name, dtype, entry.size // item, item), offset, shape, strides)

    def _parsed(self, name: str) -> Any:
        entry = self._archive.entry(name)
        if entry.size > EXPORT_JSON:
            raise LimitError(f"has a graph of {entry.size} bytes, limit EXPORT_JSON is {EXPORT_JSON}")
        data = self._archive.read(name)
        values = sum(data.count(mark) for mark in (b",", b"[", b"{"))
        if values > EXPORT_VALUES:
            raise LimitError(f"has a graph of {values} values, limit EXPORT_VALUES is {EXPORT_VALUES}")
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            _refuse(f"'{printable(name, MESSAGE_LIMIT)}' is no JSON, or is nested too deeply")


def _refuse(what: str) -> NoReturn:
    raise CheckpointError(f"is a damaged exported program: {what}", cure=CURE) from None


def _object(value: Any, key: str | None) -> dict[str, Any]:
    """A JSON object, or that under a key of one."""
    found = value if key is None else value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, dict):
        _refuse(f"its '{key}' is no object" if key else "it is no object")
    return found


def _list(value: Any, key: str) -> list[Any]:
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, list):
        _refuse(f"its '{key}' is no list")
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


def _whole(argument: Any) -> int | None:
    number = argument.get("as_int") if isinstance(argument, dict) else None
    return number if type(number) is int and 0 <= number < HUGE else None


def _sizes(value: Any, shown: str) -> tuple[int, ...]:
    found = [_whole(size) for size in value] if isinstance(value, list) else [None]
    if any(size is None for size in found):
        _refuse(f"the shape of '{shown}' is no list of whole numbers")
    return tuple(size for size in found if size is not None)
