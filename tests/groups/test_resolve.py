"""Asking back the groups of small networks, one per kind of reasoning."""

import pytest
from groups.drawn import NETWORKS, Drawn, cardinal, constant_width, generator, mobile, plain, shuffled

from gcx.groups import Resolution, resolve_groups


def wrong(net: Drawn, found: dict[str, Resolution] | None = None) -> list[tuple[str, int, int]]:
    found = resolve_groups(net.shapes) if found is None else found
    assert list(found) == [name for name in net.true if name in found], "file order"
    assert set(found) == set(net.true)
    return [(name, groups, found[name].groups) for name, groups in net.true.items() if found[name].groups != groups]


@pytest.mark.parametrize("name", NETWORKS)
def test_all_groups_of_a_network_are_found(name):
    assert wrong(NETWORKS[name]()) == []


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_certain_has_no_alternatives_and_every_answer_has_a_reason(name):
    for found in resolve_groups(NETWORKS[name]().shapes).values():
        assert found.evidence
        assert "\n" not in found.evidence
        assert found.groups not in found.alternatives
        assert found.confidence != "certain" or found.alternatives == ()


@pytest.mark.parametrize("groups", [2, 4, 8, 16, 32, 64])
def test_any_cardinality(groups):
    assert wrong(cardinal(groups)) == []


@pytest.mark.parametrize("width", [8, 12, 24])
def test_any_constant_width(width):
    assert wrong(constant_width(width)) == []


def test_evidence_names_the_norm_before():
    found = resolve_groups(cardinal().shapes)["layer1.0.conv2"]
    assert found.evidence.startswith("reads 4 channels per group; `layer1.0.bn1` before it has 128, so 32 groups")
    assert (found.confidence, found.source, found.transposed) == ("certain", "inferred", False)
    assert (found.in_channels, found.out_channels) == (128, 128)


@pytest.mark.parametrize("maker", [plain, mobile])
def test_a_stem_of_one_channel_is_not_depthwise(maker):
    net = maker(planes=1)
    found = resolve_groups(net.shapes)
    assert wrong(net, found) == []
    stem = next(iter(found.values()))
    assert (stem.groups, stem.in_channels, stem.confidence) == (1, 1, "certain")


def test_three_planes_filtered_one_by_one_are_not_claimed():
    net = Drawn().conv("first", 3, 3, 5, 3).both("second", 3, 16)
    assert resolve_groups(net.shapes)["first"].confidence != "certain"


def test_shuffled_pointwise_groups_are_never_certain():
    found = resolve_groups(shuffled().shapes)
    assert {found[name].confidence for name, groups in shuffled().true.items() if groups == 3} <= {
        "likely",
        "ambiguous",
    }


def test_groups_as_many_as_an_image_has_rows_are_not_certain():
    net = Drawn().both("stem", 3, 48).conv("mix", 56, 56, 3, 56).both("after", 48, 48)
    assert resolve_groups(net.shapes)["mix"].confidence != "certain"


def test_a_mask_beside_the_weight_forbids_certainty_about_it():
    net = Drawn().both("stem", 3, 32).both("body", 32, 32)
    net.shapes["body.conv.mask"] = (32, 32, 3, 3)
    found = resolve_groups(net.shapes)["body.conv"]
    assert found.confidence == "likely"
    assert found.notes == (
        "a tensor shaped like the weight lies beside it; groups that a mask makes are not seen in the shapes",
    )


def test_a_weight_with_an_empty_axis_is_assumed():
    found = resolve_groups({"a.weight": (8, 3, 3, 3), "b.weight": (0, 8, 3, 3), "c.weight": (8, 0, 3, 3)})
    assert {name: one.source for name, one in found.items()} == {"a": "inferred", "b": "assumed", "c": "assumed"}


def test_nothing_in_nothing_out():
    assert resolve_groups({}) == {}
    assert resolve_groups({"head.weight": (10, 512), "head.bias": (10,)}) == {}


def test_lists_will_do_as_shapes():
    assert resolve_groups({"a.weight": [8, 3, 3, 3]})["a"].groups == 1


class TestTransposed:
    def test_a_bias_of_the_second_axis_is_proof(self):
        found = resolve_groups(NETWORKS["autoencoder"]().shapes)["up.0"]
        assert (found.transposed, found.confidence) == (True, "certain")
        assert (found.in_channels, found.out_channels, found.groups) == (256, 128, 1)

    def test_a_bias_tells_the_groups_too(self):
        net = Drawn().both("stem", 3, 64).conv("up", 64, 32, 2, 4, bias=True, transposed=True)
        found = resolve_groups(net.shapes)["up"]
        assert (found.transposed, found.groups, found.out_channels) == (True, 4, 32)

    def test_norms_tell_where_there_is_no_bias(self):
        found = resolve_groups(generator().shapes)
        assert all(one.transposed and one.confidence == "likely" for one in found.values())

    def test_a_word_decides_about_the_layout_of_a_square_one_and_about_no_count(self):
        shapes = {"stem.weight": (32, 3, 3, 3), "x.weight": (32, 32, 4, 4)}
        renamed = {"stem.weight": (32, 3, 3, 3), "deconv.weight": (32, 32, 4, 4)}
        plain_one, named = resolve_groups(shapes)["x"], resolve_groups(renamed)["deconv"]
        assert (plain_one.transposed, named.transposed) == (False, True)
        assert plain_one.groups == named.groups == 1

    def test_a_plain_convolution_with_a_bias_is_not_transposed(self):
        net = Drawn().conv("a", 3, 32, bias=True).conv("b", 32, 64, 4, bias=True)
        assert not any(one.transposed for one in resolve_groups(net.shapes).values())


@pytest.mark.parametrize("name", ["conv", "layers.0.body", "x" * 300, "ünï.ço∂e", "0", "a..b"])
def test_names_of_any_kind(name):
    net = Drawn().both("stem", 3, 16).conv(name, 16, 16, 3, 16).norm("last", 16)
    assert resolve_groups(net.shapes)[name].groups == 16


@pytest.mark.parametrize(
    ("shape", "confidence", "alternatives"),
    [
        ((8, 2, 3, 3), "ambiguous", (2, 4, 8)),
        ((64, 16, 3, 3), "ambiguous", (2, 4, 8)),
        ((8, 3, 3, 3), "likely", (2, 4, 8)),
        ((8, 1, 3, 3), "likely", (8,)),
    ],
)
def test_a_convolution_alone_in_its_file_is_never_certain(shape, confidence, alternatives):
    """`Conv2d(8, 8, 3, groups=4)` and `Conv2d(2, 8, 3)` leave the same shape: nothing can tell them apart."""
    found = resolve_groups({"conv.weight": shape, "conv.bias": shape[:1]})["conv"]
    assert (found.groups, found.confidence, found.alternatives) == (1, confidence, alternatives)


def test_a_grouped_convolution_right_after_a_norm_is_likely():
    """Its lead is exactly what `likely` asks for: a sum of decimals must not miss it by its last bit."""
    shapes = {
        "stem.weight": (32, 1, 3, 3),
        "norm.weight": (32,),
        "norm.running_mean": (32,),
        "conv.weight": (64, 8, 3, 3),
    }
    found = resolve_groups({**shapes, "head.weight": (10, 256)})["conv"]
    assert (found.groups, found.confidence) == (4, "likely")
