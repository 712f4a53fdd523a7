"""Running a fuzz target: under atheris where it is installed, else by a mutator of our own; over seeds in the tests.

A target is a function of bytes out of which only GcxError may come. `python tests/fuzz/fuzz_NAME.py -max_total_time=60`
runs one for a minute and exits with 1 at the first finding, which it leaves in `crash-<hash>` as libFuzzer does.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

Target = Callable[[bytes], None]
LONGEST = 1 << 16
NUMBERS = [
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\0" * 8,
    b"\xff" * 8,
    (2**31).to_bytes(4, "little"),
    (2**40).to_bytes(8, "little"),
]


def mutants(
    seeds: Sequence[bytes], tokens: Sequence[bytes], seed: int, repair: Callable[[bytes], bytes] = bytes
) -> Iterator[bytes]:
    """Endless: a few edits each of one seed, or of two spliced together; the same for the same `seed`.

    Args:
        repair: makes lengths or checksums right again, so that not everything ends at them; for half of the mutants.
    """
    dice = random.Random(seed)
    pieces = [*tokens, *NUMBERS]
    while True:
        data = bytearray(dice.choice(seeds))
        if dice.random() < 0.1:
            other = dice.choice(seeds)
            data = data[: dice.randint(0, len(data))] + other[dice.randint(0, len(other)) :]
        for _ in range(dice.choice((1, 1, 2, 3, 8))):
            at = dice.randint(0, len(data))
            until = min(len(data), at + dice.choice((1, 2, 4, 8, 64)))
            how = dice.choice((0, 0, 0, 1, 3, 3, 2, 4, 5))  # most keep the length
            if how == 0 and data:
                data[min(at, len(data) - 1)] ^= 1 << dice.randrange(8)
            elif how == 1:
                data[at:until] = bytes(dice.randrange(256) for _ in range(until - at))
            elif how == 2:
                data[at:at] = dice.choice(pieces)
            elif how == 3:
                piece = dice.choice(pieces)
                data[at : at + len(piece)] = piece
            elif how == 4:
                del data[at:until]
            else:
                data[at:at] = data[at:until] * dice.choice((1, 2, 30))
        if dice.random() < 0.1:
            del data[dice.randint(0, len(data)) :]
        yield repair(bytes(data[:LONGEST])) if dice.random() < 0.5 else bytes(data[:LONGEST])


def main(
    target: Target, seeds: Sequence[bytes], tokens: Sequence[bytes], repair: Callable[[bytes], bytes] = bytes
) -> None:
    """Fuzz until the time is over or something is found."""
    options = argparse.ArgumentParser(description=target.__doc__)
    options.add_argument("-max_total_time", type=float, default=60, help="seconds")
    options.add_argument("-seed", type=int, default=None)
    arguments, rest = options.parse_known_args()
    try:
        import atheris
    except ImportError:
        made = mutants(seeds, tokens, int(time.time()) if arguments.seed is None else arguments.seed, repair)
        _mutate(target, made, arguments.max_total_time)
        return
    corpus = Path(f".fuzz/{target.__name__}")
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    dictionary = corpus.with_suffix(".dict")
    dictionary.write_text(
        "".join('"' + "".join(f"\\x{byte:02x}" for byte in token) + '"\n' for token in tokens if token)
    )
    atheris.instrument_all()
    seconds = f"-max_total_time={max(1, int(arguments.max_total_time))}"
    limits = ["-rss_limit_mb=512", "-timeout=5", f"-max_len={LONGEST}"]
    atheris.Setup([sys.argv[0], str(corpus), seconds, f"-dict={dictionary}", *limits, *rest], target)
    atheris.Fuzz()


def _mutate(target: Target, inputs: Iterator[bytes], seconds: float) -> None:
    end, count, slowest = time.monotonic() + seconds, 0, 0.0
    for data in inputs:
        start = time.monotonic()
        if start > end:
            break
        try:
            target(data)
        except BaseException:
            crash = Path(f"crash-{hashlib.sha1(data).hexdigest()}")
            crash.write_bytes(data)
            traceback.print_exc()
            sys.exit(f"{target.__name__}: found after {count} runs, input in {crash}")
        count += 1
        slowest = max(slowest, time.monotonic() - start)
    print(f"{target.__name__}: {count} runs, slowest {slowest * 1000:.0f} ms, nothing found")
