"""The tables of examples/README.md, each made from what the scripts recorded."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from statistics import mean
from typing import Any

from claims import Runs, arms_of, last_epochs, sentences, table
from recording import RESULTS, Record, read_json

from gcx.measures import adjust_pvalues, runs_interval, runs_pvalue
from gcx.renderers.cells import decimal, probability

SMALL = 0.05
EPOCHS = (0, 1, 2, 3, 4, 6, 8, 10)


def record(name: str) -> Record:
    found = read_json(RESULTS / f"{name}.json")
    if found is None:
        sys.exit(f"no whole {name}.json in {RESULTS}: run {name}.py first")
    return dict(found)


def runs() -> Runs:
    return last_epochs(RESULTS / "fashion")


def rows(heads: Sequence[str], lines: Sequence[Sequence[Any]]) -> Iterator[str]:
    """A Markdown table; the first column is text, the others numbers."""
    yield f"| {' | '.join(heads)} |"
    yield "|---|" + "---:|" * (len(heads) - 1)
    for line in lines:
        yield f"| {' | '.join(map(str, line))} |"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def shape(sides: Sequence[int]) -> str:
    return f"[{', '.join(map(str, sides))}]"


def shapes() -> Iterator[str]:
    found = record("equivalence")["shapes"]
    keys = (("one_convolution", "cost_of_one"), ("two_concatenated", "cost_of_two"))
    titles = ("one convolution, 64 filters", "two of 32 filters, concatenated")
    yield from rows(
        ("", "channels last", "channels first", "parameters", "multiply-adds"),
        [
            (
                title,
                shape(found[out]),
                shape(found[f"{out}_channels_first"]),
                f"{found[cost]['parameters']:,}",
                f"{found[cost]['multiply_adds']:,}",
            )
            for title, (out, cost) in zip(titles, keys, strict=True)
        ],
    )


def keras_layers() -> Iterator[str]:
    found = record("channels_last")
    titles = {
        "whole": "one convolution, 64 filters",
        "apart": "two of 32 filters, concatenated",
        "grouped": "one of 64 filters, `groups=2`",
    }
    lines = [
        (
            titles[way["way"]],
            " and ".join(map(shape, way["kernels"])),
            shape(way["output"]),
            f"{way['parameters']:,}",
            f"{way['multiply_adds']:,}",
        )
        for way in found["ways"]
    ]
    yield from rows((f"{shape(found['input'])} through", "kernels", "output", "parameters", "multiply-adds"), lines)
    yield ""
    yield (
        "Largest difference of the outputs of the two concatenated from those of the one with two groups, over the "
        f"largest output: {found['apart_against_grouped']:g}."
    )


def masks() -> Iterator[str]:
    found = record("equivalence")["groups"]
    told: dict[str, Callable[[Record], str]] = {
        "outputs of the grouped layer against the masked dense one: largest difference, float32": lambda row: (
            f"{row['masked_float32']:g}"
        ),
        "the same, float64": lambda row: f"{row['masked_float64']:g}",
        "dimensions, of the dense layer's": lambda row: (
            f"{row['dimensions']['grouped']:,} of {row['dimensions']['dense']:,}"
        ),
        "variance that the best grouped fit loses, random dense layer": lambda row: percent(row["random_fit_loss"]),
        "the same, trained dense layer": lambda row: percent(row["trained_fit_loss"]),
        "gradient off the blocks over that on them, dense layer": lambda row: f"{row['gradient_free']:.2f}",
        "the same, masked": lambda row: f"{row['gradient_masked']:g}",
    }
    heads = ("", *(f"{row['groups']} groups" for row in found))
    yield from rows(heads, [(title, *map(tell, found)) for title, tell in told.items()])


def costs() -> Iterator[str]:
    lines = []
    for row in record("network_cost")["costs"]:
        published = row["published"]
        lines.append(
            (
                row["net"],
                row["groups"],
                f"{row['convolution_weights']:,}",
                f"{row['parameters']:,}",
                f"{published['parameters']:,}",
                f"{row['multiply_adds_and_biases']:,}",
                f"{published['multiply_adds_and_biases']:,}" if "multiply_adds_and_biases" in published else "–",
            )
        )
    heads = ("groups", "weights of convolutions", "parameters", "published", "multiply-adds and biases", "published")
    yield from rows(("net", *heads), lines)


def induced() -> Iterator[str]:
    found = record("network_cost")["alexnet_in_2_groups"]
    lines = [(row["layer"], row["groups"], row["induced_groups"] or "", row["read_by"] or "") for row in found]
    yield from rows(("layer of AlexNet", "its groups", "groups of its outputs", "because of"), lines)


def towers() -> Iterator[str]:
    """Colour of the stem's halves over seeds, and the test between the settings."""
    found = record("towers")["runs"]
    lines, over_chance = [], {}
    for count, name in ((2, "two towers"), (1, "one piece, halves that mean nothing")):
        runs_ = [run for run in found if run["towers"] == count]
        for when in ("after", "before"):
            halves = [run[when] for run in runs_]
            over_chance[count, when] = [half["between"] - half["null_between"] for half in halves]
            pvalues = [half["pvalue"] for half in halves]
            lines.append(
                (
                    f"{name}, {when} training",
                    percent(mean(run["test_accuracy"] for run in runs_)) if when == "after" else "",
                    f"{mean(half['least'] for half in halves):.2f}, {mean(half['most'] for half in halves):.2f}",
                    change(runs_interval(over_chance[count, when]), 2),
                    f"{sum(pvalue <= SMALL for pvalue in pvalues)} of {len(pvalues)}",
                    probability(combined(pvalues)),
                )
            )
    heads = (
        "test accuracy (chance 25 %)",
        "colour of the halves",
        "share between halves over chance, 95 %",
        "p at most .05",
        "all seeds",
    )
    yield from rows(("12 seeds each", *heads), lines)
    pvalue = runs_pvalue(over_chance[1, "after"], over_chance[2, "after"], [0])
    yield ""
    yield f"Two towers against one piece, seeds dealt to the two in random ways: p {probability(pvalue)}."


