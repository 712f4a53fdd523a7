"""Zip archives that lie in one field: each is refused, or reads as it would without."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from evil import FOUR, Record, changed, pickled, records, storage, tensor, zip_bytes
from readers.opening import opened, refused

from gcx.errors import CheckpointError
from gcx.readers import read_checkpoint
from gcx.readers.base import ReadOptions, open_source
from gcx.readers.torch import TorchZipReader
from gcx.readers.torch.archive import Archive

WHOLE = records(pickled({"w": tensor()}))
DATA = zip_bytes(WHOLE)
NUMBERS = "archive/data/0"
LOCAL = DATA.index(b"PK\3\4", DATA.index(b"little"))
"""Where the local header of the numbers is."""
CENTRAL = DATA.index(b"PK\1\2", DATA.rindex(b"byteorder"))
END = len(DATA) - 22
FULL = 0xFFFFFFFF


def patched(at: int, form: str, value: object, data: bytes = DATA) -> bytes:
    whole = bytearray(data)
    struct.pack_into(form, whole, at, value)
    return bytes(whole)


def wide(*values: int, kind: int = 1, length: int | None = None) -> bytes:
    body = struct.pack(f"<{len(values)}Q", *values)
    return struct.pack("<2H", kind, len(body) if length is None else length) + body


def numbers(**fields) -> bytes:
    return zip_bytes(changed(WHOLE, "data/0", **fields))


def test_the_places_are_right(watched):
    assert DATA[LOCAL + 30 : LOCAL + 30 + len(NUMBERS)] == NUMBERS.encode()
    assert DATA[CENTRAL + 46 : CENTRAL + 46 + len(NUMBERS)] == NUMBERS.encode()
    assert opened(DATA, watched)[0]["w"].tolist() == [1, 2, 3, 4]


LIES = {
    "no local header": (lambda: patched(LOCAL, "<4s", b"PK\3\5"), "is not where its directory says"),
    "local name": (lambda: patched(LOCAL + 30, "<1s", b"A"), "differs from its directory entry"),
    "local name length": (lambda: patched(LOCAL + 26, "<H", 9), "differs from its directory entry"),
    "local extra beyond the entry": (lambda: patched(LOCAL + 28, "<H", 1), "overlaps another entry"),
    "local extra beyond the file": (lambda: patched(LOCAL + 28, "<H", 60_000), "overlaps another entry"),
    "local method": (lambda: patched(LOCAL + 8, "<H", 8), "differs"),
    "local flags": (lambda: patched(LOCAL + 6, "<H", 8), "differs"),
    "local checksum": (lambda: patched(LOCAL + 14, "<I", 1), "differs"),
    "local stored size": (lambda: patched(LOCAL + 18, "<I", 15), "differs"),
    "local size": (lambda: patched(LOCAL + 22, "<I", 17), "differs"),
    "no checksum here": (lambda: patched(LOCAL + 14, "<I", 0), "differs"),
    "local size of what is never read": (
        lambda: zip_bytes(changed(WHOLE, "version", local={"size": 1})),
        "'archive/version' differs",
    ),
    "an entry that is not listed": (
        lambda: zip_bytes([Record("archive/data.pkl", WHOLE[0].data, before=b"PK\3\4" + bytes(40)), *WHOLE[1:]]),
        "other bytes before its first entry",
    ),
    "two entries of one place": (lambda: numbers(place=0), "overlaps"),
    "encrypted strongly": (lambda: numbers(flags=0x40), "is encrypted"),
    "masked headers": (lambda: numbers(flags=0x2000), "is encrypted"),
    "empty part of a name": (lambda: zip_bytes([*WHOLE, Record("archive//x")]), "leaves the archive"),
    "a dot": (lambda: zip_bytes([*WHOLE, Record("archive/./x")]), "leaves the archive"),
    "a NUL": (lambda: zip_bytes([*WHOLE, Record("archive/x\0y")]), "leaves the archive"),
    "another volume": (lambda: patched(CENTRAL + 34, "<H", 1), "two sizes"),
    "no central header": (lambda: patched(CENTRAL, "<4s", b"PK\1\3"), "directory is too short"),
    "central name beyond": (lambda: patched(CENTRAL + 28, "<H", 60_000), "directory is too short"),
    "central comment": (lambda: patched(CENTRAL + 32, "<H", 5), "directory is too short"),
    "count of this volume": (lambda: patched(END + 8, "<H", 3), "several volumes"),
    "first volume": (lambda: patched(END + 6, "<H", 1), "several volumes"),
    "length of the directory": (lambda: patched(END + 12, "<I", 9), "not where it should be"),
    "no zip64 field": (lambda: numbers(size=FULL, stored=FULL), "stands nowhere else"),
    "another field": (lambda: numbers(size=FULL, stored=FULL, extra=wide(16, 16, kind=9)), "stands nowhere else"),
    "zip64 field of one": (lambda: numbers(size=FULL, stored=FULL, extra=wide(16)), "stands nowhere else"),
    "zip64 field cut": (lambda: numbers(size=FULL, stored=FULL, extra=wide(16, 16, length=99)), "stands nowhere else"),
    "zip64 sizes lie": (lambda: numbers(size=FULL, stored=FULL, extra=wide(17, 16)), "two sizes"),
    "zip64 sizes beyond": (lambda: numbers(size=FULL, stored=FULL, extra=wide(2**40, 2**40)), "overlaps"),
    "zip64 place beyond": (lambda: numbers(place=FULL, extra=wide(2**63)), "overlaps"),
}


SHORT = records(pickled({"w": tensor(storage(3), size=(3,))}))
LIES["deflates to more"] = (
    lambda: zip_bytes(changed(SHORT, "data/0", method=8, size=12)),
    "inflates to more than it says",
)


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ("constants.pkl", "TorchScript"),
        ("code/__torch__.py", "TorchScript"),
        (".data/extern_modules", "torch.package"),
    ],
)
def test_programs_in_an_archive_are_named(extra, says, watched):
    assert says in refused(zip_bytes([*WHOLE, Record(f"archive/{extra}", b"\x80\x02).")]), watched)


@pytest.mark.parametrize("kind", LIES)
def test_one_field_lies(kind, watched):
    make, says = LIES[kind]
    assert says in refused(make(), watched)


TRUE = {
    "zip64 sizes": lambda: numbers(size=FULL, stored=FULL, extra=wide(16, 16)),
    "zip64 size alone": lambda: numbers(size=FULL, extra=wide(16)),
    "zip64 behind another field": lambda: numbers(size=FULL, stored=FULL, extra=wide(7, kind=9) + wide(16, 16)),
    "zip64 place": lambda: numbers(place=FULL, extra=wide(LOCAL)),
    "local zip64 sizes": lambda: patched(LOCAL + 18, "<I", FULL, patched(LOCAL + 22, "<I", FULL)),
    "sizes that follow": lambda: numbers(flags=8, local={"crc": 0, "stored": 0, "size": 0}),
    "a name in UTF-8": lambda: numbers(flags=0x800),
    "folders": lambda: zip_bytes([Record("archive/"), *WHOLE, Record("archive/data/")]),
    "bytes between": lambda: numbers(before=b"PK\1\2" * 9),
    "no byte order": lambda: zip_bytes([one for one in WHOLE if "byteorder" not in str(one.name)]),
    "no top folder": lambda: zip_bytes([Record(str(one.name).removeprefix("archive/"), one.data) for one in WHOLE]),
    "zip64": lambda: zip_bytes(WHOLE, zip64=True),
}


@pytest.mark.parametrize("kind", TRUE)
def test_what_is_no_lie_is_read(kind, watched):
    assert opened(TRUE[kind](), watched)[0]["w"].tolist() == [1, 2, 3, 4]


ENDS = {
    "magic": (0, "<4s", b"PK\6\5", "two ends disagree"),
    "count": (32, "<Q", 7, "two ends disagree"),
    "count here": (24, "<Q", 7, "two ends disagree"),
    "length": (40, "<Q", 7, "two ends disagree"),
    "begin": (48, "<Q", 7, "two ends disagree"),
    "volume": (16, "<I", 1, "two ends disagree"),
    "first volume": (20, "<I", 1, "two ends disagree"),
    "place": (56 + 8, "<Q", 2**50, "zip64 end is not where it should be"),
    "place within": (56 + 8, "<Q", 9, "two ends disagree"),
}


@pytest.mark.parametrize("kind", ENDS)
def test_the_zip64_end_lies(kind, watched):
    data = zip_bytes(WHOLE, zip64=True)
    place, form, value, says = ENDS[kind]
    assert says in refused(patched(data.index(b"PK\6\6") + place, form, value, data), watched)


@pytest.mark.parametrize("kind", ["count", "length", "begin", "volume"])
def test_the_zip64_end_alone_counts_where_the_other_is_full(kind, watched):
    data = zip_bytes(WHOLE, zip64=True)
    end = len(data) - 22
    places = {
        "count": ((8, "<H", 0xFFFF), (10, "<H", 0xFFFF)),
        "length": ((12, "<I", FULL),),
        "begin": ((16, "<I", FULL),),
        "volume": ((4, "<H", 0xFFFF), (6, "<H", 0xFFFF)),
    }
    for place, form, value in places[kind]:
        data = patched(end + place, form, value, data)
    assert opened(data, watched)[0]["w"].tolist() == [1, 2, 3, 4]


def test_more_entries_than_a_short_count_holds(watched):
    data = zip_bytes([*WHOLE, *(Record(f"archive/data/x{number}") for number in range(70_000))], zip64=True)
    assert opened(data, watched)[0]["w"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("data", [b"x" + DATA, DATA[:10], DATA[:END], b"PK\3\4", b"PK\5\6" + bytes(18)])
def test_the_reader_itself_refuses_what_it_would_not_recognise(data, tmp_path):
    Path("file.pt").write_bytes(data)
    source = open_source("file.pt")
    with pytest.raises(CheckpointError):
        TorchZipReader().read(source, ReadOptions())
    source.close()


def test_a_record_that_is_read_in_parts_is_summed_once(watched):
    """The numbers of two tensors in one storage; the second is damaged, and both are refused."""
    value = {"a": tensor(size=(2,)), "b": tensor(offset=2, size=(2,))}
    data = zip_bytes(records(pickled(value)))
    assert opened(data, watched)[0]["b"].tolist() == [3, 4]
    at = data.index(FOUR)
    assert "another CRC32" in refused(patched(at + 12, "<f", 9.0, data), watched)


def test_a_deflated_record_is_read_in_parts(watched):
    value = {"a": tensor(size=(2,)), "b": tensor(offset=2, size=(2,))}
    data = zip_bytes(changed(records(pickled(value)), "data/0", method=8))
    arrays = opened(data, watched)[0]
    assert (arrays["a"].tolist(), arrays["b"].tolist()) == ([1, 2], [3, 4])
    wrong = zip_bytes(changed(records(pickled(value)), "data/0", method=8, crc=7))
    assert "another CRC32" in refused(wrong, watched)


@pytest.mark.parametrize(("name", "begin", "length"), [(NUMBERS, 0, 17), (NUMBERS, 16, 1), ("archive/data/9", 0, 0)])
def test_an_archive_gives_no_bytes_that_it_has_not(name, begin, length):
    Path("file.pt").write_bytes(DATA)
    source = open_source("file.pt")
    with pytest.raises(CheckpointError, match=r"are wanted|no record"):
        Archive(source).read(name, begin, length)
    source.close()


def test_a_file_that_shrinks_while_it_is_read(watched):
    Path("file.pt").write_bytes(DATA)
    with watched(), read_checkpoint("file.pt") as checkpoint:
        os.truncate("file.pt", LOCAL + 40)
        with pytest.raises(CheckpointError, match="changed while it was read"):
            checkpoint.tensors["w"].read()
