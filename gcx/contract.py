"""The JSON contract, read off the records themselves: their mapping, the JSON Schema, and what each key means."""

from __future__ import annotations

import dataclasses
import sys
import types
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from gcx.errors import printable
from gcx.results import Report

LARGEST = sys.float_info.max
"""NaN and infinity are not within it, and neither is a whole number that no float can hold."""

_HIDDEN = frozenset({"picture", "distribution", "checks"})
"""Fields that one format wants (figures, terminals, JUnit); they are not part of the contract."""


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


Record = TypeVar("Record")


def from_mapping(record: type[Record], data: Any) -> Record:
    """A record from the JSON it was written as: the way back from `to_mapping`.

    Keys that this version does not know are passed over (a newer one may have written them); everything else is strict.

    Raises:
        ValueError: a key is missing or holds another type, NaN or infinity; says where.

    >>> from gcx.results import LeftOut
    >>> from_mapping(LeftOut, {"name": "pos_embed", "shape": [1, 8, 4], "reason": "a table"})
    LeftOut(name='pos_embed', shape=(1, 8, 4), reason='a table')
    """
    return cast("Record", _record_from(record, data, ""))


def _record_from(record: type, data: Any, where: str) -> Any:
    if not isinstance(data, Mapping):
        raise ValueError(f"{where or 'the whole'} is no object")  # noqa: TRY004 - bad data, not a bad call
    defaults = {field.name for field in dataclasses.fields(record) if field.default is not dataclasses.MISSING}
    values = {}
    for name, (hint, _) in _hints(record).items():
        path = f"{where}.{name}" if where else name
        if name in data:
            values[name] = _value_from(hint, data[name], path)
        elif name not in defaults:
            raise ValueError(f"{path} is missing")
    return record(**values)


def _value_from(hint: Any, data: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _one_of(arguments, data, where)
    if origin is Literal:
        fits = isinstance(data, (str, int)) and data in arguments
    elif origin is tuple:
        return _tuple_from(arguments, data, where)
    elif dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _record_from(hint, data, where)
    elif hint is float:
        fits = isinstance(data, (int, float)) and not isinstance(data, bool) and abs(data) <= LARGEST
        data = float(data) if fits else data
    elif hint in (None, type(None)):
        fits = data is None
    else:
        fits = isinstance(data, hint) and not (hint is int and isinstance(data, bool))
    if not fits:
        raise ValueError(f"{where} is {printable(repr(data), 60)}, not {_wanted(hint)}")
    return data


def _wanted(hint: Any) -> str:
    """A type in words."""
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    return {int: "a whole number", float: "a finite number", bool: "true or false", str: "text"}.get(hint, "null")


def _one_of(hints: tuple[Any, ...], data: Any, where: str) -> Any:
    """The first of several types that fits; of several records the one whose `status` it names."""
    if data is None and type(None) in hints:
        return None
    hints = tuple(hint for hint in hints if hint is not type(None))
    if len(hints) > 1 and isinstance(data, Mapping):
        named = [hint for hint in hints if data.get("status") in get_args(_hints(hint)["status"][0])]
        hints = tuple(named) or hints
    return _value_from(hints[0], data, where)


def _tuple_from(hints: tuple[Any, ...], data: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise ValueError(f"{where} is no list")  # noqa: TRY004
    if len(hints) == 2 and hints[1] is Ellipsis:
        return tuple(_value_from(hints[0], item, f"{where}[{k}]") for k, item in enumerate(data))
    if len(data) != len(hints):
        raise ValueError(f"{where} has {len(data)} entries, not {len(hints)}")
    return tuple(
        _value_from(hint, item, f"{where}[{k}]") for k, (hint, item) in enumerate(zip(hints, data, strict=True))
    )


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


def number_at(record: Any, path: str) -> Any:
    """The value at a dotted path of a record; None where a record on the way is None.

    >>> from gcx.results import Coverage
    >>> number_at(Coverage(convolutions=3, measured=2, not_chosen=0, weight_share=None), "measured")
    2
    """
    for part in path.split("."):
        if record is None:
            return None
        record = getattr(record, part)
    return record


def numeric_keys(record: type) -> dict[str, str]:
    """The keys of a record and the records in it that hold one number or truth value each, with their meaning.

    >>> from gcx.results import Kernels
    >>> list(numeric_keys(Kernels))[:3]
    ['same_group', 'different_groups', 'delta']
    """
    found: dict[str, str] = {}
    for name, (hint, meaning) in _hints(record).items():
        for kind in get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,):
            if kind in (int, float, bool):
                found[name] = meaning
            elif dataclasses.is_dataclass(kind) and isinstance(kind, type):
                found |= {f"{name}.{key}": inner for key, inner in numeric_keys(kind).items()}
    return found


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

    sys.stdout.write(json.dumps(json_schema(), indent=1) + "\n")
