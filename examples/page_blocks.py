"""The tables of examples/README.md, each made from what the scripts recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from claims import Runs, arms_of, last_epochs, sentences, table
from kernel_blocks import along, at_equal_dimension, commands, delta, readings
from page_parts import percent, record, rows
from recording import RESULTS, Record
from tower_blocks import towers


def runs() -> Runs:
    return last_epochs(RESULTS / "fashion")


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
    told: tuple[tuple[str, Callable[[Record], str]], ...] = (
        (
            "grouped layer: largest difference from the outputs of the masked dense one, float32",
            lambda row: f"{row['masked_float32']:g}",
        ),
        ("the same, float64", lambda row: f"{row['masked_float64']:g}"),
        (
            "dimensions, of the dense layer's",
            lambda row: f"{row['dimensions']['grouped']:,} of {row['dimensions']['dense']:,}",
        ),
        ("variance that the best grouped fit loses, random dense layer", lambda row: percent(row["random_fit_loss"])),
        ("the same, trained dense layer", lambda row: percent(row["trained_fit_loss"])),
        ("gradient on the blocks, start of training", lambda row: f"{row['gradient']['start']['on_blocks']:.5f}"),
        ("off the blocks, over that", lambda row: f"{row['gradient']['start']['off_over_on']:.2f}"),
        ("gradient on the blocks, trained", lambda row: f"{row['gradient']['trained']['on_blocks']:.5f}"),
        ("off the blocks, over that", lambda row: f"{row['gradient']['trained']['off_over_on']:.2f}"),
        ("off the blocks, with the mask", lambda row: f"{row['gradient']['masked_off']:g}"),
    )
    heads = ("", *(f"{row['groups']} groups" for row in found))
    yield from rows(heads, [(title, *map(tell, found)) for title, tell in told])


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
                f"{published['multiply_adds_and_biases']:,}",
            )
        )
    heads = ("groups", "weights of convolutions", "parameters", "published", "multiply-adds and biases", "published")
    yield from rows(("net", *heads), lines)


def induced() -> Iterator[str]:
    found = record("network_cost")["alexnet_in_2_groups"]
    lines = [(row["layer"], row["groups"], row["induced_groups"] or "", row["read_by"] or "") for row in found]
    yield from rows(("layer of AlexNet", "its groups", "groups of its outputs", "because of"), lines)


def equal_width() -> Iterator[str]:
    yield from table(runs(), arms_of(runs(), equal_width=True))
    yield ""
    yield from sentences(runs())


def equal_cost() -> Iterator[str]:
    yield from table(runs(), arms_of(runs(), equal_width=False))


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
