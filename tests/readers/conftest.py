"""What no reader may do, whatever the file: watched by an audit hook in every test of this folder."""

from __future__ import annotations

import encodings.raw_unicode_escape  # noqa: F401 - importing is no deed of a reader
import os
import sys
from contextlib import contextmanager
from pathlib import Path

import ml_dtypes  # noqa: F401
import numpy as np  # noqa: F401
import pytest
from evil import CANARY

import gcx.readers  # noqa: F401

_FORBIDDEN = {
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.remove",
    "os.rename",
    "os.mkdir",
    "subprocess.Popen",
    "socket.connect",
    "socket.__new__",
    "pickle.find_class",
    "ctypes.dlopen",
    "exec",
    "compile",
    "shutil.rmtree",
    "urllib.Request",
}
_state = {"watching": False}
_seen: list[str] = []


def _hook(event: str, args: tuple) -> None:
    if not _state["watching"]:
        return
    if event in _FORBIDDEN or (event == "open" and _writes(args)) or (event == "import" and CANARY in str(args)):
        _seen.append(f"{event} {args!r:.200}")


def _writes(args: tuple) -> bool:
    mode, flags = args[1], args[2]
    return (isinstance(mode, str) and any(char in mode for char in "wax+")) or bool(
        isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    )


@contextmanager
def _watch():
    if "hooked" not in _state:
        sys.addaudithook(_hook)
        _state["hooked"] = True
    _seen.clear()
    _state["watching"] = True
    try:
        yield
    finally:
        _state["watching"] = False
    assert not _seen, f"a reader did what only a program may: {_seen}"


@pytest.fixture
def watched():
    """A context manager under which nothing may be run, opened for writing, connected or unpickled."""
    return _watch


@pytest.fixture(autouse=True)
def no_canary(tmp_path, monkeypatch):
    """Tests run in an empty folder, where a payload that ran would leave the canary."""
    monkeypatch.chdir(tmp_path)
    yield
    assert Path.cwd() == tmp_path, "monkeypatch.undo() goes back to the repository, and files would be written there"
    assert not list(tmp_path.rglob(f"*{CANARY}*")), "a payload of a file was run"
