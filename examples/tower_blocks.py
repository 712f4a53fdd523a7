"""The table of claim 3: whether the two halves of a first layer differ in colour, over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import mean, median, variance

import numpy as np
from claims import points, sign_flip_pvalue
from page_parts import percent, record, rows
from recording import Record
from scipy.stats import beta

from gcx.renderers.cells import decimal, probability

SMALL = 0.05
PAIRINGS = 19_999
FIRST = 12
"""Seeds that were run before more were added."""
TITLES = {2: "two towers", 1: "one piece, halves that mean nothing"}


def towers() -> Iterator[str]:
    """Colour of the halves by setting; then the two towers against both controls, by when their seeds were run."""
    by = runs_by_setting()
    chance = by[2][0]["after"]["null_between"]
    lines = [(f"{title}, after training", *row(halves(by[count], "after"))) for count, title in TITLES.items()]
    lines.append(("before training, the same in both", *row(halves(by[2], "before"))))
    heads = (
        "colour of the greyer and the more coloured half",
        f"share between halves, mean and median (chance {decimal(chance)} and about {decimal(median_share(chance))})",
        f"p at most {decimal(SMALL, 2)}",
        "all seeds",
        "squared difference of the halves",
        "of any two halves",
        "opposed",
    )
    yield from rows((f"{len(by[2])} seeds each", *heads), lines)
    yield ""
    heads = (
        "mean share: theirs, in one piece, before training",
        "p against one piece",
        "p against before",
        f"p at most {decimal(SMALL, 2)}",
        "all seeds",
        "opposed",
    )
    yield from rows(("two towers, after training", *heads), [(title, *against(by, part)) for title, part in parts(by)])
    yield ""
    score = {count: [100 * run["test_accuracy"] for run in runs] for count, runs in by.items()}
    better = differences(score[1], score[2])
    reached = [percent(mean(score[count]) / 100) for count in TITLES]
    yield (
        f"Test accuracy (chance 25 %): {reached[0]} in two towers, {reached[1]} in one piece; one piece over two "
        f"towers, in points: {points(better)}, p {probability(sign_flip_pvalue(better))}."
    )


def runs_by_setting() -> dict[int, list[Record]]:
    """By number of towers, the runs of all seeds that both settings have, in their order."""
    known = {(run["towers"], run["seed"]): run for run in record("towers")["runs"]}
    seeds = sorted(seed for towers_, seed in known if towers_ == 1 and (2, seed) in known)
    return {count: [known[count, seed] for seed in seeds] for count in TITLES}


def parts(by: dict[int, list[Record]]) -> list[tuple[str, slice]]:
    """The seeds that were run first, those added later, and all of them."""
    count = len(by[2])
    if count <= FIRST:
        return [(f"all {count} seeds", slice(count))]
    return [
        (f"the first {FIRST} seeds", slice(FIRST)),
        (f"{count - FIRST} more", slice(FIRST, count)),
        (f"all {count}", slice(count)),
    ]


def halves(runs: Sequence[Record], when: str) -> list[Record]:
    return [run[when] for run in runs]


def differences(one: Sequence[float], other: Sequence[float]) -> list[float]:
    return [a - b for a, b in zip(one, other, strict=True)]


def against(by: dict[int, list[Record]], part: slice) -> Iterator[str]:
    """Two towers after training against both controls, in pairs of one seed, and by themselves."""
    own = halves(by[2][part], "after")
    shares = [
        [half["between"] for half in found]
        for found in (own, halves(by[1][part], "after"), halves(by[2][part], "before"))
    ]
    yield ", ".join(decimal(mean(share)) for share in shares)
    for control in shares[1:]:
        yield probability(sign_flip_pvalue(differences(shares[0], control)))
    yield from small(own)
    yield probability(opposed(own)[2])


def small(found: Sequence[Record]) -> Iterator[str]:
    """How many seeds have a small p, and how likely all of them are by chance."""
    pvalues = [half["pvalue"] for half in found]
    yield f"{sum(pvalue <= SMALL for pvalue in pvalues)} of {len(pvalues)}"
    yield probability(combined(pvalues))


def median_share(mean_share: float) -> float:
    """Of filters dealt to two halves at random, the share follows Beta(1/2, (n - 2)/2), where the mean is 1/(n - 1).

    >>> round(median_share(1 / 31), 4)
    0.0153
    """
    return float(beta(0.5, (1 / mean_share - 1) / 2).median())


def row(found: Sequence[Record]) -> Iterator[str]:
    """One setting over seeds: the colour of the halves, how much they differ in each net, whether they are opposed."""
    yield f"{mean(half['least'] for half in found):.2f}, {mean(half['most'] for half in found):.2f}"
    between = [half["between"] for half in found]
    yield f"{decimal(mean(between))}, {decimal(median(between))}"
    yield from small(found)
    own, any_two, pvalue = opposed(found)
    yield from (decimal(own, 4), decimal(any_two, 4), probability(pvalue))


def combined(pvalues: Sequence[float]) -> float:
    """Fisher's method: how likely such p-values are together, if chance alone were at work in every seed."""
    from scipy.stats import combine_pvalues

    return float(combine_pvalues(pvalues).pvalue)


def opposed(found: Sequence[Record]) -> tuple[float, float, float]:
    """Whether the halves of one net are further apart in colour than halves of any two nets.

    Returns:
        The mean squared difference within a net, its mean over all ways to pair the halves anew, and in what share of
        random new pairings they are as far apart.

    >>> opposed([{"least": 0.0, "most": 1.0}, {"least": 0.0, "most": 1.0}])[:2]
    (1.0, 0.6666666666666666)
    """
    colours = np.array([(half["least"], half["most"]) for half in found], dtype=np.float64).ravel()
    anew = np.random.default_rng(0).permuted(np.broadcast_to(colours, (PAIRINGS, len(colours))), axis=1)
    own, others = (((values[..., ::2] - values[..., 1::2]) ** 2).mean(axis=-1) for values in (colours, anew))
    hits = np.count_nonzero(others >= own * (1 - 1e-12))
    # The mean over all pairings is that over all pairs of halves: twice their variance.
    return float(own), 2 * variance(colours.tolist()), float(1 + hits) / (1 + PAIRINGS)
