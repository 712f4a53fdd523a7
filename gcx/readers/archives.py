"""Names inside a zip or tar archive, for a message: nothing is unpacked, no more than a bounded part is looked at."""

from __future__ import annotations

import zlib

from gcx.readers.base import Source

_TAIL = 65_557
"""A zip's end record stands in its last bytes, before a comment of at most 65,535."""
_DIRECTORY = 1 << 20
"""Bytes of a zip's directory that are looked at."""
_TAR_MEMBERS = 200
_BLOCK = 512


def zip_names(source: Source) -> list[str]:
    """Names in a zip's directory, the first megabyte of it; of the first entry only where it has no directory."""
    if source.head[:4] not in (b"PK\x03\x04", b"PK\x05\x06"):
        return []
    tail = source.pread(max(0, source.size - _TAIL), min(_TAIL, source.size))
    end = tail.rfind(b"PK\x05\x06")
    if end >= 0 and len(tail) - end >= 20:
        size, offset = (int.from_bytes(tail[end + at : end + at + 4], "little") for at in (12, 16))
        if offset + size <= source.size:
            return _directory_names(source.pread(offset, min(size, _DIRECTORY)))
    length = int.from_bytes(source.head[26:28], "little")
    return [_text(source.head[30 : 30 + length])]


def is_keras_archive(source: Source) -> bool:
    """Whether Keras's weights lie at the top of a zip archive."""
    names = zip_names(source)
    return "model.weights.h5" in names or ("config.json" in names and "model.weights.npz" in names)


def _directory_names(data: bytes) -> list[str]:
    names = []
    at = 0
    while data[at : at + 4] == b"PK\x01\x02" and at + 46 <= len(data):
        name, extra, comment = (int.from_bytes(data[at + place : at + place + 2], "little") for place in (28, 30, 32))
        names.append(_text(data[at + 46 : at + 46 + name]))
        at += 46 + name + extra + comment
    return names


def is_tar(block: bytes) -> bool:
    """Whether a block of 512 bytes is a tar header: its checksum says so, with and without the `ustar` mark."""
    if len(block) < _BLOCK or not block[0]:
        return False
    stated = _octal(block[148:156])
    return stated is not None and stated == sum(block[:148]) + 8 * ord(" ") + sum(block[156:_BLOCK])


def tar_names(source: Source) -> list[str]:
    """Names of the first members of a tar archive; empty if it is none."""
    names: list[str] = []
    at = 0
    while at + _BLOCK <= source.size and len(names) < _TAR_MEMBERS:
        block = source.pread(at, _BLOCK)
        if not is_tar(block):
            break
        names.append(_text(block[:100].split(b"\0", 1)[0]))
        size = _octal(block[124:136])
        if size is None:
            break
        at += _BLOCK + -(-size // _BLOCK) * _BLOCK
    return names


def gunzipped_head(source: Source) -> bytes:
    """The first bytes of what a gzip file holds; empty where it is damaged."""
    try:
        return zlib.decompressobj(wbits=31).decompress(source.head, _BLOCK)
    except zlib.error:
        return b""


def _octal(digits: bytes) -> int | None:
    digits = digits.strip(b" \0")
    return int(digits, 8) if digits.isdigit() and not set(digits) & set(b"89") else None


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")
