"""Which tensors are convolution weights, and why the others are not."""

import pytest

from gcx.extract import find_convolutions, split_tensor_name


def names(shapes, recorded=()):
    return [conv.name for conv in find_convolutions(shapes, recorded).convs]


def reasons(shapes):
    return {left.name: left.reason for left in find_convolutions(shapes).left_out}


@pytest.mark.parametrize(
    ("tensor", "shape"),
    [
        ("conv.weight", (8, 3, 3, 3)),
        ("layer.0.filters", (8, 3, 3, 3)),
        ("tcn.conv1d.weight", (64, 64, 3)),
        ("encoder.weight", (512, 1, 251)),
        ("mixer.conv1d.weight", (1536, 1, 4)),
        ("eca.conv.weight", (1, 1, 5)),
        ("stem.weight", (64, 3, 7, 7, 7)),
        ("r2plus1d.weight", (64, 64, 3, 1, 1)),
        ("empty.weight", (0, 3, 3, 3)),
    ],
)
def test_convolutions(tensor, shape):
    assert names({tensor: shape}) == [tensor.rpartition(".")[0]]


@pytest.mark.parametrize(
    ("tensor", "shape", "reason"),
    [
        ("pos_embed", (1, 14, 14, 384), "position table"),
        ("blocks.0.gamma", (1, 64, 1, 1), "layer scale"),
        ("cls_token", (1, 1, 768), "token or query"),
        ("attn.relative_position_bias_table", (3, 7, 7, 4), "position table"),
        ("head.anchors", (3, 1, 3, 1, 1, 2), "rank 6"),
        ("net.running_mean", (1, 8, 1, 1), "running statistic"),
        ("exp_avg.conv.weight", (8, 3, 3, 3), "optimizer state"),
        ("conv.weight.momentum_buffer", (8, 3, 3, 3), "optimizer state"),
        ("experts.weight", (8, 512, 256), "a stack of matrices or a table, not a Conv1d"),
        ("experts.w1", (8, 512, 64), "a stack of matrices or a table, not a Conv1d"),
        ("routed.weight", (4, 64, 64, 3, 3), "weights stacked over experts"),
        ("conv.weight_mask", (8, 3, 3, 3), "mask"),
    ],
)
def test_not_convolutions(tensor, shape, reason):
    assert names({tensor: shape}) == []
    assert reasons({tensor: shape}) == {tensor: reason}


def test_low_ranks_are_not_mentioned():
    found = find_convolutions({"fc.weight": (10, 5), "fc.bias": (10,), "steps": ()})
    assert found.convs == ()
    assert found.left_out == ()


def test_a_stack_of_matrices_with_a_bias_per_output_is_a_long_conv1d():
    assert names({"pos.weight": (96, 6, 160), "pos.bias": (96,)}) == ["pos"]


def test_a_norm_with_axes_kept_is_not_a_convolution():
    shapes = {"norm.weight": (1, 64, 1, 1), "norm.bias": (1, 64, 1, 1)}
    assert reasons(shapes)["norm.weight"] == "affine parameter: its bias has the same rank"


@pytest.mark.parametrize(
    ("shapes", "tensor"),
    [
        ({"conv.weight_g": (8, 1, 1, 1), "conv.weight_v": (8, 3, 3, 3)}, "conv.weight_v"),
        (
            {
                "conv.parametrizations.weight.original0": (1, 1, 128),
                "conv.parametrizations.weight.original1": (96, 6, 128),
            },
            "conv.parametrizations.weight.original1",
        ),
        ({"conv.parametrizations.weight.original": (8, 3, 3, 3)}, "conv.parametrizations.weight.original"),
        ({"conv.weight_orig": (8, 3, 3, 3), "conv.weight_mask": (8, 3, 3, 3)}, "conv.weight_orig"),
        ({"conv.weight_orig": (8, 3, 3, 3), "conv.weight_u": (8,), "conv.weight_v": (27,)}, "conv.weight_orig"),
    ],
)
def test_a_wrapped_weight_names_its_module(shapes, tensor):
    convs = find_convolutions(shapes).convs
    assert [(conv.name, conv.tensor) for conv in convs] == [("conv", tensor)]


def test_a_copy_beside_a_weight_is_not_a_second_convolution():
    assert names({"conv.weight": (8, 3, 3, 3), "conv.shadow": (8, 3, 3, 3)}) == ["conv"]


def test_a_tensor_without_a_module_goes_by_its_own_name():
    assert names({"first": (8, 3, 3, 3), "second": (8, 8, 3, 3)}) == ["first", "second"]


def test_what_the_file_records_is_a_convolution():
    assert names({"odd.weight": (12, 64, 64)}) == []
    assert names({"odd.weight": (12, 64, 64)}, recorded={"odd"}) == ["odd"]


def test_file_order():
    assert names({"b.weight": (8, 3, 3, 3), "a.weight": (8, 8, 3, 3)}) == ["b", "a"]


def test_split_tensor_name():
    assert split_tensor_name("weight") == ("", "weight")
    assert split_tensor_name("parametrizations.weight.original1") == ("", "original1")


def test_where_a_tensor_of_a_module_is_recorded_the_module_says_nothing_of_the_others():
    shapes = {"a.kernel": (40, 512, 256), "a.weight": (8, 512, 200)}
    assert names(shapes, {"a"}) == ["a", "a.weight"]
    assert names(shapes, {"a.weight"}) == ["a"]
    assert names(shapes, {"a", "a.weight"}) == ["a"]
    assert find_convolutions(shapes, {"a", "a.weight"}).convs[0].tensor == "a.weight"
