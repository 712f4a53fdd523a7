"""torch's zip container (since 1.6): one pickle of the structure, one record per storage."""

from __future__ import annotations

from functools import partial
from typing import Any

from gcx.errors import CheckpointError, LimitError
from gcx.limits import PICKLE_BYTES
from gcx.readers.foreign import describe
from gcx.readers.torch.archive import Archive
from gcx.readers.torch.dtypes import STORAGES, UNTYPED
from gcx.readers.torch.machine import Budget, Machine
from gcx.readers.torch.tensors import HUGE, item_bytes, refuse
from gcx.readers.torch.values import CURE, Dtype, Global, Storage


class Container:
    """The records of one archive, under its one top folder."""

    def __init__(self, archive: Archive):
        self.archive = archive
        names = archive.entries
        pickles = [name for name in names if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) > 1:
            raise CheckpointError(f"has {len(pickles)} pickles named data.pkl in its archive", cure=CURE)
        if not pickles:
            raise describe(archive.source) or CheckpointError("is a zip archive that torch did not write")
        self.pickle = pickles[0]
        self.top = self.pickle.removesuffix("data.pkl")
        stranger = next((name for name in names if not name.startswith(self.top)), None)
        if stranger is not None:
            raise CheckpointError(f"has a second top folder in its archive: '{stranger}'", cure=CURE)
        self.big_endian = self._big_endian()

    def _big_endian(self) -> bool:
        name = f"{self.top}byteorder"
        if name not in self.archive.entries:
            return False
        order = self.archive.read(name, 0, min(16, self.archive.entry(name).size))
        if order not in (b"little", b"big"):
            raise CheckpointError("has a byteorder that is neither little nor big", cure=CURE)
        return order == b"big"

    def root(self) -> Any:
        """The value of `data.pkl`; every other pickle in the archive is looked through as well."""
        return self.values({self.pickle: "data"})[self.pickle]

    def values(self, wanted: dict[str, str]) -> dict[str, Any]:
        """The values of pickles by name; every other one in the archive is looked through as well.

        Not the `.debug_pkl` beside the code of a program: no unpickler of Python's ever reads them.

        Args:
            wanted: to each pickle the folder under the top one where its storages are.
        """
        budget = Budget()
        for name in self.archive.entries:
            if name.endswith((".pkl", ".pickle")) and name not in wanted:
                Machine(self._pickle(name), unchecked, budget).run()
        return {
            name: Machine(self._pickle(name), partial(self.persistent, folder), budget).run()
            for name, folder in wanted.items()
        }

    def _pickle(self, name: str) -> bytes:
        size = self.archive.entry(name).size
        if size > PICKLE_BYTES:
            raise LimitError(f"has a pickle of {size} bytes, limit PICKLE_BYTES is {PICKLE_BYTES}")
        return self.archive.read(name)

    def persistent(self, folder: str, pid: Any) -> Storage:
        """`('storage', class, key, location, numel)`, checked against the record of that name."""
        key, dtype, numel, location = storage_of(pid, 5)
        storage = Storage(f"{folder}/{key}", dtype, numel, item_bytes(dtype), location)
        record = f"{self.top}{storage.key}"
        if location != "meta" and record in self.archive.entries:
            size = self.archive.entry(record).size
            if storage.nbytes != size:
                raise CheckpointError(
                    f"has a storage '{key}' of {storage.nbytes} bytes, but {size} in its archive", cure=CURE
                )
        elif location != "meta" and numel:
            raise CheckpointError(f"has no bytes for storage '{key}' in its archive", cure=CURE)
        return storage

    def read(self, storage: Storage, begin: int, length: int) -> bytes:
        return self.archive.read(f"{self.top}{storage.key}", begin, length)


def unchecked(pid: Any) -> Storage:
    """A storage of a pickle that is only looked through: no number of it is read."""
    key, dtype, numel, location = storage_of(pid, 5)
    return Storage(key, dtype, numel, item_bytes(dtype), location)


def storage_of(pid: Any, length: int) -> tuple[str, Dtype, int, str]:
    """Key, dtype, count and location of a persistent id that names a storage.

    Raises:
        CheckpointError: anything else.
    """
    if type(pid) is not tuple or len(pid) < length or pid[0] != "storage":
        refuse("a persistent id that names no storage")
    cls, key, location, numel = pid[1:5]
    if type(cls) is not Global or not (cls.full in STORAGES or cls.full in UNTYPED):
        refuse("a storage of an unknown class")
    if type(key) is not str or not key or "/" in key or key in (".", ".."):
        refuse("a storage whose key is no plain name")
    if type(numel) is not int or not 0 <= numel < HUGE:
        refuse("a storage whose length is no whole number")
    dtype = STORAGES.get(cls.full, Dtype("uint8"))
    return key, dtype, numel, location if type(location) is str else ""
