"""Files that keep no order of layers: what stands before a convolution there does not feed it."""

import pytest
from groups.drawn import NETWORKS, Drawn, cardinal

from gcx.checkpoint import ConvSpec, TensorRef
from gcx.conv_layer import ConvLayer
from gcx.groups import resolve_groups
from gcx.groups.neighbours import NormNeighbours


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_one_group_is_assumed_and_never_more_than_that(name):
    for found in resolve_groups(NETWORKS[name]().shapes, ordered=False).values():
        if not found.transposed and found.out_channels > 1:
            assert (found.groups, found.source, found.confidence) == (1, "assumed", "ambiguous")
            assert found.alternatives


def test_the_order_of_the_tensors_changes_nothing():
    shapes = cardinal().shapes
    backwards = dict(reversed(shapes.items()))
    assert resolve_groups(shapes, ordered=False) == resolve_groups(backwards, ordered=False)


def test_counts_whose_channels_the_file_knows_come_first():
    found = resolve_groups(cardinal().shapes, ordered=False)["layer1.0.conv2"]
    assert cardinal().true["layer1.0.conv2"] in found.alternatives
    assert found.evidence == (
        "reads 4 channels per group; the file has no order of layers to tell how many, 1 is assumed"
    )
    lonely = resolve_groups({"a.weight": (12, 7, 3, 3), "b.weight": (5,)}, ordered=False)["a"]
    assert lonely.alternatives == (2, 3, 4)


def test_what_the_layers_own_tensors_or_the_user_settle_stays():
    net = Drawn().both("stem", 3, 64).conv("up", 64, 32, 2, transposed=True, bias=True)
    up = resolve_groups(net.shapes, ordered=False)["up"]
    assert (up.transposed, up.groups, up.confidence) == (True, 1, "certain")
    shapes = {"a.weight": (8, 3, 3, 3), "one.weight": (1, 8, 3, 3), "c.weight": (8, 2, 3, 3)}
    found = resolve_groups(shapes, recorded={"a": ConvSpec(1, False)}, declared={"c": 4}, ordered=False)
    assert [one.source for one in found.values()] == ["recorded", "inferred", "declared"]
    assert [one.confidence for one in found.values()] == ["certain"] * 3
    assert found["one"].evidence == "has 1 filter, so 1 group"


def test_the_norm_after_it_says_nothing_of_its_layout():
    shapes = {"a.weight": (64, 3, 3, 3), "up.weight": (64, 32, 2, 2), "bn.weight": (32,), "bn.bias": (32,)}
    assert resolve_groups(shapes)["up"].transposed
    assert not resolve_groups(shapes, ordered=False)["up"].transposed


def test_no_norm_stands_beside():
    shapes = {"conv.weight": (8, 4, 3, 3), "bn.weight": (8,), "bn.bias": (8,), "bn.running_mean": (8,)}
    ref = TensorRef("conv.weight", "float32", (8, 4, 3, 3), lambda: None)
    layer = ConvLayer("conv", ref, 1, "assumed", "ambiguous", "")
    assert NormNeighbours(shapes).after(layer) == "bn"
    assert NormNeighbours(shapes, ordered=False).after(layer) is None
