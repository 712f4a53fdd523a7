"""PNG files written directly: a picture of few colours needs no drawing library, and takes a millisecond."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PALETTE, _RGB = 3, 2
_AS_IT_IS, _AS_ABOVE = 0, 2
"""Filter types of a row: its bytes, or their difference to the row above."""


def palette_png(index: NDArray[Any], colors: NDArray[Any]) -> bytes:
    """A picture as a PNG of at most 256 colours.

    Args:
        index: (height, width) uint8, places in `colors`.
        colors: (n, 3 or more) uint8, n <= 256; what follows red, green and blue is left out.

    Returns:
        The whole file. Equal pictures give equal bytes, without a clock or a version in them.

    >>> import numpy as np
    >>> made = palette_png(np.zeros((2, 3), np.uint8), np.array([[255, 0, 0]], np.uint8))
    >>> made[:4], len(made)
    (b'\\x89PNG', 86)
    """
    import numpy as np

    height, width = index.shape
    rows: NDArray[Any] = np.ascontiguousarray(index, dtype=np.uint8)
    depth = 8
    if len(colors) <= 16:  # two to a byte
        depth = 4
        padded = np.pad(rows, ((0, 0), (0, width % 2)))
        rows = padded[:, ::2] << 4 | padded[:, 1::2]
    table = np.ascontiguousarray(colors[:, :3], dtype=np.uint8).tobytes()
    return _file(width, height, depth, _PALETTE, [_chunk(b"PLTE", table)], rows)


def rgb_png(pixels: NDArray[Any], dpi: int | None = None) -> bytes:
    """A picture of any colours, (height, width, 3) uint8, as a PNG; `dpi` says how large it is meant to be."""
    height, width, _ = pixels.shape
    per_metre = 0 if dpi is None else round(dpi / 0.0254)
    size = [_chunk(b"pHYs", struct.pack(">IIB", per_metre, per_metre, 1))] if per_metre else []
    return _file(width, height, 8, _RGB, size, pixels.reshape(height, 3 * width))


def _file(width: int, height: int, depth: int, kind: int, before: list[bytes], rows: NDArray[Any]) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    # Runs of equal palette colours are runs of equal bytes; those of red, green and blue have to be searched for.
    data = _chunk(b"IDAT", _packed(rows, zlib.Z_RLE if kind == _PALETTE else zlib.Z_DEFAULT_STRATEGY))
    return b"".join([_SIGNATURE, _chunk(b"IHDR", header), *before, data, _chunk(b"IEND", b"")])


def _packed(rows: NDArray[Any], strategy: int) -> bytes:
    """The rows, compressed: correlations are noise, in which a longer search finds nothing but runs of equal pixels."""
    import numpy as np

    same = np.zeros(len(rows), dtype=bool)
    same[1:] = (rows[1:] == rows[:-1]).all(axis=1)
    filtered = np.empty((len(rows), rows.shape[1] + 1), dtype=np.uint8)
    filtered[:, 0] = np.where(same, _AS_ABOVE, _AS_IT_IS)
    filtered[:, 1:] = np.where(same[:, None], 0, rows)
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, strategy)
    return packer.compress(filtered.tobytes()) + packer.flush()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
