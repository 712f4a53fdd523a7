"""The report as JSON: the contract with CI. ASCII, no NaN, keys in a fixed order.

A layer stands on one line, so that reports can be compared line by line, and a hundred thousand layers cost little:
each is turned into text by itself, and no copy of the whole report is made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any

from gcx.contract import field_names, to_mapping
from gcx.renderers.options import RenderOptions
from gcx.results import Listing, Report

SPREAD = len("\n") + 2 * 4
"""Indentation of a layer's line: report, models, one model, its layers."""


class Json:
    """The records themselves, not the table."""

    name = "json"
    suffixes: tuple[str, ...] = (".json",)
    binary = False
    needs_pictures = False

    def render(self, report: Report, options: RenderOptions) -> str:
        """The whole report."""
        return _dumped(report)

    def render_listing(self, listing: Listing, options: RenderOptions) -> str:
        """The whole listing."""
        return _dumped(listing)


def _dumped(record: Report | Listing) -> str:
    text = "".join(_parts(record, "\n"))
    # DEL is ASCII and a control character; json leaves it, and it can only stand within a string.
    return text.replace("\x7f", "\\u007f") + "\n"


def _parts(value: Any, newline: str) -> Iterator[str]:
    """The text of a record or a tuple, spread over lines down to the layers; `newline` carries the indentation."""
    deeper = newline + "  "
    spread = is_dataclass(value) or (isinstance(value, tuple) and value)
    if len(deeper) > SPREAD or not spread:
        yield json.dumps(to_mapping(value), ensure_ascii=True, allow_nan=False)
        return
    named = not isinstance(value, tuple)
    names: tuple[str, ...] = _names(value) if named else ()
    keys = [f"{json.dumps(name)}: " for name in names] if named else [""] * len(value)
    parts = [getattr(value, name) for name in names] if named else value
    yield "{" if named else "["
    for number, (key, item) in enumerate(zip(keys, parts, strict=True)):
        yield f"{',' if number else ''}{deeper}{key}"
        yield from _parts(item, deeper)
    yield newline + ("}" if named else "]")


def _names(record: object) -> tuple[str, ...]:
    kind: type = type(record)
    return field_names(kind)
