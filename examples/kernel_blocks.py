"""The tables of claims 5 and 6: what `gcx compare` and `gcx track` said of the filters and kernels, over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from page_parts import change, record, rows
from recording import Record

from gcx.measures import adjust_pvalues
from gcx.renderers.cells import decimal, probability

EPOCHS = (0, 1, 2, 3, 4, 6, 8, 10)


def contrasts(*against: str) -> list[Record]:
    return [one for one in record("fashion_kernels")["compared"] if one["against"] in against]


def delta() -> Iterator[str]:
    """kernels.delta of every setting against its controls."""
    lines, counted = [], set()
    for against in ("ungrouped", "its beginning", "ungrouped, both before training"):
        found = [one for one in contrasts(against) if one["groups"] > 1]
        adjusted = adjust_pvalues([one["conv"]["delta_test"]["pvalue"] for one in found])
        for one, pvalue in zip(found, adjusted, strict=True):
            sides, test = one["conv"]["sides"], one["conv"]["delta_test"]
            counted.add("{} runs against {}".format(*one["runs"]))
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
    yield from rows(
        (" or ".join(sorted(counted)), "delta", "95 %", "delta of the other", "95 %", "p", "adjusted over 3"), lines
    )


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
    """Grouped against ungrouped, the ungrouped cut to as many channels."""
    lines = []
    for one in contrasts("ungrouped"):
        conv, fair = one["conv"], one["conv"]["dimension_matched"]
        sides = [conv["sides"][role]["mean_r2"] for role in ("reference", "candidate")]
        over_chance = fair["reference"] - conv["sides"]["candidate"]["null_permuted_r2"]
        lines.append(
            (
                f"{one['groups']} groups",
                *(decimal(value, 4) for value in sides),
                f"×{sides[1] / sides[0]:.2f}",
                decimal(fair["reference"], 4),
                decimal(fair["candidate"], 4),
                f"×{fair['ratio']:.2f}",
                change(conv["change_ci95"]),
                " to ".join(f"{100 * end / fair['reference']:+.0f} %" for end in conv["change_ci95"]),
                " to ".join(f"{100 * end / over_chance:+.0f} %" for end in conv["change_ci95"]),
                probability(conv["pvalue"]),
            )
        )
    heads = (
        "ungrouped",
        "grouped",
        "ratio",
        "ungrouped, cut",
        "grouped",
        "ratio",
        "95 % of change",
        "of r²",
        "of r² over permuted",
        "p",
    )
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
