"""The worst that short files can ask for, at the real budgets: none takes 1.2 GB or a minute, each ends in one line."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from evil import FOUR, Raw, Record, Ref, legacy_file, ops, pickled, storage, tar_file, text, zip_bytes

REPOSITORY = Path(__file__).parents[2]
HEAD = b"\x80\x04"
MILLION = 10**6
READ = """
import json, sys, time
from gcx.errors import GcxError
from gcx.readers import read_checkpoint
try:
    with read_checkpoint(sys.argv[1]) as checkpoint:
        said = f"{len(checkpoint.tensors)} tensors"
except GcxError as error:
    said = str(error)
status = open("/proc/self/status").read()  # ru_maxrss would count what the parent had
print(json.dumps([said, int(status.split("VmHWM:")[1].split()[0]) / 1024, time.process_time()]))
"""


def archive(payload: bytes, **fields) -> bytes:
    return zip_bytes([Record("a/data.pkl", HEAD + payload + b".", **fields), Record("a/data/0", FOUR)])


def marked(payload: bytes) -> bytes:
    return archive(b"(" + payload + b"t")


def tensors(count: int) -> bytes:
    """So many names of one tensor, each rebuilt anew from one tuple of arguments."""
    made = ops(Ref("torch._utils", "_rebuild_tensor_v2")) + b"q\x00"
    made += ops((storage(), 0, (4,), (1,), False, {})) + b"q\x0100"
    return archive(made + b"}(" + b"".join(b"\x8c\x07%07dh\x00h\x01R" % number for number in range(count)) + b"u")


def objects_of_one_state() -> bytes:
    state = b"}(" + b"".join(text(f"k{number}") + b"N" for number in range(10_000)) + b"uq\x01"
    return archive(b"](" + state + b"cmine\nNet\n)\x81h\x01b" * 100_000 + b"e")


def views() -> bytes:
    pid = ("storage", Ref("torch", "FloatStorage"), "0", "cpu", 4, ("1", 0, 2))
    return legacy_file(Raw(HEAD + b"(" + ops(pid) + b"q\x00" + b"h\x00Q" * (4_900_000) + b"t."))


def small_pickles() -> bytes:
    one = pickled((1, "cpu", Ref("torch", "FloatStorage")))
    storages = pickled(400_000) + b"".join(one.replace(b"K\x01", b"J" + struct.pack("<i", n), 1) + bytes(8)
                                           for n in range(400_000)) + pickled([])  # fmt: skip
    return tar_file({"storages": storages, "tensors": pickled(0), "pickle": pickled({})})


BOMBS = {
    "ten million None": lambda: marked(b"N" * 10 * MILLION),
    "ten million dicts": lambda: marked(b"}" * 10 * MILLION),
    "five million dicts in the memo": lambda: marked(b"}\x94" * 5 * MILLION),
    "ten million lists": lambda: marked(b"]" * 10 * MILLION),
    "ten million sets": lambda: marked(b"\x8f" * 10 * MILLION),
    "tuples in tuples": lambda: archive(b")" + b"\x85" * 10 * MILLION),
    "lists in lists": lambda: archive(b"]" * 5 * MILLION + b"a" * (5 * MILLION - 1)),
    "a million globals": lambda: marked(b"".join(b"ca%d\nB\n" % number for number in range(MILLION))),
    "one list copied": lambda: marked(
        b"}(" + b"NN" * 100_000 + b"uq\x01" + b"ccollections\nOrderedDict\nh\x01\x85R" * 20_000
    ),
    "one state looked at": objects_of_one_state,
    "tensors": lambda: tensors(900_000),
    "more tensors": lambda: tensors(1_900_000),
    "texts": lambda: marked(b"".join(b"\x8c\x08%08d\x94" % number for number in range(4_900_000))),
    "floats": lambda: marked(b"G\0\0\0\0\0\0\0\1" * 9_900_000),
    "whole numbers": lambda: marked(b"".join(b"J" + struct.pack("<i", number) for number in range(9_900_000))),
    "memo": lambda: archive(b"N" + b"".join(b"r" + struct.pack("<I", number) for number in range(9_900_000))),
    "digits": lambda: marked((b"I" + b"9" * 4299 + b"\n") * 50_000),
    "long bytes": lambda: archive(b"B" + struct.pack("<I", 250 * MILLION) + bytes(250 * MILLION)),
    "inflating text": lambda: archive((b"X" + struct.pack("<I", 60_000) + b"a" * 60_000) * 4000, method=8),
    "views": views,
    "small pickles": small_pickles,
    "a million entries": lambda: zip_bytes(
        [Record("a/data.pkl", pickled({})), *(Record(f"a/{number}", b"") for number in range(990_000))], zip64=True
    ),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_at_the_real_budgets(kind, tmp_path):
    path = tmp_path / "bomb.pt"
    path.write_bytes(BOMBS[kind]())
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)], cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=True
    )
    said, megabytes, seconds = json.loads(done.stdout)
    assert said.isprintable()
    assert megabytes < 1200, said
    assert seconds < 60, said
