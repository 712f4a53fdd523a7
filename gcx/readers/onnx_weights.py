"""Which stored tensors the convolutions of an ONNX graph use as weights, through which steps, under which names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gcx.checkpoint import ConvSpec
from gcx.errors import CheckpointError, printable
from gcx.readers.onnx_graph import Graph, Node
from gcx.readers.onnx_names import Names, weight_name
from gcx.readers.onnx_quantised import WEIGHT_OF, Quantisation, quantisation
from gcx.readers.onnx_tensors import DTYPES, Tensor

PLAIN = {"Conv": False, "FusedConv": False, "ConvTranspose": True}
"""Operations whose second input is a convolution weight, and whether it is transposed."""

_FLOATS = ("float64", "float32", "float16")
_STEPS = 16
"""Nodes between a stored tensor and the convolution that uses it."""


Step = str | tuple[int, ...] | Quantisation
"""A dtype to cast to, the axes of a transposition, or an operator of quantised numbers."""


@dataclass(frozen=True)
class ConvUse:
    """One stored weight as one convolution, or several alike, get it."""

    name: str
    """Of the weight: the layer's name and `.weight`."""
    tensor: Tensor
    steps: tuple[Step, ...]
    spec: ConvSpec
    dtype: str
    shape: tuple[int, ...]
    unreadable: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Found:
    tensor: Tensor
    steps: tuple[Step, ...]
    constant: bool
    """Lies in a node, where it has no name of its own."""


def conv_uses(graphs: Sequence[Graph]) -> tuple[list[ConvUse], tuple[str, ...]]:
    """Find the convolutions' weights.

    Returns:
        One entry for every stored weight and way to it, with names that differ, in the order of the nodes; and notes
        on convolutions whose weights are not stored.

    Raises:
        CheckpointError: groups that do not divide the weight.
    """
    nodes: dict[tuple[int, object], list[Node]] = {}
    founds: dict[tuple[int, object], _Found] = {}
    nowhere: list[str] = []
    for graph in graphs:
        for node, index in _convolutions(graph):
            found = _weight(graph, node, node.inputs[index] if index < len(node.inputs) else "")
            if isinstance(found, str):
                nowhere.append(f"{printable(node.name or node.op, 60)} ({found})")
                continue
            key = (id(found.tensor), found.steps)
            nodes.setdefault(key, []).append(node)
            founds.setdefault(key, found)
    names = Names(name for graph in graphs for name in graph.tensors)
    uses = [_use(founds[key], users, names) for key, users in nodes.items()]
    notes: tuple[str, ...] = ()
    if nowhere:
        more = f" and {len(nowhere) - 3} more" if len(nowhere) > 3 else ""
        notes = (f"convolutions without a stored weight: {', '.join(nowhere[:3])}{more}",)
    return uses, notes


def _convolutions(graph: Graph) -> Iterator[tuple[Node, int]]:
    for node in graph.nodes:
        if node.op in PLAIN:
            yield node, 1
        elif node.op in WEIGHT_OF:
            yield node, WEIGHT_OF[node.op]


def _weight(graph: Graph, node: Node, name: str) -> _Found | str:
    """Follow a convolution's input back to a stored tensor; else say what it is."""
    steps: list[Step] = [quantisation(graph, node)] if node.op in WEIGHT_OF else []
    for _ in range(_STEPS):
        found = graph.find(name)
        if isinstance(found, Tensor):
            return _Found(found, tuple(reversed(steps)), constant=False)
        if found is None:
            return "an input of the model" if name else "none"
        if found.op == "Constant" and found.value is not None:
            return _Found(found.value, tuple(reversed(steps)), constant=True)
        if found.op == "Cast" and DTYPES.get(found.to) in _FLOATS:
            steps.append(DTYPES[found.to])
        elif found.op == "Transpose" and found.perm is not None:
            steps.append(tuple(found.perm))
        elif found.op in ("QuantizeLinear", "DequantizeLinear"):
            steps.append(quantisation(graph, found))
        elif found.op != "Identity":
            return f"computed by {printable(found.op, 40)}"
        name = found.inputs[0] if found.inputs else ""
    return "computed in many steps"


def _use(found: _Found, users: list[Node], names: Names) -> ConvUse:
    tensor = found.tensor
    name = weight_name(tensor.name, users[0], called=not found.constant)
    name = names.give(name, "" if found.constant else tensor.name)
    shape, dtype = tensor.shape, tensor.dtype
    unreadable: str | None = None
    notes: tuple[str, ...] = ()
    rounded = False
    for step in found.steps:
        if isinstance(step, str):
            dtype = step
        elif isinstance(step, Quantisation):
            unreadable = unreadable or step.problem(shape)
            notes += () if rounded else (step.note(dtype),)
            rounded = bool(step.levels)
            dtype = step.to
        elif sorted(step) == list(range(len(shape))):
            shape = tuple(shape[axis] for axis in step)
        else:
            raise CheckpointError(f"is transposed by axes that it does not have: {step}", tensor=name)
    groups = {node.group for node in users}
    kinds = {PLAIN.get(node.op, False) for node in users}
    for group in groups:
        if group < 1 or (shape and shape[0] % group):
            raise CheckpointError(f"states {group} groups, which do not divide its {shape[:1]}", tensor=name)
    spec = ConvSpec(groups.pop() if len(groups) == 1 else None, kinds.pop() if len(kinds) == 1 else None)
    if spec.groups is None:
        stated = ", ".join(str(node.group) for node in users[:8])
        notes += (f"{len(users)} convolutions use this weight with different groups: {stated}",)
    return ConvUse(name, tensor, found.steps, spec, dtype, shape, unreadable, notes)
