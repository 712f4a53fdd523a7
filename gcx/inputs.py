"""What a path stands for: a file, the checkpoints of a folder, or what a glob matches; one model each."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from gcx import limits
from gcx.errors import CheckpointError, LimitError, UsageError

REPORT = ".json"


def models_of(given: Any) -> Sequence[Any]:
    """What a path, a folder, a glob, an object or a list of those stands for: one model each, files in natural order.

    Raises:
        UsageError: nothing is there.
        LimitError: more than `RUNS`.
    """
    if isinstance(given, (list, tuple)):
        models = [model for one in given for model in models_of(one)]
    elif isinstance(given, (str, os.PathLike)):
        models = _files(os.fspath(given))
    else:
        models = [given]
    if not models:
        raise UsageError("no model given", cure="name a checkpoint")
    if len(models) > limits.RUNS:
        raise LimitError(f"{len(models)} models in one: more than limits.RUNS = {limits.RUNS}")
    return models


def _files(path: str) -> list[str]:
    """The files that a path, a folder or a glob names, in natural order."""
    try:
        is_folder, is_there = Path(path).is_dir(), Path(path).exists()
    except (OSError, ValueError):
        return [path]  # the reader says what is wrong with it
    if is_folder:
        return _checkpoints_in(path)
    if is_there or not glob.has_magic(path):
        return [path]
    found = sorted((name for name in glob.glob(path) if not Path(name).is_dir()), key=natural)  # noqa: PTH207 - as typed
    if not found:
        raise UsageError("matches no file", path=path, cure="quote the glob, and look at it with ls")
    return found


def _checkpoints_in(folder: str) -> list[str]:
    """The checkpoints of a folder by their suffix; its reports where it has no checkpoint."""
    from gcx.readers import READERS

    known = {suffix for reader in READERS for suffix in reader.suffixes} - {REPORT}
    try:
        names = [name for name in os.listdir(folder) if not name.startswith(".")]  # noqa: PTH208 - as typed
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror}", path=folder) from error
    paths = sorted((str(PurePath(folder, name)) for name in names), key=natural)
    files = [path for path in paths if Path(path).is_file()]
    chosen = [path for path in files if PurePath(path).suffix.lower() in known]
    chosen = chosen or [path for path in files if PurePath(path).suffix.lower() == REPORT]
    if not chosen:
        raise UsageError("holds no checkpoint", path=folder, cure="name the files by a quoted glob")
    return chosen


def natural(path: str) -> list[tuple[bool, int, str]]:
    """A sort key under which run 2 comes before run 10.

    >>> sorted(["run10.pt", "run2.pt", "a.pt"], key=natural)
    ['a.pt', 'run2.pt', 'run10.pt']
    """
    parts = re.split(r"([0-9]+)", path)
    return [(True, int(part[:1000]), part) if k % 2 else (False, 0, part) for k, part in enumerate(parts)]
