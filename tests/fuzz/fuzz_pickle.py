"""Fuzz the reader that refuses pickles without a container, and through it the interpreter."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

from evil import Call, Ref, pickled, storage  # noqa: E402
from fuzz.harness import main  # noqa: E402
from fuzz.targets import read_all  # noqa: E402
from fuzz.torch_values import TOKENS as WORDS  # noqa: E402
from fuzz.torch_values import values  # noqa: E402

from gcx.readers.torch import PlainPickleReader  # noqa: E402

READER = PlainPickleReader()
VALUE = [1, 300, -70_000, 2**70, 1.5, "a", b"b", (), (1,), (1, 2), {1: 2}, {3}, frozenset([4]), None, True, "é\n"]
SEEDS = [
    *(pickle.dumps(VALUE, protocol) for protocol in range(6)),
    *map(pickled, values(storage)),
    pickled(Call(Ref("os", "system"), "true")),
    b"cos\nsystem\n(S'true'\ntR.",
    b"(S'true'\nios\nsystem\n.",
]
TOKENS = WORDS


def fuzz_pickle(data: bytes) -> None:
    """Only GcxError may come out of the reader of plain pickles."""
    read_all(READER, data, "fuzz.pkl")


if __name__ == "__main__":
    main(fuzz_pickle, SEEDS, TOKENS)
