"""How the examples write down what they did: whole files only, with versions beside the numbers."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from gcx.errors import GcxError

Record = dict[str, Any]

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
BUILD = HERE.parent / "build"


class ScriptError(Exception):
    """What a script cannot go on from; the message is one line with the cure."""


def run_script(main: Callable[[], int], *, goes_on: bool = False) -> NoReturn:
    """Run a script and leave with its exit status: 2 with one line for what its user can mend, 130 if interrupted."""
    script = Path(sys.argv[0]).name
    try:
        status = main()
    except KeyboardInterrupt:
        cure = ": the same command goes on from here" if goes_on else ""
        print(f"{script}: interrupted{cure}", file=sys.stderr)
        status = 130
    except OSError as error:
        print(f"{script}: {f'{error.filename}: ' if error.filename else ''}{error.strerror or error}", file=sys.stderr)
        status = 2
    except (ScriptError, GcxError) as error:
        print(f"{script}: {error}", file=sys.stderr)
        status = 2
    sys.exit(status)


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


def ensure_writable(folder: Path) -> None:
    """Fail before the work rather than after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (probe := folder / f".{os.getpid()}").touch()
        probe.unlink()
    except OSError as error:
        raise ScriptError(f"cannot write to {folder} ({error.strerror}): --out names another place") from None


def same_making(path: Path, known: Record, asked: Record) -> None:
    """A record made otherwise is of another experiment: it is neither gone on with nor lost.

    Raises:
        ScriptError: the first thing that `known`, the content of `path`, says otherwise than `asked`.
    """
    for key, value in asked.items():
        if (there := known.get(key)) != value:
            raise ScriptError(
                f"{path} has {key} {there}, and here it is {value}: move it away, or name another place by --out"
            )


def write_json(path: Path, record: Any) -> None:
    write_whole(path, (json.dumps(record, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """What the file holds; None where there is no such file, or none that was written whole."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None


def parse_options(
    script: str, about: str | None, *, quick: str, seeds: tuple[int, ...], arguments: list[str] | None
) -> argparse.Namespace:
    """The options that every measuring script has; `out` is where its record goes, `seeds` at least one.

    The record that the page is made from is only written with all of its seeds.
    """
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
    full = not options.quick
    if seeds:
        options.seeds = sorted(set(options.seeds or (seeds[:1] if options.quick else seeds)))
        if min(options.seeds) < 0:
            parser.error("--seeds starts at 0")
        full = full and options.seeds == list(seeds)
    options.published = options.out.resolve() == recorded
    if options.published and not full:
        parser.error(f"{recorded.name} of the page has all seeds in full: name another file by --out")
    if options.out.is_dir():
        parser.error(f"--out is a file, and {options.out} is a folder")
    ensure_writable(options.out.parent)
    return options
