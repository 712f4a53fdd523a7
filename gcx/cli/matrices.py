"""`--export FILE.npz`: the full correlation matrices, streamed layer by layer, so that none is in memory whole."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from gcx.conv_layer import ConvLayer

if TYPE_CHECKING:
    from numpy.typing import NDArray

KEY_LENGTH = 80


class MatrixArchive:
    """An .npz in the making, complete when its block ends well; `add` is the pipeline's matrix sink.

    Keys are `000_layer1_0_conv1`; the array `names` holds the true layer names, `groups` their group counts, in the
    order of the keys, with the model's path first where there are several models.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._zip = zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED, allowZip64=True)
        self._names: list[str] = []
        self._groups: list[int] = []

    def add(self, layer: ConvLayer, blocks: Iterator[NDArray[Any]]) -> None:
        """Write one layer's (out_channels, out_channels) matrix, float64, row block by row block."""
        from numpy.lib import format as npy

        key = matrix_key(len(self._names), layer.name)
        header = {"descr": "<f8", "fortran_order": False, "shape": (layer.out_channels, layer.out_channels)}
        with self._zip.open(_entry(f"{key}.npy"), "w", force_zip64=True) as stream:
            npy.write_array_header_1_0(stream, header)
            for block in blocks:
                stream.write(block.astype("<f8", copy=False).tobytes())
        self._names.append(layer.name)
        self._groups.append(layer.groups)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._finish()
        finally:
            # Without a file nothing more is written: an archive given up would otherwise end itself when it is deleted.
            self._zip.fp = None

    def _finish(self) -> None:
        """Write `names` and `groups`, and close the archive."""
        import numpy as np

        # A NUL at the end would be lost in numpy's fixed-width strings, and a lone surrogate cannot be stored at all.
        names = [name.encode("utf-8", "backslashreplace").decode() for name in self._names]
        with self._zip.open(_entry("names.npy"), "w") as stream:
            np.lib.format.write_array(stream, np.array(names, dtype=np.str_), allow_pickle=False)
        with self._zip.open(_entry("groups.npy"), "w") as stream:
            np.lib.format.write_array(stream, np.array(self._groups, dtype=np.int64), allow_pickle=False)
        self._zip.close()


def matrix_key(number: int, name: str) -> str:
    """A key that is a safe file name on every system and unique by its number.

    >>> matrix_key(0, "layer1.0.conv1"), matrix_key(12, "../../etc")
    ('000_layer1_0_conv1', '012_etc')
    """
    return f"{number:03d}_{re.sub(r'[^0-9A-Za-z]+', '_', name).strip('_')[:KEY_LENGTH]}"


def _entry(name: str) -> zipfile.ZipInfo:
    """A zip entry without a clock: two runs give the same bytes."""
    return zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
