"""The pictures that the nets learn from: Fashion-MNIST from its four official files, or scikit-learn's digits."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import sys
import urllib.request
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from recording import ScriptError, write_whole
from torch import Tensor

SOURCE = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"
# The published md5 of each file as it is offered (.gz), then that of its content.
FILES = {
    "train-images-idx3-ubyte": ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
    "train-labels-idx1-ubyte": ("25c81989df183df01b3e8a0aad5dffbe", "9018921c3c673c538a1fc5bad174d6f9"),
    "t10k-images-idx3-ubyte": ("bef4ecab320f06d8554ea6380940ec79", "8181f5470baa50b63fa0f6fddb340f0a"),
    "t10k-labels-idx1-ubyte": ("bb300cfdad3c16e7a12a480ee83cd310", "15d484375f8d13e6eb1aabb0c3f46965"),
}
CONTENT_LIMIT = 60_000 * 28 * 28 + 16


class Images(NamedTuple):
    """Pictures of shape (n, 1, side, side), channels last in memory, and the class of each."""

    images: Tensor
    labels: Tensor


class Split(NamedTuple):
    name: str
    train: Images
    test: Images


def default_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gcx-examples" / "fashion-mnist"


def fetch(folder: Path) -> None:
    """Download what is missing of the four official files (30 MB), checked before it is written."""
    for name, (md5, _) in FILES.items():
        if (folder / f"{name}.gz").exists() or (folder / name).exists():
            continue
        print(f"downloading {SOURCE}{name}.gz", file=sys.stderr)
        try:
            with urllib.request.urlopen(f"{SOURCE}{name}.gz", timeout=60) as answer:  # noqa: S310 - a constant https address
                content = answer.read(CONTENT_LIMIT)
        except OSError as error:
            raise ScriptError(f"cannot download {name}.gz ({error}): get the files and name them by --data") from None
        _check(f"the downloaded {name}.gz", content, md5, "try again, or get the files and name them by --data")
        write_whole(folder / f"{name}.gz", content)


def fashion(folder: Path) -> Split:
    """Fashion-MNIST from a folder with the four official IDX files, gzipped or not.

    Raises:
        ScriptError: a file is missing, or its md5 is not the published one.
    """
    arrays = {name: _read(folder, name) for name in FILES}
    train, test = (
        _as_images(arrays[f"{part}-images-idx3-ubyte"] / np.float32(255), arrays[f"{part}-labels-idx1-ubyte"])
        for part in ("train", "t10k")
    )
    return Split("fashion-mnist", train, test)


def digits() -> Split:
    """1797 small pictures that scikit-learn brings along: 1437 to learn from, 360 to test on."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    parts = train_test_split(data.images / 16, data.target, test_size=360, stratify=data.target, random_state=0)
    return Split("digits", _as_images(parts[0], parts[2]), _as_images(parts[1], parts[3]))


def standardised(split: Split, device: str) -> Split:
    """Shifted and scaled by the mean and deviation of the training pixels, once and for all."""
    mean, deviation = split.train.images.mean(), split.train.images.std()
    train, test = (
        Images(
            ((part.images - mean) / deviation).to(device).contiguous(memory_format=torch.channels_last),
            part.labels.to(device),
        )
        for part in (split.train, split.test)
    )
    return Split(split.name, train, test)


def _as_images(pixels: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]) -> Images:
    return Images(torch.as_tensor(pixels).float()[:, None], torch.as_tensor(labels.astype(np.int64)))


def _read(folder: Path, name: str) -> npt.NDArray[np.uint8]:
    packed, plain = folder / f"{name}.gz", folder / name
    if packed.exists():
        content = packed.read_bytes()
        _check(str(packed), content, FILES[name][0], "delete it and get it again")
        content = gzip.decompress(content)
    elif plain.exists():
        content = plain.read_bytes()
        _check(str(plain), content, FILES[name][1], "delete it and get it again")
    else:
        raise ScriptError(f"no {name}.gz in {folder}: --data names the folder with the four files of Fashion-MNIST")
    dimensions = content[3]
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _check(name: str, content: bytes, md5: str, cure: str) -> None:
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise ScriptError(f"{name} is not the published file (its md5 differs): {cure}")
