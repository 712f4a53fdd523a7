"""Exported programs (`torch.export.save`): weights as raw bytes or as a checkpoint inside, groups from the JSON graph.

A .pt2 archive holds `models/NAME.json`, the graph, and `data/weights/NAME_weights_config.json`, which says for each
weight in which record its bytes lie. Up to torch 2.7 it held `serialized_exported_program.json` and, as whole files of
`torch.save`, `serialized_state_dict.pt` and `serialized_constants.pt`. Source: torch's `export/pt2_archive` and
`export/__init__.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gcx.checkpoint import Checkpoint
from gcx.errors import MESSAGE_LIMIT, CheckpointError, LimitError, printable
from gcx.limits import TENSORS
from gcx.readers.base import ReadOptions, Section
from gcx.readers.names import no_moving_average, shown_names
from gcx.readers.torch.archive import Archive
from gcx.readers.torch.container import Container
from gcx.readers.torch.dtypes import DTYPES
from gcx.readers.torch.exported_graph import Program
from gcx.readers.torch.exported_json import json_object, parsed, refuse, whole_number
from gcx.readers.torch.recorded import without
from gcx.readers.torch.storages import ReadBytes, reference
from gcx.readers.torch.tensors import item_bytes, strided
from gcx.readers.torch.values import Dtype, Pairs, Storage, Tensor
from gcx.readers.torch.work import Work

FORMAT = "exported program"

_PROGRAM = re.compile(r"([^/]+)/models/(.+)\.json", re.DOTALL)
_COMPILED = re.compile(r"([^/]+)/data/aotinductor/.+", re.DOTALL)
_OLD_PROGRAM = "serialized_exported_program.json"
_OLD_WEIGHTS = ("serialized_state_dict.pt", "serialized_constants.pt")
_NOT_RUN = "the file is a program: its graph was read as data, and nothing was run"

# fmt: off
_NUMBERED = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64", 9: "complex32",
    10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16", 29: "float8_e4m3fn",
    30: "float8_e5m2", 31: "float8_e4m3fnuz", 32: "float8_e5m2fnuz", 33: "float8_e8m0fnu", 34: "uint32", 35: "uint64",
}
# fmt: on
"""The schema's ScalarType."""


@dataclass
class _Weights:
    """The weights of a program by name, and where their bytes are."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    homes: dict[str, tuple[ReadBytes, bool]] = field(default_factory=dict)
    """By the folder that a storage's key begins with: what reads it, and whether its numbers are big-endian."""

    def add(self, name: str, tensor: Tensor) -> None:
        if len(self.tensors) >= TENSORS:
            raise LimitError(f"has more than {TENSORS} tensors, limit TENSORS")
        if name in self.tensors:
            refuse(f"'{printable(name, MESSAGE_LIMIT)}' stands in it twice, as weight and as constant")
        self.tensors[name] = tensor

    def home(self, tensor: Tensor) -> tuple[ReadBytes, bool]:
        key = "" if tensor.storage is None else tensor.storage.key.partition("/")[0]
        return self.homes.get(key) or next(iter(self.homes.values()))


def is_exported(archive: Archive) -> bool:
    """Whether an archive holds a program of `torch.export`, or one that was compiled from it."""
    return _OLD_PROGRAM in archive.entries or any(
        _PROGRAM.fullmatch(name) or _COMPILED.fullmatch(name) for name in archive.entries
    )


def read_exported(archive: Archive, options: ReadOptions) -> Checkpoint:
    """Parse the graph and the weights of the one program in an archive.

    Raises:
        CheckpointError: damaged, compiled, or with several programs.
        LimitError: a longer graph, or more values in it, than gcx allows.
        UsageError: a moving average is wanted.
    """
    if _OLD_PROGRAM in archive.entries:
        graph, weights = parsed(archive, _OLD_PROGRAM), _old_weights(archive)
    else:
        top, name = _only_program(archive)
        graph, weights = parsed(archive, f"{top}/models/{name}.json"), _raw_weights(archive, top, name)
    tensors = weights.tensors
    program = Program(graph, tensors)
    if not tensors:
        raise CheckpointError("is an exported program without weights", cure="name one that has weights")
    if options.weights == "ema":
        raise no_moving_average()
    recorded = program.recorded
    shown = shown_names(tensors)
    refs = {}
    for name, tensor in tensors.items():
        read, big_endian = weights.home(tensor)
        refs[name] = reference(shown[name], tensor, read, big_endian=big_endian)
    return Checkpoint(
        archive.source.path,
        FORMAT,
        {shown[name]: ref for name, ref in without(refs, recorded.unreadable()).items()},
        recorded.specs(shown),
        (_NOT_RUN, *archive.notes, *recorded.notes()),
        archive.source.close,
    )


