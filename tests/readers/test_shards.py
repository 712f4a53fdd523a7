"""Sharded checkpoints: the same tensors as in one file; nothing outside the folder; what is missing is named."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import safetensors.numpy
import torch
from readers.flat import source_of

from gcx.checkpoint import Checkpoint, TensorRef
from gcx.errors import CheckpointError
from gcx.readers import base, read_checkpoint
from gcx.readers import shards as shards_module
from gcx.readers.base import ReadOptions, open_source
from gcx.readers.safetensors import SafetensorsReader
from gcx.readers.shards import ShardIndexReader

READER = ShardIndexReader()
TENSORS = {
    "stem.weight": np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32),
    "stem.bias": np.arange(4, dtype=np.float16),
    "body.0.weight": np.ones((2, 4, 1, 1), np.float64),
}
FILES = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
MAP = {"stem.weight": FILES[0], "stem.bias": FILES[1], "body.0.weight": FILES[1]}


def sharded(folder, weight_map=MAP, tensors=TENSORS, index=None):
    """Write the shards of a map and its index; returns the index's path."""
    for file in set(weight_map.values()):
        safetensors.numpy.save_file({k: v for k, v in tensors.items() if weight_map[k] == file}, folder / file)
    path = folder / "model.safetensors.index.json"
    path.write_text(index or json.dumps({"metadata": {"total_size": 1, "x": [{}, "]"]}, "weight_map": weight_map}))
    return path


def read(path, weights="plain", reader=READER):
    source = open_source(str(path))
    assert reader.recognises(source)
    try:
        checkpoint = reader.read(source, ReadOptions(weights))
    except BaseException:
        source.close()
        raise
    with checkpoint:
        return checkpoint, {name: ref.read() for name, ref in checkpoint.tensors.items()}


def refusal(path) -> CheckpointError:
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(CheckpointError) as caught:
        read(path)
    assert set(os.listdir("/proc/self/fd")) == before
    assert caught.value.path is not None
    assert "\n" not in str(caught.value)
    return caught.value


def test_same_tensors_as_in_one_file_in_the_order_of_the_index(tmp_path):
    before = set(os.listdir("/proc/self/fd"))
    checkpoint, found = read(sharded(tmp_path))
    assert list(found) == list(TENSORS)
    assert all(np.array_equal(found[name], array) for name, array in TENSORS.items())
    assert {name: ref.dtype for name, ref in checkpoint.tensors.items()} == {
        k: v.dtype.name for k, v in TENSORS.items()
    }
    assert (checkpoint.format, checkpoint.notes) == ("safetensors", ("2 shards",))
    assert set(os.listdir("/proc/self/fd")) == before


def test_shards_may_be_links_as_in_caches(tmp_path):
    (tmp_path / "blobs").mkdir()
    index = sharded(tmp_path / "blobs")
    for file in FILES:
        (tmp_path / file).symlink_to(tmp_path / "blobs" / file)
    (tmp_path / "model.safetensors.index.json").symlink_to(index)
    assert list(read(tmp_path / "model.safetensors.index.json")[1]) == list(TENSORS)


def test_prefixes_are_dropped_over_all_shards_together(tmp_path):
    renamed = {f"module.{name}": array for name, array in TENSORS.items()}
    index = sharded(tmp_path, {f"module.{name}": file for name, file in MAP.items()}, renamed)
    assert list(read(index)[1]) == list(TENSORS)
    half = {name if "stem" in name else f"module.{name}": array for name, array in TENSORS.items()}
    index = sharded(tmp_path, {name: FILES["stem" not in name] for name in half}, half)
    assert list(read(index)[1]) == list(half)


def test_the_moving_average_may_lie_in_another_shard(tmp_path):
    tensors = {"a.w": np.zeros((2, 2), np.float32), "ema.a.w": np.ones((2, 2), np.float32)}
    index = sharded(tmp_path, {"a.w": FILES[0], "ema.a.w": FILES[1]}, tensors)
    assert read(index)[1]["a.w"].sum() == 0
    assert read(index, "ema")[1]["a.w"].sum() == 4


