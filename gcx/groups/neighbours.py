"""Who stands beside a convolution: the norm after it, the norm before it, the layer that reads it.

A state dict holds no graph, so only what its order and its names leave no doubt about is answered; else None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from gcx.conv_layer import ConvLayer


class NormNeighbours:
    """The batch norms right before and right after a convolution, in the same block.

    Only a batch norm will do: its channels are scaled one by one, so a filter may flip its sign together with its
    scale and leave the network unchanged. The block is the parent module.

    >>> from gcx.checkpoint import TensorRef
    >>> shapes = {"b.conv.weight": (8, 4, 3, 3), "b.bn.weight": (8,), "b.bn.bias": (8,), "b.bn.running_mean": (8,)}
    >>> ref = TensorRef("b.conv.weight", "float32", (8, 4, 3, 3), load=lambda: None)
    >>> NormNeighbours(shapes).after(ConvLayer("b.conv", ref, 1, "assumed", "ambiguous", ""))
    'b.bn'
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], *, ordered: bool = True) -> None:
        """`shapes`: tensor name to shape of the whole checkpoint, in file order; not `ordered`, none has neighbours."""
        self._ordered = ordered
        self._shapes = shapes
        self._modules = list(dict.fromkeys(_parent(name) for name in shapes))
        self._places = {module: place for place, module in enumerate(self._modules)}

    def after(self, layer: ConvLayer) -> str | None:
        """The norm of `out_channels` whose tensors come next, as a module name; its scale is `<name>.weight`."""
        return self._beside(layer, step=1, channels=layer.out_channels)

    def before(self, layer: ConvLayer) -> str | None:
        """The norm of `in_channels` whose tensors come just before."""
        return self._beside(layer, step=-1, channels=layer.in_channels)

    def _beside(self, layer: ConvLayer, step: int, channels: int) -> str | None:
        here = _parent(layer.tensor.name)
        place = self._places[here] + step
        if not self._ordered or not 0 <= place < len(self._modules):
            return None
        beside = self._modules[place]
        parts = (f"{beside}.{part}" for part in ("weight", "bias", "running_mean"))
        is_norm = all(self._shapes.get(part) == (channels,) for part in parts)
        return beside if is_norm and _parent(beside) == _parent(here) else None


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def consumer_groups(layers: Sequence[ConvLayer]) -> dict[str, tuple[int, str]]:
    """Per dense layer whose outputs the next layer cuts into groups: that count, and the next layer's name.

    The next convolution in file order is taken for the reader where it reads as many channels as this layer has
    filters, in more than one group and with more than one channel per group: AlexNet's first convolution, seen through
    the second.
    """
    found = {}
    for layer, reader in pairwise(layers):
        reads_all = reader.in_channels == layer.out_channels
        if layer.groups == 1 and reads_all and 1 < reader.groups < reader.in_channels:
            found[layer.name] = (reader.groups, reader.name)
    return found