def combined(pvalues: Sequence[float]) -> float:
    """Fisher's method: how likely such p-values are together, if chance alone were at work in every seed."""
    from scipy.stats import combine_pvalues

    return float(combine_pvalues(pvalues).pvalue)


def equal_width() -> Iterator[str]:
    yield from table(runs(), arms_of(runs(), equal_width=True))
    yield ""
    yield from sentences(runs())


def equal_cost() -> Iterator[str]:
    yield from table(runs(), arms_of(runs(), equal_width=False))


def contrasts(*against: str) -> list[Record]:
    return [one for one in record("fashion_kernels")["compared"] if one["against"] in against]


def change(low_high: Sequence[float] | None, places: int = 4) -> str:
    return "–" if low_high is None else " to ".join(decimal(end, places, sign=True) for end in low_high)


def delta() -> Iterator[str]:
    """kernels.delta of every setting against its controls."""
    lines = []
    for against in ("ungrouped", "its beginning", "ungrouped, both before training"):
        found = [one for one in contrasts(against) if one["groups"] > 1]
        adjusted = adjust_pvalues([one["conv"]["delta_test"]["pvalue"] for one in found])
        for one, pvalue in zip(found, adjusted, strict=True):
            sides, test = one["conv"]["sides"], one["conv"]["delta_test"]
            lines.append(
                (
                    f"{one['groups']} groups against {against}",
                    decimal(sides["candidate"]["delta"], 4, sign=True),
                    change(sides["candidate"]["delta_ci95"]),
                    decimal(sides["reference"]["delta"], 4, sign=True),
                    change(sides["reference"]["delta_ci95"]),
                    probability(test["pvalue"]),
                    probability(pvalue),
                )
            )
    yield from rows(("8 runs against 8", "delta", "95 %", "delta of the other", "95 %", "p", "adjusted over 3"), lines)


def readings() -> Iterator[str]:
    """Within and across, both nulls, before and after training."""
    lines = []
    for one in contrasts("its beginning"):
        for when, side in zip(("before", "after"), one["conv"]["sides"].values(), strict=True):
            lines.append(
                (
                    f"{one['groups']}, {when}",
                    *(decimal(side[key], 4) for key in ("mean_r2", "null_isotropic_r2", "null_permuted_r2")),
                    change(side["excess_ci95"]),
                    *(decimal(side[key], 4) for key in ("across_mean_r2", "across_null_permuted_r2")),
                    change(side["across_excess_ci95"]),
                )
            )
    heads = (
        "within: mean r²",
        "isotropic",
        "permuted",
        "over permuted, 95 %",
        "across: mean r²",
        "permuted",
        "over permuted, 95 %",
    )
    yield from rows(("groups, training", *heads), lines)


def at_equal_dimension() -> Iterator[str]:
    lines = []
    for one in contrasts("ungrouped"):
        conv, fair = one["conv"], one["conv"]["dimension_matched"]
        sides = [conv["sides"][role]["mean_r2"] for role in ("reference", "candidate")]
        lines.append(
            (
                f"{one['groups']} groups",
                *(decimal(value, 4) for value in sides),
                f"×{sides[1] / sides[0]:.2f}",
                decimal(fair["reference"], 4),
                decimal(fair["candidate"], 4),
                f"×{fair['ratio']:.2f}",
                change(conv["change_ci95"]),
                probability(conv["pvalue"]),
            )
        )
    heads = ("ungrouped", "grouped", "ratio", "ungrouped, cut", "grouped", "ratio", "95 % of change", "p")
    yield from rows(("after training", *heads), lines)


def along() -> Iterator[str]:
    found = record("fashion_kernels")["along"]
    lines: list[Sequence[str]] = []
    for one in found:
        within = [value - null for value, null in zip(one["mean_r2"], one["null_permuted_r2"], strict=True)]
        lines.append((f"{one['groups']}, within", *(decimal(within[epoch], 4, sign=True) for epoch in EPOCHS)))
    for one in found:
        if one["across_mean_r2"] is not None:
            across = [value - null for value, null in zip(one["across_mean_r2"], one["across_null_r2"], strict=True)]
            lines.append((f"{one['groups']}, across", *(decimal(across[epoch], 4, sign=True) for epoch in EPOCHS)))
    yield from rows(("mean r² over permuted", *(f"epoch {epoch}" for epoch in EPOCHS)), lines)


def commands() -> Iterator[str]:
    """What the numbers over 8 runs come from; one of each kind."""
    yield "```"
    for one in contrasts("ungrouped", "its beginning"):
        if one["groups"] == 4:
            yield one["command"]
    yield "gcx track build/fashion/g4-w32-seed0 --groups conv=4 --include conv"
    yield "```"


MADE = (
    shapes,
    keras_layers,
    masks,
    costs,
    induced,
    towers,
    equal_width,
    delta,
    readings,
    at_equal_dimension,
    along,
    commands,
    equal_cost,
)
BLOCKS: dict[str, Callable[[], Iterator[str]]] = {made.__name__: made for made in MADE}
"""In the order of the page."""
