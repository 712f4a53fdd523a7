"""Fuzz what tells other files apart."""

from __future__ import annotations

import gzip
import io
import pickle
import sys
import tarfile
import zipfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

from fuzz.harness import main  # noqa: E402
from readers.flat import source_of  # noqa: E402

from gcx.readers.foreign import MAGIC, describe  # noqa: E402


def _seeds() -> list[bytes]:
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("a/model.pt", b"x")
        archive.writestr("b.txt", b"x")
    with tarfile.open(fileobj=tarred, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.pt"))
    lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1270727\n"
    protobuf = b"\x0a\x03net\xa2\x06\x05layer"
    return [
        zipped.getvalue(),
        tarred.getvalue()[:2048],
        gzip.compress(tarred.getvalue(), mtime=0),
        lfs,
        protobuf,
        pickle.dumps({1: 2}),
    ]


SEEDS = _seeds()
TOKENS = [magic for _, magic, _, _ in MAGIC] + [
    b"<html>",
    b"<title>",
    b"PK\1\2",
    b"PK\5\6",
    b"\x1f\x8b\x08",
    b"{",
    b"numpy",
]


def fuzz_foreign(data: bytes) -> None:
    """Whatever the bytes are, the answer is one printable line or none."""
    with source_of(data, "fuzz.pt") as source:
        error = describe(source)
    assert error is None or (str(error).isprintable() and error.cure)


if __name__ == "__main__":
    main(fuzz_foreign, SEEDS, TOKENS)
