"""A strict zip reader: what torch writes, and no archive that two readers could see differently.

Nothing is extracted. Entries lie end to end without overlap, local headers agree with the central directory, and what a
deflated record may become is bounded.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import NoReturn

from gcx.errors import CheckpointError, LimitError
from gcx.limits import INFLATE_AGAIN, INFLATE_RATIO, INFLATE_SLACK, INFLATE_TIMES, ZIP_DIRECTORY, ZIP_ENTRIES
from gcx.readers.base import Source
from gcx.readers.torch.values import CURE

LOCAL = b"PK\x03\x04"
_CHUNK = 1 << 20
_END = struct.Struct("<4s4H2LH")
_END64_PLACE = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_FULL32, _FULL16 = 0xFFFFFFFF, 0xFFFF
_STORED, _DEFLATED = 0, 8
_SYMLINK = 0xA000


@dataclass(slots=True)
class Entry:
    """One file of an archive, as the central directory has it."""

    name: str
    flags: int
    method: int
    crc: int
    stored: int
    """Bytes in the archive."""
    size: int
    """Bytes once inflated."""
    header: int
    """Where its local header begins."""
    limit: int = 0
    """Where the next entry or the directory begins."""
    data: int = 0
    """Where its bytes begin."""
    verified: bool = False
    """Its bytes have the recorded CRC32."""


def refuse(what: str) -> NoReturn:
    raise CheckpointError(f"has a damaged zip archive: {what}", cure=CURE)


class Archive:
    """The entries of a zip file by name.

    Raises:
        CheckpointError: truncated, ambiguous, encrypted, or with names that leave the archive.
        LimitError: more entries or more inflated bytes than gcx allows.
    """

    def __init__(self, source: Source):
        self.source = source
        count, length, begin = _directory_place(source)
        self.entries = _entries(source.pread(begin, length), count)
        self._check_layout(begin)
        for entry in self.entries.values():
            self._check_local(entry)
        self._inflated: tuple[str, bytes] = ("", b"")
        packed = sum(entry.size for entry in self.entries.values() if entry.method == _DEFLATED)
        self._left = INFLATE_TIMES * packed + INFLATE_AGAIN
        """Bytes that may still be inflated."""

    def _check_layout(self, begin: int) -> None:
        limit, total = begin, 0
        ordered = sorted(self.entries.values(), key=lambda entry: entry.header, reverse=True)
        for entry in ordered:
            entry.limit = limit
            if entry.header + _LOCAL.size + len(entry.name.encode()) + entry.stored > limit:
                refuse(f"'{entry.name}' overlaps another entry or the directory")
            limit = entry.header
            total += entry.size
        if ordered and limit != 0:
            refuse("other bytes before its first entry")
        allowed = INFLATE_RATIO * self.source.size + INFLATE_SLACK
        if total > allowed:
            raise LimitError(
                f"has a zip archive that inflates to {total} bytes, limit INFLATE_RATIO x size + INFLATE_SLACK"
                f" is {allowed}"
            )

    def _check_local(self, entry: Entry) -> None:
        """Hold an entry's local header to the directory, or two readers could see two archives."""
        raw = entry.name.encode()
        head = self.source.pread(entry.header, _LOCAL.size + len(raw))
        magic, _, flags, method, _, _, crc, stored, size, name_length, extra_length = _LOCAL.unpack_from(head)
        if magic != LOCAL:
            refuse(f"'{entry.name}' is not where its directory says")
        if flags != entry.flags or method != entry.method or name_length != len(raw) or head[_LOCAL.size :] != raw:
            refuse(f"'{entry.name}' differs from its directory entry")
        sizes_follow = bool(flags & 8)
        for here, there in ((crc, entry.crc), (stored, entry.stored), (size, entry.size)):
            if here != there and here != _FULL32 and not (sizes_follow and here == 0):
                refuse(f"'{entry.name}' differs from its directory entry")
        entry.data = entry.header + _LOCAL.size + name_length + extra_length
        if entry.data + entry.stored > entry.limit:
            refuse(f"'{entry.name}' overlaps another entry or the directory")

    def read(self, name: str, begin: int = 0, length: int | None = None) -> bytes:
        """Some bytes of an entry; its CRC32 is verified at the first read.

        Raises:
            CheckpointError: not there, truncated, or not what was written.
            LimitError: packed records were inflated too often.
        """
        entry = self.entry(name)
        length = entry.size - begin if length is None else length
        if begin + length > entry.size:
            refuse(f"'{name}' has {entry.size} bytes, {begin + length} are wanted")
        if entry.method == _DEFLATED:
            if self._inflated[0] != name:
                self._inflated = (name, self._inflate(entry))
            return self._inflated[1][begin : begin + length]
        at = entry.data
        part = self.source.pread(at + begin, length)
        if not entry.verified:
            if length == entry.size:
                self._verify(entry, zlib.crc32(part))
            else:
                self._verify(entry, self._stored_crc(at, entry.size))
        return part

    def entry(self, name: str) -> Entry:
        entry = self.entries.get(name)
        if entry is None:
            raise CheckpointError(f"has no record '{name}' in its archive", cure=CURE)
        return entry

    @property
    def without_checksums(self) -> bool:
        """Written by a torch that was told to leave them out: every field is zero."""
        return all(entry.crc == 0 for entry in self.entries.values()) and any(
            entry.size for entry in self.entries.values()
        )

    @property
    def notes(self) -> tuple[str, ...]:
        return ("the file has no checksums: damage would not be seen",) if self.without_checksums else ()

    def _verify(self, entry: Entry, crc: int) -> None:
        if crc != entry.crc and not self.without_checksums:
            raise CheckpointError(
                f"is damaged: '{entry.name}' in its archive has another CRC32 than recorded", cure=CURE
            )
        entry.verified = True

    def _stored_crc(self, at: int, size: int) -> int:
        crc = 0
        for place in range(at, at + size, _CHUNK):
            crc = zlib.crc32(self.source.pread(place, min(_CHUNK, at + size - place)), crc)
        return crc

    def _inflate(self, entry: Entry) -> bytes:
        self._left -= entry.size
        if self._left < 0:
            raise LimitError(
                f"has packed records that are inflated over and over, limit INFLATE_AGAIN is {INFLATE_AGAIN} bytes"
            )
        at = entry.data
        engine = zlib.decompressobj(-zlib.MAX_WBITS)
        parts: list[bytes] = []
        room = entry.size + 1
        try:
            for place in range(at, at + entry.stored, _CHUNK):
                part = engine.decompress(self.source.pread(place, min(_CHUNK, at + entry.stored - place)), room)
                parts.append(part)
                room -= len(part)
                if room <= 0:
                    refuse(f"'{entry.name}' inflates to more than it says")
        except zlib.error:
            refuse(f"'{entry.name}' cannot be inflated")
        if room != 1 or not engine.eof:
            refuse(f"'{entry.name}' inflates to less than it says")
        if engine.unused_data:
            refuse(f"'{entry.name}' has other bytes behind what inflates")
        data = b"".join(parts)
        self._verify(entry, zlib.crc32(data))
        return data


