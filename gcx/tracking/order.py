"""Which checkpoint comes after which: the number in a name, the number inside the file, or the time of change."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePath

from gcx.errors import CheckpointError, UsageError
from gcx.inputs import natural
from gcx.training_run import Event, Order

_WORDS = (
    re.compile(r"(?<![a-z])(?:epochs?|ep|e)[-_=.: ]{0,2}([0-9]{1,12})(?![0-9])", re.IGNORECASE),
    re.compile(r"(?<![a-z])(?:steps?|iter(?:ation)?s?|it)[-_=.: ]{0,2}([0-9]{1,12})(?![0-9])", re.IGNORECASE),
)
"""Words before the number that is meant, the likeliest first."""
_NAMED = 6
"""Missing epochs that are named."""
_STEPS = 2
"""Even steps that make a spacing."""


@dataclass(frozen=True)
class Placed:
    """One checkpoint and where it belongs."""

    number: int
    """Its place as given."""
    epoch: int | None


def epochs_in_names(paths: Sequence[str]) -> list[int | None]:
    """The number in each name that says when it was saved; None where there is none.

    A word before the number decides (`epoch-3`, `step=500`); without one, the first number that differs from name to
    name, where the names are otherwise alike.

    >>> epochs_in_names(["net-e10-loss0.5.pt", "net-e9-loss0.6.pt"]), epochs_in_names(["v2/run_1.pt", "v2/run_12.pt"])
    ([10, 9], [1, 12])
    >>> epochs_in_names(["best.pt", "last.pt"]), epochs_in_names(["step-500/model.pt", "step-1000/model.pt"])
    ([None, None], [500, 1000])
    """
    for word in _WORDS:
        found = [_number_after(word, path) for path in paths]
        known = sum(epoch is not None for epoch in found)
        if known > 1 and 2 * known > len(paths):
            return found
    parts = [natural(path) for path in paths]
    texts = {tuple(text for is_number, _, text in one if not is_number) for one in parts}
    if len(paths) < 2 or len(texts) != 1:
        return [None] * len(paths)
    columns = [[one[at][1] for one in parts] for at in range(1, len(parts[0]), 2)]
    varying = [column for column in columns if len(set(column)) > 1]
    distinct = [column for column in varying if len(set(column)) == len(column)]
    return list((distinct or varying or [[]])[0]) or [None] * len(paths)


def _number_after(word: re.Pattern[str], path: str) -> int | None:
    """In the file's name, else in its folder's."""
    pure = PurePath(path)
    for text in (pure.stem, pure.parent.name):
        if (found := word.search(text)) is not None:
            return int(found[1])
    return None


def ordered(
    paths: Sequence[str | None], saved: Sequence[int | None], order: Order | None
) -> tuple[list[Placed], Order | None]:
    """Put checkpoints in order, and say by what.

    Args:
        paths: as typed; None for objects that are no files.
        saved: the number that each holds inside.
        order: None takes the names where they hold numbers, else what the files say, else the names as they are.

    Returns:
        The checkpoints in order, and by what; None where objects stay as they were given.

    Raises:
        UsageError: the order asked for cannot be known.
    """
    files = [path for path in paths if path is not None]
    if len(files) < len(paths):
        if order in ("name", "mtime"):
            raise UsageError(f"cannot order objects by {order}", cure="give paths, or leave order out")
        if order is None:
            return [Placed(number, epoch) for number, epoch in enumerate(saved)], None
    in_names = epochs_in_names(files) if len(files) == len(paths) else [None] * len(paths)
    if order is None:
        in_file = all(epoch is not None for epoch in saved) and not any(epoch is not None for epoch in in_names)
        order = "file" if in_file else "name"
    if order == "file":
        for path, epoch in zip(paths, saved, strict=True):
            if epoch is None:
                raise UsageError("holds no number of an epoch or step", path=path, cure="use --order name or mtime")
        epochs = list(saved)
    else:
        # A name says what its author wants it to be; the file fills in.
        epochs = [named if named is not None else inner for named, inner in zip(in_names, saved, strict=True)]
    numbered = any(epoch is not None for epoch in in_names)
    keys = {
        "name": lambda at: (
            (epochs[at] is None, epochs[at] or 0, natural(files[at])) if numbered else natural(files[at])
        ),
        "file": lambda at: (epochs[at], at),
        "mtime": lambda at: (_changed(files[at]), natural(files[at])),
    }
    return [Placed(at, epochs[at]) for at in sorted(range(len(paths)), key=keys[order])], order


def _changed(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"cannot be read: {os.strerror(getattr(error, 'errno', None) or 2)}", path=path
        ) from error


def numbering_events(epochs: Sequence[int | None], shown: Sequence[str]) -> Iterator[Event]:
    """Numbers that are missing, there twice, or not known.

    Args:
        epochs: in order.
        shown: the paths, in the same order.
    """
    for at, epoch in enumerate(epochs):
        if epoch is None and any(other is not None for other in epochs):
            text = f"{shown[at]}: neither its name nor the file says which epoch it is of, so its place is not sure"
            yield Event(kind="unnumbered", checkpoint=at, text=text)
    known = [epoch for epoch in epochs if epoch is not None]
    counts = Counter(known)
    for epoch in (epoch for epoch, count in counts.items() if count > 1):
        places = [at for at, other in enumerate(epochs) if other == epoch]
        names = ", ".join(shown[at] for at in places[:_NAMED]) + (", …" if len(places) > _NAMED else "")
        yield Event(
            kind="duplicate", checkpoint=places[1], text=f"{len(places)} checkpoints are of epoch {epoch}: {names}"
        )
    missing = list(missing_epochs(sorted(counts)))
    if missing:
        names = ", ".join(map(str, missing[:_NAMED])) + (
            f" and {len(missing) - _NAMED} more" if missing[_NAMED:] else ""
        )
        yield Event(kind="missing", checkpoint=None, text=f"no checkpoint of epoch {names}, though others come evenly")


def missing_epochs(epochs: Sequence[int], limit: int = 10_000) -> Iterator[int]:
    """Numbers left out of an even spacing; a run that is saved ever more seldom misses none.

    Args:
        epochs: rising, no two the same.
        limit: most that are returned.

    >>> list(missing_epochs([0, 1, 2, 4, 5, 8])), list(missing_epochs([0, 20, 40, 60, 100, 140, 220]))
    ([3, 6, 7], [])
    """
    gaps = [later - earlier for earlier, later in pairwise(epochs)]
    if len(gaps) <= _STEPS:
        return
    counts = Counter(gaps)
    step = min(gap for gap, count in counts.items() if count == max(counts.values()))
    if counts[step] < _STEPS:
        return
    last = max(at for at, gap in enumerate(gaps) if gap == step)
    found = 0
    for at, gap in enumerate(gaps):
        # Beyond the last even step the spacing may be another one; a single wide step at the end is a hole.
        if gap > step and gap % step == 0 and (at < last or at == last + 1 == len(gaps) - 1):
            for epoch in range(epochs[at] + step, epochs[at + 1], step):
                yield epoch
                found += 1
                if found >= limit:
                    return
