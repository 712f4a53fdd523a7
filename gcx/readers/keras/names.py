"""What Keras calls a layer's variables: in words of its first version and of later ones, by number, or not at all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gcx.readers.keras.config import Kind
from gcx.readers.keras.hdf5_data import Dataset

_FIRST_NAMES = {"W": "kernel", "b": "bias", "running_mean": "moving_mean", "running_std": "moving_variance"}
_FIRST = re.compile(r".*_(W|b|gamma|beta|running_mean|running_std)(?:_\d+)?")
"""Names that Keras 1 gave: `block1_conv1_W_1:0`."""
BY_NUMBER: dict[Kind | None, tuple[str, ...]] = {
    "conv": ("kernel", "bias"),
    "transposed": ("kernel", "bias"),
    "depthwise": ("kernel", "bias"),
    "separable": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "gates": ("kernel", "recurrent_kernel", "bias"),
    "dense": ("kernel", "bias", "kernel_scale"),
}
"""What stands under `vars/0`, `vars/1`, …"""
_LONGEST = 33
"""Of a kernel of a layer whose class is not known; what is longer is a table."""


def second_names(variables: list[tuple[str, Dataset]]) -> list[tuple[str, Dataset]]:
    """With the names that Keras 2 gives, where they keep a layer's variables apart."""
    matches = [_FIRST.fullmatch(without_number(name)) for name, _ in variables]
    renamed = [
        (_FIRST_NAMES.get(match[1], match[1]) if match else name, dataset)
        for match, (name, dataset) in zip(matches, variables, strict=True)
    ]
    return renamed if len({name for name, _ in renamed}) == len(variables) else variables


def without_number(name: str) -> str:
    """A variable's name without the number of TensorFlow's output.

    >>> without_number("kernel:0")
    'kernel'
    """
    return re.sub(r":\d+$", "", name)


def norm_names(config: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """Of a batch norm with so many variables; their count decides what its configuration leaves open."""
    scale = config.get("scale", count != 3) is not False
    center = config.get("center", count != 2) is not False
    return (*("gamma",) * scale, *("beta",) * center, "moving_mean", "moving_variance")


def names_by_shape(shapes: list[tuple[int, ...]]) -> tuple[str, ...]:
    """For a layer of an unknown class whose variables have no names: a kernel with its bias, or a norm."""
    vectors = all(len(shape) == 1 and shape == shapes[0] for shape in shapes)
    if vectors and len(shapes) in (2, 4):
        return ("gamma", "beta", "moving_mean", "moving_variance")[: len(shapes)]
    rank = len(shapes[0])
    if len(shapes) == 3 and 3 <= rank == len(shapes[1]) and len(shapes[2]) == 1:
        first, second, bias = shapes
        if first[-1] == second[-1] == bias[0] == 4 * second[-2] and first[:-2] == second[:-2]:
            return BY_NUMBER["gates"]
    if 2 <= len(shapes) <= 3 and 3 <= rank == len(shapes[1]) and set(shapes[1][:-2]) == {1}:
        first, second = shapes[:2]
        if first[-1] * first[-2] == second[-2] and shapes[2:] in ([], [second[-1:]]):
            return BY_NUMBER["separable"]
    alone = len(shapes) == 1 or (len(shapes) == 2 and len(shapes[1]) == 1)
    biased = len(shapes) == 2 and shapes[1][:1] in _possible_biases(shapes[0])
    kernel = 3 <= rank <= 5 and max(shapes[0][: rank - 2]) <= _LONGEST and (biased or rank > 3)
    return ("kernel", "bias") if alone and (kernel or (rank == 2 and biased)) else ()


def _possible_biases(shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    return ((shape[-1],), (shape[-2],), (shape[-1] * shape[-2],)) if len(shape) >= 2 else ()
