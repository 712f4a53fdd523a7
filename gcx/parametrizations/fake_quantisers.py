"""Quantisation-aware training of `torch.ao`: the net computes with weights rounded to few levels, and keeps the others.

The buffers of a fake quantiser say the size of its steps, not how many there are, nor along which axis. Where that does
not follow from what its observer saw, the weight is not measured: clipped elsewhere it is another weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

from gcx.checkpoint import TensorRef
from gcx.parametrizations.effective import RANKS, Tensors, Whole, effective, is_float, unreadable
from gcx.parametrizations.observers import EXACT, Range, agree, fitting_ranges, settled_axis

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EPS = 1e-5
"""Of torch's batch norms: a file does not say it."""
_PRECISION = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
"""Of numbers that were cast."""
_ONE_STEP = {"int64": True, "uint8": False}
"""What the type of the flag tells: only torch's fused observer and quantiser has a long one."""
_UNKNOWN_LEVELS = "is fake-quantised, and its observer does not tell to how many levels"
_UNKNOWN_AXIS = "is fake-quantised per channel, and its scales fit two axes"


@dataclass(frozen=True)
class FakeQuantiser:
    """How a weight is rounded in training."""

    scale: TensorRef
    axis: int | None
    """Of the channels that have a scale each; None if there is one scale."""
    levels: Range
    """Lowest and highest."""
    norm: tuple[TensorRef, ...] = ()
    """Weight and running variance of the batch norm in the convolution, whose product with the weight is rounded."""

    def applied(self, ref: TensorRef) -> TensorRef:
        """The rounded weight.

        >>> import numpy as np
        >>> ref, scale = (
        ...     TensorRef(name, "float32", (2,), lambda a=a: np.array(a, np.float32))
        ...     for name, a in (("w", [0.4, 9.0]), ("s", [0.5, 0.5]))
        ... )
        >>> FakeQuantiser(scale, 0, (-8, 7)).applied(ref).read().tolist()
        [0.5, 3.5]
        """
        note = "rounded as weight_fake_quant does in training"
        if self.norm:
            note += f", in the scale of its batch norm (eps {_EPS:g} assumed)"
        return effective(ref.name, (ref, self.scale, *self.norm), self._rounded, note)

    def _rounded(self, weight: NDArray[Any], scale: NDArray[Any], *norm: NDArray[Any]) -> NDArray[Any]:
        """As `torch.fake_quantize_per_tensor_affine` and its like, in float32: to the nearest level and back."""
        import numpy as np

        levels = _in_scale_of_norm(weight, norm)  # and from here on in place
        scale = _along(self.axis, scale, weight.ndim)
        levels *= np.float32(1) / scale
        np.rint(levels, out=levels)
        np.clip(levels, *self.levels, out=levels)
        levels += 0.0  # torch counts levels as integers, which have no -0
        levels *= scale
        if norm:
            levels /= _gain(weight.ndim, *norm)
        return levels


def fake_quantised(tensors: Tensors) -> Iterator[Whole]:
    """Weights that have torch's fake quantiser beside them."""
    for name, ref in tensors.items():
        if f"{name}_fake_quant.scale" not in tensors or len(ref.shape) not in RANKS or not is_float(ref):
            continue
        buffers = _buffers(name, tensors)
        # torch's modules save the flag. Without it this is a graph, and its reader has rounded the weight already.
        of_a_graph = buffers.enabled is None and ref.notes
        if not of_a_graph and ref.unreadable is None and prod(ref.shape) > 0:
            yield Whole(_as_in_training(ref, buffers), name, ())


@dataclass(frozen=True)
class _Buffers:
    """What a file keeps of a fake quantiser, and of the batch norm in its convolution."""

    scale: TensorRef
    zero: TensorRef | None
    enabled: TensorRef | None
    seen: tuple[TensorRef, ...]
    """The least and the largest weights, where there are as many as scales."""
    norm: tuple[TensorRef, ...]
    """Weight and running variance, where they fit."""

    def axes(self, shape: tuple[int, ...]) -> list[int | None]:
        """Those of a weight that have as many channels as there are scales."""
        if prod(self.scale.shape) == 1:
            return [None]
        return [axis for axis, extent in enumerate(shape) if self.scale.shape == (extent,)]

    def ranges(self) -> list[Range]:
        import numpy as np

        if not self.seen:
            return []
        scale, least, most = (ref.read().astype(np.float64).ravel() for ref in (self.scale, *self.seen))
        precision = max(_PRECISION.get(ref.dtype, EXACT) for ref in (self.scale, *self.seen))
        one_step = None if self.enabled is None else _ONE_STEP.get(self.enabled.dtype)
        return fitting_ranges(scale, least, most, one_step, precision)


