"""Globs on layer names, in one place: `--include`, `--groups`, gates and the rest mean the same by them."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase


def matches(names: Iterable[str], glob: str) -> bool:
    """Whether a glob is about a layer of these names: it matches one of them, or is one letter by letter.

    Args:
        names: a layer's name and those of the same weight; untrusted text.
        glob: as `fnmatch` has it, capitals apart. Names may hold brackets, so a name as it stands always matches.

    >>> matches(["layer1.0.conv2"], "layer1.*"), matches(["blocks[0].conv"], "blocks[0].conv")
    (True, True)
    """
    return any(name == glob or fnmatchcase(name, glob) for name in names)
