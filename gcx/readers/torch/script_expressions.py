"""The expressions in a TorchScript archive's code, looked into.

Of Python's grammar torch prints names, attributes, calls, indices, lists, texts and numbers; anything else is not
understood, and neither is what depends on a method's input.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from gcx.readers.torch.script_values import (
    GIVEN,
    Value,
    a_list,
    called,
    either,
    indexed,
    member,
    method_of,
    one_of,
    together,
)

LONGEST = 1000
"""Characters of an expression that is looked into; one that makes a weight is shorter."""
_DEEPEST = 64
"""Brackets and assignments between a weight and where it is kept."""
_COUNTED = 4
"""Characters that count as one statement, since looking into them takes its time."""

_TOKEN = re.compile(r'\s*+("(?:[^"\\]|\\.)*+"|[^\W\d]\w*+|[0-9][\w.]*+(?:(?<=e)[-+][0-9]++)?|\S)')
_BRANCHES = 4
"""Texts that a name may be assigned."""

_CONSTANT = re.compile(r"c([0-9]{1,9})")
_FUNCTION = re.compile(r"__torch__(?:\.\w+)++")
_HOMES = ("torch", "ops", "__torch__")
"""Of functions; anything else before a dot is a value."""


class _NotUnderstoodError(Exception):
    """The expression depends on the input, or is of a form that torch does not print for weights."""


class Values:
    """The values of one method, each looked into once.

    Args:
        this: the name of its first parameter, the module.
        assigned: its local names; to each the texts that it is assigned, several in branches and loops, and whether it
            is all of that or one of several results.
        count: is told of the work, in statements.
        given: what stands for the method's parameters, and `GIVEN` for anything else that is not assigned; None where
            values that depend on these are not looked for.

    >>> values = Values("self", {"w": [("self.weight", True)], "g": [("2", True)]}, lambda _: None)
    >>> values.of("torch.detach(w)").place, values.of("g").literal
    (('weight',), '2')
    >>> values.of("torch.mul(w, getattr(self.a, \\"0\\"))").places, values.of("torch.mul(w, x)")
    ((('weight',), ('a', '0')), None)
    """

    def __init__(
        self,
        this: str,
        assigned: Mapping[str, list[tuple[str, bool]]],
        count: Callable[[int], None],
        given: Mapping[str, Value] | None = None,
    ):
        self.assigned = assigned
        self._given = given
        self._count = count
        self._names: dict[str, Value | None] = {this: Value(((),))}
        self._texts: dict[str, Value | None] = {}
        self._depth = 0

    def of(self, text: str) -> Value | None:
        """The value of an expression; None where it depends on the input or is not understood."""
        if text not in self._texts:
            self._texts[text] = self._evaluated(text)
        return self._texts[text]

    def _evaluated(self, text: str) -> Value | None:
        if len(text) > LONGEST:
            return None
        self._count(1 + len(text) // _COUNTED)
        tokens = [token[1] for token in _TOKEN.finditer(text)]
        try:
            return _Expression(tokens, self).whole()
        except _NotUnderstoodError:
            return None

    def named(self, name: str, depth: int) -> Value | None:
        """The value of a local name, looked into where an expression of this depth stands."""
        if name not in self._names:
            self._names[name] = None  # what it is while it is being looked into: a name that means itself is nothing
            assigned = self.assigned.get(name, ())
            if 0 < len(assigned) <= _BRANCHES and depth < _DEEPEST:
                before, self._depth = self._depth, depth + 1
                found = [(self._evaluated(text), alone) for text, alone in assigned]
                self._depth = before
                self._names[name] = either(
                    [value if alone or value is None else one_of(value) for value, alone in found]
                )
        return self._names[name]

    def function(self, name: str) -> str | None:
        """The full name of a function of the archive to which torch gave this local one."""
        assigned = self.assigned.get(name, ())
        found = _FUNCTION.fullmatch(assigned[0][0]) if len(assigned) == 1 else None
        return None if found is None else found[0]

    def given(self, name: str) -> Value | None:
        """What stands for a name that is not assigned."""
        return None if self._given is None else self._given.get(name, GIVEN)

    @property
    def depth(self) -> int:
        return self._depth


class _Expression:
    """One expression's tokens, taken from the left."""

    def __init__(self, tokens: list[str], values: Values):
        self.tokens = tokens
        self.values = values
        self.at = 0
        self.depth = values.depth

    def whole(self) -> Value | None:
        value = self.value()
        if self.next() is not None:
            raise _NotUnderstoodError
        return value

    def next(self) -> str | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self) -> str:
        token = self.next()
        if token is None:
            raise _NotUnderstoodError
        self.at += 1
        return token

    def skip(self, token: str) -> bool:
        found = self.next() == token
        self.at += found
        return found

    def expect(self, token: str) -> None:
        if not self.skip(token):
            raise _NotUnderstoodError

    def value(self) -> Value | None:
        """One expression, with the attributes, calls and indices behind it."""
        self.depth += 1
        if self.depth > _DEEPEST:
            raise _NotUnderstoodError
        value = self.first()
        while self.next() in (".", "["):
            if self.skip("["):
                value = indexed(value, self.several("]"))
                continue
            self.at += 1
            name = self.take()
            value = method_of(value, self.several(")"), name) if self.skip("(") else member(value, name)
        self.depth -= 1
        return value

    def first(self) -> Value | None:
        word = self.take()
        if word == "(":
            held = self.several(")")
            return held[0] if len(held) == 1 and self.tokens[self.at - 2] != "," else a_list(held)
        if word == "[":
            return a_list(self.several("]"))
        if word == "-":
            return Value(literal=f"-{self.take()}")
        if word[0] == '"' or word[0].isdigit() or word in ("True", "False", "None"):
            return Value(literal=word)
        if not (word[0].isalpha() or word[0] == "_"):
            raise _NotUnderstoodError
        return self.name(word)

    def name(self, word: str) -> Value | None:
        """A local name, a constant of the archive, or a function that is called."""
        known = self.values.named(word, self.depth)
        if known is None and self.next() == "(" and (function := self.values.function(word)):
            self.at += 1
            return together(self.several(")"), function.rpartition(".")[2])
        if known is not None or word in self.values.assigned:
            return known
        path = [word]
        while self.next() == ".":
            self.at += 1
            path.append(self.take())
        if path[0] == "CONSTANTS" and len(path) > 1 and (number := _CONSTANT.fullmatch(path[1])):
            return Value((int(number[1]),)) if len(path) == 2 else None
        if not self.skip("("):
            return self.values.given(word) if len(path) == 1 else None  # a parameter of the method, or a type
        arguments = self.several(")")
        if len(path) > 1 and path[0] not in _HOMES:
            return None
        if path == ["getattr"]:
            name = arguments[1] if len(arguments) == 2 else None
            if name is None or name.literal is None or name.literal[0] != '"':
                return None
            return member(arguments[0], name.literal[1:-1])
        return called(arguments, path[-1])

    def several(self, end: str) -> list[Value | None]:
        """Expressions up to a bracket that closes, some of them after a keyword."""
        found = []
        while not self.skip(end):
            value = self.value()
            found.append(self.value() if self.skip("=") else value)
            if self.next() != end:
                self.expect(",")
        return found
