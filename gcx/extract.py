"""Which tensors of a checkpoint are convolution weights, and why the others of that rank are not.

A weight of rank 4 is one unless something says otherwise; ranks 3 and 5 also hold position tables, stacked matrices and
stacked weights, so there the evidence has to be for it. What is left out is listed with a reason: nothing vanishes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import prod

from gcx.results import LeftOut
from gcx.weight_parts import WeightPart, part_of_weight

MOMENTS = frozenset(
    {"exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "square_avg", "acc_delta", "grad_avg"}
)
"""Names that optimizers give to tensors shaped like the weights they belong to."""

NOT_A_WEIGHT = {
    "position table": "pos position positional positions rel relative rpe pe grid coords freqs table emb embed embeds"
    " embedding",
    "bias": "bias biases",
    "layer scale": "scale scales gamma beta alpha temperature temp eps sigma logit logits",
    "mask": "mask masks",
    "token or query": "token tokens cls query queries prompt prompts",
    "anchor table": "anchor anchors prior priors",
    "running statistic": "running mean std var ema avg count",
    "index or cache": "index indices idx cache queue memory codebook buffer",
}
"""Words in a parameter's own name that say what it is, when it is not called a weight."""

_REASON_OF_WORD = {word: reason for reason, words in NOT_A_WEIGHT.items() for word in words.split()}
_WEIGHT_WORDS = frozenset({"weight", "weights", "kernel", "kernels", "filter", "filters", "w"})

LONGEST_KERNEL = 129
"""A Conv1d kernel beyond this is taken for a matrix, unless a bias says that the first axis counts outputs."""
LONGEST_EVEN_KERNEL = 32
DEEPEST_KERNEL = 32
"""A first kernel axis of rank 5 beyond this is an axis of channels: weights stacked over experts, not a Conv3d."""


@dataclass(frozen=True)
class ConvWeight:
    """One convolution's weight tensor."""

    name: str
    """The module's name, or the tensor's where it has no module; untrusted text."""
    tensor: str
    shape: tuple[int, ...]
    """As stored."""
    part: WeightPart | None = None
    """What it is a part of the weight for, if it is not the whole."""


@dataclass(frozen=True)
class Extraction:
    """Everything of rank 3 and more in a checkpoint, in file order."""

    convs: tuple[ConvWeight, ...]
    left_out: tuple[LeftOut, ...]


def find_convolutions(shapes: Mapping[str, tuple[int, ...]], recorded: Collection[str] = ()) -> Extraction:
    """Find the convolution weights among all tensors.

    Args:
        shapes: tensor name to shape, in file order.
        recorded: modules and tensors that the file itself states to be convolutions; they always are. Where it names
            a tensor of a module, the module's name says nothing about its others.

    Returns:
        The weights, and the other tensors of rank >= 3 with the reason why they are none. A weight with an axis of
        length zero is listed like any other.

    >>> found = find_convolutions({"a.weight": (8, 3, 3, 3), "a.bias": (8,), "pos_embed": (1, 8, 14, 14)})
    >>> [conv.name for conv in found.convs], [(left.name, left.reason) for left in found.left_out]
    (['a'], [('pos_embed', 'position table')])
    """
    convs: dict[str, ConvWeight] = {}
    left_out: list[LeftOut] = []
    named = {split_tensor_name(tensor)[0] for tensor in recorded if tensor in shapes}
    for tensor, shape in shapes.items():
        if len(shape) < 3:
            continue
        module, parameter = split_tensor_name(tensor)
        name = module or tensor
        part = part_of_weight(tensor, shapes)
        reason = None
        stated = name in recorded and module not in named and parameter in _WEIGHT_WORDS
        if tensor not in recorded and not stated:
            reason = _why_not(tensor, parameter, part, shapes)
        if reason is None and name in convs:
            name = tensor
        if reason is None:
            convs[name] = ConvWeight(name, tensor, tuple(shape), part)
        else:
            left_out.append(LeftOut(name=tensor, shape=tuple(shape), reason=reason))
    return Extraction(tuple(convs.values()), tuple(left_out))


def split_tensor_name(tensor: str) -> tuple[str, str]:
    """Split a tensor's name into its module and its parameter; a parametrization belongs to the module it wraps.

    >>> split_tensor_name("body.0.parametrizations.weight.original1")
    ('body.0', 'original1')
    >>> split_tensor_name("kernel")
    ('', 'kernel')
    """
    module, _, parameter = tensor.rpartition(".")
    holder, _, _ = module.rpartition(".")
    if f".{holder}".endswith(".parametrizations"):
        module = holder.removesuffix("parametrizations").removesuffix(".")
    return module, parameter


def _why_not(tensor: str, parameter: str, part: WeightPart | None, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """The reason why a tensor of rank >= 3 is no convolution weight; None if it is one, or what stands for one."""
    shape = tuple(shapes[tensor])
    if not MOMENTS.isdisjoint(tensor.split(".")):
        return "optimizer state"
    if len(shape) > 5:
        return f"rank {len(shape)}"
    if part is not None:
        return "magnitude of a weight-normalised weight" if part.magnitude else None
    prefix = tensor[: len(tensor) - len(parameter)]
    words = re.split(r"[^a-z]+", parameter.lower())
    is_weight = not _WEIGHT_WORDS.isdisjoint(words)
    for word in words:
        if word in _REASON_OF_WORD:
            return _REASON_OF_WORD[word]
    partner = shapes.get(prefix + "weight")
    if parameter != "weight" and partner is not None and tuple(partner) == shape:
        return "shaped like the weight beside it: a mask or a copy"
    return _why_not_by_shape(prefix, is_weight, shape, shapes)


def _why_not_by_shape(
    prefix: str, is_weight: bool, shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]]
) -> str | None:
    bias = shapes.get(prefix + "bias")
    if is_weight and bias is not None and len(bias) >= 3:
        return "affine parameter: its bias has the same rank"
    if not is_weight and prod(shape) == max(shape):
        return "one value per channel: a scale or a token"
    if not is_weight and shape[0] == 1:
        return "a table with a leading axis of one"
    if len(shape) == 4:
        return None
    if not is_weight:
        return f"rank {len(shape)} and not called a weight"
    counted = bias is not None and len(bias) == 1 and bias[0] in (shape[0], shape[1])
    if len(shape) == 5:
        return None if shape[2] <= DEEPEST_KERNEL else "weights stacked over experts"
    return None if counted or _is_kernel_length(shape) else "a stack of matrices or a table, not a Conv1d"


def _is_kernel_length(shape: tuple[int, ...]) -> bool:
    first, second, length = shape
    if length <= LONGEST_EVEN_KERNEL or (length % 2 and length <= LONGEST_KERNEL):
        return True
    # Filters over a raw signal are long; a table of one row is not a filter.
    return second == 1 and first > 1 and length <= 2048
