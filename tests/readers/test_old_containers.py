"""The legacy stream and the tar of torch 0.1, lie by lie; nothing is allocated that is not there."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from evil import FOUR, Persistent, Raw, Ref, legacy_file, legacy_storage, old_tar, ops, pickled, tar_file, tensor
from readers.opening import opened, refused

from gcx.errors import CheckpointError
from gcx.readers import read_checkpoint
from gcx.readers.torch import TorchLegacyReader
from gcx.readers.torch import storages as storages_module
from gcx.readers.torch.dtypes import DTYPES
from gcx.readers.torch.values import Tensor

W = {"w": Persistent("8")}
MEMBERS = old_tar(W)


def tar(**members: bytes) -> bytes:
    return tar_file(MEMBERS | members)


def storages(*described, count=1, numel=4, numbers=FOUR, views=()):
    stream = pickled(count)
    for one in described or ((7, "cpu", Ref("torch", "FloatStorage")),):
        stream += pickled(one) + struct.pack("<q", numel) + numbers
    return stream + pickled(list(views) if isinstance(views, tuple) else views)


FLOAT = Ref("torch", "FloatTensor")


def tensors(described=(8, 7, FLOAT), count=1, axes=1, size=(4,), stride=(1,), offset=0):
    numbers = struct.pack(f"<{len(size) + len(stride) + 1}q", *size, *stride, offset)
    return pickled(count) + pickled(described) + struct.pack("<i4x", axes) + numbers


def test_what_is_true_is_read(watched):
    assert opened(tar(), watched)[0]["w"].tolist() == [1, 2, 3, 4]
    assert opened(tar(storages=storages(), tensors=tensors()), watched)[0]["w"].tolist() == [1, 2, 3, 4]
    data = tar(
        storages=storages(views=((9, 7, 1, 2),)), tensors=tensors((8, 9, Ref("torch", "FloatTensor")), size=(2,))
    )
    assert opened(data, watched)[0]["w"].tolist() == [2, 3]
    data = tar(tensors=tensors(size=(2, 2), stride=(1, 2), axes=2), pickle=pickled({"w": Persistent(8)}))
    assert opened(data, watched)[0]["w"].tolist() == [[1, 3], [2, 4]]
    without = {name: data for name, data in MEMBERS.items() if name != "sys_info"}
    assert opened(tar_file(without), watched)[0]["w"].tolist() == [1, 2, 3, 4]
    cls = Persistent((Ref("mine", "Net"), "mine.py", "text"))
    assert "w" in opened(tar(pickle=pickled(W | {"cls": cls})), watched)[0]


TARS = {
    "no storages": (lambda: tar_file({"sys_info": b"", "pickle": pickled(W)}), "sys_info|without its file"),
    "no pickle": (lambda: tar_file({k: v for k, v in MEMBERS.items() if k != "pickle"}), "without its file 'pickle'"),
    "no tensors": (
        lambda: tar_file({k: v for k, v in MEMBERS.items() if k != "tensors"}),
        "without its file 'tensors'",
    ),
    "count of text": (lambda: tar(storages=storages(count="1")), "a count that is none"),
    "negative count": (lambda: tar(tensors=tensors(count=-1)), "a count that is none"),
    "more storages than there are": (lambda: tar(storages=storages(count=2)), "described|truncated"),
    "storage not described": (lambda: tar(storages=storages((7, "cpu"))), "not described"),
    "storage of text": (lambda: tar(storages=storages((7, "cpu", "FloatStorage"))), "not described"),
    "storage of an unknown class": (lambda: tar(storages=storages((7, "cpu", Ref("mine", "S")))), "unknown class"),
    "storage of more numbers": (lambda: tar(storages=storages(numel=50)), "of 50 numbers that are not there"),
    "storage of far more numbers": (lambda: tar(storages=storages(numel=2**62)), "numbers that are not there"),
    "storage of negative numbers": (lambda: tar(storages=storages(numel=-4)), "of -4 numbers that are not there"),
    "count of numbers cut": (
        lambda: tar(storages=pickled(1) + pickled((7, "cpu", Ref("torch", "FloatStorage"))) + b"\4\0"),
        "numbers are missing",
    ),
    "key of text": (lambda: tar(storages=storages(("7", "cpu", Ref("torch", "FloatStorage")))), "no number"),
    "huge key": (lambda: tar(storages=storages((2**64, "cpu", Ref("torch", "FloatStorage")))), "no number"),
    "key twice": (lambda: tar(storages=storages(*[(7, "cpu", Ref("torch", "FloatStorage"))] * 2, count=2)), "twice"),
    "views of text": (lambda: tar(storages=storages(views="x")), "list of views"),
    "view of three": (lambda: tar(storages=storages(views=((9, 7, 1),))), "that cannot be"),
    "view of text": (lambda: tar(storages=storages(views=((9, 7, "1", 2),))), "that cannot be"),
    "view of nothing": (lambda: tar(storages=storages(views=((9, 6, 1, 2),))), "names nothing"),
    "view outside": (lambda: tar(storages=storages(views=((9, 7, 3, 2),))), "reaches outside"),
    "view before": (lambda: tar(storages=storages(views=((9, 7, -1, 2),))), "reaches outside"),
    "view of negative length": (lambda: tar(storages=storages(views=((9, 7, 1, -1),))), "reaches outside"),
    "tensor not described": (lambda: tar(tensors=tensors((8, 7))), "not described"),
    "tensor of no storage": (lambda: tar(tensors=tensors((8, 6, Ref("torch", "FloatTensor")))), "names nothing"),
    "tensor of a tensor": (
        lambda: tar(tensors=tensors(count=2) + tensors((9, 8, Ref("torch", "FloatTensor")))[len(pickled(1)) :]),
        "where a storage belongs",
    ),
    "negative axes": (lambda: tar(tensors=tensors(axes=-1)), "of -1 axes"),
    "many axes": (lambda: tar(tensors=tensors(axes=65)), "of 65 axes"),
    "more axes than numbers": (lambda: tar(tensors=tensors(axes=2)), "numbers are missing"),
    "size outside": (lambda: tar(tensors=tensors(size=(5,))), "reaches byte 20"),
    "persistent id of nothing": (lambda: tar(pickle=pickled({"w": Persistent("99")})), "names nothing"),
    "persistent id of text": (lambda: tar(pickle=pickled({"w": Persistent("x")})), "names nothing"),
    "persistent id of many digits": (lambda: tar(pickle=pickled({"w": Persistent("9" * 5000)})), "names nothing"),
    "persistent id of other digits": (lambda: tar(pickle=pickled({"w": Persistent("²")})), "names nothing"),
    "checksum": (lambda: tar_file(MEMBERS, checksum=7), "tar"),
    "a link": (lambda: tar_file(MEMBERS, kind=b"2"), "no plain file"),
    "a folder": (lambda: tar_file(MEMBERS, kind=b"5"), "no plain file"),
    "truncated": (lambda: tar()[:1600], "is truncated"),
    "many files": (lambda: tar(**{str(n): b"" for n in range(70)}), "more files in its tar"),
    "a file twice": (lambda: tar_file(MEMBERS)[:-1024] + tar_file({"tensors": b""}), "'tensors' twice"),
}


@pytest.mark.parametrize("kind", TARS)
def test_tars_that_lie(kind, watched):
    make, says = TARS[kind]
    message = refused(make(), watched)
    assert any(part in message for part in says.split("|")), message


def test_a_size_that_is_no_octal_number(watched):
    data = bytearray(tar())
    second = 512 + 512  # the header of the second file
    data[second + 124 : second + 136] = b"99999999999\0"
    data[second + 148 : second + 156] = b" " * 8
    data[second + 148 : second + 156] = b"%06o\0 " % sum(data[second : second + 512])
    assert "damaged tar header" in refused(bytes(data), watched)


LEGACY = {
    "persistent id of nothing": (Persistent(None), "names no storage"),
    "persistent id of five": (Persistent(("storage", Ref("torch", "FloatStorage"), "0", "cpu", 4)), "names no storage"),
    "module of three": (Persistent(("module", Ref("mine", "Net"), "text")), "names no storage"),
    "module of text": (Persistent(("module", "Net", "mine.py", "text")), "names no storage"),
    "class of text": (Persistent(("storage", "FloatStorage", "0", "cpu", 4, None)), "unknown class"),
    "key of a number": (Persistent(("storage", Ref("torch", "FloatStorage"), 0, "cpu", 4, None)), "no plain name"),
    "empty key": (Persistent(("storage", Ref("torch", "FloatStorage"), "", "cpu", 4, None)), "no plain name"),
    "dots for a key": (Persistent(("storage", Ref("torch", "FloatStorage"), "..", "cpu", 4, None)), "no plain name"),
    "true numbers": (Persistent(("storage", Ref("torch", "FloatStorage"), "0", "cpu", True, None)), "no whole number"),
    "view of text": (legacy_storage(view="x"), "cannot be"),
    "view of two": (legacy_storage(view=("1", 0)), "cannot be"),
    "view of a number": (legacy_storage(view=(1, 0, 2)), "cannot be"),
    "view from text": (legacy_storage(view=("1", "0", 2)), "reaches outside"),
    "view before": (legacy_storage(view=("1", -1, 2)), "reaches outside"),
    "view of negative length": (legacy_storage(view=("1", 1, -1)), "reaches outside"),
    "view beyond": (legacy_storage(view=("1", 3, 2)), "reaches outside"),
}


@pytest.mark.parametrize("kind", LEGACY)
def test_legacy_ids_that_lie(kind, watched):
    of, says = LEGACY[kind]
    assert says in refused(legacy_file({"w": tensor(of)}), watched)


def test_one_storage_of_two_kinds(watched):
    value = {"a": tensor(legacy_storage()), "b": tensor(legacy_storage(4, "0", "IntStorage"))}
    assert "two lengths or kinds" in refused(legacy_file(value), watched)


def test_a_stream_that_only_begins_like_one(watched):
    data = legacy_file({"w": tensor(legacy_storage())}, magic=Raw(b"(" + ops(0x1950A86A20F9469CFC6C) + b"t"))
    assert "not torch's legacy stream" in refused(data, watched)


def test_big_endian_counts_and_numbers(watched):
    info = {"protocol_version": 1001, "little_endian": False}
    data = legacy_file({"w": tensor(legacy_storage())}, info=info)[:-24]
    data += struct.pack(">q", 4) + struct.pack(">4f", 1, 2, 3, 4)
    assert opened(data, watched)[0]["w"].tolist() == [1, 2, 3, 4]


def test_storages_stand_in_the_order_of_their_keys(watched):
    value = {"a": tensor(legacy_storage()), "b": tensor(legacy_storage(2, "1"), size=(2,))}
    data = legacy_file(value, data={"1": (2, struct.pack("<2f", 8, 9)), "0": (4, FOUR)})
    arrays, checkpoint = opened(data, watched)
    assert (arrays["a"].tolist(), arrays["b"].tolist()) == ([1, 2, 3, 4], [8, 9])
    assert checkpoint.notes == ()


def test_bytes_behind_the_last_storage_are_noted(watched):
    data = legacy_file({"w": tensor(legacy_storage())}) + bytes(7)
    assert opened(data, watched)[1].notes == ("7 bytes after the last storage are not read",)


def test_what_has_no_numbers_gives_none():
    for unreadable in ("is sparse", None):
        made = Tensor(DTYPES["torch.float32"], (2,), (1,), unreadable=unreadable)
        with pytest.raises(CheckpointError, match=unreadable or "has no numbers"):
            storages_module.reference("w", made, lambda *_: b"").load()


def test_missing_numbers_are_seen_when_the_file_is_opened(watched):
    """Not only when the tensor is read, which may never be."""
    Path("file.pth").write_bytes(legacy_file({"w": tensor(legacy_storage())})[:-1])
    with watched(), pytest.raises(CheckpointError, match="storage '0' ends at byte"):
        read_checkpoint("file.pth")


@pytest.mark.parametrize("error", [TypeError, KeyError, RecursionError, MemoryError, OverflowError, AttributeError])
def test_what_no_reader_foresaw_is_still_one_line(error, monkeypatch, watched):
    def fail(*_):
        raise error("secret\x1b")

    monkeypatch.setattr(TorchLegacyReader, "read", fail)
    Path("file.pth").write_bytes(legacy_file({"w": tensor(legacy_storage())}))
    with watched(), pytest.raises(CheckpointError) as caught:
        read_checkpoint("file.pth")
    assert str(caught.value) == f"file.pth: is damaged: {error.__name__} while reading"
