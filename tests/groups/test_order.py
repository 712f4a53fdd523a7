"""Files that sort their tensors by name, as safetensors does."""

import pytest
from groups.drawn import NETWORKS, cardinal

from gcx.groups import resolve_groups
from gcx.groups.order import in_running_order

TOO_LITTLE_IS_LEFT = {"squeezing", "reparameterised", "positional"}
"""Without an order, which of two parallel branches or what a lone module reads cannot be told."""


def by_name(shapes):
    return dict(sorted(shapes.items()))


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - TOO_LITTLE_IS_LEFT))
def test_groups_are_found_in_a_sorted_file(name):
    net = NETWORKS[name]()
    found = resolve_groups(by_name(net.shapes))
    assert {conv: one.groups for conv, one in found.items()} == net.true


def test_the_answer_keeps_the_order_of_the_file():
    shapes = by_name(cardinal().shapes)
    assert list(resolve_groups(shapes)) == [
        name.removesuffix(".weight") for name, shape in shapes.items() if len(shape) == 4
    ]


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_less_is_certain_there(name):
    shapes = NETWORKS[name]().shapes
    sure, less = (
        sum(one.confidence == "certain" for one in resolve_groups(some).values()) for some in (shapes, by_name(shapes))
    )
    assert less <= sure


def test_an_order_that_is_not_sorted_is_kept():
    shapes = cardinal().shapes
    assert in_running_order(shapes) is shapes
    assert in_running_order({}) == {}


def test_counters_of_another_dtype_may_come_first():
    shapes = cardinal().shapes
    counters = {name: shape for name, shape in shapes.items() if shape == ()}
    found = resolve_groups({**by_name(counters), **by_name({n: s for n, s in shapes.items() if s != ()})})
    assert {conv: one.groups for conv, one in found.items()} == cardinal().true


def test_numbers_count_up():
    shapes = {"head.bias": (8,), "head.weight": (8, 8)}
    for block in range(12):
        shapes[f"blocks.{block}.conv.weight"] = (8, 8 if block else 3, 3, 3)
    ordered = list(in_running_order(by_name(shapes)))
    assert ordered == [*(f"blocks.{block}.conv.weight" for block in range(12)), "head.bias", "head.weight"]


@pytest.mark.parametrize("depth", [3, 2000])
def test_deep_names(depth):
    path = ".".join("ab"[level % 2] for level in range(depth))
    shapes = {}
    for layer in range(6):
        shapes[f"{path}.c{layer}.bias"] = (8,)
        shapes[f"{path}.c{layer}.weight"] = (8, 8 if layer else 3, 3, 3)
    assert [one.groups for one in resolve_groups(by_name(shapes)).values()] == [1] * 6


def test_a_long_file_stays_quick():
    shapes = {
        f"b{block:05d}.{part}": shape
        for block in range(3000)
        for part, shape in (("bias", (8,)), ("weight", (8, 8, 3, 3)))
    }
    assert len(resolve_groups(by_name(shapes))) == 3000