def _only_program(archive: Archive) -> tuple[str, str]:
    """Top folder and name of the program."""
    found = [match for name in archive.entries if (match := _PROGRAM.fullmatch(name))]
    if not found:
        raise CheckpointError(
            "is a program that AOTInductor compiled, without its graph", cure="name what torch.export.save wrote"
        )
    if len(found) > 1:
        names = ", ".join(printable(match[2], MESSAGE_LIMIT) for match in found[:3])
        raise CheckpointError(f"holds {len(found)} exported programs: {names}", cure="save one of them alone")
    return found[0][1], found[0][2]


def _raw_weights(archive: Archive, top: str, name: str) -> _Weights:
    """Weights of which each has a record of its own, raw, and a place in a list."""
    order = f"{top}/byteorder"
    big_endian = order in archive.entries and archive.read(order, 0, min(16, archive.entry(order).size)) == b"big"

    def read(storage: Storage, begin: int, length: int) -> bytes:
        return archive.read(storage.key, begin, length)

    weights = _Weights(homes={top: (read, big_endian)})
    work = Work()
    for kind in ("weights", "constants"):
        config = f"{top}/data/{kind}/{name}_{kind}_config.json"
        listed = json_object(parsed(archive, config), "config") if config in archive.entries else {}
        for weight, about in listed.items():
            work.name(len(weight))
            if kind == "constants" and isinstance(about, dict) and about.get("tensor_meta") is None:
                continue  # an object of a class, no tensor
            weights.add(weight, _raw_tensor(archive, f"{top}/data/{kind}", weight, about))
    return weights


def _raw_tensor(archive: Archive, folder: str, name: str, about: Any) -> Tensor:
    """A weight as the list of weights describes it, checked against the record that holds it."""
    shown = printable(name, MESSAGE_LIMIT)
    meta = json_object(about, "tensor_meta")
    number = meta.get("dtype")
    dtype = DTYPES.get(f"torch.{_NUMBERED.get(number, '')}") if type(number) is int else None
    shape, strides = (_sizes(meta.get(key), shown) for key in ("sizes", "strides"))
    offset = whole_number(meta.get("storage_offset"))
    if offset is None or len(shape) != len(strides):
        refuse(f"the offset or strides of '{shown}' cannot be")
    if dtype is None or about.get("use_pickle") is not False:
        reason = "is of a number format that is not known" if dtype is None else "is pickled inside the program"
        return Tensor(dtype or Dtype("unknown"), shape, unreadable=reason)
    path = about.get("path_name")
    if type(path) is not str:
        refuse(f"'{shown}' has no record")
    entry = archive.entry(f"{folder}/{path}")
    item = item_bytes(dtype)
    return strided(dtype, Storage(entry.name, dtype, entry.size // item, item), offset, shape, strides)


def _old_weights(archive: Archive) -> _Weights:
    """Weights in checkpoints inside the archive, which lie there as they are."""
    weights = _Weights()
    for name in _OLD_WEIGHTS:
        if name not in archive.entries:
            refuse(f"'{name}' is missing")
        entry = archive.entry(name)
        if entry.size != entry.stored:
            refuse(f"'{name}' is compressed")
        try:
            inner = Container(Archive(Section.of(archive.source, entry.data, entry.size)))
            root = inner.root()
        except CheckpointError as error:
            error.what = f"holds '{name}', which {error.what}"
            raise
        if type(root) is not Pairs:
            refuse(f"'{name}' holds no weights by name")
        for weight, tensor in _apart(root.named(), name):
            weights.add(weight, tensor)
        weights.homes[name] = (_reader(inner), inner.big_endian)
    return weights


def _apart(found: Mapping[str, Any], home: str) -> Iterator[tuple[str, Tensor]]:
    """The tensors of one checkpoint, their storages named so that those of two are not taken for each other."""
    for name, tensor in found.items():
        if type(tensor) is Tensor:
            if tensor.storage is not None and not tensor.storage.key.startswith(f"{home}/"):
                tensor.storage.key = f"{home}/{tensor.storage.key}"
            yield name, tensor


def _reader(container: Container) -> ReadBytes:
    def read(storage: Storage, begin: int, length: int) -> bytes:
        return container.read(replace(storage, key=storage.key.partition("/")[2]), begin, length)

    return read


def _sizes(value: Any, shown: str) -> tuple[int, ...]:
    found = [whole_number(size) for size in value] if isinstance(value, list) else [None]
    if any(size is None for size in found):
        refuse(f"the shape of '{shown}' is no list of whole numbers")
    return tuple(size for size in found if size is not None)
