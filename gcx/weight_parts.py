"""Parts of a weight: the names under which torch keeps what it computes a weight from.

The one answer to "is this a weight, or a part of one?": of the search for convolutions, and of those who put the parts
together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

AXES = 3
"""Of a convolution's weight at least."""
TORCH_PARTS = (
    ("weight_v", "weight_g"),
    ("weight_orig", "weight_u", "weight_v"),
    ("weight_orig", "weight_mask"),
    ("parametrizations.weight.original1", "parametrizations.weight.original0"),
    ("parametrizations.weight.original", "parametrizations.weight.0._u", "parametrizations.weight.0._v"),
)
"""Names under which a module of torch keeps the parts of its weight, in each known form; the one of its shape first."""
_STACKED = frozenset({"weight", "weight_g", "weight_v", "weight_orig"})
"""What has parts is a weight, or itself a part of one."""


@dataclass(frozen=True, slots=True)
class WeightPart:
    """What a tensor is a part of a weight for."""

    made_by: str
    """What puts the weight together."""
    magnitude: bool = False
    """It holds the norms of the weight, not its directions."""


def part_of_weight(name: str, shapes: Mapping[str, tuple[int, ...]]) -> WeightPart | None:
    """Say what a tensor is a part of; None if it is whole.

    The parts of a `weight` are known by their names, those of any other parameter only in company.

    Args:
        name: of the tensor.
        shapes: of all tensors, by name.

    >>> part_of_weight("c.kernel_v", {"c.kernel_v": (8, 3, 3, 3), "c.kernel_g": (8, 1, 1, 1)}).made_by
    'weight norm'
    >>> part_of_weight("c.kernel_v", {"c.kernel_v": (8, 3, 3, 3)})
    """
    _, part = split_parametrized(name)
    if part:
        return WeightPart("a parametrization", magnitude=part.startswith("original0"))
    whole, _, suffix = name.rpartition("_")
    certain = whole.rpartition(".")[2] in _STACKED
    if suffix in ("g", "v"):
        g, v = shapes.get(f"{whole}_g"), shapes.get(f"{whole}_v")
        if certain or (g is not None and v is not None and holds_norms(g)):
            return WeightPart("weight norm", magnitude=suffix == "g")
    elif suffix == "orig":
        mask, u = shapes.get(f"{whole}_mask"), shapes.get(f"{whole}_u")
        if certain or (mask is not None and mask == shapes.get(name)) or (u is not None and len(u) == 1):
            return WeightPart("spectral norm or pruning")
    return None


def split_parametrized(name: str) -> tuple[str, str]:
    """Split a name of `torch.nn.utils.parametrize` into the parameter that is computed and the part; '' if it is none.

    >>> split_parametrized("body.0.parametrizations.weight.original1")
    ('body.0.weight', 'original1')
    >>> split_parametrized("body.0.weight")
    ('body.0.weight', '')
    """
    module, found, inner = f".{name}".rpartition(".parametrizations.")
    parameter, _, part = inner.partition(".")
    return (f"{module}.{parameter}"[1:], part) if found and parameter and part else (name, "")


def holds_norms(shape: tuple[int, ...]) -> bool:
    """Whether a shape has one axis at most, as the norms along all others.

    >>> holds_norms((8, 1, 1, 1)), holds_norms((8, 3, 1, 1))
    (True, False)
    """
    return sum(size != 1 for size in shape) <= 1
