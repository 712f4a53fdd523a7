"""Weights that a checkpoint keeps in parts, put together again: the effective weight under the name it has in the net.

weight norm      weight_g, weight_v, or parametrizations.weight.original0 and original1      g v / |v|
spectral norm    weight_orig, weight_u, weight_v, or parametrizations.weight.original, 0._u, 0._v      w / (u . W v)
pruning          weight_orig, weight_mask, of any parameter      w times mask
QAT              weight, weight_fake_quant.scale and its company      rounded as in training

Each is what the module computes in eval mode. Nothing is read here but the flags and zero points of fake quantisers: an
effective weight is a reference like any other, and read when its layer is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

from gcx.checkpoint import TensorRef

if TYPE_CHECKING:
    from numpy.typing import NDArray

Tensors = Mapping[str, TensorRef]
Compute = Callable[..., "NDArray[Any]"]

_PARAMETRIZED = re.compile(r"((?:.*\.)?)parametrizations\.weight\.(.+)", re.DOTALL)
_PRUNED = re.compile(r"(?:.*\.)?([^.]*(?:weight|kernel|bias)[^.]*)_orig", re.DOTALL)
_RANKS = (3, 4, 5)
"""Axes of a convolution's weight."""
_LETTERS = "abcde"
_UNKNOWN = "is made by a parametrization that the file does not describe; save the model with it removed"
_INT8 = (-128, 127)
"""Levels of a fake quantiser where a file does not let one know: torch's choice for weights."""
_HIGHEST = (127, 7)
"""Highest levels of the quantisers of eight and of four bits."""
_EPS = 1e-5
"""Of torch's batch norms, where a file does not say."""


@dataclass(frozen=True)
class _Whole:
    """An effective weight and the tensors that it is made of."""

    weight: TensorRef
    at: str
    """The part in whose place it stands."""
    parts: Collection[str]


