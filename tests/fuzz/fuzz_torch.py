"""Fuzz the torch readers: zip, legacy stream, tar and plain pickles."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

from evil import (  # noqa: E402
    Call,
    Record,
    Ref,
    legacy_file,
    legacy_storage,
    old_tar,
    pickled,
    records,
    storage,
    tar_file,
    tensor,
    zip_bytes,
    zip_file,
)
from fuzz.harness import main  # noqa: E402
from fuzz.targets import read_all  # noqa: E402

from gcx.readers.torch import PlainPickleReader, TorchLegacyReader, TorchTarReader, TorchZipReader  # noqa: E402

READERS = (TorchZipReader(), TorchLegacyReader(), TorchTarReader())
MODULE = Call(
    Ref("nowhere", "Net"),
    state={
        "_parameters": {"weight": tensor(size=(2, 2, 1, 1), stride=(2, 1, 1, 1))},
        "_buffers": {},
        "_modules": {},
        "groups": 1,
        "kernel_size": (1, 1),
        "in_channels": 2,
        "transposed": False,
    },
)
NAMES = {"w": tensor(), "v": tensor(storage(4, "0", "HalfStorage"), size=(2, 2), stride=(1, 2))}
SEEDS = [
    zip_file({"w": tensor()}),
    zip_file({"state_dict": {"module.w": tensor(size=(2, 2), stride=(2, 1))}, "optimizer": {"state": {}}}),
    zip_file({"q": tensor(storage(4, "0", "UntypedStorage"), function="_rebuild_tensor_v3")}),
    zip_file(MODULE),
    zip_bytes([Record(one.name, one.data, method=8) for one in records(pickled({"w": tensor()}))]),
    legacy_file({"w": tensor(legacy_storage())}),
    tar_file(old_tar({"w": Call(Ref("torch", "FloatTensor"))})),
    pickled({"a": [1, 2.5, "x", None, True, (1, 2)], "b": Call(Ref("collections", "OrderedDict"))}),
]
TOKENS = [bytes([code]) for code in range(256)] + [
    *(
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ccollections\nOrderedDict\n",
        b"cos\nsystem\n",
        b"ctorch\nFloatStorage\n",
    ),
    *(b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"data.pkl", b"archive/data/0", b"byteorder", b"storage", b"ustar"),
]


def repair(data: bytes) -> bytes:
    """Give every entry of a zip the CRC32 of its bytes again, or all mutants end at it."""
    whole = bytearray(data)
    at = whole.find(b"PK\1\2")
    while 0 <= at <= len(whole) - 46:
        stored, name, header = (
            *struct.unpack_from("<I", whole, at + 20),
            *struct.unpack_from("<H", whole, at + 28),
            *struct.unpack_from("<I", whole, at + 42),
        )
        begin = header + 30 + name
        if begin + stored <= len(whole) and whole[at + 10 : at + 12] == b"\0\0":
            crc = struct.pack("<I", zlib.crc32(whole[begin : begin + stored]))
            whole[at + 16 : at + 20] = crc
            if header + 18 <= len(whole):
                whole[header + 14 : header + 18] = crc
        at = whole.find(b"PK\1\2", at + 46)
    return bytes(whole)


def fuzz_torch(data: bytes) -> None:
    """Only GcxError may come out of the torch readers."""
    # A small file may expand one number to VIEW_ELEMENTS; that is a limit of its own, and not what is held here.
    for reader in READERS if data[:1] != b"\x80" else (*READERS, PlainPickleReader()):
        read_all(reader, data, "fuzz.pt", held=2**27)


if __name__ == "__main__":
    main(fuzz_torch, SEEDS, TOKENS, repair)
