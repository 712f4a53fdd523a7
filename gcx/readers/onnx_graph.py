"""ONNX graphs as we need them: tensors with the place of their numbers, and the nodes that convolutions are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from math import prod

from gcx.errors import CheckpointError, GcxError, LimitError
from gcx.limits import ONNX_DEPTH, ONNX_NODES, RANK, TENSORS
from gcx.readers.dtypes import COMPLEX, ITEM_BYTES
from gcx.readers.protobuf import BYTES, CURE, FIXED32, FIXED64, VARINT, Field, Wire

MODEL_GRAPH, MODEL_FUNCTIONS = 7, 25
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_SPARSE = 1, 5, 15

DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    14: "complex64",
    15: "complex128",
    16: "bfloat16",
    17: "float8_e4m3fn",
    18: "float8_e4m3fnuz",
    19: "float8_e5m2",
    20: "float8_e5m2fnuz",
    21: "uint4",
    22: "int4",
    23: "float4_e2m1fn",
    24: "float8_e8m0fnu",
    25: "uint2",
    26: "int2",
}
"""TensorProto.DataType to our name."""

_SHORT = ("int32", "int16", "int8", "uint16", "uint8", "bool", "float16", "bfloat16")
_FLOAT_DATA, _INT32_DATA, _INT64_DATA, _RAW, _DOUBLE_DATA, _UINT64_DATA, _EXTERNAL = 4, 5, 7, 9, 10, 11, 13
_WHERE = {
    _RAW: (BYTES, tuple(ITEM_BYTES)),
    _FLOAT_DATA: (FIXED32, ("float32",)),
    _DOUBLE_DATA: (FIXED64, ("float64",)),
    _INT32_DATA: (VARINT, (*_SHORT, *(dtype for dtype in ITEM_BYTES if dtype.startswith("float8")))),
    _INT64_DATA: (VARINT, ("int64",)),
    _UINT64_DATA: (VARINT, ("uint64", "uint32")),
}
"""Fields that hold numbers: how one of them is written where it is not packed, and for which dtypes."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A TensorProto, checked against the bytes that it brings."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int = 0
    length: int = 0
    """Where its numbers lie, in the model file or, with a `location`, in that file beside it."""
    varints: bool = False
    """Its numbers are protobuf varints, not little-endian numbers."""
    location: str | None = None
    unreadable: str | None = None

    @property
    def bytes_needed(self) -> int:
        return prod(self.shape) * ITEM_BYTES.get(self.dtype, 1)


@dataclass(slots=True)
class Node:
    """One operation, with those of its attributes that say something about a convolution's weight."""

    op: str = ""
    name: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    group: int = 1
    perm: list[int] | None = None
    to: int = 0
    axis: int = 1
    block: int = 0
    value: Tensor | None = None
    graphs: list[Field] = field(default_factory=list)


@dataclass(slots=True)
class Graph:
    """A graph with what it sees of the graph around it."""

    around: Graph | None = None
    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    producers: dict[str, Node] = field(default_factory=dict)

    def find(self, name: str) -> Tensor | Node | None:
        """What a name stands for: a stored tensor, the node that computes it, or nothing, as for an input."""
        graph: Graph | None = self
        while graph is not None:
            found = graph.tensors.get(name) or graph.producers.get(name)
            if found is not None:
                return found
            graph = graph.around
        return None


def read_graphs(wire: Wire, main: Field) -> list[Graph]:
    """The main graph and all graphs inside its nodes, outer ones first.

    Raises:
        CheckpointError: a damaged message, or a tensor that does not fit its bytes.
        LimitError: nodes, tensors, depth.
    """
    graphs: list[Graph] = []
    todo: list[tuple[Field, Graph | None, int]] = [(main, None, 1)]
    nodes = tensors = 0
    while todo:
        message, around, depth = todo.pop()
        if depth > ONNX_DEPTH:
            raise LimitError(f"has graphs nested deeper than {ONNX_DEPTH}, limit ONNX_DEPTH")
        graph = Graph(around)
        graphs.append(graph)
        for part in messages(wire, message, (GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_SPARSE)):
            if part.number == GRAPH_NODE:
                nodes += 1
                node = _node(wire, part)
                graph.nodes.append(node)
                graph.producers.update(dict.fromkeys(node.outputs, node))
                todo += [(inner, graph, depth + 1) for inner in node.graphs]
            elif part.number == GRAPH_INITIALIZER:
                tensors += 1
                tensor = read_tensor(wire, part)
                if tensor.name in graph.tensors:
                    raise CheckpointError("is stored twice", tensor=tensor.name, cure=CURE)
                graph.tensors[tensor.name] = tensor
            if nodes > ONNX_NODES:
                raise LimitError(f"has more than {ONNX_NODES} nodes, limit ONNX_NODES")
            if tensors > TENSORS:
                raise LimitError(f"has more than {TENSORS} tensors, limit TENSORS")
    return graphs


def messages(wire: Wire, message: Field, numbers: tuple[int, ...]) -> Iterator[Field]:
    """The inner messages of these numbers.

    Raises:
        CheckpointError: one of them is not of bytes.
    """
    for part in wire.fields(message.start, message.end):
        if part.number in numbers:
            if part.wire != BYTES:
                raise CheckpointError(f"protobuf message has a number for a message at byte {part.start}", cure=CURE)
            yield part


