"""Which stored tensors the convolutions of an ONNX graph use as weights, through which steps, under which names."""

from __future__ import annotations

from collections.abc import Container, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from gcx.checkpoint import ConvSpec
from gcx.errors import CheckpointError, printable
from gcx.readers.onnx.arithmetic import Arithmetic, arithmetic
from gcx.readers.onnx.computed import TRAINED, Origins, origins
from gcx.readers.onnx.graph import Graph, Node
from gcx.readers.onnx.names import Names, is_called_weight, weight_name
from gcx.readers.onnx.quantised import STEPS, WEIGHT_OF, Quantisation, quantisation
from gcx.readers.onnx.stored import EXACT
from gcx.readers.onnx.tensors import DTYPES, Tensor
from gcx.weight_parts import TORCH_PARTS

PLAIN = dict.fromkeys(("Conv", "FusedConv", "NhwcFusedConv", "NhwcConv", "DeformConv"), False) | {"ConvTranspose": True}
"""Operations whose second input is a convolution weight, and whether it is transposed."""

_CONVOLUTIONS = frozenset((*PLAIN, *WEIGHT_OF))
_UNSURE = "is the weight of an NhwcConv, whose documentation and whose writers state two orders of its axes"
_STEPS = 16
"""Nodes between a stored tensor and the convolution that uses it."""


Step = str | tuple[int, ...] | Quantisation | Arithmetic
"""A dtype to cast to, the axes of a transposition (empty: all turned round), or an operator with other numbers."""


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
class ConvWeights:
    """What the convolutions of a model are given as weights."""

    uses: list[ConvUse]
    """One for every stored weight and way to it, with names that differ, in the order of the nodes."""
    parametrised: dict[str, ConvSpec]
    """By the name of the main part: weights that are put together by the names of their parts."""
    named_parts: frozenset[int]
    """The parts of those, by `id`."""
    other_parts: frozenset[int]
    """Stored tensors, by `id`, from which a graph computes weights in ways that are not followed."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Way:
    """From a convolution's weight back to where it is stored, or as far as it is followed."""

    steps: tuple[Step, ...]
    """Of the way forth."""
    tensor: Tensor | None = None
    constant: bool = False
    """The tensor lies in a node, where it has no name of its own."""
    end: str = ""
    """What the weight is, where it is not stored."""
    node: Node | None = None
    """The last that computes it."""
    origins: Origins = field(default_factory=Origins)

    @property
    def parametrised(self) -> Tensor | None:
        """The main part of a weight that torch computes from parts with names that say how."""
        if self.node is None or self.node.op not in ("Mul", "Div"):
            return None
        if not self.steps:
            return self.origins.whole(TORCH_PARTS)
        rounded = (isinstance(step, Quantisation) and step.levels in ("", "int8") for step in self.steps)
        return self.origins.whole(TRAINED) if all(rounded) else None


def conv_weights(graphs: Sequence[Graph], quantisers: Container[int]) -> ConvWeights:
    """Find the convolutions' weights.

    Args:
        graphs: of one model.
        quantisers: the stored scales and zero points, by `id`: none is a weight.

    Raises:
        CheckpointError: groups that do not divide the weight.
    """
    ways = list(_ways(graphs))
    direct = {id(way.tensor) for _, way in ways}
    stored: dict[Hashable, tuple[Tensor, _Way, list[Node]]] = {}
    parametrised: dict[str, tuple[Tensor, list[Node]]] = {}
    named_parts: set[int] = set()
    other_parts: set[int] = set()
    nowhere: list[str] = []
    for node, way in ways:
        parts = {id(tensor) for tensor in way.origins.tensors}
        whole = way.parametrised
        if whole is not None and id(whole) not in direct:
            named_parts |= parts
            parametrised.setdefault(whole.name, (whole, []))[1].append(node)
            continue
        other_parts |= parts | {id(step.other.tensor) for step in way.steps if isinstance(step, Arithmetic)}
        tensor = way.tensor or way.origins.main(quantisers)
        if tensor is None:
            nowhere.append(f"{printable(node.name or node.op, 60)} ({way.end})")
        else:
            stored.setdefault((id(tensor), way.steps, id(way.node)), (tensor, way, []))[2].append(node)
    names = Names(name for graph in graphs for name in graph.tensors)
    uses = [_use(tensor, way, users, names) for tensor, way, users in stored.values()]
    specs = {name: _spec(users, main.shape, name) for name, (main, users) in parametrised.items()}
    return ConvWeights(uses, specs, frozenset(named_parts), frozenset(other_parts - named_parts), _not_stored(nowhere))


