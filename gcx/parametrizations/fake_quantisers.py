"""Quantisation-aware training: the net computes with weights rounded to few levels, and keeps them unrounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

from gcx.checkpoint import TensorRef
from gcx.parametrizations.effective import RANKS, Tensors, Whole, effective, is_float

if TYPE_CHECKING:
    from numpy.typing import NDArray

_INT8 = (-128, 127)
"""Levels of a fake quantiser where a file does not let one know: torch's choice for weights."""
_HIGHEST = (127, 7)
"""Highest levels of the quantisers of eight and of four bits."""
_EPS = 1e-5
"""Of torch's batch norms, where a file does not say."""


def fake_quantised(tensors: Tensors) -> Iterator[Whole]:
    """Quantisation-aware training: the net computes with weights rounded to few levels, and keeps them unrounded."""
    for name, ref in tensors.items():
        scale = tensors.get(f"{name}_fake_quant.scale")
        if scale is None or len(ref.shape) not in RANKS or not name.endswith("weight") or not is_float(ref):
            continue
        zero, enabled = (tensors.get(f"{name}_fake_quant.{key}") for key in ("zero_point", "fake_quant_enabled"))
        axis = next((axis for axis, extent in enumerate(ref.shape) if scale.shape == (extent,)), None)
        if enabled is not None and prod(enabled.shape) == 1 and not enabled.read().any():
            changed = replace(ref, notes=(*ref.notes, "fake quantisation is switched off in the file"))
        elif zero is None or zero.shape != scale.shape or (axis is None and prod(scale.shape) != 1):
            changed = replace(ref, unreadable="is fake-quantised by scales that do not fit it")
        elif zero.read().any():
            changed = replace(
                ref, unreadable="is fake-quantised with a zero point, and the file does not say its range"
            )
        else:
            changed = _as_in_training(tensors, ref, scale, axis)
        yield Whole(changed, name, ())


def _as_in_training(tensors: Tensors, ref: TensorRef, scale: TensorRef, axis: int | None) -> TensorRef:
    observer = f"{ref.name}_fake_quant.activation_post_process."
    seen = [tensors.get(f"{observer}{key}") for key in ("min_val", "max_val")]
    # A convolution with its batch norm in it rounds what the two make of the weight together.
    norm = [tensors.get(f"{ref.name.removesuffix('weight')}bn.{key}") for key in ("weight", "running_var")]
    observed = all(part is not None and part.shape == scale.shape for part in seen)
    folded = all(part is not None and part.shape == ref.shape[:1] for part in norm)
    more = [*(seen if observed else ()), *(norm if folded else ())]
    parts = tuple(part for part in (ref, scale, *more) if part is not None)
    compute = partial(_rounded, axis=axis, observed=observed, folded=folded)
    note = f"rounded as weight_fake_quant does in training{', in the scale of its batch norm' if folded else ''}"
    return effective(ref.name, parts, compute, note)


def _rounded(
    weight: NDArray[Any], scale: NDArray[Any], *more: NDArray[Any], axis: int | None, observed: bool, folded: bool
) -> NDArray[Any]:
    """As `torch.fake_quantize_per_tensor_affine` and its like, in float32: to the nearest level and back."""
    import numpy as np

    scale = scale.astype(np.float32)
    low, high = _range(scale, more[0], more[1]) if observed else _INT8
    scale = scale.reshape([-1 if place == axis else 1 for place in range(weight.ndim)])
    gain: Any = np.float32(1)
    if folded:
        gamma, variance = (part.astype(np.float32) for part in more[-2:])
        gain = (gamma / np.sqrt(variance + np.float32(_EPS))).reshape(-1, *[1] * (weight.ndim - 1))
    levels = np.rint(weight * gain * (np.float32(1) / scale))
    np.clip(levels, low, high, out=levels)
    levels += 0.0  # torch counts levels as integers, which have no -0
    return np.asarray(levels * scale / gain)


def _range(scale: NDArray[Any], least: NDArray[Any], most: NDArray[Any]) -> tuple[int, int]:
    """Lowest and highest level: the file does not say them, but they follow from what its observer saw.

    torch sets scale to the largest weight over half of the levels, or (where it does both in one step) so that the
    lowest level reaches the least weight and the highest the largest.
    """
    import numpy as np

    ratios = 2.0 * np.maximum(-least, most).astype(np.float64) / scale
    top = float(ratios.max()) if ratios.size else np.nan
    for high in _HIGHEST if np.isfinite(top) else ():
        if round(top) in (2 * high + 1, 2 * high + 2):
            return -high - 1, high
        if round(top) == 2 * high:
            return (-high, high) if (-least > most).any() else (-high - 1, high)
    return _INT8
