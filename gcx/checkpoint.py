"""What a file gave us: tensors by name, each a reference that is read only when asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from gcx.errors import CheckpointError, GcxError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class TensorRef:
    """One tensor of a checkpoint, checked against the bytes that are there but not read yet."""

    name: str
    """As shown to the user: wrappers, `module.` and `_orig_mod.` dropped; untrusted text."""
    dtype: str
    """numpy's name, or ml_dtypes' where numpy has none: float32, bfloat16, float8_e4m3fn, int8, complex64."""
    shape: tuple[int, ...]
    load: Callable[[], NDArray[Any]] = field(repr=False, compare=False)
    """Reads the bytes into an array of `shape` and `dtype`; `read` is what callers use."""
    storage: Hashable = None
    """Equal for two names of one tensor (tied weights): storage, offset, strides. None says nothing."""
    unreadable: str | None = None
    """Why there are no numbers to measure: sparse, meta, complex, nested."""
    notes: tuple[str, ...] = ()
    """Short sentences for the layer's notes, e.g. "dequantised from qint8"."""

    def read(self) -> NDArray[Any]:
        """Read the numbers; not cached, so that one tensor is in memory at a time.

        Raises:
            CheckpointError: the tensor is `unreadable`, or its bytes are damaged or gone.
        """
        if self.unreadable is not None:
            raise CheckpointError(self.unreadable, tensor=self.name)
        try:
            return self.load()
        except GcxError as error:
            raise error.located(tensor=self.name) from error.__cause__


@dataclass(frozen=True, slots=True)
class ConvSpec:
    """What a file itself states about a convolution; None where it states nothing."""

    groups: int | None = None
    transposed: bool | None = None


def _nothing() -> None:
    """A checkpoint that holds no file open has nothing to close."""


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint; a context manager, since its tensors are read from the open file."""

    path: str
    """As typed."""
    format: str
    """For example `torch-state-dict`, `torch-module`, `safetensors`, `onnx`."""
    tensors: Mapping[str, TensorRef]
    """By shown name, in file order."""
    convs: Mapping[str, ConvSpec] = field(default_factory=dict)
    """The convolutions that the file itself states, where the format can: by the name of the weight, as it is once its
    parts are put together, or by that of its module."""
    notes: tuple[str, ...] = ()
    """What was chosen on the way, e.g. "weights from 'params'; there is also 'params_ema'"."""
    close: Callable[[], None] = field(default=_nothing, repr=False, compare=False)
    epoch: int | None = None
    """Number of the epoch (or step) at which it was saved, where the file says so."""
    ordered: bool = True
    """The tensors stand in the order of the network, made or run, or of their names; else neighbours say nothing."""
    files: tuple[str, ...] = ()
    """Other files that its numbers lie in: shards, external data."""
    networks: tuple[str, ...] = ()
    """Prefixes of the names of several networks, where it holds more than one, none the beginning of another:
    neighbours within one say nothing of another."""
    others: Mapping[str, str] = field(default_factory=dict)
    """By tensor name: those of rank >= 3 that the file itself states to be no convolutions, and what they are."""

    def by_network(self, named: Mapping[str, Value]) -> list[dict[str, Value]]:
        """What is named, parted by network; all in one where there are no several.

        >>> two = Checkpoint("a.pt", "x", {}, networks=("a.", "ab."))
        >>> two.by_network({"a.x": 1, "ab.x": 2, "a.y": 3, "b": 4})
        [{'a.x': 1, 'a.y': 3}, {'ab.x': 2}]
        """
        if not self.networks:
            return [dict(named)]
        parts: dict[str, dict[str, Value]] = {prefix: {} for prefix in sorted(self.networks)}
        order = list(parts)
        for name, value in named.items():
            # None begins another, so of those before a name in their order only the last can be how it begins.
            prefix = order[max(bisect_right(order, name) - 1, 0)]
            if name.startswith(prefix):
                parts[prefix][name] = value
        return list(parts.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
