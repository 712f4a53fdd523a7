"""The JSON of an exported program, and what its arguments are. Source: torch's `_export/serde/schema.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from gcx.errors import MESSAGE_LIMIT, CheckpointError, LimitError, printable
from gcx.limits import EXPORT_JSON, EXPORT_VALUES
from gcx.readers.json_text import strict
from gcx.readers.torch.archive import Archive
from gcx.readers.torch.tensors import HUGE
from gcx.readers.torch.values import CURE


def parsed(archive: Archive, name: str) -> Any:
    """The value of a JSON record.

    Raises:
        CheckpointError: no JSON.
        LimitError: longer, or with more values, than gcx allows.
    """
    entry = archive.entry(name)
    if entry.size > EXPORT_JSON:
        raise LimitError(f"has a graph of {entry.size} bytes, limit EXPORT_JSON is {EXPORT_JSON}")
    data = archive.read(name)
    values = sum(data.count(mark) for mark in (b",", b"[", b"{"))
    if values > EXPORT_VALUES:
        raise LimitError(f"has a graph of {values} values, limit EXPORT_VALUES is {EXPORT_VALUES}")
    try:
        return strict(data)
    except (ValueError, RecursionError):
        refuse(f"'{printable(name, MESSAGE_LIMIT)}' is no JSON, names something twice, or is nested too deeply")


def refuse(what: str) -> NoReturn:
    raise CheckpointError(f"is a damaged exported program: {what}", cure=CURE) from None


def json_object(value: Any, key: str | None) -> dict[str, Any]:
    """A JSON object, or that under a key of one."""
    found = value if key is None else value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, dict):
        refuse(f"its '{key}' is no object" if key else "it is no object")
    return found


def json_list(value: Any, key: str) -> list[Any]:
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, list):
        refuse(f"its '{key}' is no list")
    return found


def arguments(node: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """A node's arguments and their names: each an object with one key, which says of what kind it is."""
    return [
        (argument["name"], argument["arg"])
        for argument in json_list(node, "inputs")
        if isinstance(argument, dict)
        and isinstance(argument.get("name"), str)
        and isinstance(argument.get("arg"), dict)
    ]


def inner_graph(argument: Any) -> Mapping[str, Any] | None:
    """The graph that an argument is."""
    held = argument.get("as_graph") if isinstance(argument, dict) else None
    graph = held.get("graph") if isinstance(held, dict) else None
    return graph if isinstance(graph, dict) else None


def operands(argument: Any) -> Iterator[str]:
    """The names of the tensors and sizes that an argument is or lists; empty for a constant."""
    kinds = argument.items() if isinstance(argument, dict) else ()
    for kind, value in kinds:
        if kind == "as_string_to_argument":
            yield "?"
        elif kind.startswith(("as_tensor", "as_optional_tensor", "as_sym")):
            for one in value if isinstance(value, list) else [value]:
                yield _name_in(one)
        elif kind == "as_nested_tensors" and isinstance(value, list):
            yield from (_name_in(one) for row in value if isinstance(row, list) for one in row)
        else:
            yield ""


def _name_in(value: Any) -> str:
    """Of a tensor, which may be left out, or of a size, which may be a number."""
    if isinstance(value, dict) and isinstance(value.get("as_tensor"), dict):
        value = value["as_tensor"]
    name = (value.get("name") or value.get("as_name")) if isinstance(value, dict) else None
    return name if isinstance(name, str) else ""


def named(argument: Any) -> str:
    """The name of the tensor that an argument is; empty for anything else."""
    tensor = argument.get("as_tensor") if isinstance(argument, dict) else None
    name = tensor.get("name") if isinstance(tensor, dict) else None
    return name if isinstance(name, str) else ""


def whole_number(argument: Any) -> int | None:
    number = argument.get("as_int") if isinstance(argument, dict) else None
    return number if type(number) is int and 0 <= number < HUGE else None
