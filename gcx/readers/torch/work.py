"""How much of a parsed value has been looked through: what a file shares may be reached from a million places."""

from __future__ import annotations

from gcx.errors import LimitError
from gcx.limits import LOOKS, NAME, NAMES


class Work:
    """One file's budget for looking through its value and for putting names together."""

    def __init__(self) -> None:
        self.looks = 0
        self.characters = 0

    def look(self, count: int) -> None:
        """Count values that are looked at.

        Raises:
            LimitError: more than `LOOKS` in all.
        """
        self.looks += count + 1
        if self.looks > LOOKS:
            raise LimitError(f"has values that lead to each other over and over, limit LOOKS is {LOOKS}")

    def name(self, length: int) -> None:
        """Count the characters of a name that is put together.

        Raises:
            LimitError: it is longer than `NAME`, or all together have more than `NAMES`.
        """
        if length > NAME:
            raise LimitError(f"has a name of {length} characters, limit NAME is {NAME}")
        self.characters += length
        if self.characters > NAMES:
            raise LimitError(f"has names of more than {NAMES} characters in all, limit NAMES")