def _directory_place(source: Source) -> tuple[int, int, int]:
    """Entries, bytes and begin of the central directory."""
    tail_begin = max(0, source.size - _END.size - _FULL16)
    tail = source.pread(tail_begin, source.size - tail_begin)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(tail):
        raise CheckpointError("is truncated: its zip archive has no end", cure=CURE)
    _, disk, first, here, count, length, begin, comment = _END.unpack_from(tail, at)
    if at + _END.size + comment != len(tail):
        refuse("other bytes behind it")
    end = tail_begin + at
    place = source.pread(end - _END64_PLACE.size, _END64_PLACE.size) if end >= _END64_PLACE.size else b""
    if place[:4] == b"PK\x06\x07":
        end64 = _END64_PLACE.unpack(place)[2]
        if end64 + _END64.size + _END64_PLACE.size > end:
            refuse("its zip64 end is not where it should be")
        magic, _, _, _, disk64, first64, here64, count64, length64, begin64 = _END64.unpack(
            source.pread(end64, _END64.size)
        )
        both = ((disk, disk64), (first, first64), (here, here64), (count, count64))
        wide = ((length, length64), (begin, begin64))
        if (
            magic != b"PK\x06\x06"
            or any(small not in (large, _FULL16) for small, large in both)
            or any(small not in (large, _FULL32) for small, large in wide)
        ):
            refuse("its two ends disagree")
        disk, first, here, count, length, begin, end = disk64, first64, here64, count64, length64, begin64, end64
    if disk or first or here != count:
        refuse("it is one of several volumes")
    if count > ZIP_ENTRIES:
        raise LimitError(f"has a zip archive of {count} entries, limit ZIP_ENTRIES is {ZIP_ENTRIES}")
    if length > ZIP_DIRECTORY:
        raise LimitError(
            f"has a zip archive whose directory has {length} bytes, limit ZIP_DIRECTORY is {ZIP_DIRECTORY}"
        )
    if begin + length != end:
        refuse("its directory is not where it should be")
    return count, length, begin


