"""ConvLayer: one convolution weight, seen as groups of filters."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Literal

from gcx.checkpoint import TensorRef

if TYPE_CHECKING:
    from numpy.typing import NDArray

GroupsFrom = Literal["recorded", "declared", "inferred", "assumed"]
Confidence = Literal["certain", "likely", "ambiguous"]


@dataclass(frozen=True)
class ConvLayer:
    """A convolution weight with its groups; shapes are canonical (out, in/groups, *kernel) whatever the file stores."""

    name: str
    """The module's name, e.g. `layer1.0.conv1`; untrusted text."""
    tensor: TensorRef
    groups: int
    groups_from: GroupsFrom
    groups_confidence: Confidence
    groups_evidence: str
    groups_alternatives: tuple[int, ...] = ()
    transposed: bool = False
    """Stored as (in, out/groups, *kernel)."""
    tied: tuple[str, ...] = ()
    """Other names of the same weight."""
    problem: str | None = None
    """Why it cannot be measured, where that is known before it is read."""
    notes: tuple[str, ...] = ()
    scale: tuple[float, ...] | None = None
    """Per output channel: multiplied onto filters (sign folding); None changes nothing."""
    input_scale: tuple[float, ...] | None = None
    """Per input channel of the whole layer: multiplied onto kernels (scale folding); None changes nothing."""

    @property
    def stored_shape(self) -> tuple[int, ...]:
        return self.tensor.shape

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(out_channels, in_channels/groups, *kernel_size)."""
        first, second, *kernel = self.tensor.shape
        if self.transposed:
            return (second * self.groups, first // self.groups, *kernel)
        return (first, second, *kernel)

    @property
    def out_channels(self) -> int:
        return self.weight_shape[0]

    @property
    def in_channels(self) -> int:
        return self.weight_shape[1] * self.groups

    @property
    def filters_per_group(self) -> int:
        return self.out_channels // self.groups

    @property
    def kernel_size(self) -> tuple[int, ...]:
        return self.weight_shape[2:]

    @property
    def parameters(self) -> int:
        return prod(self.weight_shape)

    @property
    def depthwise(self) -> bool:
        return self.groups == self.in_channels > 1

    @property
    def pointwise(self) -> bool:
        return prod(self.kernel_size) == 1

    def filters(self) -> NDArray[Any]:
        """Read the weight as float64 of shape (groups, filters_per_group, in_channels/groups, prod(kernel_size)).

        Scaled by a power of two so that the largest finite magnitude is in [0.5, 1): correlation does not see the
        scale, and neither 1e300 nor 1e-300 could be squared. `scale` and `input_scale` are applied; non-finite weights
        stay as they are.

        Raises:
            CheckpointError: the bytes cannot be read.
        """
        import numpy as np

        with np.errstate(invalid="ignore"):  # a NaN that signals stays one, and is seen where it is measured
            weight = self.tensor.read().astype(np.float64)
        g, n, c = self.groups, self.filters_per_group, self.weight_shape[1]
        k = prod(self.kernel_size)
        if self.transposed:  # rows of one group: (in/g, out/g, k) -> (out/g, in/g, k)
            weight = weight.reshape(g, c, n, k).swapaxes(1, 2)
        weight = weight.reshape(g, n, c, k)
        if self.scale is not None:
            weight *= np.asarray(self.scale).reshape(g, n, 1, 1)
        if self.input_scale is not None:
            weight *= np.asarray(self.input_scale).reshape(g, 1, c, 1)
        if weight.size:
            finite = np.isfinite(weight)
            largest = max(weight.max(where=finite, initial=0.0), -weight.min(where=finite, initial=0.0))
            if largest > 0:
                # By a power of two, so that nothing is rounded; in place, since this is the largest array there is.
                np.ldexp(weight, -int(np.frexp(largest)[1]), out=weight)
        return weight
