"""Pruning masks, weight norm and spectral norm of `torch.nn.utils`, in their older and newer forms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

from gcx.checkpoint import ConvSpec, TensorRef
from gcx.parametrizations.effective import RANKS, Tensors, Whole, effective, is_float
from gcx.weight_parts import holds_norms, split_parametrized

if TYPE_CHECKING:
    from numpy.typing import NDArray

Convs = Mapping[str, ConvSpec]

_LETTERS = "abcde"
_UNKNOWN = "is made by a parametrization that the file does not describe; save the model with it removed"


def masked(tensors: Tensors) -> Iterator[Whole]:
    """`torch.nn.utils.prune` keeps a parameter as NAME_orig and NAME_mask."""
    for name, ref in tensors.items():
        base = name.removesuffix("_orig")
        mask = tensors.get(f"{base}_mask")
        if base != name and base not in tensors and mask is not None and mask.shape == ref.shape:
            weight = effective(base, (ref, mask), _product, "pruned: multiplied by its mask")
            yield Whole(weight, name, (name, mask.name))


def weight_normed(tensors: Tensors) -> Iterator[Whole]:
    """The older form of weight norm: NAME_g and NAME_v."""
    for name, ref in tensors.items():
        base = name.removesuffix("_v")
        g = tensors.get(f"{base}_g")
        if base != name and base not in tensors and g is not None and _is_magnitude(g, ref):
            yield _weight_norm(base, g, ref, "weight norm recombined: g v / |v|")


def spectrally_normed(tensors: Tensors, convs: Convs) -> Iterator[Whole]:
    """The older form of spectral norm: NAME_orig, NAME_u and NAME_v."""
    for name, ref in tensors.items():
        base = name.removesuffix("_orig")
        u, v = (tensors.get(f"{base}_{part}") for part in "uv")
        if base != name and base not in tensors and u is not None and v is not None and _row_axes(ref, u, v):
            yield _spectral_norm(base, ref, u, v, convs)


def parametrized(tensors: Tensors, convs: Convs) -> Iterator[Whole]:
    """The newer forms: `torch.nn.utils.parametrize` keeps what it replaces as `original`, `original0` …"""
    held: dict[str, dict[str, TensorRef]] = {}
    for name, ref in tensors.items():
        base, part = split_parametrized(name)
        if part:
            held.setdefault(base, {})[part] = ref
    for base, parts in held.items():
        originals = [ref for part, ref in parts.items() if part.startswith("original")]
        # The second of two of one size is torch's direction, the first its magnitude.
        main = max(reversed(originals or list(parts.values())), key=lambda ref: prod(ref.shape))
        if base in tensors or len(main.shape) not in RANKS:
            continue
        if parts.keys() == {"original0", "original1"} and _is_magnitude(parts["original0"], parts["original1"]):
            yield _weight_norm(base, parts["original0"], parts["original1"], "taken for weight norm: g v / |v|")
        elif parts.keys() == {"original", "0._u", "0._v"} and _row_axes(main, parts["0._u"], parts["0._v"]):
            yield _spectral_norm(base, main, parts["0._u"], parts["0._v"], convs)
        else:
            weight = replace(main, name=base, unreadable=_UNKNOWN, storage=None)
            yield Whole(weight, main.name, [ref.name for ref in parts.values()])


def _weight_norm(base: str, g: TensorRef, v: TensorRef, note: str) -> Whole:
    if v.dtype not in ("float32", "float64"):
        note += f", in float32 where the net computes in {v.dtype}"
    return Whole(effective(base, (v, g), _rescaled, note), v.name, (v.name, g.name))


def _spectral_norm(base: str, weight: TensorRef, u: TensorRef, v: TensorRef, convs: Convs) -> Whole:
    axes, spec = _row_axes(weight, u, v), convs.get(base.rpartition(".")[0] or base)
    if len(axes) > 1 and spec is not None and spec.transposed is not None:
        axes = (int(spec.transposed),)
    note = "divided by its spectral norm" + (", the larger along two axes that fit" if len(axes) > 1 else "")
    whole = effective(base, (weight, u, v), partial(_divided, axes=axes), note)
    return Whole(whole, weight.name, (weight.name, u.name, v.name))


def _is_magnitude(g: TensorRef, v: TensorRef) -> bool:
    """Whether one tensor holds norms of a convolution's weight along all of its axes but one, or along all."""
    if len(v.shape) not in RANKS or not is_float(v):
        return False
    fits = len(g.shape) == len(v.shape) and all(a in (1, b) for a, b in zip(g.shape, v.shape, strict=True))
    return not g.shape or (fits and holds_norms(g.shape))


def _row_axes(weight: TensorRef, u: TensorRef, v: TensorRef) -> tuple[int, ...]:
    """The axes of a weight that may be the rows of the matrix whose singular vectors u and v are."""
    if len(weight.shape) not in RANKS or not is_float(weight):
        return ()
    columns = (prod(weight.shape) // max(extent, 1) for extent in weight.shape[:2])
    return tuple(axis for axis, size in enumerate(columns) if u.shape == (weight.shape[axis],) and v.shape == (size,))


def _product(weight: NDArray[Any], mask: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    return np.asarray(np.multiply(weight, mask, dtype=weight.dtype, casting="unsafe"))


def _rescaled(v: NDArray[Any], g: NDArray[Any]) -> NDArray[Any]:
    """g v / |v|, the norm over the axes that g does not have; summed in float64."""
    import numpy as np

    axes = _LETTERS[: v.ndim]
    kept = "".join(letter for letter, size in zip(axes, g.shape or (1,) * v.ndim, strict=True) if size != 1)
    squares = np.einsum(f"{axes},{axes}->{kept}", v, v, dtype=np.float64)
    factor = g.astype(np.float64) / np.sqrt(squares).reshape(g.shape)
    # In float64 block by block, so that no array of it is held.
    return np.asarray(np.multiply(v, factor, out=np.empty_like(v), dtype=np.float64, casting="unsafe"))


def _divided(weight: NDArray[Any], u: NDArray[Any], v: NDArray[Any], *, axes: tuple[int, ...]) -> NDArray[Any]:
    """w / sigma; where two axes fit, the vectors belong to the one along which they find the larger sigma.

    Vectors that training never turned find any sigma at all: a factor of the whole weight, which no r sees.
    """
    import numpy as np

    sigmas = []
    for axis in axes:
        matrix = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
        sigmas.append(float(u.astype(np.float64) @ np.einsum("ij,j->i", matrix, v, dtype=np.float64)))
    return np.asarray(weight / weight.dtype.type(max(sigmas, key=abs)))
