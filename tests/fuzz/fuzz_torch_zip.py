"""Fuzz the reader of torch's zip container."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

from evil import Record, pickled, records, storage, tensor, zip_bytes, zip_file  # noqa: E402
from fuzz.harness import main  # noqa: E402
from fuzz.targets import read_all  # noqa: E402
from fuzz.torch_values import TOKENS as WORDS  # noqa: E402
from fuzz.torch_values import values  # noqa: E402

from gcx.readers.torch import TorchZipReader  # noqa: E402

READER = TorchZipReader()
WHOLE = records(pickled({"w": tensor()}))
SEEDS = [
    *map(zip_file, values(storage)),
    zip_file({"b": tensor(storage(16, "0", "UntypedStorage"), function="_rebuild_tensor_v3")}),
    zip_bytes([Record(one.name, one.data, method=8) for one in WHOLE]),
    zip_bytes(WHOLE, zip64=True),
    zip_bytes([Record(one.name, one.data, crc=0) for one in WHOLE]),
    zip_bytes([*WHOLE, Record("archive/extra.pkl", pickled([1, 2]))]),
]
TOKENS = [
    *WORDS,
    *(b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"data.pkl", b"archive/data/0", b"byteorder", b"../"),
]


def repair(data: bytes) -> bytes:
    """Pack what the local headers name anew, with lengths, places and checksums that are right."""
    local = data[: data.rfind(b"PK\1\2") if b"PK\1\2" in data else len(data)]
    found = []
    for part in local.split(b"PK\3\4")[1:]:
        length = int.from_bytes(part[22:24], "little")
        found.append(Record(part[26 : 26 + length], part[26 + length :].split(b"PK\1\2")[0]))
    return zip_bytes(found)


def fuzz_torch_zip(data: bytes) -> None:
    """Only GcxError may come out of the reader of torch's zip container."""
    # A small file may expand one number to VIEW_ELEMENTS; that is a limit of its own, and not what is held here.
    read_all(READER, data, "fuzz.pt", held=2**27)


if __name__ == "__main__":
    main(fuzz_torch_zip, SEEDS, TOKENS, repair)
