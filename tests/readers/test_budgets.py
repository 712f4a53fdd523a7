"""What a small file may ask for: every budget of the torch readers at its limit and one over, named in the message."""

from __future__ import annotations

import struct

import pytest
from evil import (
    FOUR,
    Call,
    Raw,
    Record,
    Ref,
    changed,
    legacy_file,
    legacy_storage,
    old_tar,
    ops,
    pickled,
    records,
    storage,
    tar_file,
    tensor,
    text,
    zip_bytes,
    zip_file,
)
from readers.opening import opened, refused

from gcx.readers.torch import archive as archive_module
from gcx.readers.torch import container as container_module
from gcx.readers.torch import legacy as legacy_module
from gcx.readers.torch import machine as machine_module
from gcx.readers.torch import opcodes as opcodes_module

GOOD = ops("w") + ops(tensor())


def beside(payload: bytes) -> bytes:
    """A checkpoint whose state dict has `w`, and a value of these opcodes."""
    return zip_file(Raw(b"\x80\x02}(" + GOOD + text("x") + payload + b"u."))


def spent(monkeypatch, attribute, start):
    """How much of a budget the good checkpoint takes."""
    budgets = []

    class Counted(machine_module.Budget):
        def __init__(self):
            super().__init__()
            budgets.append(self)

    monkeypatch.setattr(container_module, "Budget", Counted)
    return lambda: start - getattr(budgets[-1], attribute)


