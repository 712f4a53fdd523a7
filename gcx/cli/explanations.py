"""`gcx explain`: what a printed column or a JSON key means, read off the records and the columns themselves."""

from __future__ import annotations

import textwrap
from difflib import get_close_matches

from gcx.contract import meanings
from gcx.errors import UsageError
from gcx.gate import GRAMMAR, gateable
from gcx.renderers.base import PRINTED_COLUMNS

SCOPES = {"layer": "layer", "model": "model", "change": "compared pair"}
LAYER_PREFIX = "models.layers."
WIDTH = 100


def explanation(key: str | None) -> str:
    """The meaning of one key, or of all.

    Args:
        key: a JSON path (`within.mean_r2`; the leading `models.layers.` may be left out), its last part (`mean_r2`), a
            printed column, or None for everything.

    Raises:
        UsageError: nothing is called that.

    >>> print(explanation("within.n_pairs"), end="")
    within.n_pairs
        pairs of live filters of one group, pooled over groups
    """
    known = {path.removeprefix(LAYER_PREFIX): meaning for path, meaning in meanings().items()}
    columns = {column.heading: column.meaning for column in PRINTED_COLUMNS}
    if key is None:
        gates = {
            key: f"of each {SCOPES[scope]}: {meaning}" for key, (scope, meaning) in gateable(comparing=True).items()
        }
        sections = (
            _section("Columns of the table", columns),
            _section("Keys of the JSON report", known),
            _section(f"What --fail-if can name: {GRAMMAR}", gates),
        )
        return "\n".join(sections)
    wanted = key.removeprefix(LAYER_PREFIX)
    found = {path: meaning for path, meaning in known.items() if path == wanted}
    found = found or {path: meaning for path, meaning in known.items() if path.endswith(f".{wanted}")}
    for column in PRINTED_COLUMNS:
        if wanted in (column.title, column.heading, column.key):
            found[f"column {column.heading!r}"] = column.meaning
    if not found:
        names = [*known, *(path.rpartition(".")[2] for path in known), *columns]
        close = get_close_matches(wanted, names, n=1, cutoff=0.5)
        cure = f"did you mean {close[0]!r}?" if close else "`gcx explain` lists every key"
        raise UsageError(f"nothing is called {key!r}", cure=cure)
    return _entries(found)


def _section(title: str, entries: dict[str, str]) -> str:
    return f"{title}\n\n{_entries(entries)}"


def _entries(entries: dict[str, str]) -> str:
    wrapped = (
        f"{name}\n{textwrap.fill(meaning, WIDTH, initial_indent='    ', subsequent_indent='    ')}\n"
        for name, meaning in entries.items()
    )
    return "".join(wrapped)
