"""Fuzz the reader of torch's legacy stream."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

from evil import FOUR, legacy_file, legacy_storage, tensor  # noqa: E402
from fuzz.harness import main  # noqa: E402
from fuzz.targets import read_all  # noqa: E402
from fuzz.torch_values import TOKENS as WORDS  # noqa: E402
from fuzz.torch_values import values  # noqa: E402

from gcx.readers.torch import TorchLegacyReader  # noqa: E402

READER = TorchLegacyReader()
BIG = {"protocol_version": 1001, "little_endian": False}
SEEDS = [
    *map(legacy_file, values(legacy_storage)),
    legacy_file({"v": tensor(legacy_storage(view=("1", 1, 2)), size=(2,))}),
    legacy_file({"a": tensor(legacy_storage()), "b": tensor(legacy_storage(4, "1"))},
                data={"1": (4, FOUR), "0": (4, FOUR)}),
    legacy_file({"w": tensor(legacy_storage())}, info=BIG)[:-24] + struct.pack(">q", 4) + FOUR,
]  # fmt: skip
TOKENS = [*WORDS, struct.pack("<q", 4), b"\x80\x02", b"module", b"little_endian"]


def fuzz_torch_legacy(data: bytes) -> None:
    """Only GcxError may come out of the reader of torch's legacy stream."""
    read_all(READER, data, "fuzz.pth", held=2**27)


if __name__ == "__main__":
    main(fuzz_torch_legacy, SEEDS, TOKENS)
