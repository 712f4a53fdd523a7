"""What the pickle interpreter makes: inert values, of which none does anything.

Dicts of a file become lists of pairs, so that nothing of it is hashed before it is known to be a name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gcx.readers import base

CURE = base.CURE


class Global:
    """A module and a name that the file refers to; never looked up."""

    __slots__ = ("full", "module", "name")

    def __init__(self, module: str, name: str):
        self.module = module
        self.name = name
        self.full = f"{module}.{name}"


class Pairs:
    """A dict or OrderedDict: keys and values in file order, later ones win."""

    __slots__ = ("items",)

    def __init__(self, items: list[tuple[Any, Any]] | None = None):
        self.items: list[tuple[Any, Any]] = [] if items is None else items

    def named(self) -> dict[str, Any]:
        """Those whose key is text."""
        return {key: value for key, value in self.items if type(key) is str}


class Placeholder:
    """An object of a class that was not looked up: what it would have been given, and nothing else."""

    __slots__ = ("args", "cls", "elements", "items", "state")

    def __init__(self, cls: Global, args: Any = ()):
        self.cls = cls
        self.args = args
        self.state: Any = None
        self.items: list[tuple[Any, Any]] | None = None
        """Set as into a dict."""
        self.elements: list[Any] | None = None
        """Appended as to a list."""


class LongText:
    """Text too long to be a name; kept as UTF-8, since decoding may take four times the bytes."""

    __slots__ = ("utf8",)

    def __init__(self, utf8: bytes):
        self.utf8 = utf8


@dataclass(frozen=True, slots=True)
class Dtype:
    """A number format, `torch.float32` and its like."""

    name: str
    quantised: bool = False


@dataclass(slots=True, eq=False)
class Storage:
    """A run of numbers that the file says it holds; `begin` is known once the container has been looked at."""

    key: str
    dtype: Dtype
    numel: int
    """As the file declares; of `dtype`."""
    item: int
    """Bytes of one number."""
    location: str = "cpu"
    begin: int = 0
    """First byte within the record."""

    @property
    def nbytes(self) -> int:
        return self.numel * self.item


@dataclass(slots=True, eq=False)
class Tensor:
    """A view of a storage, checked against the storage's declared length."""

    dtype: Dtype
    shape: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    offset: int = 0
    """In bytes from the storage's begin."""
    storage: Storage | None = None
    unreadable: str | None = None
    quantiser: PerTensor | PerChannel | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PerTensor:
    """Stored integers become numbers by (q - zero_point) * scale."""

    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True, eq=False)
class PerChannel:
    """The same with a scale and a zero point for each index along one axis."""

    scales: Tensor
    zero_points: Tensor
    axis: int
