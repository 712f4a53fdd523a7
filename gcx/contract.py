"""The JSON contract, read off the records themselves: their mapping, the JSON Schema, and what each key means."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from gcx.results import Report

_HIDDEN = frozenset({"picture"})
"""Fields that hold arrays for figures; they are not part of the contract."""


def to_mapping(record: Any) -> Any:
    """A record as plain dicts, lists, numbers and strings, keys in the order of the fields.

    >>> from gcx.results import LeftOut
    >>> to_mapping(LeftOut(name="pos_embed", shape=(1, 8, 4), reason="a position table"))
    {'name': 'pos_embed', 'shape': [1, 8, 4], 'reason': 'a position table'}
    """
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return {name: to_mapping(getattr(record, name)) for name in field_names(type(record))}
    if isinstance(record, tuple):
        return [to_mapping(item) for item in record]
    return record


@cache
def field_names(record: type[Any]) -> tuple[str, ...]:
    """The keys of a record in the JSON, in order."""
    return tuple(field.name for field in dataclasses.fields(record) if field.name not in _HIDDEN)


@cache
def _hints(record: type) -> Mapping[str, tuple[Any, str]]:
    """Per JSON key: its type and its meaning."""
    hints = get_type_hints(record, include_extras=True)
    found = {}
    for name in field_names(record):
        hint = hints[name]
        if get_origin(hint) is not Annotated:
            raise TypeError(f"{record.__name__}.{name} has no meaning: write it as Annotated[type, 'meaning']")
        found[name] = (get_args(hint)[0], get_args(hint)[1])
    return types.MappingProxyType(found)


def meanings(record: type = Report) -> dict[str, str]:
    """What each key of the JSON means, by its dotted path; lists are passed through, so `models.layers.within.mean_r2`.

    >>> meanings()["models.layers.within.n_pairs"]
    'pairs of live filters of one group, pooled over groups'
    """
    return dict(_walk(record, ""))


def _walk(record: type, prefix: str) -> Iterator[tuple[str, str]]:
    for name, (hint, meaning) in _hints(record).items():
        yield prefix + name, meaning
        for inner in _records_in(hint):
            yield from _walk(inner, f"{prefix}{name}.")


def _records_in(hint: Any) -> Iterator[type]:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        yield hint
    for argument in get_args(hint):
        yield from _records_in(argument)


def json_schema(record: type = Report) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a report; keys may be added later, so additional ones are allowed."""
    definitions: dict[str, Any] = {}
    root = _schema_of(record, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"gcx {record.__name__.lower()}",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def _schema_of(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _record_schema(hint, definitions)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema_of(argument, definitions) for argument in arguments]}
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return {"type": "array", "items": _schema_of(arguments[0], definitions)}
        items = [_schema_of(argument, definitions) for argument in arguments]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    names = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null", None: "null"}
    if hint not in names:
        raise TypeError(f"no JSON type for {hint!r}")
    return {"type": names[hint]}


def _record_schema(record: type, definitions: dict[str, Any]) -> dict[str, Any]:
    name = record.__name__
    if name not in definitions:
        definitions[name] = {}  # named first: records may nest
        properties = {
            key: {"description": meaning, **_schema_of(hint, definitions)}
            for key, (hint, meaning) in _hints(record).items()
        }
        definitions[name] = {
            "type": "object",
            "description": (record.__doc__ or "").split("\n")[0],
            "properties": properties,
            "required": list(properties),
        }
    return {"$ref": f"#/$defs/{name}"}


if __name__ == "__main__":
    import json
    import sys

    sys.stdout.write(json.dumps(json_schema(), indent=1) + "\n")
