"""An effective weight as a reference: its numbers are computed from those of its parts, when its layer is read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from gcx.checkpoint import TensorRef

if TYPE_CHECKING:
    from numpy.typing import NDArray

Tensors = Mapping[str, TensorRef]
Compute = Callable[..., "NDArray[Any]"]

RANKS = (3, 4, 5)
"""Axes of a convolution's weight."""


@dataclass(frozen=True)
class Whole:
    """An effective weight and the tensors that it is made of."""

    weight: TensorRef
    at: str
    """The part in whose place it stands."""
    parts: Collection[str]
    """Those that go, by name."""


def effective(name: str, parts: tuple[TensorRef, ...], compute: Compute, note: str) -> TensorRef:
    """Make a reference whose numbers are computed from those of the parts, the main one first.

    >>> import numpy as np
    >>> part = TensorRef("w_orig", "float16", (2,), lambda: np.ones(2, np.float16))
    >>> weight = effective("w", (part,), lambda w: 2 * w, "doubled")
    >>> weight.dtype, weight.read().tolist(), weight.notes
    ('float32', [2.0, 2.0], ('doubled',))
    """
    main = parts[0]
    places = tuple(part.storage for part in parts)
    notes = tuple(dict.fromkeys(said for part in parts for said in part.notes))
    return TensorRef(
        name=name,
        dtype="float64" if main.dtype == "float64" else "float32",
        shape=main.shape,
        load=partial(_load, parts, compute),
        storage=None if None in places else (note, *places),
        unreadable=unreadable(parts),
        notes=(*notes, note),
    )


def unreadable(parts: Collection[TensorRef]) -> str | None:
    """Why one of the parts has no numbers.

    >>> unreadable([TensorRef("a", "float32", (2,), lambda: None, unreadable="is sparse")])
    'is sparse'
    """
    return next((part.unreadable for part in parts if part.unreadable is not None), None)


def is_float(ref: TensorRef) -> bool:
    """Whether a tensor is one of floating-point numbers.

    >>> is_float(TensorRef("a", "bfloat16", (2,), lambda: None))
    True
    """
    return "float" in ref.dtype


def _load(parts: tuple[TensorRef, ...], compute: Compute) -> NDArray[Any]:
    import numpy as np

    main = parts[0].read()
    with np.errstate(all="ignore"):  # what is not finite is seen where it is measured, as the net would see it
        if main.dtype != np.float64:
            main = main.astype(np.float32, copy=False)
        return np.asarray(compute(main, *(part.read() for part in parts[1:])), main.dtype)
