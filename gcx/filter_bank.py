"""The record of `gcx filters`: the weights of one layer, arranged for a picture; nothing is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gcx.conv_layer import Confidence, GroupsFrom

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FilterBank:
    """Every kernel of one convolution, part by part: its groups, or those of the layer that reads it."""

    path: str
    """The file, as reports show it."""
    name: str
    """The layer; untrusted text."""
    weight_shape: tuple[int, ...]
    """(out_channels, in_channels/groups, *kernel_size)."""
    groups: int
    groups_from: GroupsFrom
    groups_confidence: Confidence
    transposed: bool
    kernels: NDArray[Any]
    """(parts, filters of a part, in_channels/groups, *kernel_size), as shares of the layer's largest finite |w|."""
    reader: str | None = None
    """The layer whose groups the parts are, where it is not this one."""
    color_shares: tuple[float | None, ...] = ()
    """Per part of a layer that reads red, green and blue: the mean share of a filter's energy that is colour."""
    notes: tuple[str, ...] = ()

    @property
    def kernel_size(self) -> tuple[int, ...]:
        return self.weight_shape[2:]

    @property
    def reads_colors(self) -> bool:
        """Three input channels and kernels of two axes: most likely red, green and blue."""
        return self.weight_shape[1] == 3 and len(self.kernel_size) == 2 and self.kernel_size != (1, 1)