def _not_stored(convolutions: Sequence[str]) -> tuple[str, ...]:
    if not convolutions:
        return ()
    more = f" and {len(convolutions) - 3} more" if len(convolutions) > 3 else ""
    return (f"convolutions without a stored weight: {', '.join(convolutions[:3])}{more}",)


def _ways(graphs: Iterable[Graph]) -> Iterator[tuple[Node, _Way]]:
    """All convolutions."""
    for graph in graphs:
        for node in graph.nodes:
            if node.op in _CONVOLUTIONS:
                index = WEIGHT_OF.get(node.op, 1)
                yield node, _way_back(graph, node, node.inputs[index] if index < len(node.inputs) else "")


def _way_back(graph: Graph, node: Node, name: str) -> _Way:
    """Follow a convolution's input back to a stored tensor; else say what it is, and what is known of it."""
    steps: list[Step] = [quantisation(graph, node)] if node.op in WEIGHT_OF else []
    first = name
    computed: _Way | None = None
    for _ in range(_STEPS):
        found = graph.find(name)
        if isinstance(found, Node) and found.op == "Constant" and found.value is not None:
            return _Way(tuple(reversed(steps)), found.value, constant=True)
        if isinstance(found, Tensor):
            return _Way(tuple(reversed(steps)), found)
        if found is None:
            return computed or _Way((), end="an input of the model" if name else "none")
        name = found.inputs[0] if found.inputs else ""
        if found.op == "Cast" and DTYPES.get(found.to) in EXACT:
            steps.append(DTYPES[found.to])
        elif found.op == "Transpose":
            steps.append(tuple(found.perm or ()))
        elif found.op in STEPS:
            steps.append(quantisation(graph, found))
        elif found.op != "Identity":
            computed = computed or _computed(graph, first, steps, found, f"by {printable(found.op, 40)}")
            operator = arithmetic(graph, found)
            if operator is None or computed.parametrised:
                return computed
            steps.append(operator[0])
            name = operator[1]
    return computed or _computed(graph, first, steps, node, "in many steps")


def _computed(graph: Graph, name: str, steps: Sequence[Step], at: Node, how: str) -> _Way:
    behind = origins(graph, name, _CONVOLUTIONS)
    return _Way(tuple(reversed(steps)), end=f"computed {how}", node=at, origins=behind)


def _use(tensor: Tensor, way: _Way, users: list[Node], names: Names) -> ConvUse:
    changed = way.tensor is None or any(isinstance(step, Arithmetic) for step in way.steps)
    called = not way.constant and (not changed or is_called_weight(tensor.name))
    name = names.give(weight_name(tensor.name, users[0], called=called), "" if way.constant else tensor.name)
    skipped = ConvUse(name, tensor, (), _spec(users, tensor.shape, name, computed=True), tensor.dtype, tensor.shape)
    if way.tensor is None:
        return replace(skipped, unreadable=f"its weight is {way.end}, not stored")
    shape, dtype = tensor.shape, tensor.dtype
    unreadable = _UNSURE if any(node.op == "NhwcConv" for node in users) else None
    notes: tuple[str, ...] = ()
    rounded = False
    for step in way.steps:
        if isinstance(step, str):
            dtype = step
        elif isinstance(step, Quantisation):
            unreadable = unreadable or step.problem(shape)
            notes += () if rounded else (step.note(dtype),)
            rounded = bool(step.levels)
            dtype = step.to
        elif isinstance(step, Arithmetic):
            if problem := step.problem(shape, dtype):
                return replace(skipped, unreadable=problem)
            notes += (step.note,)
            rounded = False
        elif not step or sorted(step) == list(range(len(shape))):
            shape = tuple(shape[axis] for axis in step) if step else shape[::-1]
        else:
            raise CheckpointError(f"is transposed by axes that it does not have: {step}", tensor=name)
    spec = _spec(users, shape, name)
    if spec.groups is None:
        stated = ", ".join(str(node.group) for node in users[:8])
        notes += (f"{len(users)} convolutions use this weight with different groups: {stated}",)
    return ConvUse(name, tensor, way.steps, spec, dtype, shape, unreadable, notes)


def _spec(users: Sequence[Node], shape: tuple[int, ...], name: str, *, computed: bool = False) -> ConvSpec:
    """What the nodes state, where they agree.

    Args:
        shape: of the weight; of one `computed` from it, this is a guess, and says nothing against the nodes.
    """
    groups = {node.group for node in users}
    kinds = {PLAIN.get(node.op, False) for node in users}
    for group in sorted(groups):
        if group < 1 or (shape and shape[0] % group):
            if computed:
                return ConvSpec()
            raise CheckpointError(f"states {group} groups, which do not divide its {shape[:1]}", tensor=name)
    return ConvSpec(groups.pop() if len(groups) == 1 else None, kinds.pop() if len(kinds) == 1 else None)