class OtherReader:
    """A reader of another format, as the torch readers are: it drops prefixes itself."""

    name = "other"
    suffixes: tuple[str, ...] = ()

    def __init__(self):
        self.closed = 0

    def recognises(self, source):
        return source.head.startswith(b"OTHER")

    def read(self, source, options):
        def close():
            self.closed += 1
            source.close()

        names = source.head[5:].decode().split()
        refs = {name: TensorRef(name, "float32", (), lambda: np.zeros((), np.float32)) for name in names}
        return Checkpoint(source.path, "other-format", refs, close=close)


def test_shards_of_another_reader(tmp_path):
    other = OtherReader()
    (tmp_path / "pytorch_model-1.bin").write_bytes(b"OTHERa b")
    (tmp_path / "pytorch_model-2.bin").write_bytes(b"OTHERc unlisted")
    index = tmp_path / "pytorch_model.bin.index.json"
    weight_map = {
        "module.a": "pytorch_model-1.bin",
        "module.b": "pytorch_model-1.bin",
        "module.c": "pytorch_model-2.bin",
    }
    index.write_text(json.dumps({"weight_map": weight_map}))
    checkpoint, found = read(index, reader=ShardIndexReader([other]))
    assert checkpoint.format == "other-format"
    assert list(found) == ["a", "b", "c"]
    assert [ref.name for ref in checkpoint.tensors.values()] == ["a", "b", "c"]
    assert other.closed == 2


def test_missing_shard_is_named(tmp_path):
    index = sharded(tmp_path)
    (tmp_path / FILES[1]).unlink()
    error = refusal(index)
    assert f"shard '{FILES[1]}' is missing" in str(error)
    assert "same folder" in str(error)


def test_tensor_absent_from_its_shard_is_named(tmp_path):
    index = sharded(tmp_path)
    index.write_text(json.dumps({"weight_map": {**MAP, "other.weight": FILES[0]}}))
    assert f"tensor 'other.weight': is not in shard '{FILES[0]}'" in str(refusal(index))
    index.write_text(json.dumps({"weight_map": {**MAP, "stem.bias": FILES[0]}}))
    assert "tensor 'stem.bias'" in str(refusal(index))


def test_damaged_shard_is_named(tmp_path):
    index = sharded(tmp_path)
    (tmp_path / FILES[1]).write_bytes((tmp_path / FILES[1]).read_bytes()[:-1])
    error = refusal(index)
    assert error.path.endswith(FILES[1])
    assert "truncated" in str(error)


@pytest.mark.parametrize("content", [b"hello", b"\x80\x02}q\0.", b'{"weight_map": {"a": "b"}}', b"PK\3\4"])
def test_a_shard_that_is_no_checkpoint(tmp_path, content):
    index = sharded(tmp_path)
    (tmp_path / FILES[1]).write_bytes(content)
    assert f"shard '{FILES[1]}' is no checkpoint" in str(refusal(index))


def test_shards_of_two_kinds(tmp_path):
    index = sharded(tmp_path)
    (tmp_path / FILES[1]).write_bytes(b"OTHERstem.bias body.0.weight")
    source = open_source(str(index))
    with pytest.raises(CheckpointError, match="two kinds"):
        ShardIndexReader([OtherReader()]).read(source, ReadOptions())
    source.close()


@pytest.mark.parametrize(("shard", "message"), [("fifo", "not a regular file"), ("folder", "is a directory")])
def test_a_shard_that_is_no_file(tmp_path, shard, message):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    index = sharded(tmp_path)
    index.write_text(json.dumps({"weight_map": {"a": shard}}))
    assert message in str(refusal(index))


