"""ONNX graphs as we need them: the stored tensors, and of the nodes what convolutions are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from gcx.errors import CheckpointError, LimitError
from gcx.limits import ONNX_DEPTH, ONNX_NODES, RANK, TENSORS
from gcx.readers.onnx.tensors import Tensor, read_tensor
from gcx.readers.protobuf import BYTES, CURE, VARINT, Field, Wire

MODEL_GRAPH, MODEL_FUNCTIONS = 7, 25
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_SPARSE = 1, 5, 15


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
    broadcast: int = 0
    """Of operators before version 7, which align their operands in another way."""
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
    elif name == "broadcast":
        node.broadcast = number
    elif name == "perm":
        node.perm = [axis for part in ints for axis in islice(wire.numbers(part), RANK + 1)]
    elif name == "value" and tensor is not None:
        node.value = read_tensor(wire, tensor)
