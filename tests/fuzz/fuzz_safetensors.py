"""Fuzz the safetensors reader."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

from fuzz.harness import main  # noqa: E402
from fuzz.targets import read_all  # noqa: E402
from readers.flat import entry, safetensors_bytes  # noqa: E402

from gcx.readers.safetensors import DTYPES, SafetensorsReader  # noqa: E402

READER = SafetensorsReader()
SEEDS = [
    safetensors_bytes({}),
    safetensors_bytes({"a": entry()}, bytes(4)),
    safetensors_bytes(
        {
            "__metadata__": {"format": "pt"},
            "a.weight": entry("F16", [2, 3, 1, 1], [0, 12]),
            "é": entry("I8", [0], [12, 12]),
        },
        bytes(12),
    ),
    safetensors_bytes({f"layer.{i}.weight": entry("BF16", [1, 2], [4 * i, 4 * i + 4]) for i in range(12)}, bytes(48)),
    safetensors_bytes({"c": entry("C64", [1], [0, 8]), "f": entry("F4", [2], [8, 9])}, bytes(9)),
]
TOKENS = [
    *(f'"{dtype}"'.encode() for dtype in DTYPES),
    *(b'{"', b"}", b"[", b"]", b",", b":", b'"', b"\\u", b"\\", b"-1", b"1e9", b"NaN", b"null", b"true", b"[]", b"{}"),
    *(b'"dtype":', b'"shape":', b'"data_offsets":', b'"__metadata__":', b"18446744073709551616", b"\xed\xa0\x80"),
]


def repair(data: bytes) -> bytes:
    """Let the header end at its last brace."""
    return max(data.rfind(b"}") - 7, 0).to_bytes(8, "little") + data[8:]


def fuzz_safetensors(data: bytes) -> None:
    """Only GcxError may come out of the safetensors reader."""
    read_all(READER, data, "fuzz.safetensors")


if __name__ == "__main__":
    main(fuzz_safetensors, SEEDS, TOKENS, repair)