@pytest.mark.parametrize(
    "shard",
    [
        *("../secret.safetensors", "/etc/passwd", "a/b.safetensors", "..", ".", "", "a\\b", "c:a", "a\0b", "a\nb"),
        *("x" * 256, "\x1b[31m", "./model-00001-of-00002.safetensors", "~/../x"),
    ],
)
def test_nothing_is_opened_outside_the_folder(tmp_path, shard, monkeypatch):
    (tmp_path / "in").mkdir()
    safetensors.numpy.save_file(TENSORS, tmp_path / "secret.safetensors")
    index = sharded(tmp_path / "in")
    index.write_text(json.dumps({"weight_map": {"stem.weight": shard}}))
    opened = []
    monkeypatch.setattr(base, "open_source", lambda path: opened.append(path) or open_source(path))
    error = refusal(index)
    assert "not a plain file name" in str(error)
    assert str(error).isprintable()
    assert opened == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "without a weight_map"),
        ('{"metadata": {}}', "without a weight_map"),
        ('{"weight_map": {}}', "names no tensor"),
        ('{"weight_map": []}', "no '{'"),
        ('{"weight_map": {"a": 1}}', "no text where"),
        ('{"weight_map": {"a": null}}', "no text where"),
        ('{"weight_map": {"a": ["b"]}}', "no text where"),
        ('{"weight_map": {"a": "b", "a": "b"}}', "'a' stands in it twice"),
        ('{"weight_map": {"a": "b"}, "weight_map": {"a": "b"}}', "'weight_map' stands in it twice"),
        ('{"weight_map": {"a": "b"}}x', "more after its end"),
        ('{"weight_map": {"a": "b"}', "no ','"),
        ('{"weight_map": {"a": "b', "damaged text"),
        ('{"weight_map": {"\\ud800": "b"}}', "damaged text"),
        ('{"weight_map": {"a": "\\udfff"}}', "damaged text"),
        ('{"weight_map', "damaged text"),
        ("{", "no text where"),
        ('{"x": ' + "[" * 1_000_000, "does not end"),
        ('{"x": ' + "[" * 1_000_000 + "]" * 1_000_001 + "}", "no ','"),
        ('{"x": ]}', "no value where"),
        ('{"x": "\n"}', "does not end"),
        ('{"x": ' + '{"a":' * 500_000, "does not end"),
        ('{"x": [[],' + "[]," * 1_000_000, "does not end"),
    ],
)
def test_damaged_index(tmp_path, text, message):
    assert message in str(refusal(sharded(tmp_path, index=text)))


def test_not_utf8(tmp_path):
    index = sharded(tmp_path)
    index.write_bytes(b'{"weight_map": {"\xff": "b"}}')
    assert "UTF-8 at byte 17" in str(refusal(index))


@pytest.mark.parametrize(
    "value", ["0", "-1.5e3", "NaN", "true", "null", '"te\\"xt]"', "[]", "{}", '[{"a": [1, "}"]}, 2]']
)
def test_other_members_are_passed_over(tmp_path, value):
    text = f'{{"x": {value}, "weight_map": {json.dumps(MAP)}, "metadata": {value}}}'
    assert list(read(sharded(tmp_path, index=text))[1]) == list(TENSORS)


@pytest.mark.parametrize(("limit", "value"), [("TENSORS", 3), ("SHARDS", 2), ("INDEX_BYTES", None)])
def test_limits_at_and_over(tmp_path, monkeypatch, limit, value):
    index = sharded(tmp_path)
    value = index.stat().st_size if value is None else value
    monkeypatch.setattr(shards_module, limit, value)
    assert len(read(index)[1]) == 3
    monkeypatch.setattr(shards_module, limit, value - 1)
    assert f"limit {limit}" in str(refusal(index))


@pytest.mark.parametrize(
    ("path", "content", "answer"),
    [
        ("x.index.json", b"{}", True),
        ("x", b' {"weight_map": {}}', True),
        ("x.json", b'{"a": 1}', False),
        ("x.index.json", b"[]", False),
        ("x.index.json", b"<html>", False),
        ("x", b'"weight_map"', False),
    ],
)
def test_recognises(path, content, answer):
    with source_of(content, path) as source:
        assert READER.recognises(source) is answer


def test_who_names_one_shard_is_told_of_the_index(tmp_path):
    sharded(tmp_path)
    with SafetensorsReader().read(open_source(str(tmp_path / FILES[0])), ReadOptions()) as checkpoint:
        assert checkpoint.notes == ("one shard of 2: model.safetensors.index.json names them all",)


def test_who_names_one_torch_shard_too(tmp_path):
    torch.save({"a.weight": torch.ones(2, 2)}, tmp_path / "pytorch_model-00002-of-00007.bin")
    with read_checkpoint(str(tmp_path / "pytorch_model-00002-of-00007.bin")) as checkpoint:
        assert checkpoint.notes == ("one shard of 7: pytorch_model.bin.index.json names them all",)
