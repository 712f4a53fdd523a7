"""How the examples write down what they did: whole files only, with versions beside the numbers."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

Record = dict[str, Any]

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
BUILD = HERE.parent / "build"


def versions(*packages: str) -> Record:
    """Of Python and of `packages`: numbers are only the same again with the same ones.

    >>> sorted(versions("numpy"))
    ['numpy', 'python']
    """
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}


def write_whole(path: Path, content: bytes) -> None:
    """Write beside the target, then rename: a half-written file never stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_json(path: Path, record: Any) -> None:
    write_whole(path, (json.dumps(record, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """What the file holds; None where there is no such file, or none that was written whole."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
