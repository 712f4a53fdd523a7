"""Convolution weights that an ONNX graph computes: skipped by name or put together as torch does, never their parts."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from readers.test_onnx import conv, model, read, weight
from readers.test_onnx_quantised import CHANNELS, WHOLE, exported, reference, trained
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

import gcx
from gcx.checkpoint import ConvSpec
from gcx.readers.onnx import computed as onnx_computed

W, Q = weight(8, 2, 3, 3), np.arange(-72, 72, dtype=np.int8).reshape(8, 2, 3, 3)
ONE = np.float32(0.5)


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs.split(), [output], **attributes)


WAYS = {
    "aligned as before version 7": (
        {"c.weight": weight(8, 2, 8, 8), "m": weight(8)},
        [node("Mul", "c.weight m", "w", axis=0, broadcast=1)],
        "Mul",
    ),
    "halves": ({"c.weight": W[:4], "d.weight": W[4:]}, [node("Concat", "c.weight d.weight", "w", axis=0)], "Concat"),
    "picked": ({"c.weight": W, "i": np.arange(7, -1, -1)}, [node("Gather", "c.weight i", "w")], "Gather"),
    "flipped": (
        {"c.weight": W, "a": np.array([-1]), "b": np.array([-9]), "i": np.array([3])},
        [node("Slice", "c.weight a b i a", "w")],
        "Slice",
    ),
    "reshaped": (
        {"c.weight": Q, "s": ONE, "z": np.int8(1), "shape": np.array([8, 3, 3, 2])},
        [node("DequantizeLinear", "c.weight s z", "f"), node("Reshape", "f shape", "w")],
        "Reshape",
    ),
    "cast": (
        {"c.weight": W, "s": ONE, "z": np.int8(1)},
        [node("Cast", "c.weight", "q", to=TensorProto.INT8), node("DequantizeLinear", "q s z", "w")],
        "Cast",
    ),
}


GAINS = np.abs(weight(8, 1, 1, 1)) + ONE
ARITHMETIC = {
    "mask": ({"c.weight": W, "m": np.float32(W > 0)}, [node("Mul", "m c.weight", "w")]),
    "mask of whether": (
        {"c.weight": W, "m": W > 0},
        [node("Cast", "m", "f", to=TensorProto.FLOAT), node("Mul", "f c.weight", "w")],
    ),
    "gains": ({"c.weight": W, "m": GAINS}, [node("Div", "c.weight m", "w")]),
    "turned round": ({"c.weight": GAINS * W, "m": GAINS}, [node("Div", "m c.weight", "w")]),
    "taken from one": ({"c.weight": W, "m": np.ones((3, 3), np.float32)}, [node("Sub", "m c.weight", "w")]),
    "half": ({"c.weight": W.astype(np.float16), "m": np.float16(0.3)}, [node("Add", "c.weight m", "w")]),
    "double": ({"c.weight": W.astype(np.float64), "m": np.array([0.1])}, [node("Mul", "c.weight m", "w")]),
    "with itself": ({"c.weight": W}, [node("Mul", "c.weight c.weight", "w")]),
    "by zero": ({"c.weight": W, "m": np.float32(0)}, [node("Div", "c.weight m", "w")]),
    "by hand": (
        {"c.weight": Q.view(np.uint8), "zero": np.uint8([3]), "scale": GAINS},
        [
            node("Cast", "c.weight", "f", to=TensorProto.FLOAT),
            node("Cast", "zero", "z", to=TensorProto.FLOAT),
            node("Sub", "f z", "d"),
            node("Mul", "d scale", "w"),
        ],
    ),
    "after rounding": (
        {"c.weight": Q, "s": ONE, "z": np.int8(1), "m": GAINS},
        [node("DequantizeLinear", "c.weight s z", "f"), node("Mul", "f m", "w")],
    ),
    "turned": (
        {"c.weight": W, "m": GAINS.reshape(8, 1, 1)},
        [node("Transpose", "c.weight", "t", perm=[1, 0, 2, 3]), node("Mul", "t m", "f"),
         node("Transpose", "f", "w", perm=[1, 0, 2, 3])],
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", ARITHMETIC)
def test_arithmetic_with_stored_numbers_is_done_to_the_last_bit(way):
    tensors, nodes = ARITHMETIC[way]
    checkpoint, numbers = read(model([*nodes, conv("w", name="/c/Conv", group=2)], tensors))
    with np.errstate(all="ignore"):
        expected = reference(nodes, tensors, "w")
    assert numbers["c.weight"].dtype == expected.dtype
    assert numbers["c.weight"].tobytes() == expected.tobytes()
    assert (checkpoint.tensors["c.weight"].shape, checkpoint.tensors["c.weight"].dtype) == (W.shape, expected.dtype)
    assert checkpoint.convs == {"c": ConvSpec(2, False)}
    assert "stored numbers of shape" in checkpoint.tensors["c.weight"].notes[-1]
    assert set(checkpoint.others) == {name for name, array in tensors.items() if array.ndim > 2} - {"c.weight"}


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"c.weight": W[:, :1], "m": np.ones((8, 2, 1, 1), np.float32)}, "(8, 2, 1, 1), which do not fit its"),
        ({"c.weight": W[:1], "m": np.ones((8, 1, 1, 1), np.float32)}, "do not fit its (1, 2, 3, 3)"),
        ({"c.weight": W[0], "m": np.ones((8, 1, 1, 1), np.float32)}, "do not fit its (2, 3, 3)"),
        ({"c.weight": W, "m": np.float64(2)}, "from float32 and float64 numbers"),
        ({"c.weight": Q, "m": np.int8(2)}, "from int8 and int8 numbers"),
        ({"c.weight": W, "m": np.complex64(2)}, "from float32 and complex64 numbers"),
    ],
)
def test_arithmetic_that_would_change_the_shape_or_the_numbers_is_not_done(tensors, reason):
    turned = node("Transpose", "m2", "w", perm=[0, 1, 3, 2])
    nodes = [node("Mul", "c.weight m", "m2"), turned, conv("w", name="/c/Conv", group=2)]
    checkpoint, _ = read(model(nodes, tensors))
    assert reason in checkpoint.tensors["c.weight"].unreadable


@pytest.mark.parametrize("way", WAYS)
def test_a_computed_weight_is_one_skipped_layer_with_its_groups(way, tmp_path):
    tensors, nodes, op = WAYS[way]
    onnx.save(model([*nodes, conv("w", name="/c/Conv", group=2)], tensors), tmp_path / "c.onnx")
    (layer,) = gcx.correlate(str(tmp_path / "c.onnx")).models[0].layers
    assert (layer.status, layer.name) == ("skipped", "c")
    assert layer.reason == f"its weight is computed by {op}, not stored"
    (listed,) = gcx.layers(str(tmp_path / "c.onnx")).models
    assert [(one.name, one.groups, one.groups_from) for one in listed.layers] == [("c", 2, "recorded")]
    parts = {name for name, array in tensors.items() if array.ndim > 2} - {"c.weight"}
    assert {left.name for left in listed.left_out} == parts


def test_a_weight_that_one_convolution_uses_and_another_computes_with():
    nodes = [node("Neg", "a.weight", "n"), conv("a.weight", group=2), conv("n", name="/b/Conv", group=4)]
    checkpoint, numbers = read(model(nodes, {"a.weight": W}))
    assert np.array_equal(numbers["a.weight"], W)
    assert checkpoint.convs == {"a": ConvSpec(2, False), "a#2": ConvSpec(4, False)}
    assert "computed by Neg" in checkpoint.tensors["a#2.weight"].unreadable


def test_two_weights_computed_from_one_tensor_are_two_layers():
    nodes = [node("Gather", "w i", "a"), node("Gather", "w j", "b")]
    nodes += [conv("a", name="/a/Conv"), conv("b", name="/b/Conv")]
    tensors = {"w": W, "i": np.arange(4), "j": np.arange(4, 8)}
    assert read(model(nodes, tensors))[0].convs == {"a": ConvSpec(1, False), "b": ConvSpec(1, False)}


def test_groups_that_do_not_divide_a_part_say_nothing():
    nodes = [node("Concat", "a b", "w", axis=0), conv("w", name="/c/Conv", group=4)]
    checkpoint, _ = read(model(nodes, {"a": W[:5], "b": W[5:]}))
    assert checkpoint.convs == {"c": ConvSpec(None, None)}


def test_the_tensors_of_earlier_layers_are_no_parts_of_a_weight_computed_from_their_output():
    nodes = [conv("a.weight"), node("Mul", "y_a.weight k", "w"), conv("w", name="/b/Conv")]
    checkpoint, numbers = read(model(nodes, {"a.weight": W, "k": np.float32(2)}))
    assert (checkpoint.convs, checkpoint.others) == ({"a": ConvSpec(1, False)}, {})
    assert "/b/Conv (computed by Mul)" in checkpoint.notes[0]
    assert np.array_equal(numbers["a.weight"], W)


def test_what_is_looked_at_for_one_weight_is_bounded(monkeypatch):
    looked = []
    find = onnx_computed.Graph.find
    monkeypatch.setattr(onnx_computed.Graph, "find", lambda graph, name: looked.append(name) or find(graph, name))
    sums = [node("Sum", " ".join([f"s{number}"] * 500), f"s{number + 1}") for number in range(500)]
    checkpoint, _ = read(model([*sums, conv("s500", name="/c/Conv")], {"s0": W}))
    assert "computed by Sum" in checkpoint.notes[0]
    inputs = 500 * 500 + 2
    assert len(looked) < inputs + 100


class Net(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        torch.manual_seed(0)
        self.c = wrap(nn.Conv2d(4, 8, 3, groups=2))

    def forward(self, x):
        return self.c(x)


def pruned(module):
    return prune.random_unstructured(module, "weight", 0.5)


WRAPS = {
    "weight norm": weight_norm,
    "new weight norm": parametrizations.weight_norm,
    "spectral norm": spectral_norm,
    "pruned": pruned,
}


@pytest.mark.filterwarnings("ignore")  # of the exporter, and of the older forms
@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("wrap", WRAPS)
def test_what_torch_computes_a_weight_from_keeps_the_groups_of_its_convolution(wrap, fold, tmp_path):
    net = Net(WRAPS[wrap]).eval()
    net(torch.zeros(1, 4, 8, 8))
    report = gcx.correlate(exported(net, tmp_path / "net.onnx", fold=fold)).models[0]
    (layer,) = report.layers
    assert (layer.status, layer.name, layer.groups, layer.groups_from) == ("measured", "c", 2, "recorded")
    assert report.notes == ()
    effective = net.c.weight.detach().numpy()
    plain = gcx.correlate({"c.weight": effective}, groups={"c": 2}).models[0].measured[0]
    assert layer.within.mean_r2 == pytest.approx(plain.within.mean_r2, rel=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("rounding", [CHANNELS, WHOLE])
def test_a_convolution_rounded_with_its_batch_norm(rounding, fold, tmp_path):
    net = trained(rounding, norm=True)
    path = exported(net, tmp_path / "qat.onnx", fold=fold)
    (listed,) = gcx.layers(path).models[0].layers
    assert (listed.name, listed.groups, listed.groups_from) == ("c", 2, "recorded")
    (layer,) = gcx.correlate(path).models[0].layers
    if not fold:  # the graph still multiplies by the gain, and the file does not keep what the observer saw
        assert (layer.status, "does not tell to how many levels" in layer.reason) == ("skipped", True)
        return
    gain = (net.c.bn.weight / torch.sqrt(net.c.bn.running_var + net.c.bn.eps)).reshape(-1, 1, 1, 1)
    effective = (net.c.weight_fake_quant(net.c.weight * gain) / gain).detach().numpy()
    plain = gcx.correlate({"c.weight": effective}, groups={"c": 2}).models[0].measured[0]
    assert layer.within.mean_r2 == pytest.approx(plain.within.mean_r2, rel=1e-5)


class Centred(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(8, 8, 3, groups=4)

    def forward(self, x):
        weight = self.c.weight
        return nn.functional.conv2d(x, weight - weight.mean((1, 2, 3), keepdim=True), groups=4)


@pytest.mark.filterwarnings("ignore")
def test_a_weight_less_its_mean_is_not_measured_with_it(tmp_path):
    path = tmp_path / "net.onnx"
    torch.onnx.export(Centred().eval(), (torch.zeros(1, 8, 8, 8),), path, dynamo=False)
    (layer,) = gcx.correlate(str(path)).models[0].layers
    assert (layer.name, layer.status, layer.reason) == ("c", "skipped", "its weight is computed by Sub, not stored")


NORM = node("Mul", "c.weight_v c.weight_g", "a")
PARTS = {"c.weight_v": W, "c.weight_g": weight(8, 1, 1, 1)}


@pytest.mark.parametrize(
    ("more", "nodes", "computed"),
    [
        ({}, [NORM, node("Neg", "a", "w")], False),
        ({}, [NORM, node("Mul", "a x", "w")], False),
        ({"d.gain": weight(8, 1, 1, 1)}, [NORM, node("Mul", "a d.gain", "w")], True),
        ({"onnx::Mul_7": W}, [NORM, node("Mul", "a onnx::Mul_7", "w")], True),
        ({"onnx::Mul_7": W[0, 0]}, [NORM, node("Mul", "a onnx::Mul_7", "w")], True),
    ],
)
def test_parts_with_torch_names_that_something_else_is_done_to(more, nodes, computed):
    checkpoint, numbers = read(model([*nodes, conv("w", name="/c/Conv", group=2)], PARTS | more))
    if computed:
        assert numbers["c.weight"].tobytes() == reference(nodes, PARTS | more, "w").tobytes()
    else:
        assert "is computed by" in checkpoint.tensors["c.weight"].unreadable
    assert checkpoint.convs == {"c": ConvSpec(2, False)}
    assert "c.weight_g" in checkpoint.others


def test_a_part_that_is_also_a_weight_of_its_own_is_not_put_together():
    nodes = [node("Mul", "c.weight_v c.weight_g", "w"), conv("w", name="/c/Conv", group=2), conv("c.weight_v", group=4)]
    checkpoint, numbers = read(model(nodes, PARTS))
    assert np.array_equal(numbers["c.weight_v.weight"], W)
    assert checkpoint.convs == {"c": ConvSpec(2, False), "c.weight_v": ConvSpec(4, False)}
    assert "is computed by Mul" in checkpoint.tensors["c.weight"].unreadable


def test_a_weight_in_parts_that_another_convolution_computes_with():
    nodes = [NORM, node("Neg", "c.weight_v", "n")]
    nodes += [conv("a", name="/c/Conv", group=2), conv("n", name="/d/Conv", group=4)]
    checkpoint, numbers = read(model(nodes, PARTS))
    assert checkpoint.convs == {"c": ConvSpec(2, False), "d": ConvSpec(4, False)}
    assert "is computed by Neg" in checkpoint.tensors["d.weight"].unreadable
    assert numbers.keys() == {"c.weight_v", "c.weight_g", "d.weight"}
