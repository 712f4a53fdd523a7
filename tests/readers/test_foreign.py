"""What is no checkpoint gets one line that says what it really is and what to do."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import socket
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from readers.flat import source_of

from gcx.errors import CheckpointError
from gcx.readers import read_checkpoint
from gcx.readers.foreign import CHECKPOINT_SUFFIXES, MAGIC, describe


def described(data: bytes, path: str = "model.pt") -> str:
    with source_of(data, path) as source:
        error = describe(source)
    if error is None:
        return ""
    assert error.cure
    assert error.path == path
    assert str(error).isprintable()
    assert len(str(error)) < 500
    return str(error)


def zipped(*names: str, data: bytes = b"x") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, data)
    return file.getvalue()


def tarred(*names: str, data: bytes = b"x", mode: str = "w", **options) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, **options) as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


def saved(save, *arguments) -> bytes:
    file = io.BytesIO()
    save(file, *arguments)
    return file.getvalue()


def field(number: int, content: bytes | int) -> bytes:
    def varint(value):
        out = b""
        while value > 127:
            out += bytes([value & 127 | 128])
            value >>= 7
        return out + bytes([value])

    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1270727\n"
S3 = b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code><Message>no</Message></Error>'
TINY = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1))
NOT_CAFFE = field(1, b"net") + field(100, b"layer")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (LFS, "git-lfs pointer to a file of 1270727 bytes, not the file itself; run 'git lfs pull'"),
        (b"<!DOCTYPE html>\n<html><head><title>Sign in - \x1b]Hub</title>", "HTML page (Sign in - \\x1b]Hub)"),
        (b"\xef\xbb\xbf\n  <HTML lang=en>", "HTML page"),
        (b"<!doctype html>" + "é".encode() * 4000, "HTML page"),
        (S3, "XML page (AccessDenied)"),
        (b'<?xml version="1.0"?><net name="a"><layers><layer id="0">', "OpenVINO"),
        (b'{"error": "Repository not found"}', 'JSON, not a checkpoint: \'{"error": "Repository not found"}\''),
        (b'{"model_type": "resnet", "architectures": ["A"]}', "configuration (JSON) without weights"),
        (b"Entry not found", "text file: 'Entry not found'"),
        (b"hello\nworld", "text file: 'hello'"),
        ("über".encode("utf-16"), "UTF-16"),
        (b"7767517\n75 83\nInput data 0 1", "ncnn"),
        (b'name: "LeNet"\nlayer {\n  name: "conv1"', "prototxt"),
        (b"#!/usr/bin/env python\n", "script"),
        (b"import torch\nx = 1\n", "script"),
        (bytes(5000), "4096 zero bytes"),
        (bytes(3), "3 zero bytes"),
        (gzip.compress(b"x" * 100), "compressed with gzip"),
        (b"\x1f\x8b\x08damaged", "compressed with gzip"),
        (tarred("run/best.pth", mode="w:gz"), "gzip-compressed tar archive that holds 'run/best.pth'"),
        (bz2.compress(b"x"), "bzip2"),
        (lzma.compress(b"x"), "xz"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(30), "7z"),
        (b"Rar!\x1a\x07\x01\0", "rar"),
        (b"\x28\xb5\x2f\xfd\x04\x00", "zstd"),
        (tarred("readme", "run/model.pth", "b.pt"), "tar archive that holds 'run/model.pth' and 1 more"),
        (tarred("weights.tar.gz"), "tar archive that holds 'weights.tar.gz'"),
        (tarred("a" * 300 + ".pt", format=tarfile.PAX_FORMAT), "tar archive"),
        (zipped("readme.md", "weights/model.ckpt"), "zip archive that holds 'weights/model.ckpt'"),
        (zipped("a/", "\x1b[31m.pt"), "zip archive that holds '\\x1b[31m.pt'"),
        (zipped("a.txt"), "zip archive without a checkpoint: 'a.txt'"),
        (zipped(), "empty zip archive"),
        (zipped("a.pt")[:40], "zip archive that holds 'a.pt'"),
        (zipped("net/config.json", "net/model.weights.h5"), "Keras model in a folder"),
        (b'{"metadata": {}, "weight_map": {"/layers/conv2d/vars": "a_00000.weights.h5"}}', "index of Keras weights"),
        (zipped("a/.data/extern_modules", "a/.data/version", "a/model.pkl"), "torch.package"),
        (zipped("Manifest.json", "Data/com.apple.CoreML/model.mlmodel"), "Core ML"),
        (saved(np.save, np.zeros(3)), ".npy"),
        (saved(lambda file: np.savez(file, a=np.zeros(3), b=np.ones(2))), ".npz"),
        (saved(lambda file: np.save(file, np.array({"a": 1}), allow_pickle=True)), ".npy"),
        (pickle.dumps({"conv": np.zeros(3)}), "pickle of numpy arrays"),
        (pickle.dumps({"a": [1, 2]}, 4), "Python pickle"),
        (pickle.dumps({"a": [1, 2]}, 2), "Python pickle"),
        (pickle.dumps({"a": [1, 2]}, 0), "Python pickle"),
        (b"cposix\nsystem\n(S'id'\ntR.", "Python pickle"),
        (b"\x1c\0\0\0TFL3" + bytes(40), "TFLite"),
        (b"GGUF\3\0\0\0", "GGUF"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"\x7fELF\2\1\1", "ELF"),
        (NOT_CAFFE, "Caffe model"),
        (field(1, b"net") + field(2, b"layer") * 3, "Caffe model of the first version"),
        (field(1, 1) + field(2, b"graph" * 50), "TensorFlow SavedModel"),
        (field(1, b"node") * 5 + field(4, b"\x08\x01"), "TensorFlow frozen graph"),
        (field(1, 4) + field(2, b"description") + field(500, b"net"), "Core ML model"),
        (bytes(40) + b"x", ""),
        (b"\1" * 60 + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb", "index of a TensorFlow checkpoint"),
        (b"\xde\xad\xbe\xef" * 100, ""),
        (b"\xff", ""),
    ],
)
def test_says_what_it_is(data, message):
    assert message in described(data)
    assert bool(message) == bool(described(data))


@pytest.mark.parametrize(
    ("path", "data", "message"),
    [
        ("yolo.weights", bytes([0, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0]) + bytes(range(256)), "Darknet"),
        ("model.ckpt.data-00000-of-00001", b"\x81\x93\xff" * 9, "part of a TensorFlow checkpoint"),
        ("flax_model.msgpack", b"\xde\x00\x10", "Flax"),
        ("yolo.pt", bytes([0, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0]) + bytes(range(256)), ""),
    ],
)
def test_formats_without_a_mark_go_by_their_name_too(path, data, message):
    assert message in described(data, path)
    assert bool(message) == bool(described(data, path))


def test_formats_of_torch_itself_when_its_readers_decline():
    file = io.BytesIO()
    with torch.package.PackageExporter(file) as exporter:
        exporter.intern("nothing", allow_empty=True)
        exporter.save_pickle("model", "model.pkl", {"a": 1})
    assert "torch.package" in described(file.getvalue())


def test_every_magic_is_found_where_it_stands():
    for at, magic, what, _ in MAGIC:
        assert what in described(b"\xfe" * at + magic + bytes(100)), what


def test_every_checkpoint_suffix_is_pointed_at_inside_an_archive():
    for suffix in CHECKPOINT_SUFFIXES:
        assert f"'x{suffix}'" in described(zipped("notes.txt", f"x{suffix}"))


def test_a_zip_of_many_names_is_looked_at_in_part():
    data = zipped(*(f"{index:05d}" + "x" * 200 for index in range(10_000)), "last.pt")
    assert "zip archive without a checkpoint" in described(data)


SEEDS = [
    LFS,
    S3,
    NOT_CAFFE,
    zipped("a.pt", "b.txt"),
    tarred("a.pt"),
    tarred("a.pt", mode="w:gz"),
    pickle.dumps({"a": 1}),
    saved(np.save, np.zeros(3)),
    b"",
]


@settings(deadline=None, derandomize=True, max_examples=400)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 4000), st.binary(max_size=4)), max_size=4),
    st.integers(0, 12000),
)
def test_whatever_it_is_the_answer_is_one_line_or_none(seed, edits, length):
    data = bytearray(seed)
    for at, piece in edits:
        data[at : at + len(piece)] = piece
    described(bytes(data[:length]) or b"\0")


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.binary(min_size=1, max_size=200))
def test_random_bytes(data):
    described(data)


# --- through the front door ---


def refused(path) -> str:
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(str(path))
    assert set(os.listdir("/proc/self/fd")) == before
    assert caught.value.path == str(path)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".onnx", ".index.json", ""])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (LFS, "git-lfs pointer"),
        (b"<!doctype html>\n", "HTML page"),
        (gzip.compress(b"x" * 100), "gzip"),
        (tarred("run/best.pth"), "holds 'run/best.pth'"),
        (zipped("run/best.pth"), "holds 'run/best.pth'"),
        (zipped("metadata.json", "config.json", "model.weights.h5"), "configuration that is no JSON"),
        (saved(lambda file: np.savez(file, a=np.zeros(3))), ".npz"),
        (b"\x1c\0\0\0TFL3" + bytes(40), "TFLite"),
        (b"hello", "text file"),
        (b"\xde\xad\xbe\xef" * 100, "not a checkpoint that gcx reads"),
        (bytes(100), "zero bytes"),
    ],
)
def test_the_suffix_does_not_matter(tmp_path, suffix, data, message):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(data)
    assert message in refused(path)


def test_what_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "empty").touch()
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.open(".", os.O_RDONLY)
        os.chdir(tmp_path)  # the path of a socket may have 108 characters
        listening.bind("socket")
        os.fchdir(here)
        os.close(here)
        assert "not a regular file" in refused(tmp_path / "socket")
    assert "not a regular file" in refused(tmp_path / "fifo")
    assert "not a regular file" in refused("/dev/zero")
    assert "is a directory" in refused(tmp_path)
    assert "no such file" in refused(tmp_path / "dangling")
    assert "no such file" in refused(tmp_path / "missing")
    assert "loop of symbolic links" in refused(tmp_path / "a")
    assert "is empty" in refused(tmp_path / "empty")
    assert "not a file name" in refused("a\0b")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read(tmp_path):
    path = tmp_path / "secret.pt"
    path.write_bytes(b"x")
    path.chmod(0)
    assert "permission denied" in refused(path)


def test_a_link_to_a_checkpoint_is_read(tmp_path):
    torch.save({"a.weight": torch.ones(2, 2)}, tmp_path / "blob")
    (tmp_path / "model.pt").symlink_to("blob")
    with read_checkpoint(str(tmp_path / "model.pt")) as checkpoint:
        assert list(checkpoint.tensors) == ["a.weight"]
