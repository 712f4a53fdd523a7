"""ONNX models: the weights of convolutions with their recorded groups, by a parser of our own.

The onnx library is the oracle in the tests. It is not used here: it holds the whole model in memory, and a hostile file
of a hundred megabytes becomes gigabytes in it; a parser that looks for a few fields reads one tensor at a time.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from gcx.checkpoint import Checkpoint, TensorRef
from gcx.errors import CheckpointError, GcxError, LimitError
from gcx.limits import ONNX_GRAPH
from gcx.readers.base import ReadOptions, Source
from gcx.readers.dtypes import numpy_dtype
from gcx.readers.names import module_of, no_moving_average, shown_names
from gcx.readers.onnx.arithmetic import Arithmetic
from gcx.readers.onnx.graph import MODEL_FUNCTIONS, MODEL_GRAPH, Graph, messages, read_graphs
from gcx.readers.onnx.quantised import Quantisation, quantiser_parts
from gcx.readers.onnx.stores import Stores
from gcx.readers.onnx.tensors import Tensor
from gcx.readers.onnx.weights import ConvUse, ConvWeights, conv_weights
from gcx.readers.protobuf import BYTES, CURE, VARINT, Field, Wire
from gcx.weight_parts import AXES

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MODEL_FIELDS = {1: VARINT, 5: VARINT} | dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), BYTES)
"""Of a ModelProto: number to wire type."""
_GRAPH_FIELDS = (1, 2, 5, 10, 11, 12, 13, 14, 15, 16)
_SEVERAL = 1000
"""Fields of a model that are looked at to recognise it."""


class OnnxReader:
    """`name.onnx`, with external data beside it."""

    name = "onnx"
    suffixes: tuple[str, ...] = (".onnx",)

    def recognises(self, source: Source) -> bool:
        """Fields of a model only, a graph among them, and what the graph begins with is a graph's."""
        seen: dict[int, Field] = {}
        wire = Wire(source)
        size = source.size
        try:
            for field in islice(wire.fields(0, size), _SEVERAL):
                if _MODEL_FIELDS.get(field.number) != field.wire:
                    return False
                seen[field.number] = field
            graph = seen.get(MODEL_GRAPH)
            first = next(wire.fields(graph.start, graph.end), None) if graph else None
        except GcxError:
            return _is_cut_off(source)
        return first is not None and 1 in seen and seen[1].value < 1000 and first.number in _GRAPH_FIELDS

    def read(self, source: Source, options: ReadOptions) -> Checkpoint:
        """Parse the graph; all stored tensors but scales and zero points are listed; convolutions state their groups.

        Raises:
            CheckpointError: a damaged message, a tensor that does not fit its bytes, external data that is missing,
                elsewhere, or too short; groups that do not divide.
        """
        with ExitStack() as stack:
            try:
                checkpoint = _read(source, options, stack)
            except GcxError as error:
                raise error.located(path=source.path) from error.__cause__
            kept = stack.pop_all()
        kept.callback(source.close)
        return replace(checkpoint, close=kept.close)


def _is_cut_off(source: Source) -> bool:
    """Whether a damaged file begins as exporters begin: the version, the producer's name, then a field of a model."""
    head = source.head
    if len(head) < 4 or head[0] != 0x08 or head[1] >= 128 or head[2] != 0x12 or head[3] >= 128:
        return False
    length = head[3]
    return head[4 : 4 + length].isascii() and head[4 + length : 5 + length] in (
        b"\x1a",
        b"\x22",
        b"\x28",
        b"\x32",
        b"\x3a",
    )