def _node(wire: Wire, message: Field) -> Node:
    node = Node()
    for part in wire.fields(message.start, message.end):
        if part.number == 1:
            node.inputs.append(wire.text(part))
        elif part.number == 2:
            node.outputs.append(wire.text(part))
        elif part.number == 3:
            node.name = wire.text(part)
        elif part.number == 4:
            node.op = wire.text(part)
        elif part.number == 5 and part.wire == BYTES:
            _attribute(wire, part, node)
    return node


def _attribute(wire: Wire, message: Field, node: Node) -> None:
    name = ""
    number = 0
    ints: list[Field] = []
    tensor: Field | None = None
    for part in wire.fields(message.start, message.end):
        if part.number == 1:
            name = wire.text(part)
        elif part.number == 3 and part.wire == VARINT:
            number = part.signed
        elif part.number == 5 and part.wire == BYTES:
            tensor = part
        elif part.number in (6, 11) and part.wire == BYTES:
            node.graphs.append(part)
        elif part.number == 8 and len(ints) <= RANK:
            ints.append(part)
    if name == "group":
        node.group = number
    elif name in ("to", "output_dtype"):
        node.to = number
    elif name == "axis":
        node.axis = number
    elif name == "block_size":
        node.block = number
    elif name == "perm":
        node.perm = [axis for part in ints for axis in islice(wire.numbers(part), RANK + 1)]
    elif name == "value" and tensor is not None:
        node.value = read_tensor(wire, tensor)


def read_tensor(wire: Wire, message: Field) -> Tensor:
    """Parse a TensorProto and hold its shape against its bytes.

    Raises:
        CheckpointError: more numbers claimed than there are, or fewer; numbers in two places.
    """
    name, data_type, external = "", 0, False
    shape: list[int] = []
    where: list[Field] = []
    entries: dict[str, str] = {}
    segment = False
    for part in wire.fields(message.start, message.end):
        if part.number == 1:
            shape += islice(wire.numbers(part), RANK + 1)
            if len(shape) > RANK:
                raise LimitError(f"has more than {RANK} axes, limit RANK", tensor=name)
        elif part.number == 2 and part.wire == VARINT:
            data_type = part.value
        elif part.number == 8:
            name = wire.text(part)
        elif part.number == 14 and part.wire == VARINT:
            external = part.value == 1
        elif part.number == _EXTERNAL and part.wire == BYTES:
            key, value = _entry(wire, part)
            entries[key] = value
        elif part.number == 3:
            segment = True
        elif part.number in _WHERE and part.length:
            where.append(part)
    try:
        tensor = _checked(name, data_type, shape)
        if tensor.unreadable is not None:
            return tensor
        if segment:
            return _unreadable(tensor, "is stored in segments, which gcx does not read")
        return _external(tensor, entries) if external else _placed(tensor, where)
    except GcxError as error:
        raise error.located(tensor=name) from error.__cause__


def _entry(wire: Wire, message: Field) -> tuple[str, str]:
    texts = {part.number: wire.text(part) for part in wire.fields(message.start, message.end) if part.number in (1, 2)}
    return texts.get(1, ""), texts.get(2, "")


def _checked(name: str, data_type: int, shape: list[int]) -> Tensor:
    dtype = DTYPES.get(data_type, f"type {data_type}")
    if any(size < 0 for size in shape):
        raise CheckpointError(f"has a negative size in its shape: {min(shape)}", cure=CURE)
    if prod(size or 1 for size in shape) * 16 >= 2**63:
        raise CheckpointError("has a shape beyond any memory", cure=CURE)
    tensor = Tensor(name, dtype, tuple(shape))
    if dtype.startswith("complex"):
        return _unreadable(tensor, COMPLEX)
    if dtype not in ITEM_BYTES:
        return _unreadable(tensor, f"holds {dtype} elements, which are not measured")
    return tensor


def _unreadable(tensor: Tensor, reason: str) -> Tensor:
    return Tensor(tensor.name, tensor.dtype, tensor.shape, unreadable=reason)


def _placed(tensor: Tensor, where: list[Field]) -> Tensor:
    """Find its numbers in the model file."""
    if len(where) > 1:
        raise CheckpointError("has its numbers in several places", cure=CURE)
    place = where[0] if where else Field(_RAW, BYTES, 0, 0)
    single, dtypes = _WHERE[place.number]
    if place.wire not in (BYTES, single) or tensor.dtype not in dtypes:
        raise CheckpointError(f"has {tensor.dtype} numbers in a field of other numbers", cure=CURE)
    varints = single == VARINT
    count = prod(tensor.shape)
    fits = count <= place.length <= 10 * count if varints else place.length == tensor.bytes_needed
    if not fits:
        raise CheckpointError(f"has a shape of {count} {tensor.dtype} numbers, but {place.length} bytes", cure=CURE)
    return Tensor(tensor.name, tensor.dtype, tensor.shape, place.start, place.length, varints)


def _external(tensor: Tensor, entries: dict[str, str]) -> Tensor:
    """Find its numbers in a file beside the model; that the file has them is checked when it is opened."""
    needed = tensor.bytes_needed
    offset = _whole(entries.get("offset", "0"))
    length = _whole(entries.get("length", str(needed)))
    if length != needed:
        raise CheckpointError(f"needs {needed} bytes, but names {length} of external data", cure=CURE)
    return Tensor(tensor.name, tensor.dtype, tensor.shape, offset, length, location=entries.get("location", ""))


def _whole(digits: str) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 19):
        raise CheckpointError("names external data at a place that is no number", cure=CURE)
    return int(digits)
