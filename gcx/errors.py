"""What gcx says when it cannot answer: one root error, few children, one line each.

Code deep inside raises with what it knows (`what`, and the `cure`); the code that knows the file or the tensor adds it
on the way out with `located`. The message is one printable line, whatever the file put into it.
"""

from __future__ import annotations

import unicodedata
from typing import Self

MESSAGE_LIMIT = 200
"""Characters of one untrusted piece of text (a name, a path, a global) that are shown in a message."""


def printable(text: str, limit: int | None = None) -> str:
    r"""Escape what could change a terminal or break a line: C0, C1, bidi controls, lone surrogates, line separators.

    Args:
        text: any string, also one from an untrusted file.
        limit: cut after this many characters, with an ellipsis; None keeps all.

    Returns:
        A string in which every character is printable or a plain space.

    >>> printable("conv\x1b[31m1")
    'conv\\x1b[31m1'
    >>> printable("a" * 10, limit=4)
    'aaa…'
    """
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() and unicodedata.category(c) != "Cf" else _escaped(c) for c in text)


def _escaped(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class GcxError(Exception):
    """The root of every error gcx raises on purpose.

    Args:
        what: what is wrong, in a few words, without the file or the tensor.
        cure: what the user can do about it.
        path: the file, as the user typed it.
        tensor: the tensor or layer.

    >>> str(GcxError("is empty", path="a.pt", cure="save it again"))
    'a.pt: is empty; save it again'
    """

    exit_code = 2

    def __init__(self, what: str, *, cure: str | None = None, path: str | None = None, tensor: str | None = None):
        super().__init__(what)
        self.what = what
        self.cure = cure
        self.path = path
        self.tensor = tensor

    def located(self, *, path: str | None = None, tensor: str | None = None) -> Self:
        """Add the file or tensor where it is not known yet; returns the error itself, to `raise error.located(...)`."""
        self.path = self.path if self.path is not None else path
        self.tensor = self.tensor if self.tensor is not None else tensor
        return self

    def __str__(self) -> str:
        tensor = None if self.tensor is None else f"tensor {printable(self.tensor, MESSAGE_LIMIT)!r}"
        path = None if self.path is None else printable(self.path) or "''"
        where = [part for part in (path, tensor) if part is not None]
        line = ": ".join([*where, printable(self.what, 4 * MESSAGE_LIMIT)])
        return line if self.cure is None else f"{line}; {printable(self.cure, 2 * MESSAGE_LIMIT)}"


class UsageError(GcxError):
    """The command line, an argument of the API or a setting cannot be meant."""


class CheckpointError(GcxError):
    """A file cannot be read: missing, damaged, hostile, or of a kind that gcx does not know."""


class LimitError(CheckpointError):
    """A budget of `gcx.limits` is exhausted; the message names it."""


class OutputError(GcxError):
    """A report cannot be written."""
