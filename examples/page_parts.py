"""What the blocks of examples/README.md are put together from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from recording import RESULTS, Record, ScriptError, read_json

from gcx.renderers.cells import NOTHING, decimal


def record(name: str) -> Record:
    found = read_json(RESULTS / f"{name}.json")
    if found is None:
        raise ScriptError(f"no whole {name}.json in {RESULTS}: run {name}.py first")
    return dict(found)


def rows(heads: Sequence[str], lines: Sequence[Sequence[Any]]) -> Iterator[str]:
    """A Markdown table; the first column is text, the others numbers."""
    yield f"| {' | '.join(heads)} |"
    yield "|---|" + "---:|" * (len(heads) - 1)
    for line in lines:
        yield f"| {' | '.join(map(str, line))} |"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def change(low_high: Sequence[float] | None, places: int = 4) -> str:
    """An interval as it is printed."""
    return NOTHING if low_high is None else " to ".join(decimal(end, places, sign=True) for end in low_high)
