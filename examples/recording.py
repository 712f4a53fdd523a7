"""How the examples write down what they did: whole files only, with versions beside the numbers."""

from __future__ import annotations

import argparse
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


def parse_options(
    script: str, about: str | None, *, quick: str, seeds: tuple[int, ...], arguments: list[str] | None
) -> argparse.Namespace:
    """The options that every measuring script has; `out` is where its record goes, `seeds` at least one."""
    command = f"python examples/{script}.py"
    parser = argparse.ArgumentParser(
        prog=command,
        description=about,
        epilog=f"examples:\n  {command}\n  {command} --quick\n  {command} --out other.json",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help=quick)
    if seeds:
        shown = " ".join(map(str, seeds))
        shown = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 4 else shown
        parser.add_argument("--seeds", type=int, nargs="+", metavar="S", help=f"default: {shown}")
    recorded = RESULTS / f"{script}.json"
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help=f"default: examples/results/{recorded.name}; in build/quick by --quick"
    )
    options = parser.parse_args(arguments)
    options.out = options.out or (BUILD / "quick" / recorded.name if options.quick else recorded)
    if seeds:
        options.seeds = options.seeds or list(seeds[:1] if options.quick else seeds)
        if min(options.seeds) < 0:
            parser.error("--seeds starts at 0")
    return options