def _entries(directory: bytes, count: int) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    at = 0
    for _ in range(count):
        if at + _CENTRAL.size > len(directory):
            refuse("its directory is too short")
        fields = _CENTRAL.unpack_from(directory, at)
        name_end = at + _CENTRAL.size + fields[10]
        extra_end = name_end + fields[11]
        raw, extra = directory[at + _CENTRAL.size : name_end], directory[name_end:extra_end]
        at = extra_end + fields[12]
        if fields[0] != b"PK\x01\x02" or at > len(directory):
            refuse("its directory is too short")
        entry = _entry(raw, extra, fields)
        if entry.name in entries:
            refuse(f"'{entry.name}' is there twice")
        entries[entry.name] = entry
    if at != len(directory):
        refuse("its directory is longer than its entries")
    return entries


def _entry(raw: bytes, extra: bytes, fields: tuple[int, ...]) -> Entry:
    _, _, _, flags, method, _, _, crc, stored, size, _, _, _, disk, _, attributes, header = fields
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        refuse("a name is not UTF-8")
    parts = name.removesuffix("/").split("/")
    if "\\" in name or "\0" in name or name.startswith("/") or any(part in ("", ".", "..") for part in parts):
        refuse(f"an entry whose name leaves the archive: '{name}'")
    if flags & 0x2041:
        raise CheckpointError(f"is encrypted: '{name}' in its archive", cure="decrypt it first")
    if (attributes >> 16) & 0xF000 == _SYMLINK:
        refuse(f"'{name}' is a symbolic link")
    if method not in (_STORED, _DEFLATED):
        raise CheckpointError(
            f"has '{name}' in its archive packed by method {method}, which gcx does not read", cure=CURE
        )
    if _FULL32 in (stored, size, header):
        stored, size, header = _wide(extra, stored, size, header)
    if (method == _STORED and stored != size) or disk not in (0, _FULL16):
        refuse(f"'{name}' has two sizes")
    return Entry(name, flags, method, crc, stored, size, header)


def _wide(extra: bytes, stored: int, size: int, header: int) -> tuple[int, int, int]:
    """The zip64 field holds, in this order, those that did not fit."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            values = [int.from_bytes(extra[i : i + 8], "little") for i in range(at + 4, at + 4 + length // 8 * 8, 8)]
            wanted = [value == _FULL32 for value in (size, stored, header)]
            if at + 4 + length > len(extra) or sum(wanted) > len(values):
                break
            found = iter(values)
            size, stored, header = (
                next(found) if missing else value for missing, value in zip(wanted, (size, stored, header), strict=True)
            )
            return stored, size, header
        at += 4 + length
    refuse("a size that does not fit and stands nowhere else")
