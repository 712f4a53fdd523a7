"""Fuzz the readers of Keras files, the HDF5 parser in them first of all."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

import numpy as np  # noqa: E402
from evil import Record, zip_bytes  # noqa: E402
from fuzz.harness import main  # noqa: E402
from fuzz.targets import read_all  # noqa: E402
from readers.keras_files import Made, archive, conv, hdf5, model, new_layout, old_layout  # noqa: E402

from gcx.readers.keras import KerasArchiveReader, KerasHdf5Reader  # noqa: E402

SMALL = np.arange(8, dtype=np.float32)
NET = model(
    conv("a", SMALL.reshape(1, 1, 2, 4), SMALL[:4], groups=2),
    Made("TimeDistributed", "t", parts={"layer": conv("b", SMALL.reshape(1, 1, 4, 2))}),
    Made("DepthwiseConv2D", "d", {"kernel": SMALL.reshape(1, 1, 2, 4)}),
)


def _odd(file) -> None:
    group = file.create_group("layers/conv2d/vars")
    data = SMALL.reshape(1, 1, 2, 4)
    group.create_dataset("0", data=data, chunks=(1, 1, 1, 4), compression="gzip", shuffle=True, fletcher32=True)
    group["1"] = SMALL[:4].astype(">f2")
    file.create_group("vars").attrs["name"] = "net"


SEEDS = [new_layout(NET), old_layout(NET), hdf5(_odd), hdf5(_odd, libver="latest"), archive(NET)]
TOKENS = [
    *(b"TREE", b"SNOD", b"HEAP", b"GCOL", b"OHDR", b"OCHK", b"vars", b"layers", b"weight_names", b"\x10\0\x10\0"),
    *(b"\x08\0\x18\0", b"\x01\0\x18\0", b"\x0b\0", b'"groups": 3', b'"class_name"', b"PK\1\2", b"PK\3\4"),
]


def repair(data: bytes) -> bytes:
    """Pack an archive's records anew, with lengths, places and checksums that are right."""
    if data[:2] != b"PK":
        return data
    found = []
    for part in data[: data.rfind(b"PK\1\2") if b"PK\1\2" in data else len(data)].split(b"PK\3\4")[1:]:
        length = int.from_bytes(part[22:24], "little")
        found.append(Record(part[26 : 26 + length], part[26 + length :].split(b"PK\1\2")[0]))
    return zip_bytes(found)


def fuzz_keras(data: bytes) -> None:
    """Only GcxError may come out of the readers of Keras files."""
    reader = KerasArchiveReader() if data[:2] == b"PK" else KerasHdf5Reader()
    # A chunk may inflate to what INFLATE_SLACK allows; that is a limit of its own, and not what is held here.
    read_all(reader, data, "fuzz.keras", held=2**27)


if __name__ == "__main__":
    main(fuzz_keras, SEEDS, TOKENS, repair)
