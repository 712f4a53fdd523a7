"""Counted nouns, for messages and sentences alike."""

from __future__ import annotations


def plural(count: int, noun: str) -> str:
    """A count and its noun.

    >>> plural(1, "layer"), plural(2, "layer"), plural(0, "layer")
    ('1 layer', '2 layers', '0 layers')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"
