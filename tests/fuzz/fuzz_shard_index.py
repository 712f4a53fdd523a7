"""Fuzz the reader of shard indexes, beside two good shards."""

from __future__ import annotations

import atexit
import json
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

from fuzz.harness import main  # noqa: E402
from fuzz.targets import read_all  # noqa: E402
from readers.flat import entry, safetensors_bytes  # noqa: E402

from gcx.readers.shards import ShardIndexReader  # noqa: E402

READER = ShardIndexReader()
FOLDER = tempfile.TemporaryDirectory()
atexit.register(FOLDER.cleanup)
for letter in "ab":
    shard = safetensors_bytes({f"{letter}.weight": entry("U8", [4], [0, 4])}, bytes(4))
    Path(FOLDER.name, f"{letter}.safetensors").write_bytes(shard)
MAP = {"a.weight": "a.safetensors", "b.weight": "b.safetensors"}
SEEDS = [
    json.dumps({"metadata": {"total_size": 8}, "weight_map": MAP}).encode(),
    json.dumps({"weight_map": MAP, "x": [1, {"y": [None, True, "]"]}, -1.5e3]}).encode(),
    json.dumps({"weight_map": {"a.weight": "a.safetensors"}}).encode(),
]
TOKENS = [
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b'"weight_map":', b'"a.safetensors"', b"../", b"/etc/passwd"),
    *(b"\\ud800", b"NaN", b"null", b'""', b"\xff", b'".."'),
]


def fuzz_shard_index(data: bytes) -> None:
    """Only GcxError may come out of the reader of shard indexes."""
    read_all(READER, data, f"{FOLDER.name}/fuzz.index.json", held=4)


if __name__ == "__main__":
    main(fuzz_shard_index, SEEDS, TOKENS)
