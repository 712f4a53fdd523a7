"""Weights that a checkpoint keeps in parts, put together again: the effective weight under the name it has in the net.

weight norm      NAME_g, NAME_v, or parametrizations.NAME.original0 and original1      g v / |v|
spectral norm    NAME_orig, NAME_u, NAME_v, or parametrizations.NAME.original, 0._u, 0._v      w / (u . W v)
pruning          NAME_orig, NAME_mask      w times mask
QAT              weight, weight_fake_quant.scale and its company      rounded as in training

Each is what the module computes in eval mode. Only the small tensors of fake quantisers are read here, and a weight
where it settles what they leave open: an effective weight is a reference like any other, and read when its layer is.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from gcx.checkpoint import ConvSpec, TensorRef
from gcx.parametrizations.effective import Tensors, Whole
from gcx.parametrizations.fake_quantisers import fake_quantised
from gcx.parametrizations.norms import masked, parametrized, spectrally_normed, weight_normed

_STACKED = 4
"""Parametrisations of one weight, each of a part of the one before, that are followed."""


def recombine(tensors: Tensors, convs: Mapping[str, ConvSpec] | None = None) -> dict[str, TensorRef]:
    """Replace the parts of parametrised weights by the effective weight.

    Args:
        tensors: name to tensor, in file order.
        convs: by module, what the file states of its convolutions.

    Returns:
        The same, each effective weight in the place of its largest part and the other parts gone; its notes say what
        was done. Parts that cannot be put together stay; where a parametrization is not understood, the weight is
        there and unreadable.

    >>> import numpy as np
    >>> v = np.array([[[3.0, 4.0]], [[0.0, 2.0]]], np.float32)
    >>> parts = {"c.weight_g": np.full((2, 1, 1), 10, np.float32), "c.weight_v": v}
    >>> refs = {name: TensorRef(name, "float32", a.shape, lambda a=a: a) for name, a in parts.items()}
    >>> found = recombine(refs)
    >>> list(found), found["c.weight"].read().ravel().tolist()
    (['c.weight'], [6.0, 8.0, 0.0, 10.0])
    """
    found = dict(tensors)
    spectral, newer = (partial(rule, convs=convs or {}) for rule in (spectrally_normed, parametrized))
    for _ in range(_STACKED):
        before = found
        for rule in (masked, weight_normed, spectral, newer):
            found = _replaced(found, list(rule(found)))
        if found is before:
            break
    return _replaced(found, list(fake_quantised(found)))


def _replaced(tensors: dict[str, TensorRef], wholes: list[Whole]) -> dict[str, TensorRef]:
    if not wholes:
        return tensors
    place = {one.at: one.weight for one in wholes}
    gone = {part for one in wholes for part in one.parts} - place.keys()
    kept = (place.get(name, ref) for name, ref in tensors.items() if name not in gone)
    return {ref.name: ref for ref in kept}
