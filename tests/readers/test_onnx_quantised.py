"""Quantised ONNX weights against onnx's own reference implementation, bit for bit; lies are skipped with the reason."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from readers.test_onnx import conv, model, read
from torch import nn
from torch.ao import quantization

import gcx
from gcx.checkpoint import ConvSpec

RNG = np.random.default_rng(0)
OPSET = [helper.make_opsetid("", 21)]


def integers(dtype, *shape):
    limits = np.iinfo(dtype)
    return RNG.integers(max(limits.min, -(2**20)), min(limits.max, 2**20), shape, endpoint=True).astype(dtype)


def scales(*shape, dtype=np.float32):
    return (RNG.random(shape) / 50 + 0.001).astype(dtype)


def reference(nodes, tensors, output):
    """What onnx's reference implementation computes for a value of the graph."""
    stored = [numpy_helper.from_array(array, name) for name, array in tensors.items()]
    outputs = [helper.make_tensor_value_info(output, TensorProto.UNDEFINED, None)]
    graph = helper.make_graph(nodes, "g", [], outputs, stored)
    return ReferenceEvaluator(helper.make_model(graph, opset_imports=OPSET)).run(None, {})[0]


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs, [output], **attributes)


BLOCK_ZEROS = integers(np.int8, 4, 6, 3, 3)
CASES = {
    "int8": (integers(np.int8, 8, 2, 3, 3), scales(), integers(np.int8), {}),
    "uint8": (integers(np.uint8, 8, 2, 3, 3), scales(), integers(np.uint8), {}),
    "int32": (integers(np.int32, 8, 2, 3, 3), scales(), np.int32(0), {}),
    "int16": (integers(np.int16, 8, 2, 3, 3), scales(), integers(np.int16), {}),
    "channels": (integers(np.int8, 8, 2, 3, 3), scales(8), integers(np.int8, 8), {"axis": 0}),
    "inputs": (integers(np.uint8, 8, 2, 3, 3), scales(2), integers(np.uint8, 2), {}),
    "from the end": (integers(np.int8, 8, 2, 3, 3), scales(8), integers(np.int8, 8), {"axis": -4}),
    "one in a row": (integers(np.int8, 8, 2, 3, 3), scales(1), integers(np.int8, 1), {"axis": 3}),
    "blocks": (integers(np.int8, 8, 6, 3, 3), scales(4, 6, 3, 3), BLOCK_ZEROS, {"axis": 0, "block_size": 2}),
    "half": (integers(np.int8, 8, 2, 3, 3), scales(8, dtype=np.float16), integers(np.int8, 8), {"axis": 0}),
    "none": (integers(np.int8, 8, 2, 3, 3), scales(8), None, {"axis": 0}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_dequantised_to_the_last_bit(case):
    stored, scale, zero, attributes = CASES[case]
    tensors = {"q": stored, "s": scale} | ({} if zero is None else {"z": zero})
    inputs = ["q", "s"] + ([] if zero is None else ["z"])
    nodes = [node("DequantizeLinear", inputs, "w", **attributes)]
    checkpoint, numbers = read(model([*nodes, conv("w", group=2)], tensors))
    expected = reference(nodes, tensors, "w")
    assert numbers["q.weight"].dtype == expected.dtype
    assert numbers["q.weight"].tobytes() == expected.tobytes()
    assert checkpoint.convs == {"q": ConvSpec(2, False)}
    assert f"dequantised from {stored.dtype}" in checkpoint.tensors["q.weight"].notes[0]


@pytest.mark.parametrize("channels", [False, True])
def test_a_float_weight_that_is_rounded_and_back(channels):
    weight = RNG.standard_normal((8, 2, 3, 3)).astype(np.float32)
    scale, zero = (scales(8), integers(np.int8, 8) // 4) if channels else (np.float32(0.02), np.int8(3))
    tensors = {"w": weight, "s": scale, "z": zero}
    nodes = [
        node("QuantizeLinear", ["w", "s", "z"], "q", axis=0),
        node("DequantizeLinear", ["q", "s", "z"], "d", axis=0),
    ]
    checkpoint, numbers = read(model([*nodes, conv("d", group=4)], tensors))
    name = next(iter(checkpoint.convs))
    assert numbers[f"{name}.weight"].tobytes() == reference(nodes, tensors, "d").tobytes()
    assert checkpoint.tensors[f"{name}.weight"].notes == ("rounded to levels of int8 and back (QuantizeLinear)",)


@pytest.mark.parametrize("zero", [integers(np.int8, 8).astype(np.int32), np.full(8, 300, np.int32)])
def test_scales_and_zero_points_that_are_cast_on_the_way(zero):
    tensors = {"w": RNG.standard_normal((8, 2, 3, 3)).astype(np.float32), "s": scales(8, dtype=np.float64), "z": zero}
    nodes = [
        node("Cast", ["z"], "z8", to=TensorProto.INT8),
        node("Cast", ["s"], "s32", to=TensorProto.FLOAT),
        node("QuantizeLinear", ["w", "s32", "z8"], "q", axis=0),
        node("DequantizeLinear", ["q", "s32", "z8"], "d", axis=0),
    ]
    checkpoint, numbers = read(model([*nodes, conv("d", group=2)], tensors))
    assert numbers["w.weight"].tobytes() == reference(nodes, tensors, "d").tobytes()
    assert checkpoint.convs == {"w": ConvSpec(2, False)}


def test_a_zero_point_that_is_rounded_from_floats_is_not_guessed():
    nodes = [node("Cast", ["z"], "z8", to=TensorProto.INT8), node("DequantizeLinear", ["q", "s", "z8"], "w"), conv("w")]
    tensors = {"q": STORED, "s": np.float32(1), "z": np.float32(300.5)}
    assert "zero point is not stored" in read(model(nodes, tensors))[0].tensors["q.weight"].unreadable


def test_qlinearconv_takes_its_weight_scale_and_zero_point():
    tensors = {"q": integers(np.uint8, 8, 2, 3, 3), "s": scales(8), "z": integers(np.uint8, 8)}
    tensors |= {"x1": np.float32(1), "x0": np.uint8(0)}
    inputs = ["x", "x1", "x0", "q", "s", "z", "x1", "x0"]
    checkpoint, numbers = read(model([node("QLinearConv", inputs, "y", group=2)], tensors))
    same = [node("DequantizeLinear", ["q", "s", "z"], "w", axis=0)]
    assert numbers["q.weight"].tobytes() == reference(same, tensors, "w").tobytes()
    assert checkpoint.convs == {"q": ConvSpec(2, False)}
    assert checkpoint.tensors["q.weight"].notes == ("dequantised from uint8, per channel",)


@pytest.mark.parametrize("zero", [None, np.int8(3), integers(np.int8, 8)])
def test_convinteger_is_its_integers_less_the_zero_point(zero):
    stored = integers(np.int8, 8, 2, 3, 3)
    tensors = {"q": stored, "x0": np.uint8(0)} | ({} if zero is None else {"z": zero})
    inputs = ["x", "q", "x0"] + ([] if zero is None else ["z"])
    checkpoint, numbers = read(model([node("ConvInteger", inputs, "y", group=4)], tensors))
    shift = np.float32(0) if zero is None else np.asarray(zero, np.float32).reshape(-1, 1, 1, 1)
    assert numbers["q.weight"].tobytes() == (stored.astype(np.float32) - shift).tobytes()
    assert checkpoint.convs == {"q": ConvSpec(4, False)}
    assert "its scale comes after" in checkpoint.tensors["q.weight"].notes[0]


def test_transposed_before_and_after():
    tensors = {"q": integers(np.int8, 2, 8, 3, 3), "s": scales(8), "z": integers(np.int8, 8)}
    nodes = [
        node("DequantizeLinear", ["q", "s", "z"], "d"),
        node("Transpose", ["d"], "t", perm=[1, 0, 2, 3]),
        node("Identity", ["t"], "i"),
    ]
    checkpoint, numbers = read(model([*nodes, conv("i", "ConvTranspose", group=2)], tensors))
    assert numbers["q.weight"].tobytes() == reference(nodes, tensors, "i").tobytes()
    assert checkpoint.convs == {"q": ConvSpec(2, True)}


def test_the_report_measures_it(tmp_path):
    tensors = {"q": integers(np.int8, 8, 4, 3, 3), "s": scales(8), "z": np.zeros(8, np.int8)}
    nodes = [node("DequantizeLinear", ["q", "s", "z"], "w", axis=0), conv("w", group=2)]
    onnx.save(model(nodes, tensors), tmp_path / "q.onnx")
    layer = gcx.correlate(str(tmp_path / "q.onnx")).models[0].measured[0]
    assert (layer.name, layer.groups, layer.groups_from) == ("q", 2, "recorded")
    plain = gcx.correlate({"q.weight": reference(nodes[:1], tensors, "w")}, groups={"q": 2}).models[0].measured[0]
    assert layer.within == plain.within
    assert any("dequantised from int8, per channel" in note for note in layer.notes)


STORED = integers(np.int8, 8, 2, 3, 3)


@pytest.mark.parametrize(
    ("tensors", "attributes", "reason"),
    [
        ({"s": scales(7), "z": integers(np.int8, 7)}, {"axis": 0}, "do not fit"),
        ({"s": scales(8), "z": integers(np.int8, 7)}, {"axis": 0}, "do not fit"),
        ({"s": scales(8, 2), "z": np.int8(0)}, {"axis": 0}, "do not fit"),
        ({"s": scales(8), "z": integers(np.int8, 8)}, {"axis": 4}, "axis that it does not have: 4"),
        ({"s": scales(8), "z": integers(np.int8, 8)}, {"axis": -5}, "axis that it does not have: -5"),
        ({"s": scales(8), "z": np.int8(3)}, {"axis": 0}, "zero points are of shape (), its scales (8,)"),
        ({"s": scales(), "z": integers(np.int8, 8)}, {"axis": 0}, "zero points are of shape (8,), its scales ()"),
        ({"s": scales(0), "z": integers(np.int8, 0)}, {"axis": 0}, "do not fit"),
        ({"z": np.int8(0)}, {}, "its scale is not stored"),
        ({"s": scales()}, {}, "its zero point is not stored"),
        ({"s": np.int32(2), "z": np.int8(0)}, {}, "its scale is of int32"),
        ({"s": np.complex64(2), "z": np.int8(0)}, {}, "its scale holds complex"),
        ({"s": scales(4, 2, 3, 3), "z": np.int8(0)}, {"axis": 0, "block_size": 3}, "do not fit"),
        ({"s": scales(4, 2, 3, 3), "z": np.int8(0)}, {"axis": 0, "block_size": -2}, "blocks of -2"),
        ({"s": scales(), "z": np.int8(0)}, {"axis": 0, "block_size": 2}, "blocks of 2"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_skipped_with_the_reason(tensors, attributes, reason):
    nodes = [node("DequantizeLinear", ["q", "s", "z"], "w", **attributes), conv("w", group=2)]
    checkpoint, _ = read(model(nodes, {"q": STORED, **tensors}))
    assert reason in checkpoint.tensors["q.weight"].unreadable
    assert checkpoint.convs == {"q": ConvSpec(2, False)}


@pytest.mark.parametrize("rounded", [False, True])
def test_scales_in_blocks_are_no_layer_of_their_own(rounded, tmp_path):
    tensors = {"q": STORED, "s": scales(8, 1, 3, 3), "z": integers(np.int8, 8, 1, 3, 3)}
    nodes = [node("DequantizeLinear", ["q", "s", "z"], "w", axis=1, block_size=2)]
    if rounded:
        tensors["q"] = RNG.standard_normal((8, 2, 3, 3)).astype(np.float32)
        nodes[0].input[0] = "r"
        nodes.insert(0, node("QuantizeLinear", ["q", "s", "z"], "r", axis=1, block_size=2))
    onnx.save(model([*nodes, conv("w", group=2)], tensors), tmp_path / "q.onnx")
    report = gcx.correlate(str(tmp_path / "q.onnx")).models[0]
    assert [layer.name for layer in report.layers] == ["q"]
    assert (report.coverage.measured, report.coverage.convolutions) == (1, 1)
    (listed,) = gcx.layers(str(tmp_path / "q.onnx")).models
    assert {left.name: left.reason for left in listed.left_out} == dict.fromkeys(
        "sz", "scales or zero points of a quantised tensor"
    )


class Trained(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.c = nn.Conv2d(4, 8, 3, groups=2, bias=not norm)
        self.bn = nn.BatchNorm2d(8) if norm else nn.Identity()

    def forward(self, x):
        return self.bn(self.c(x))


CHANNELS = quantization.FakeQuantize.with_args(
    observer=quantization.MovingAveragePerChannelMinMaxObserver,
    quant_min=-128,
    quant_max=127,
    dtype=torch.qint8,
    qscheme=torch.per_channel_symmetric,
    ch_axis=0,
)
WHOLE = quantization.FakeQuantize.with_args(
    observer=quantization.MovingAverageMinMaxObserver,
    quant_min=-128,
    quant_max=127,
    dtype=torch.qint8,
    qscheme=torch.per_tensor_symmetric,
)


def trained(rounding, *, norm=False):
    """A net in the middle of quantisation-aware training, as torch prepares it."""
    torch.manual_seed(0)
    net = Trained(norm).train()
    if norm:
        quantization.fuse_modules_qat(net, [["c", "bn"]], inplace=True)
    net.qconfig = quantization.QConfig(activation=nn.Identity, weight=rounding)
    quantization.prepare_qat(net, inplace=True)
    for _ in range(3):
        net(torch.randn(2, 4, 8, 8))
    return net.eval().apply(quantization.disable_observer)


def exported(net, path, *, fold):
    torch.onnx.export(net, (torch.zeros(1, 4, 8, 8),), path, dynamo=False, do_constant_folding=fold)
    return str(path)


@pytest.mark.filterwarnings("ignore")  # of the exporter, and of tracing
@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("rounding", [CHANNELS, WHOLE])
def test_a_net_in_quantisation_aware_training_is_measured_as_torch_rounds_it(rounding, fold, tmp_path):
    net = trained(rounding)
    path = exported(net, tmp_path / "qat.onnx", fold=fold)
    effective = net.c.weight_fake_quant(net.c.weight).detach().numpy()
    assert (effective != net.c.weight.detach().numpy()).any()
    (layer,) = gcx.correlate(path).models[0].layers
    assert (layer.status, layer.name, layer.groups, layer.groups_from) == ("measured", "c", 2, "recorded")
    plain = gcx.correlate({"c.weight": effective}, groups={"c": 2}).models[0].measured[0]
    assert (layer.within, layer.across) == (plain.within, plain.across)


def test_a_block_beyond_the_axis_is_the_whole_axis():
    """And costs no more: repeated as often as it says, its scales would fill any memory."""
    tensors = {"q": STORED, "s": scales(1, 2, 3, 3), "z": integers(np.int8, 1, 2, 3, 3)}
    nodes = [node("DequantizeLinear", ["q", "s", "z"], "w", axis=0, block_size=2**60), conv("w")]
    numbers = read(model(nodes, tensors))[1]["q.weight"]
    expected = (STORED.astype(np.float32) - tensors["z"].astype(np.float32)) * tensors["s"]
    assert numbers.tobytes() == expected.tobytes()


@pytest.mark.parametrize("scale", [0.0, np.nan, -0.5, np.inf])
def test_odd_scales_are_computed_with(scale):
    tensors = {"q": STORED, "s": np.float32(scale), "z": np.int8(0)}
    nodes = [node("DequantizeLinear", ["q", "s", "z"], "w"), conv("w")]
    with np.errstate(all="ignore"):
        expected = reference(nodes[:1], tensors, "w")
    assert read(model(nodes, tensors))[1]["q.weight"].tobytes() == expected.tobytes()


def test_numbers_of_four_bits_say_why():
    stored = helper.make_tensor("q", TensorProto.INT4, [4, 2, 1, 1], list(range(8)))
    nodes = [node("DequantizeLinear", ["q", "s"], "w"), conv("w")]
    assert "int4" in read(model(nodes, {"q": stored, "s": np.float32(1)}))[0].tensors["q.weight"].unreadable


def test_rings_and_chains_end():
    ring = [node("DequantizeLinear", ["b", "s"], "a"), node("QuantizeLinear", ["a", "s"], "b"), conv("a")]
    assert "many steps" in read(model(ring, {"s": np.float32(1)}))[0].notes[0]
    circle = [node("Identity", ["t"], "s"), node("Identity", ["s"], "t")]
    loop = [*circle, node("DequantizeLinear", ["q", "s"], "w"), conv("w")]
    assert "scale is not stored" in read(model(loop, {"q": STORED}))[0].tensors["q.weight"].unreadable


def test_scales_in_constants_are_found():
    constant = numpy_helper.from_array(scales(8), "inside")
    nodes = [
        node("Constant", [], "c", value=constant),
        node("Identity", ["c"], "s"),
        node("DequantizeLinear", ["q", "s"], "w", axis=0),
    ]
    _, numbers = read(model([*nodes, conv("w")], {"q": STORED}))
    assert numbers["q.weight"].tobytes() == reference(nodes, {"q": STORED}, "w").tobytes()


@given(
    st.lists(st.integers(1, 4), min_size=3, max_size=5).map(tuple),
    st.integers(-6, 6),
    st.lists(st.integers(0, 4), max_size=3).map(tuple),
    st.integers(-1, 3),
)
@settings(deadline=None, derandomize=True, max_examples=200)
def test_numbers_or_a_reason_whatever_the_shapes(shape, axis, scale_shape, block):
    tensors = {"q": integers(np.int8, *shape), "s": scales(*scale_shape), "z": integers(np.int8, *scale_shape)}
    nodes = [node("DequantizeLinear", ["q", "s", "z"], "w", axis=axis, block_size=block), conv("w")]
    checkpoint, numbers = read(model(nodes, tensors))
    if checkpoint.tensors["q.weight"].unreadable is None:
        assert numbers["q.weight"].shape == shape
        one = {name: tensors[name].reshape(()) for name in "sz"} if np.prod(scale_shape) == 1 else {}
        fits = tensors | one
        try:
            expected = reference(nodes[:1], fits, "w")
        except (ValueError, IndexError):
            return  # the reference asks for more than fitting shapes
        assert numbers["q.weight"].tobytes() == expected.tobytes()
