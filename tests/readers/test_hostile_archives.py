"""Containers that lie: zip archives, legacy streams and their tensors; each is refused in one line, by name."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import numpy as np
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
    ops,
    pickled,
    records,
    storage,
    tensor,
    zip_bytes,
    zip_file,
)
from readers.opening import opened, refused

import gcx.readers
from gcx import limits
from gcx.readers.torch import archive as archive_module
from gcx.readers.torch import machine as machine_module
from gcx.readers.torch import tensors as tensors_module

GOOD = {"w": tensor()}
PICKLE = pickled(GOOD)


def parts():
    return records(PICKLE)


def test_the_builders_make_what_is_read(watched):
    for data in (zip_file(GOOD), legacy_file({"w": tensor(legacy_storage())}), zip_bytes(parts(), zip64=True)):
        arrays, _ = opened(data, watched)
        assert arrays["w"].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_deflated_records_are_inflated(watched):
    data = zip_bytes(changed(changed(parts(), "data/0", method=8), "data.pkl", method=8))
    arrays, _ = opened(data, watched)
    assert arrays["w"].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_big_endian_numbers_are_swapped(watched):
    swapped = struct.pack(">4f", 1.0, 2.0, 3.0, 4.0)
    data = zip_bytes(changed(changed(parts(), "byteorder", data=b"big"), "data/0", data=swapped))
    assert opened(data, watched)[0]["w"].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_no_checksums_are_noted_not_refused(watched):
    data = zip_bytes(Record(record.name, record.data, crc=0) for record in parts())
    _, checkpoint = opened(data, watched)
    assert checkpoint.notes == ("the file has no checksums: damage would not be seen",)


ZIPS = {
    "other bytes before": (lambda: zip_bytes(parts(), prefix=b"MZ" * 50), "."),
    "bytes between the first": (lambda: b"PK\3\4" + bytes(20) + zip_bytes(parts()), "directory|before"),
    "bytes behind": (lambda: zip_bytes(parts(), suffix=b"x"), "other bytes behind it"),
    "name twice": (lambda: zip_bytes([*parts(), Record("archive/data/0", FOUR)]), "'archive/data/0' is there twice"),
    "two data.pkl": (lambda: zip_bytes([*parts(), Record("archive/x/data.pkl", PICKLE)]), "2 pickles named data.pkl"),
    "two top folders": (lambda: zip_bytes([*parts(), Record("other/x", b"")]), "second top folder"),
    "no data.pkl": (lambda: zip_bytes([Record("archive/version", b"3")]), "zip archive"),
    "encrypted": (lambda: zip_bytes(changed(parts(), "data/0", flags=1)), "is encrypted"),
    "symbolic link": (lambda: zip_bytes(changed(parts(), "data/0", attributes=0xA1FF << 16)), "symbolic link"),
    "dot dot": (lambda: zip_bytes([*parts(), Record("archive/../../x", b"")]), "leaves the archive"),
    "absolute": (lambda: zip_bytes([*parts(), Record("/etc/passwd", b"")]), "leaves the archive"),
    "backslash": (lambda: zip_bytes([*parts(), Record("archive\\x", b"")]), "leaves the archive"),
    "name not UTF-8": (lambda: zip_bytes([*parts(), Record(b"archive/\xff", b"")]), "not UTF-8"),
    "method": (lambda: zip_bytes(changed(parts(), "data/0", method=12)), "packed by method 12"),
    "two sizes": (lambda: zip_bytes(changed(parts(), "data/0", size=17)), "has two sizes"),
    "local name": (lambda: zip_bytes(changed(parts(), "data/0", local={"name": b"archive/data/1"})), "differs"),
    "local method": (lambda: zip_bytes(changed(parts(), "data/0", local={"method": 8})), "differs"),
    "local flags": (lambda: zip_bytes(changed(parts(), "data/0", local={"flags": 8})), "differs"),
    "local crc": (lambda: zip_bytes(changed(parts(), "data/0", local={"crc": 7})), "differs"),
    "local size": (lambda: zip_bytes(changed(parts(), "data/0", local={"stored": 15})), "differs"),
    "wrong place": (lambda: zip_bytes(changed(parts(), "data/0", place=3)), "overlaps|not where|truncated|before"),
    "place past the end": (lambda: zip_bytes(changed(parts(), "version", place=10**6)), "overlaps|truncated"),
    "overlap": (lambda: zip_bytes(changed(parts(), "data/0", stored=64, size=64)), "overlaps|differs"),
    "crc": (lambda: zip_bytes(changed(parts(), "data/0", crc=7)), "another CRC32"),
    "crc of the pickle": (lambda: zip_bytes(changed(parts(), "data.pkl", crc=7)), "another CRC32"),
    "damaged deflate": (lambda: zip_bytes(changed(parts(), "data/0", method=8, payload=b"\xff\xff\xff")), "inflated"),
    "deflates to more": (lambda: zip_bytes(changed(parts(), "data/0", method=8, size=15)), "more than it says|bytes"),
    "deflates to less": (
        lambda: zip_bytes(changed(records(pickled({"w": tensor(storage(5), size=(5,))})), "data/0", method=8, size=20)),
        "less than it says",
    ),
    "count too high": (lambda: zip_bytes(parts(), end={"count": 9}), "directory"),
    "count too low": (lambda: zip_bytes(parts(), end={"count": 1}), "longer than its entries"),
    "directory moved": (lambda: zip_bytes(parts(), end={"begin": 5}), "not where it should be"),
    "volumes": (lambda: zip_bytes(parts(), end={"disk": 1}), "several volumes"),
    "comment": (lambda: zip_bytes(parts(), end={"comment": 9}), "behind"),
    "byteorder": (lambda: zip_bytes(changed(parts(), "byteorder", data=b"middle")), "neither little nor big"),
    "nested zip": (lambda: zip_bytes([Record("x/model.pt", zip_file(GOOD))]), "holds 'x/model.pt'"),
    "storage too short": (lambda: zip_file(GOOD, data={"0": FOUR[:8]}), "16 bytes, but 8 in its archive"),
    "storage missing": (lambda: zip_file(GOOD, data={}), "no bytes for storage '0'"),
    "storage key": (lambda: zip_file({"w": tensor(storage(key="../x"))}), "no plain name"),
    "storage count": (lambda: zip_file({"w": tensor(storage(numel=-1))}), "no whole number"),
    "storage class": (lambda: zip_file({"w": tensor(storage(kind="SecretStorage"))}), "unknown class"),
}


@pytest.mark.parametrize("kind", ZIPS)
def test_archives_that_lie(kind, watched):
    make, says = ZIPS[kind]
    message = refused(make(), watched)
    assert np.any([part in message for part in says.split("|")]), message


TENSORS = {
    "reaches outside": ({"size": (5,)}, "reaches byte 20 of a storage of 16"),
    "offset outside": ({"offset": 1}, "reaches byte 20"),
    "stride outside": ({"size": (2, 2), "stride": (3, 1)}, "reaches byte 20"),
    "negative offset": ({"offset": -1}, "offset or strides"),
    "negative stride": ({"stride": (-1,)}, "negative stride"),
    "negative size": ({"size": (-4,)}, "negative size"),
    "huge product": ({"size": (2**40, 2**40), "stride": (0, 0)}, "beyond any memory"),
    "size is true": ({"size": (True,)}, "size"),
    "size is a float": ({"size": (4.0,)}, "size"),
    "stride is text": ({"stride": ("1",)}, "stride"),
    "ranks differ": ({"size": (2, 2)}, "offset or strides"),
    "offset is none": ({"offset": None}, "offset or strides"),
    "no storage": ({"of": 7}, "without a storage"),
}


@pytest.mark.parametrize("kind", TENSORS)
@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_tensors_that_lie(kind, container, watched):
    fields, says = TENSORS[kind]
    made = tensor(**({"of": storage() if container == "zip" else legacy_storage()} | fields))
    data = zip_file({"w": made}) if container == "zip" else legacy_file({"w": made})
    assert says in refused(data, watched)


def test_uninitialised_memory_is_never_measured(watched):
    for callee in ("FloatTensor", "DoubleTensor", "Tensor"):
        data = zip_file({"w": Call(Ref("torch", callee), 64, 3, 3, 3)})
        assert "without numbers" in refused(data, watched)


LEGACY = {
    "magic": (lambda: legacy_file(GOOD, magic=7), "."),
    "protocol": (lambda: legacy_file({"w": tensor(legacy_storage())}, protocol=7), "unknown protocol"),
    "info": (lambda: legacy_file({"w": tensor(legacy_storage())}, info=[1]), "no dict"),
    "byte order": (lambda: legacy_file({"w": tensor(legacy_storage())}, info={"little_endian": 3}), "little nor big"),
    "empty key list": (lambda: legacy_file({"w": tensor(legacy_storage())}, keys=[]), "without its numbers"),
    "key twice": (lambda: legacy_file({"w": tensor(legacy_storage())}, keys=["0", "0"]), "listed twice"),
    "key of nothing": (lambda: legacy_file({"w": tensor(legacy_storage())}, keys=["1"]), "no tensor names"),
    "keys no list": (lambda: legacy_file({"w": tensor(legacy_storage())}, keys={"0": 1}), "none"),
    "count lies": (lambda: legacy_file({"w": tensor(legacy_storage())}, data={"0": (5, FOUR)}), "but 5 in its place"),
    "count huge": (
        lambda: legacy_file({"w": tensor(legacy_storage(10**12), size=(10**12,))}, data={"0": (10**12, FOUR)}),
        "is truncated",
    ),
    "numbers missing": (lambda: legacy_file({"w": tensor(legacy_storage())}, data={"0": (4, FOUR[:9])}), "truncated"),
    "two lengths": (
        lambda: legacy_file({"w": tensor(legacy_storage()), "v": tensor(legacy_storage(3), size=(3,))}),
        "two lengths",
    ),
    "view outside": (
        lambda: legacy_file({"w": tensor(legacy_storage(view=("1", 2, 3)), size=(3,))}),
        "reaches outside",
    ),
}


@pytest.mark.parametrize("kind", LEGACY)
def test_legacy_streams_that_lie(kind, watched):
    make, says = LEGACY[kind]
    assert says in refused(make(), watched)


def test_a_view_of_a_legacy_storage_is_read(watched):
    data = legacy_file({"w": tensor(legacy_storage(view=("1", 1, 2)), size=(2,))})
    assert opened(data, watched)[0]["w"].tolist() == [2.0, 3.0]


def test_truncated_anywhere_is_refused_or_reads_the_same(watched):
    for data in (zip_file(GOOD), legacy_file({"w": tensor(legacy_storage())})):
        for end in range(1, len(data)):
            refused(data[:end], watched)


def test_every_flipped_bit_of_the_numbers_is_seen(watched):
    data = zip_file(GOOD)
    at = data.index(FOUR)
    for place in range(at, at + 16):
        damaged = bytearray(data)
        damaged[place] ^= 0x10
        assert "CRC32" in refused(bytes(damaged), watched)


# --- budgets ---


def at_and_over(monkeypatch, module, name, value, at, over, watched):
    monkeypatch.setattr(module, name, value)
    opened(at, watched)
    message = refused(over, watched)
    assert name in message


def test_limits_at_and_over(monkeypatch, watched):
    operations = pickled({"w": tensor()})
    count = sum(1 for _ in iterate(operations))
    more = zip_file({"w": tensor(), "x": None})
    at_and_over(monkeypatch, machine_module, "PICKLE_OPS", count, zip_file(GOOD), more, watched)


def iterate(stream):
    import pickletools

    return pickletools.genops(stream)


def test_memo_limit(monkeypatch, watched):
    def with_memo(index):
        return zip_file(Raw(b"\x80\x02}r" + struct.pack("<I", index) + b"(" + ops("w") + ops(tensor()) + b"u."))

    at_and_over(monkeypatch, machine_module, "PICKLE_MEMO", 1000, with_memo(999), with_memo(1000), watched)


def test_rank_and_expansion_limits(monkeypatch, watched):
    def of_rank(rank):
        return zip_file({"w": tensor(size=(1,) * rank, stride=(1,) * rank)})

    at_and_over(monkeypatch, tensors_module, "RANK", 5, of_rank(5), of_rank(6), watched)

    def expanded(numel):
        return zip_file({"w": tensor(size=(numel,), stride=(0,))})

    at_and_over(monkeypatch, tensors_module, "VIEW_ELEMENTS", 100, expanded(100), expanded(101), watched)
    assert opened(expanded(50), watched)[0]["w"].tolist() == [1.0] * 50


def test_entry_limit(monkeypatch, watched):
    def with_entries(count):
        return zip_bytes([*parts(), *(Record(f"archive/{number}", b"") for number in range(count - 4))])

    at_and_over(monkeypatch, archive_module, "ZIP_ENTRIES", 10, with_entries(10), with_entries(11), watched)


def test_inflation_limit(monkeypatch, watched):
    monkeypatch.setattr(archive_module, "INFLATE_SLACK", 1000)
    bomb = zip_bytes([*parts(), Record("archive/data/1", bytes(10**6), method=8)])
    assert "INFLATE_RATIO" in refused(bomb, watched)


def test_one_list_handed_over_again_and_again(monkeypatch, watched):
    """370 kB that would copy a hundred thousand pairs ten thousand times."""
    monkeypatch.setattr(machine_module, "PICKLE_OPS", 2 * 10**6)
    stream = b"\x80\x02}q\x00(" + b"K\x00N" * 100_000 + b"u0ccollections\nOrderedDict\nq\x010"
    stream += b"h\x01h\x00\x85R0" * 10_000 + ops(GOOD) + b"."
    assert "items to calls, limit PICKLE_OPS" in refused(zip_file(Raw(stream)), watched)


BOMBS = {
    "bytearray": zip_file({"w": tensor(), "x": Call(Ref("builtins", "bytearray"), 3 * 10**9)}),
    "twenty megabytes of None": zip_file(Raw(b"\x80\x02](" + b"N" * 2_000_000 + b"e.")),
    "nested lists": zip_file(Raw(b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".")),
    "nested tuples": zip_file(Raw(b"\x80\x02N" + b"\x85" * 500_000 + b".")),
    "marks": zip_file(Raw(b"\x80\x02" + b"(" * 500_000 + b".")),
    "laughs": zip_file(Raw(b"\x80\x02]q\x00" + b"".join(b"](h%ch%ceq%c" % (n, n, n + 1) for n in range(100)) + b".")),
    "a cycle": zip_file(Raw(b"\x80\x02]q\x00h\x00a.")),
    "a dict in itself": zip_file(Raw(b"\x80\x02}q\x00" + ops("a") + b"h\x00s.")),
    "a long number": zip_file(Raw(b"\x80\x02\x8b" + struct.pack("<I", 10**6) + bytes(10**6) + b".")),
    "digits": zip_file(Raw(b"\x80\x02I" + b"9" * 100_000 + b"\n.")),
    "many sets": zip_file({f"k{n}": {"w": tensor()} for n in range(2000)}),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_cost_little(kind, watched):
    Path("bomb.pt").write_bytes(BOMBS[kind])
    tracemalloc.start()
    try:
        with watched(), gcx.readers.read_checkpoint("bomb.pt") as checkpoint:
            assert len(checkpoint.tensors) <= 2000
    except gcx.errors.CheckpointError as error:
        assert str(error).isprintable()
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 200 * limits.MIB + 30 * len(BOMBS[kind])