def _read(source: Source, options: ReadOptions, stack: ExitStack) -> Checkpoint:
    if options.weights == "ema":
        raise no_moving_average()
    if source.size > ONNX_GRAPH:
        raise LimitError(
            f"has {source.size} bytes, limit ONNX_GRAPH is {ONNX_GRAPH}", cure="save weights as external data"
        )
    wire = Wire(source)
    parts = list(messages(wire, Field(0, BYTES, 0, source.size), (MODEL_GRAPH, MODEL_FUNCTIONS)))
    mains = [part for part in parts if part.number == MODEL_GRAPH]
    if len(mains) != 1:
        raise CheckpointError(f"is an ONNX model with {len(mains)} graphs", cure=CURE)
    graphs = read_graphs(wire, mains[0])
    stores = Stores(source, stack)
    quantisers = quantiser_parts(graphs)
    weights = conv_weights(graphs, quantisers)
    refs, others = _references(graphs, weights, quantisers, stores)
    shown = shown_names(refs)
    tensors = {shown[name]: replace(ref, name=shown[name]) for name, ref in refs.items()}
    stated = {use.name: use.spec for use in weights.uses} | weights.parametrised
    specs = {module_of(shown[name]): spec for name, spec in stated.items()}
    notes = weights.notes
    if len(parts) > 1:
        notes += (f"functions of the ONNX model were not looked at: {len(parts) - 1}",)
    others = {shown[name]: what for name, what in others.items()}
    return Checkpoint(source.path, "onnx", tensors, specs, notes, others=others, files=stores.files)


def _references(
    graphs: Iterable[Graph], weights: ConvWeights, quantisers: Container[int], stores: Stores
) -> tuple[dict[str, TensorRef], dict[str, str]]:
    """The stored tensors by name, in the order in which nodes use them, and which of them are no convolutions' weights.

    Scales and zero points are applied here; by name they would be taken for what is still to be applied. Only those of
    a weight's rank are listed.
    """
    by_tensor: dict[int, list[ConvUse]] = {}
    for use in weights.uses:
        by_tensor.setdefault(id(use.tensor), []).append(use)
    refs: dict[str, TensorRef] = {}
    others: dict[str, str] = {}
    done: set[int] = set()
    for tensor in _in_order_of_use(graphs):
        if id(tensor) in done:
            continue
        done.add(id(tensor))
        for use in by_tensor.get(id(tensor), ()):
            refs[use.name] = _weight_reference(use, stores)
        named_part = id(tensor) in weights.named_parts
        quantises = id(tensor) in quantisers and not named_part
        of_rank = len(tensor.shape) >= AXES
        if tensor.name in refs or (id(tensor) in by_tensor and not named_part) or (quantises and not of_rank):
            continue
        refs[tensor.name] = stores.reference(tensor.name, tensor)
        if of_rank and quantises:
            others[tensor.name] = "scales or zero points of a quantised tensor"
        elif of_rank and id(tensor) in weights.other_parts:
            others[tensor.name] = "a part of what a weight is computed from"
    for constants in (uses for key, uses in by_tensor.items() if key not in done):
        for use in constants:
            refs[use.name] = _weight_reference(use, stores)
    return refs, others


def _in_order_of_use(graphs: Iterable[Graph]) -> Iterator[Tensor]:
    """Stored tensors as nodes come to them, then the rest: exporters store them in any order, often the alphabet's."""
    for graph in graphs:
        for node in graph.nodes:
            for name in node.inputs:
                found = graph.find(name)
                if isinstance(found, Tensor):
                    yield found
        yield from graph.tensors.values()


def _weight_reference(use: ConvUse, stores: Stores) -> TensorRef:
    stored = stores.reference(use.name, use.tensor)
    parts: dict[int, TensorRef] = {}
    if use.unreadable is None:
        operators = (step for step in use.steps if isinstance(step, Quantisation | Arithmetic))
        tensors = (part.tensor for step in operators for part in step.parts)
        parts = {id(tensor): stores.reference(tensor.name, tensor) for tensor in tensors}
    return replace(
        stored,
        dtype=use.dtype,
        shape=use.shape,
        load=partial(_through, stored, use, parts),
        storage=None if stored.storage is None else (stored.storage, use.steps),
        unreadable=stored.unreadable or use.unreadable,
        notes=use.notes,
    )


def _through(stored: TensorRef, use: ConvUse, parts: Mapping[int, TensorRef]) -> NDArray[Any]:
    """Follow the steps between what is stored and what the convolution gets."""
    array = stored.load()
    for step in use.steps:
        if isinstance(step, Quantisation):
            scale, zero = (None if part is None else parts[id(part.tensor)].load() for part in (step.scale, step.zero))
            array = step.apply(array, scale, zero)
        elif isinstance(step, Arithmetic):
            array = step.apply(array, parts[id(step.other.tensor)].load())
        else:
            array = array.astype(numpy_dtype(step)) if isinstance(step, str) else array.transpose(step or None)
    return array
