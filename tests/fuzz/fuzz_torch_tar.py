"""Fuzz the reader of torch 0.1's tar container."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

from evil import Persistent, Ref, old_tar, pickled, tar_file  # noqa: E402
from fuzz.harness import main  # noqa: E402
from fuzz.targets import read_all  # noqa: E402
from fuzz.torch_values import TOKENS as WORDS  # noqa: E402

from gcx.readers.torch import TorchTarReader  # noqa: E402

READER = TorchTarReader()
SEEDS = [
    tar_file(old_tar({"w": Persistent("8")})),
    tar_file(old_tar({"state_dict": {"module.w": Persistent(8)}}, size=(2, 1, 2), stride=(2, 2, 1))),
    tar_file(old_tar({"w": Persistent("8"), "c": Persistent((Ref("mine", "Net"), "mine.py", "text"))})),
    tar_file(old_tar({"w": Persistent("8")}) | {"sys_info": pickled([])}),
]
TOKENS = [*WORDS, b"ustar", b"storages", b"tensors", b"pickle", b"sys_info", b"00000000010\0"]
_BLOCK = 512


def repair(data: bytes) -> bytes:
    """Make the checksum of every header right again."""
    whole = bytearray(data)
    at = whole.find(b"ustar")
    while at >= 0:
        begin = at - 257
        if begin >= 0 and begin + _BLOCK <= len(whole):
            whole[begin + 148 : begin + 156] = b" " * 8
            whole[begin + 148 : begin + 156] = b"%06o\0 " % sum(whole[begin : begin + _BLOCK])
        at = whole.find(b"ustar", at + 1)
    return bytes(whole)


def fuzz_torch_tar(data: bytes) -> None:
    """Only GcxError may come out of the reader of torch 0.1's tar container."""
    read_all(READER, data, "fuzz.tar", held=2**27)


if __name__ == "__main__":
    main(fuzz_torch_tar, SEEDS, TOKENS, repair)
