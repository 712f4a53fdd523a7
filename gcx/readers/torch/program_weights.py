"""What torch calls a convolution's weight, and the parts from which it is computed.

`gcx.parametrizations` puts the known forms together once a checkpoint is read, under the names that are given here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from math import prod

from gcx.readers.torch.values import Tensor
from gcx.weight_parts import AXES, TORCH_PARTS

MOST_PARTS = 16
"""Tensors that a weight is computed from; what has more is not followed."""
PARTS = tuple(dict.fromkeys(main for main, *_ in TORCH_PARTS))
"""Where a module keeps what its weight is computed from, the part of the weight's shape."""
KEPT_AS = ("weight", *PARTS)
"""Under one of these `nn.ConvNd` keeps its numbers."""
ELSEWHERE = "another module"
"""What computes a weight that a method is given."""
_ENDS = frozenset({"_weight_norm", "_weight_norm_interface", "mul", "div", "_WeightNorm", "_SpectralNorm", ELSEWHERE})
"""What the forms that `gcx.parametrizations` knows end in; after anything else the weight is another."""
_OWN_PARTS = frozenset({"original", "original0", "original1", "0._u", "0._v"})
"""Of one of torch's own parametrizations that nothing is stacked on."""
_PARAMETRISED = re.compile(r"((?:.*\.)?)parametrizations\.weight\.original1?", re.DOTALL)
_FAKE = "_fake_quant"


def is_large(value: object) -> bool:
    """Whether it is a tensor that could be a convolution's weight."""
    return type(value) is Tensor and len(value.shape) >= AXES


def whole_name(part: str) -> str:
    """The name of the weight of which a tensor of this name is the largest part; its own where it is none.

    >>> whole_name("a.weight_v"), whole_name("a.parametrizations.weight.original"), whole_name("a.kernel")
    ('a.weight', 'a.weight', 'a.kernel')
    """
    if match := _PARAMETRISED.fullmatch(part):
        return f"{match[1]}weight"
    return part.removesuffix("_orig") if part.endswith("_orig") else re.sub(r"weight_v\Z", "weight", part)


def main_parts(made_of: Collection[str], tensors: Mapping[str, Tensor], parameters: Collection[str]) -> list[str]:
    """Of the tensors that a weight is computed from, the one that it is a form of.

    Args:
        made_of: their names.
        tensors: by name.
        parameters: names of those that are trained; a mask is not.

    Returns:
        The largest; several where no difference is known. None where none could be a weight.
    """
    large = [name for name in made_of if is_large(tensors.get(name))]
    most = max((prod(tensors[name].shape) for name in large), default=0)
    found = [name for name in large if prod(tensors[name].shape) == most]
    return [name for name in found if name in parameters] or found


def is_put_together(main: str, made_of: Collection[str], by: str, tensors: Mapping[str, Tensor]) -> bool:
    """Whether `gcx.parametrizations` makes the weight of these parts, or says that it cannot.

    >>> parts = {name: Tensor(None) for name in ("c.weight_v", "c.weight_g", "c.scale")}
    >>> is_put_together("c.weight_v", ("c.weight_v", "c.weight_g"), "_weight_norm", parts)
    True
    >>> is_put_together("c.weight_v", ("c.weight_v", "c.weight_g"), "tanh", parts)
    False
    >>> is_put_together("c.weight_v", parts, "mul", parts)
    False
    """
    whole = whole_name(main)
    if main == whole:
        fake, norm = f"{whole}{_FAKE}.", f"{whole.removesuffix('weight')}bn."
        return f"{fake}scale" in tensors and all(name == main or name.startswith((fake, norm)) for name in made_of)
    if by not in _ENDS:
        return False
    if match := _PARAMETRISED.fullmatch(main):
        home = f"{match[1]}parametrizations.weight."
        return {name.removeprefix(home) for name in made_of} <= _OWN_PARTS
    groups = (("_g",),) if main.endswith("_v") else (("_mask",), ("_u", "_v"))
    for group in groups:
        parts = {f"{whole}{part}" for part in group}
        if parts <= tensors.keys() and parts | {main} >= set(made_of):
            return True
    return False