def recombine(tensors: Tensors) -> dict[str, TensorRef]:
    """Replace the parts of parametrised weights by the effective weight.

    Args:
        tensors: name to tensor, in file order.

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
    for rule in (_masked, _normalised, _parametrized, _fake_quantised):
        whole = list(rule(found))
        if whole:
            place = {one.at: one.weight for one in whole}
            gone = {part for one in whole for part in one.parts} - place.keys()
            kept = ((name, place.get(name, ref)) for name, ref in found.items() if name not in gone)
            found = {ref.name: ref for _, ref in kept}
    return found


def _masked(tensors: Tensors) -> Iterator[_Whole]:
    """`torch.nn.utils.prune` keeps a parameter as NAME_orig and NAME_mask."""
    for name, ref in tensors.items():
        if not _PRUNED.fullmatch(name):
            continue
        base, mask = name.removesuffix("_orig"), f"{name.removesuffix('_orig')}_mask"
        if base not in tensors and mask in tensors and tensors[mask].shape == ref.shape:
            parts = {name: ref, mask: tensors[mask]}
            yield _Whole(_effective(base, ref, parts, _product, "pruned: multiplied by its mask"), name, parts)


def _normalised(tensors: Tensors) -> Iterator[_Whole]:
    """The older forms of weight norm and spectral norm."""
    for name, ref in tensors.items():
        if len(ref.shape) not in _RANKS:
            continue
        base = name[:-2] if name.endswith("weight_v") else name[: -len("_orig")] if name.endswith("weight_orig") else ""
        if not base or base in tensors or not _is_float(ref):
            continue
        g, u, v = (tensors.get(f"{base}_{part}") for part in "guv")
        if name.endswith("_v") and g is not None and _is_magnitude(g.shape, ref.shape):
            yield _weight_norm(base, g, ref)
        elif name.endswith("_orig") and u is not None and v is not None and _dims(u, v, ref):
            yield _spectral_norm(base, ref, u, v)


def _parametrized(tensors: Tensors) -> Iterator[_Whole]:
    """The newer forms: `torch.nn.utils.parametrize` keeps what it replaces as `original`, `original0` …"""
    held: dict[str, dict[str, TensorRef]] = {}
    for name, ref in tensors.items():
        if match := _PARAMETRIZED.fullmatch(name):
            held.setdefault(match[1], {})[match[2]] = ref
    for prefix, parts in held.items():
        base = f"{prefix}weight"
        main = parts.get("original1") or parts.get("original")
        if main is None or base in tensors or len(main.shape) not in _RANKS:
            continue
        names = [ref.name for ref in parts.values()]
        if parts.keys() == {"original0", "original1"} and _is_magnitude(parts["original0"].shape, main.shape):
            yield _weight_norm(base, parts["original0"], main)
        elif parts.keys() == {"original", "0._u", "0._v"} and _dims(parts["0._u"], parts["0._v"], main):
            yield _spectral_norm(base, main, parts["0._u"], parts["0._v"])
        else:
            yield _Whole(replace(main, name=base, unreadable=_UNKNOWN, storage=None), main.name, names)


def _fake_quantised(tensors: Tensors) -> Iterator[_Whole]:
    """Quantisation-aware training: the net computes with weights rounded to few levels, and keeps them unrounded."""
    for name, ref in tensors.items():
        scale = tensors.get(f"{name}_fake_quant.scale")
        if scale is None or len(ref.shape) not in _RANKS or not name.endswith("weight") or not _is_float(ref):
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
        yield _Whole(changed, name, ())


def _as_in_training(tensors: Tensors, ref: TensorRef, scale: TensorRef, axis: int | None) -> TensorRef:
    observer = f"{ref.name}_fake_quant.activation_post_process."
    seen = [tensors.get(f"{observer}{key}") for key in ("min_val", "max_val")]
    # A convolution with its batch norm in it rounds what the two make of the weight together.
    norm = [tensors.get(f"{ref.name.removesuffix('weight')}bn.{key}") for key in ("weight", "running_var")]
    observed = all(part is not None and part.shape == scale.shape for part in seen)
    folded = all(part is not None and part.shape == ref.shape[:1] for part in norm)
    more = [*(seen if observed else ()), *(norm if folded else ())]
    parts = {part.name: part for part in (ref, scale, *more) if part is not None}
    compute = partial(_rounded, axis=axis, observed=observed, folded=folded)
    note = f"rounded as weight_fake_quant does in training{', in the scale of its batch norm' if folded else ''}"
    return _effective(ref.name, ref, parts, compute, note)


def _weight_norm(base: str, g: TensorRef, v: TensorRef) -> _Whole:
    parts = {v.name: v, g.name: g}
    return _Whole(_effective(base, v, parts, _rescaled, "weight norm recombined: g v / |v|"), v.name, parts)


def _spectral_norm(base: str, weight: TensorRef, u: TensorRef, v: TensorRef) -> _Whole:
    parts = {weight.name: weight, u.name: u, v.name: v}
    compute = partial(_divided, dims=_dims(u, v, weight))
    return _Whole(_effective(base, weight, parts, compute, "divided by its spectral norm"), weight.name, parts)


def _effective(name: str, main: TensorRef, parts: Tensors, compute: Compute, note: str) -> TensorRef:
    """A reference whose numbers are computed from those of the parts, the main one first."""
    unreadable = next((part.unreadable for part in parts.values() if part.unreadable is not None), None)
    places = tuple(part.storage for part in parts.values())
    notes = tuple(dict.fromkeys(said for part in parts.values() for said in part.notes))
    return TensorRef(
        name=name,
        dtype="float64" if main.dtype == "float64" else "float32",
        shape=main.shape,
        load=partial(_load, tuple(parts.values()), compute),
        storage=None if None in places else (note, *places),
        unreadable=unreadable,
        notes=(*notes, note),
    )


def _load(parts: tuple[TensorRef, ...], compute: Compute) -> NDArray[Any]:
    import numpy as np

    main = parts[0].read()
    with np.errstate(all="ignore"):  # what is not finite is seen where it is measured, as the net would see it
        if main.dtype != np.float64:
            main = main.astype(np.float32, copy=False)
        return np.asarray(compute(main, *(part.read() for part in parts[1:])), main.dtype)


def _is_float(ref: TensorRef) -> bool:
    return "float" in ref.dtype


def _is_magnitude(g: tuple[int, ...], v: tuple[int, ...]) -> bool:
    """Whether one tensor holds norms of another along all of its axes but one, or along all."""
    if not g:
        return True
    return (
        len(g) == len(v) and sum(size != 1 for size in g) <= 1 and all(a in (1, b) for a, b in zip(g, v, strict=True))
    )


def _dims(u: TensorRef, v: TensorRef, weight: TensorRef) -> tuple[int, ...]:
    """The axes of a weight that may be the rows of the matrix whose singular vectors u and v are."""
    size = prod(weight.shape)
    return tuple(
        axis
        for axis in range(min(2, len(weight.shape)))
        if u.shape == (weight.shape[axis],) and v.shape == (size // max(weight.shape[axis], 1),)
    )


def _product(weight: NDArray[Any], mask: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    return np.asarray(weight * mask.astype(weight.dtype, copy=False))


def _rescaled(v: NDArray[Any], g: NDArray[Any]) -> NDArray[Any]:
    """g v / |v|, the norm over the axes that g does not have; summed in float64."""
    import numpy as np

    axes = _LETTERS[: v.ndim]
    kept = "".join(letter for letter, size in zip(axes, g.shape or (1,) * v.ndim, strict=True) if size != 1)
    squares = np.einsum(f"{axes},{axes}->{kept}", v, v, dtype=np.float64)
    factor = g.astype(np.float64) / np.sqrt(squares).reshape(g.shape)
    # In float64 block by block, so that no array of it is held.
    return np.asarray(np.multiply(v, factor, out=np.empty_like(v), dtype=np.float64, casting="unsafe"))


def _divided(weight: NDArray[Any], u: NDArray[Any], v: NDArray[Any], *, dims: tuple[int, ...]) -> NDArray[Any]:
    """w / sigma; where two axes fit, the vectors belong to the one along which they find the larger sigma."""
    import numpy as np

    sigmas = []
    for axis in dims:
        matrix = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
        sigmas.append(float(u.astype(np.float64) @ np.einsum("ij,j->i", matrix, v, dtype=np.float64)))
    return np.asarray(weight / weight.dtype.type(max(sigmas, key=abs)))


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
