"""Fail the n-th call that can fail, for every n: the answer is whole, or it is one line and nothing is left behind."""

import errno
import json
import os
import zipfile

import numpy as np
import pytest

from gcx.cli.app import run

CALLS = [(os, "open"), (os, "pread"), (os, "write"), (os, "replace"), (os, "fdopen"), (os, "fstat"), (np, "empty")]
FAULTS = [
    OSError(errno.EIO, "Input/output error"),
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EACCES, "Permission denied"),
    MemoryError(),
    KeyboardInterrupt(),
]


class Saboteur:
    """Counts calls, and fails the one it was told to."""

    def __init__(self, monkeypatch, fail_at, fault):
        self.calls = 0
        self.fail_at, self.fault = fail_at, fault
        self.active = False
        for module, name in CALLS:
            monkeypatch.setattr(module, name, self.wrap(getattr(module, name)))

    def wrap(self, function):
        def wrapped(*args, **kwargs):
            if not self.active:
                return function(*args, **kwargs)
            self.calls += 1
            if self.calls == self.fail_at:
                raise self.fault
            return function(*args, **kwargs)

        return wrapped


def attempt(monkeypatch, capfdbinary, torch_file, folder, fail_at, fault):
    """One run with the n-th call failing: (calls made, exit code, stdout, stderr)."""
    targets = [folder / name for name in ("out.json", "out.md", "out.npz")]
    with monkeypatch.context() as patched:
        saboteur = Saboteur(patched, fail_at, fault)
        saboteur.active = True
        code = run(["correlate", str(torch_file), "-f", "json", *(f"--export={target}" for target in targets)])
        saboteur.active = False
    out, err = capfdbinary.readouterr()
    return saboteur.calls, code, out.decode(), err.decode()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: getattr(fault, "strerror", None) or type(fault).__name__)
def test_every_call_may_fail(monkeypatch, capfdbinary, torch_file, tmp_path, fault):
    run(["correlate", str(torch_file), "-f", "json"])  # everything that is imported late is in now
    whole = capfdbinary.readouterr().out.decode()
    calls, code, out, _ = attempt(monkeypatch, capfdbinary, torch_file, tmp_path, -1, fault)
    assert code == 0
    assert json.loads(out) == json.loads(whole)
    assert calls > 20
    for number in range(1, calls + 1):
        folder = tmp_path / str(number)
        folder.mkdir()
        _, code, out, err = attempt(monkeypatch, capfdbinary, torch_file, folder, number, fault)
        assert code in ({130} if isinstance(fault, KeyboardInterrupt) else {0, 2}), (number, err)
        assert "Traceback" not in err
        assert "internal error" not in err, (number, err)
        assert err.count("\n") <= 1
        assert (code == 0) == (out == whole), (number, code)
        assert code == 0 or out == ""
        check_files(folder)


def check_files(folder):
    """Whatever lies there is whole: nothing half-written, no temporary file."""
    for path in folder.iterdir():
        assert path.name in {"out.json", "out.md", "out.npz"}, path.name
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                assert archive.testzip() is None
                assert "names.npy" in archive.namelist()
        else:
            assert path.read_text().endswith("\n")