def _buffers(name: str, tensors: Tensors) -> _Buffers:
    shape, own = tensors[name].shape, f"{name}_fake_quant."
    bn = f"{name[: name.rfind('.') + 1]}bn."
    scale = tensors[f"{own}scale"]
    # Before torch 1.8 those per channel had a plural.
    observers = (f"{own}activation_post_process.{key}" for key in ("min_val", "max_val"))
    seen = [tensors.get(key) or tensors.get(f"{key}s") for key in observers]
    norm = [tensors.get(f"{bn}{key}") for key in ("weight", "running_var")]
    return _Buffers(
        scale,
        tensors.get(f"{own}zero_point"),
        tensors.get(f"{own}fake_quant_enabled"),
        _all(seen, lambda part: prod(part.shape) == prod(scale.shape)),
        _all(norm, lambda part: part.shape == shape[:1]),
    )


def _as_in_training(ref: TensorRef, buffers: _Buffers) -> TensorRef:
    zero, enabled, axes = buffers.zero, buffers.enabled, buffers.axes(ref.shape)
    given = (buffers.scale, zero, enabled, *buffers.seen, *buffers.norm)
    why = unreadable([part for part in given if part is not None])
    if why is not None:
        return replace(ref, unreadable=why)
    if enabled is not None and prod(enabled.shape) == 1 and not enabled.read().any():
        return replace(ref, notes=(*ref.notes, "fake quantisation is switched off in the file"))
    if zero is None or zero.shape != buffers.scale.shape or not axes:
        return replace(ref, unreadable="is fake-quantised by scales that do not fit it")
    if zero.read().any():
        return replace(ref, unreadable="is fake-quantised with a zero point, and the file does not say its range")
    found = _settled(ref, buffers, axes, buffers.ranges())
    return replace(ref, unreadable=found) if isinstance(found, str) else found.applied(ref)


def _settled(
    ref: TensorRef, buffers: _Buffers, axes: Sequence[int | None], ranges: Sequence[Range]
) -> FakeQuantiser | str:
    """The quantiser; or why it is not known, if the weight does not settle what its observer leaves open either."""
    import numpy as np

    if not ranges:
        return _UNKNOWN_LEVELS
    found = FakeQuantiser(buffers.scale, axes[0], ranges[0], buffers.norm)
    if len(axes) == 1 and len(ranges) == 1:
        return found
    scale, *norm = (part.read() for part in (buffers.scale, *buffers.norm))
    with np.errstate(all="ignore"):
        weight = _in_scale_of_norm(ref.read(), norm)
        if len(axes) > 1 and scale.min() != scale.max():
            seen = (part.read().ravel() for part in buffers.seen)
            axis = settled_axis(weight, [axis for axis in axes if axis is not None], *seen)
            if axis is None:
                return _UNKNOWN_AXIS
            found = replace(found, axis=axis)
        if len(ranges) > 1 and not agree(ranges, np.rint(weight / _along(found.axis, scale, weight.ndim))):
            return _UNKNOWN_LEVELS
    return found


def _all(parts: Sequence[TensorRef | None], fits: Callable[[TensorRef], bool]) -> tuple[TensorRef, ...]:
    """Those parts, if all are there and fit."""
    found = tuple(part for part in parts if part is not None and fits(part))
    return found if len(found) == len(parts) else ()


def _in_scale_of_norm(weight: NDArray[Any], norm: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """A new array: the weight, times what its batch norm multiplies it by."""
    import numpy as np

    weight = weight.astype(np.float64 if weight.dtype == np.float64 else np.float32)
    if norm:
        weight *= _gain(weight.ndim, *norm)
    return weight


def _gain(rank: int, gamma: NDArray[Any], variance: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    deviation = np.sqrt(variance.astype(np.float32) + np.float32(_EPS))
    return _along(0, gamma.astype(np.float32) / deviation, rank)


def _along(axis: int | None, values: NDArray[Any], rank: int) -> NDArray[Any]:
    """In float32, along an axis of a weight."""
    import numpy as np

    return values.astype(np.float32).reshape([-1 if place == axis else 1 for place in range(rank)])
