"""Settings from files: `gcx.toml`, or `[tool.gcx]` in `pyproject.toml`, of the current folder.

A flag beats a `GCX_*` variable, which beats the file. Keys are the options' names.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from gcx.errors import UsageError, printable

OWN_FILE = "gcx.toml"
SHARED_FILE = "pyproject.toml"
CONFIG_BYTES = 2**20

KEYS: Mapping[str, type] = {
    "measure": str,
    "weights": str,
    "groups": dict,
    "include": list,
    "exclude": list,
    "strict-groups": bool,
    "fold-sign": bool,
    "fold-scale": bool,
    "virtual-groups": int,
    "induced": bool,
    "n-resamples": int,
    "seed": int,
    "fail-if": list,
    "exit-zero": bool,
    "map": list,
    "filters": bool,
    "n-draws": int,
    "order": str,
}
"""What a file may set: everything that changes a number or the exit code."""
RULES_VARIABLE = "GCX_FAIL_IF"
"""Rules hold blanks, so this variable holds one to a line, or several parted by `;`."""
COMMANDS = ("correlate", "compare", "layers", "track")
"""Commands that take settings; a table of such a name is for one of them."""
KERNELS = "filters"
"""A command that takes settings and has no table of its own: the name is that of a setting of `compare`."""
KINDS = {
    str: "a string",
    dict: "a table of globs to counts",
    list: "a list of strings",
    bool: "true or false",
    int: "a whole number",
}


def configured(folder: Path) -> dict[str, dict[str, Any]]:
    """Option values from the folder's configuration, per command by the name of the command's parameter.

    What stands in a table of a command's name, `[tool.gcx.compare]`, is for that command and beats what stands above.

    Raises:
        UsageError: not TOML, an unknown key, or a value of the wrong kind; names the file.
    """
    name = configuring_file(folder)
    table = _table(folder / name, name) if name is not None else None
    if name is None or table is None:
        return {command: {} for command in (*COMMANDS, KERNELS)}
    common = _values(name, {key: value for key, value in table.items() if key not in COMMANDS})
    own = {command: common | _values(name, _own(name, table, command)) for command in COMMANDS}
    return own | {KERNELS: common}


def configuring_file(folder: Path) -> str | None:
    """The first of the files that has settings for gcx.

    Raises:
        UsageError: it is not TOML.
    """
    return next((name for name in (OWN_FILE, SHARED_FILE) if _table(folder / name, name) is not None), None)


def _own(name: str, table: Mapping[str, Any], command: str) -> Mapping[str, Any]:
    own = table.get(command, {})
    if not isinstance(own, dict):
        raise UsageError(f"{command} is not a table", path=name)
    return own


def _values(name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    return {key.replace("-", "_"): _value(name, key, value) for key, value in table.items()}


def rules_of_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """The rules of `GCX_FAIL_IF`; empty where it is not set.

    >>> rules_of_environment({"GCX_FAIL_IF": "within.excess > 1; kernels.delta < 0"})
    {'fail_if': ['within.excess > 1', 'kernels.delta < 0']}
    """
    rules = [rule.strip() for rule in environment.get(RULES_VARIABLE, "").replace("\n", ";").split(";")]
    return {"fail_if": [rule for rule in rules if rule]} if RULES_VARIABLE in environment else {}


def _table(path: Path, name: str) -> Mapping[str, Any] | None:
    """The file's settings, or None where it has none."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as stream:
            content = stream.read(CONFIG_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", path=name) from error
    if len(content) > CONFIG_BYTES:
        raise UsageError(f"is larger than {CONFIG_BYTES} bytes", path=name, cure="a configuration is short")
    try:
        document = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        # Other tools' files are theirs to complain about, unless they set gcx up.
        if name == SHARED_FILE and b"tool.gcx" not in content:
            return None
        raise UsageError(f"is not TOML: {error}", path=name) from error
    if name == OWN_FILE:
        return document
    tools = document.get("tool")
    table = tools.get("gcx") if isinstance(tools, dict) else None
    if table is not None and not isinstance(table, dict):
        raise UsageError("[tool.gcx] is not a table", path=name)
    return table


def _value(name: str, key: str, value: Any) -> Any:
    kind = KEYS.get(key.replace("_", "-"))
    if kind is None:
        close = get_close_matches(key, (*KEYS, *COMMANDS), n=1)
        raise UsageError(
            f"unknown key {printable(key, 100)!r}", path=name, cure=f"did you mean {close[0]!r}?" if close else None
        )
    wrong = not isinstance(value, kind) or (kind is int and isinstance(value, bool))
    if kind is list:
        wrong = wrong or not all(isinstance(item, str) for item in value)
    elif kind is dict and not wrong:
        wrong = not all(isinstance(count, int) and not isinstance(count, bool) for count in value.values())
    if wrong:
        raise UsageError(f"{key} is not {KINDS[kind]}", path=name)
    return [f"{glob}={count}" for glob, count in value.items()] if kind is dict else value
