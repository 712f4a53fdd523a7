"""JSON of unknown size, read piece by piece: a hundred megabytes of brackets cost neither memory nor recursion."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from gcx.errors import CheckpointError, printable
from gcx.readers.base import CURE

_SPACE = re.compile(r"[ \t\n\r]*+")
_TOKEN = re.compile(r'[ \t\n\r]*+(?:"(?:[^"\\\x00-\x1f]++|\\.)*+"|[\[\]{},:]|[-+.0-9A-Za-z]++)')
_NAMES = re.compile(rb'"(?:[^"\\]|\\.)*+"(\s*+:)?', re.DOTALL)
_DECODER = json.JSONDecoder()


def strict(data: bytes) -> Any:
    """The value of a JSON text in which no object names anything twice; `NaN` and `Infinity` are no value in it.

    Names are counted in the text and in the value: pairs handed out one object at a time would take twice the memory.

    Raises:
        ValueError: it is no JSON, or names something twice.
        RecursionError: it is nested too deeply.

    >>> strict(b'{"a": [1, NaN], "b": ":"}')
    {'a': [1, None], 'b': ':'}
    """
    value = json.loads(data, parse_constant=lambda _: None)
    held, waiting = 0, [value]
    while waiting:
        one = waiting.pop()
        if type(one) is dict:
            held += len(one)
            waiting.extend(one.values())
        elif type(one) is list:
            waiting.extend(one)
    if held != sum(found[1] is not None for found in _NAMES.finditer(data)):
        raise ValueError("a name stands in it twice")
    return value


class Scanner:
    """A position in a JSON text. Strict: no name twice, no control characters, no lone surrogates."""

    def __init__(self, text: str, what: str):
        self.text = text
        self.what = what
        """For messages: "safetensors header"."""
        self.at = 0

    def members(self) -> Iterator[str]:
        """Read an object; between two names the caller reads the value.

        Raises:
            CheckpointError: it is none, or names something twice.
        """
        self.expect("{")
        if self.next() == "}":
            self.at += 1
            return
        seen: set[str] = set()
        while True:
            key = self.string()
            if key in seen:
                self.refuse(f"'{printable(key, 60)}' stands in it twice")
            seen.add(key)
            self.expect(":")
            yield key
            if self.next() == "}":
                self.at += 1
                return
            self.expect(",")

    def string(self) -> str:
        if self.next() != '"':
            self.refuse("no text where one belongs")
        try:
            text: str
            text, self.at = _DECODER.raw_decode(self.text, self.at)
            text.encode()
        except ValueError:  # unterminated, control characters, lone surrogates
            self.refuse("a damaged text")
        return text

    def skip(self) -> None:
        """Pass over one value, whatever it is, by counting brackets."""
        depth = 0
        while True:
            token = _TOKEN.match(self.text, self.at)
            if token is None:
                self.refuse("a value that does not end")
            self.at = token.end()
            last = self.text[self.at - 1]
            depth += (last in "[{") - (last in "]}")
            if depth < 0:
                self.refuse("no value where one belongs")
            if depth == 0 and last not in ",:":
                return

    def until(self, char: str, limit: int) -> str | None:
        """The text from here up to and with a character; None if it is not among the next `limit`."""
        end = self.text.find(char, self.at, self.at + limit)
        if end < 0:
            return None
        start, self.at = self.at, end + 1
        return self.text[start : self.at]

    def expect(self, char: str) -> None:
        if self.next() != char:
            self.refuse(f"no {char!r} where one belongs")
        self.at += 1

    def next(self) -> str:
        """The next character that is no space; empty at the end."""
        char = self.text[self.at : self.at + 1]
        if char > " ":
            return char
        space = _SPACE.match(self.text, self.at)
        if space:
            self.at = space.end()
        return self.text[self.at : self.at + 1]

    def end(self) -> None:
        if self.next():
            self.refuse("more after its end")

    def refuse(self, why: str) -> NoReturn:
        raise CheckpointError(f"{self.what} is damaged at character {self.at}: {why}", cure=CURE) from None