CONTAINERS = {
    "list": b"]",
    "tuple": b"N\x85",
    "pair": b"NN\x86",
    "three": b"NNN\x87",
    "marked tuple": b"(t",
    "marked list": b"(l",
    "dict": b"}",
    "marked dict": b"(d",
    "set": b"\x8f",
    "frozen set": b"(\x91",
    "object": b"cmine\nNet\n)R",
    "new object": b"cmine\nNet\n)\x81",
    "new object with names": b"cmine\nNet\n)}\x92",
    "instance": b"(imine\nNet\n",
    "class and arguments": b"(cmine\nNet\no",
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_containers(kind, monkeypatch, watched):
    used = spent(monkeypatch, "containers", machine_module.PICKLE_CONTAINERS)
    opened(beside(CONTAINERS[kind]), watched)
    one = used()
    opened(beside(b"N"), watched)
    assert one > used(), "not counted"
    monkeypatch.setattr(machine_module, "PICKLE_CONTAINERS", one)
    opened(beside(CONTAINERS[kind]), watched)
    assert "limit PICKLE_CONTAINERS" in refused(beside(b"(" + CONTAINERS[kind] * 2 + b"t"), watched)


def test_globals(monkeypatch, watched):
    monkeypatch.setattr(machine_module, "PICKLE_GLOBALS", 5)  # of the tensor: a function, a storage and a dict class
    many = [f"cmine\nN{number}\n".encode() for number in range(3)]
    opened(beside(b"(" + b"".join(many[:2]) + many[0] + b"t"), watched)
    assert "limit PICKLE_GLOBALS" in refused(beside(b"(" + b"".join(many) + b"t"), watched)


def test_all_pickles_of_an_archive_share_one_budget(monkeypatch, watched):
    whole = records(pickled({"w": tensor()}))
    nones = Record("archive/more.pkl", b"\x80\x02(" + b"N" * 1000 + b"t.")
    monkeypatch.setattr(machine_module, "PICKLE_OPS", 1500)
    opened(zip_bytes([*whole, nones]), watched)
    two = [*whole, nones, Record("archive/extra.pickle", nones.data)]
    assert "limit PICKLE_OPS" in refused(zip_bytes(two), watched)


def test_all_pickles_of_a_legacy_stream_share_one_budget(monkeypatch, watched):
    def with_info(count):
        info = {"little_endian": True, "x": Raw(b"(" + b"N" * count + b"t")}
        keys = Raw(b"(" + b"N" * 1000 + b"t0" + ops(["0"]))
        return legacy_file({"w": tensor(legacy_storage())}, info=info, keys=keys)

    monkeypatch.setattr(machine_module, "PICKLE_OPS", 1500)
    opened(with_info(10), watched)
    assert "limit PICKLE_OPS" in refused(with_info(1000), watched)


def test_all_pickles_of_a_tar_share_one_budget(monkeypatch, watched):
    members = old_tar({"w": Call(Ref("torch", "FloatTensor"))})
    nones = b"\x80\x02(" + b"N" * 1000 + b"t0"
    monkeypatch.setattr(machine_module, "PICKLE_OPS", 1500)
    opened(tar_file(members | {"pickle": nones + members["pickle"][2:]}), watched)
    both = {name: nones + members[name][2:] for name in ("pickle", "tensors")}
    assert "limit PICKLE_OPS" in refused(tar_file(members | both), watched)


@pytest.mark.parametrize(
    "callee", ["collections\nOrderedDict", "torch\nSize", "mine\nNet", "torch._tensor\n_rebuild_from_type_v2"]
)
def test_what_calls_are_handed(callee, monkeypatch, watched):
    """One long list, handed over a hundred times."""
    monkeypatch.setattr(machine_module, "PICKLE_OPS", 20_000)
    pairs = b"](" + b"](NNe" * 1000 + b"eq\x05"
    handed = b"h\x05\x85" if "from_type" not in callee else b"ccollections\nOrderedDict\nNh\x05\x85\x87"
    data = beside(b"(" + pairs + b"c" + callee.encode() + b"\nq\x06" + (b"h\x06" + handed + b"R") * 100 + b"t")
    assert any(says in refused(data, watched) for says in ("limit PICKLE_OPS", "limit RANK"))


def test_marks(monkeypatch, watched):
    monkeypatch.setattr(opcodes_module, "PICKLE_DEPTH", 10)
    opened(beside(b"(" * 9 + b"N" + b"t" * 9), watched)
    assert "limit PICKLE_DEPTH" in refused(beside(b"(" * 10 + b"N" + b"t" * 10), watched)


def test_bytes_of_a_pickle(monkeypatch, watched):
    data = beside(b"N")
    length = len(b"\x80\x02}(" + GOOD + text("x") + b"Nu.")
    monkeypatch.setattr(container_module, "PICKLE_BYTES", length)
    opened(data, watched)
    monkeypatch.setattr(container_module, "PICKLE_BYTES", length - 1)
    assert "limit PICKLE_BYTES" in refused(data, watched)


def test_bytes_of_a_legacy_pickle(monkeypatch, watched):
    """The window grows until the pickle ends in it, or the budget does."""
    monkeypatch.setattr(legacy_module, "_WINDOW", 64)

    def long(count):
        return legacy_file({"w": tensor(legacy_storage()), "x": bytes(count)})

    for count in (0, 50, 63, 64, 65, 1000, 5000, 20_000):
        assert opened(long(count), watched)[0]["w"].tolist() == [1, 2, 3, 4]
    monkeypatch.setattr(legacy_module, "PICKLE_BYTES", 1024)
    opened(long(500), watched)
    assert "limit PICKLE_BYTES" in refused(long(5000), watched)


def test_long_texts_are_no_names(monkeypatch, watched):
    """Nothing that stands under one vanishes unsaid."""
    monkeypatch.setattr(machine_module, "PICKLE_TEXT", 100)
    weight = ops(tensor(size=(2, 2, 1), stride=(2, 1, 1)))
    arrays, checkpoint = opened(zip_file(Raw(b"\x80\x02}(" + GOOD + text("n" * 100) + weight + b"u.")), watched)
    assert list(arrays) == ["w", "n" * 100]
    assert checkpoint.notes == ()
    arrays, checkpoint = opened(zip_file(Raw(b"\x80\x02}(" + GOOD + text("n" * 101) + weight + b"u.")), watched)
    assert list(arrays) == ["w"]
    assert checkpoint.notes == ("left out, since it has no name: 1 tensor of three axes or more",)
    assert "no text" in refused(beside(text("n" * 101) + text("Net") + b"\x93"), watched)


def test_directory(monkeypatch, watched):
    data = zip_bytes(records(pickled({"w": tensor()})))
    length = int.from_bytes(data[-10:-6], "little")
    monkeypatch.setattr(archive_module, "ZIP_DIRECTORY", length)
    opened(data, watched)
    monkeypatch.setattr(archive_module, "ZIP_DIRECTORY", length - 1)
    assert "limit ZIP_DIRECTORY" in refused(data, watched)


def test_bytes_behind_a_deflated_record(watched):
    whole = records(pickled({"w": tensor()}))
    packed = Record("x", FOUR, method=8).packed()
    data = zip_bytes(changed(whole, "data/0", method=8, payload=packed + b"more", stored=len(packed) + 4))
    assert "other bytes behind what inflates" in refused(data, watched)


BEYOND = {
    "offset": lambda: tensor(offset=2**63),
    "offset of a kilobyte": lambda: tensor(offset=Raw(b"\x8a\xff" + b"\x7f" * 255)),
    "size": lambda: tensor(size=(2**63,)),
    "size beyond any digits": lambda: tensor(size=(Raw(b"\x8b" + struct.pack("<I", 4096) + b"\x7f" * 4096),)),
    "stride": lambda: tensor(size=(2, 2), stride=(2**63, 1)),
    "stride beyond any digits": lambda: tensor(
        size=(2, 2), stride=(Raw(b"\x8b" + struct.pack("<I", 4096) + b"\x7f" * 4096), 1)
    ),
    "no storage": lambda: Call(
        Ref("torch._utils", "_rebuild_tensor_v3"), 7, 0, (4,), (1,), False, {}, Ref("torch", "int8")
    ),
    "product": lambda: tensor(size=(2**31, 2**31), stride=(0, 0)),
    "storage": lambda: tensor(storage(2**63)),
    "storage beyond any digits": lambda: tensor(storage(Raw(b"\x8b" + struct.pack("<I", 4096) + b"\x7f" * 4096))),
}


@pytest.mark.parametrize("kind", BEYOND)
def test_numbers_beyond_any_memory(kind, watched):
    message = refused(zip_file({"w": BEYOND[kind]()}), watched)
    assert "ValueError" not in message
    assert "arguments" not in message


def test_a_long_list_of_sizes_is_not_looked_through(watched):
    sizes = b"](" + b"K\x01" * 100_000 + b"e"
    assert "limit RANK" in refused(zip_file({"w": tensor(size=Raw(sizes))}), watched)


def in_turn(count: int) -> bytes:
    """Weights that lie in two packed storages in turn, so that each read inflates one again."""
    weights = {f"c{k}": tensor(storage(256, str(k % 2)), 4 * k, (4, 1, 1, 1), (1, 1, 1, 1)) for k in range(count)}
    kept = [one for one in records(pickled(weights)) if "data/" not in one.name]
    return zip_bytes([*kept, *(Record(f"archive/data/{key}", bytes(1024), method=8) for key in "01")])


def test_a_record_is_inflated_only_so_often(monkeypatch, watched):
    monkeypatch.setattr(archive_module, "INFLATE_TIMES", 1)
    monkeypatch.setattr(archive_module, "INFLATE_AGAIN", 3 * 1024)
    assert len(opened(in_turn(5), watched)[0]) == 5
    assert "INFLATE_AGAIN" in refused(in_turn(6), watched)
