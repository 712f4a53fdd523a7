"""Recorded over declared over inferred over assumed."""

import pytest
from groups.drawn import Drawn, cardinal

from gcx import limits
from gcx.checkpoint import ConvSpec
from gcx.errors import UsageError
from gcx.groups import resolve_groups

LONELY = {"only.weight": (8, 2, 3, 3), "stem.weight": (8, 3, 3, 3)}


def test_recorded_is_certain_and_wins():
    found = resolve_groups(cardinal().shapes, recorded={"layer1.0.conv2": ConvSpec(16, False)})["layer1.0.conv2"]
    assert (found.groups, found.source, found.confidence) == (16, "recorded", "certain")
    assert found.evidence == "the file records 16 groups"
    alone = resolve_groups({"a.weight": (8, 3, 3, 3)}, recorded={"a": ConvSpec(1, False)})["a"]
    assert alone.evidence == "the file records 1 group"


def test_a_recorded_layout_without_a_count_leaves_the_count_to_inference():
    net = Drawn().both("stem", 3, 64).conv("up", 64, 32, 2, transposed=True, bias=True)
    found = resolve_groups(net.shapes, recorded={"up": ConvSpec(None, True)})["up"]
    assert (found.transposed, found.groups, found.in_channels, found.out_channels) == (True, 1, 64, 32)
    straight = resolve_groups(net.shapes, recorded={"up": ConvSpec(None, False)})["up"]
    assert not straight.transposed


def test_recorded_transposed_groups():
    shapes = {"up.weight": (64, 8, 2, 2)}
    found = resolve_groups(shapes, recorded={"up": ConvSpec(4, True)})["up"]
    assert (found.in_channels, found.out_channels, found.groups) == (64, 32, 4)


def test_a_recorded_tensor_is_a_convolution_whatever_it_looks_like():
    shapes = {"odd.weight": (12, 64, 64)}
    assert resolve_groups(shapes) == {}
    assert resolve_groups(shapes, recorded={"odd": ConvSpec(1, False)})["odd"].groups == 1


def test_declared_is_taken_with_a_note_where_the_shapes_say_otherwise():
    found = resolve_groups(cardinal().shapes, declared={"layer1.0.conv2": 16})["layer1.0.conv2"]
    assert (found.groups, found.source, found.confidence) == (16, "declared", "certain")
    assert found.notes[0].startswith("declared 16; the shapes say 32 (certain): reads 4 channels per group")


def test_declared_and_inferred_agree_without_a_note():
    found = resolve_groups(cardinal().shapes, declared={"layer1.0.conv2": 32})["layer1.0.conv2"]
    assert (found.groups, found.source, found.notes) == (32, "declared", ())


def test_declared_against_recorded_is_refused():
    with pytest.raises(UsageError, match="the file records 4"):
        resolve_groups(LONELY, recorded={"only": ConvSpec(4, False)}, declared={"only": 2})
    same = resolve_groups(LONELY, recorded={"only": ConvSpec(4, False)}, declared={"only": 4})
    assert same["only"].source == "recorded"


@pytest.mark.parametrize("groups", [3, 0, -1, 16])
def test_declared_must_divide(groups):
    with pytest.raises(UsageError, match="8 output channels"):
        resolve_groups(LONELY, declared={"only": groups})


def test_declared_must_divide_the_stored_first_axis_of_a_transposed_one():
    net = Drawn().both("stem", 3, 60).conv("up", 60, 32, 2, bias=True, transposed=True)
    with pytest.raises(UsageError, match="60 input channels"):
        resolve_groups(net.shapes, declared={"up": 16})


def test_declared_must_name_a_convolution():
    with pytest.raises(UsageError, match="which is no convolution"):
        resolve_groups(LONELY, declared={"stemm": 1})


def test_a_known_count_helps_its_neighbours():
    shapes = {"a.weight": (40, 3, 3, 3), "up.weight": (40, 6, 3, 3), "b.weight": (48, 1, 3, 3)}
    assert resolve_groups(shapes, recorded={"up": ConvSpec(8, True)})["b"].groups == 48


def test_a_name_of_any_depth_costs_its_length():
    from gcx.groups import network

    deep = ".".join("a" * 50_000)
    shapes = {f"{deep}.{name}.weight": shape for name, shape in (("c", (8, 3, 3, 3)), ("d", (8, 2, 3, 3)))}
    tree = network._Tree()
    for name, shape in shapes.items():
        tree.owner(name, shape)
    assert len(tree._nodes) < 3 * limits.MODULE_DEPTH
    assert resolve_groups(shapes)[f"{deep}.d"].groups == 4
