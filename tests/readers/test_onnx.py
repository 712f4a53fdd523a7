"""The ONNX reader against the onnx library and torch's exporter: same numbers, recorded groups, lies refused."""

from __future__ import annotations

import io
import json
import os
import time
import tracemalloc
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from readers.flat import source_of
from torch import nn

from gcx.checkpoint import ConvSpec
from gcx.errors import CheckpointError, GcxError, LimitError
from gcx.readers import base, dtypes, protobuf
from gcx.readers.base import ReadOptions, open_source
from gcx.readers.onnx import OnnxReader
from gcx.readers.onnx import graph as onnx_graph
from gcx.readers.onnx import names as onnx_names
from gcx.readers.onnx import reader as reader_module
from gcx.readers.onnx import stores as onnx_stores

READER = OnnxReader()
DATA = Path(__file__).parents[2].parent / "shared" / "data" / "checkpoints"
RNG = np.random.default_rng(0)


def weight(*shape, dtype=np.float32):
    return RNG.standard_normal(shape).astype(dtype)


def model(nodes, tensors, **options) -> onnx.ModelProto:
    """A model of these nodes and initializers (arrays by name, or TensorProtos)."""
    stored = [
        array if isinstance(array, TensorProto) else numpy_helper.from_array(array, name)
        for name, array in tensors.items()
    ]
    return helper.make_model(helper.make_graph(nodes, "g", [], [], stored), producer_name="test", **options)


def conv(weight_name, op="Conv", name="", **attributes):
    return helper.make_node(op, ["x", weight_name], ["y_" + name + weight_name], name=name, **attributes)


def read(proto, weights="plain"):
    data = proto if isinstance(proto, bytes) else proto.SerializeToString()
    with source_of(data) as source:
        assert READER.recognises(source)
        with READER.read(source, ReadOptions(weights)) as checkpoint:
            numbers = {
                name: None if ref.unreadable else np.array(ref.read()) for name, ref in checkpoint.tensors.items()
            }
            return checkpoint, numbers


def refusal(proto) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        read(proto)
    assert str(caught.value).isprintable()
    assert caught.value.path is not None
    return caught.value


# --- good models ---


def test_rfb_320_agrees_with_its_pth_to_the_bit_with_recorded_groups():
    path = DATA / "version-RFB-320.onnx"
    if not path.exists():
        pytest.skip("real data not here")
    state = torch.load(path.with_suffix(".pth"), map_location="cpu", weights_only=True)
    truth = json.loads((DATA / "true-groups.json").read_text())["version-RFB-320.pth"]
    source = open_source(str(path))
    assert READER.recognises(source)
    with READER.read(source, ReadOptions()) as checkpoint:
        assert checkpoint.notes == ()
        assert {name: spec.groups for name, spec in checkpoint.convs.items()} == {
            name: stated["groups"] for name, stated in truth.items()
        }
        assert len(checkpoint.convs) == 52
        for name in checkpoint.convs:
            assert np.array_equal(checkpoint.tensors[f"{name}.weight"].read(), state[f"{name}.weight"].numpy())
        for name, tensor in state.items():
            if name in checkpoint.tensors:
                assert np.array_equal(checkpoint.tensors[name].read(), tensor.numpy())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.layer = nn.Sequential(
            nn.Sequential(nn.Conv2d(8, 8, 1, groups=2), nn.ReLU()), nn.Conv2d(8, 8, 3, groups=8, bias=False)
        )
        self.up = nn.ConvTranspose2d(8, 4, 2, groups=2)

    def forward(self, x):
        return self.up(self.layer(torch.relu(self.stem(x))))


def exported(net, **options) -> bytes:
    file = io.BytesIO()
    torch.onnx.export(net.eval(), torch.zeros(1, 3, 8, 8), file, dynamo=False, **options)
    return file.getvalue()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_same_tensors_as_the_plain_state_dict_of_the_exported_model():
    torch.manual_seed(0)
    net = Net()
    checkpoint, numbers = read(exported(net))
    assert checkpoint.format == "onnx"
    assert numbers.keys() == net.state_dict().keys()
    assert all(np.array_equal(numbers[name], tensor.numpy()) for name, tensor in net.state_dict().items())
    assert checkpoint.convs == {
        "stem": ConvSpec(1, False),
        "layer.0.0": ConvSpec(2, False),
        "layer.1": ConvSpec(8, False),
        "up": ConvSpec(2, True),
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_folded_weight_without_a_name_is_named_by_its_node():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.Sequential(nn.Conv2d(8, 4, 1, groups=4)))
    net[1].running_var.fill_(4)
    net[1].eps = 0
    checkpoint, numbers = read(exported(net))
    assert checkpoint.convs == {"0": ConvSpec(1, False), "2.0": ConvSpec(4, False)}
    assert np.allclose(numbers["0.weight"], net[0].weight.detach().numpy() / 2, rtol=1e-6)


def test_order_is_that_of_use():
    tensors = {"a": weight(2, 2, 1, 1), "b": weight(2, 2, 1, 1), "c": weight(2, 2, 1, 1), "unused": weight(3)}
    _, numbers = read(model([conv("c"), conv("a"), conv("b")], tensors))
    assert list(numbers) == ["c.weight", "a.weight", "b.weight", "unused"]


NUMBERS = [
    *(np.float64, np.float32, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2),
    *(np.int64, np.int32, np.int16, np.int8, np.uint64, np.uint32, np.uint16, np.uint8, np.bool_),
]


@pytest.mark.parametrize("dtype", NUMBERS, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 2), (0, 2)])
def test_every_number_format_in_both_ways_of_storing(dtype, raw, shape):
    array = (RNG.standard_normal(shape) * 100).astype(dtype)
    if raw:
        proto = numpy_helper.from_array(array, "t")
    else:
        proto = helper.make_tensor(
            "t", helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape, array.flatten().tolist()
        )
    checkpoint, numbers = read(model([], {"t": proto}))
    assert checkpoint.tensors["t"].dtype == np.dtype(dtype).name
    assert numbers["t"].tobytes() == numpy_helper.to_array(proto).tobytes() == array.tobytes()
    assert numbers["t"].shape == shape


@pytest.mark.parametrize("reason", ["complex", "int4", "string", "float4"])
def test_what_has_no_numbers_says_why(reason):
    kinds = {
        "complex": helper.make_tensor("t", TensorProto.COMPLEX64, [1], [1j]),
        "int4": helper.make_tensor("t", TensorProto.INT4, [2], [1, 2]),
        "string": helper.make_tensor("t", TensorProto.STRING, [1], [b"x"]),
        "float4": helper.make_tensor("t", TensorProto.FLOAT4E2M1, [2], [1, 2]),
    }
    checkpoint, _ = read(model([], {"t": kinds[reason]}))
    assert reason in checkpoint.tensors["t"].unreadable
    with pytest.raises(CheckpointError):
        checkpoint.tensors["t"].load()


# --- from node to weight ---


def test_kinds_of_convolution_and_their_groups():
    tensors = {
        "one.weight": weight(4, 2, 3),
        "two.weight": weight(4, 2, 3, 3),
        "three.weight": weight(4, 2, 3, 3, 3),
        "up.weight": weight(4, 2, 3, 3),
        "fused.weight": weight(4, 4, 1, 1),
        "last.weight": weight(4, 1, 3, 3),
        "bent.weight": weight(4, 2, 3, 3),
    }
    nodes = [
        conv("one.weight", group=2),
        conv("two.weight"),
        conv("three.weight", group=4),
        conv("up.weight", "ConvTranspose", group=2),
        conv("fused.weight", "FusedConv", domain="com.microsoft"),
        conv("last.weight", "NhwcFusedConv", domain="com.microsoft", group=4),
        helper.make_node("DeformConv", ["x", "bent.weight", "offset"], ["b"], group=2),
    ]
    checkpoint, _ = read(model(nodes, tensors))
    assert checkpoint.convs == {
        "one": ConvSpec(2, False),
        "two": ConvSpec(1, False),
        "three": ConvSpec(4, False),
        "up": ConvSpec(2, True),
        "fused": ConvSpec(1, False),
        "last": ConvSpec(4, False),
        "bent": ConvSpec(2, False),
    }


def test_a_weight_whose_order_of_axes_is_not_certain_is_skipped():
    node = conv("w.weight", "NhwcConv", domain="com.microsoft", group=2)
    checkpoint, _ = read(model([node], {"w.weight": weight(4, 3, 3, 2)}))
    assert "NhwcConv" in checkpoint.tensors["w.weight"].unreadable
    assert checkpoint.convs == {"w": ConvSpec(2, False)}


@pytest.mark.parametrize(
    ("stored", "node", "shown"),
    [
        ("a.b.weight", "/x/Conv", "a.b.weight"),
        ("weight", "", "weight"),
        ("conv1_W", "", "conv1_W.weight"),
        ("conv/kernel:0", "", "conv/kernel:0.weight"),
        ("onnx::Conv_421", "/layer1/layer1.0/conv1/Conv", "layer1.0.conv1.weight"),
        ("421", "/stem/Conv_1", "stem.weight"),
        ("421", "Conv_12", "Conv_12.weight"),
        ("421", "", "421.weight"),
        ("module.a.weight", "", "a.weight"),
    ],
)
def test_names(stored, node, shown):
    checkpoint, numbers = read(model([conv(stored, name=node)], {stored: weight(2, 2, 1, 1)}))
    assert list(numbers) == [shown]
    assert list(checkpoint.convs) == [shown.removesuffix(".weight")]


def test_names_that_fall_together_stay_apart():
    tensors = {"1": weight(2, 2, 1, 1), "2": weight(2, 2, 1, 1), "a.weight": weight(2, 2, 1, 1)}
    _, numbers = read(model([conv("1", name="a"), conv("2", name="a")], tensors))
    assert list(numbers) == ["a#2.weight", "a#3.weight", "a.weight"]
    assert np.array_equal(numbers["a.weight"], tensors["a.weight"])


def test_one_weight_used_in_two_ways_is_two_layers():
    array = weight(4, 2, 3, 3)
    turned = helper.make_node("Transpose", ["w.weight"], ["t"], perm=[0, 1, 3, 2])
    nodes = [turned, conv("w.weight", group=2), conv("t")]
    checkpoint, numbers = read(model(nodes, {"w.weight": array}))
    assert np.array_equal(numbers["w.weight"], array)
    assert np.array_equal(numbers["w#2.weight"], array.transpose(0, 1, 3, 2))
    assert checkpoint.convs == {"w": ConvSpec(2, False), "w#2": ConvSpec(1, False)}


def test_a_weight_through_identity_cast_and_transpose():
    array = weight(3, 3, 4, 2, dtype=np.float64)
    nodes = [
        helper.make_node("Identity", ["w"], ["i"]),
        helper.make_node("Transpose", ["i"], ["t"], perm=[3, 2, 0, 1]),
        helper.make_node("Cast", ["t"], ["c"], to=TensorProto.FLOAT),
        conv("c", group=2),
    ]
    checkpoint, numbers = read(model(nodes, {"w": array}))
    assert list(numbers) == ["w.weight"]
    assert np.array_equal(numbers["w.weight"], array.transpose(3, 2, 0, 1).astype(np.float32))
    ref = checkpoint.tensors["w.weight"]
    assert (ref.shape, ref.dtype) == ((2, 4, 3, 3), "float32")


def test_a_transposition_without_axes_turns_them_round():
    nodes = [helper.make_node("Transpose", ["w"], ["t"]), conv("t", group=2)]
    tensors = {"w": weight(5, 3, 2, 4)}
    checkpoint, numbers = read(model(nodes, tensors))
    assert np.array_equal(numbers["w.weight"], tensors["w"].T)
    assert checkpoint.tensors["w.weight"].shape == (4, 2, 3, 5)
    assert checkpoint.convs == {"w": ConvSpec(2, False)}


def test_a_transposition_by_axes_that_are_not_there():
    nodes = [helper.make_node("Transpose", ["w"], ["t"], perm=[0, 0, 1, 9]), conv("t")]
    assert "axes that it does not have" in str(refusal(model(nodes, {"w": weight(2, 2, 1, 1)})))


def test_a_weight_in_a_constant_node():
    array = weight(4, 1, 3, 3)
    constant = helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(array, "ignored"))
    checkpoint, numbers = read(model([constant, conv("k", name="/head/Conv", group=4)], {}))
    assert np.array_equal(numbers["head.weight"], array)
    assert checkpoint.convs == {"head": ConvSpec(4, False)}


def test_one_weight_in_several_convolutions():
    tensors = {"w.weight": weight(4, 2, 1, 1), "v.weight": weight(4, 2, 1, 1)}
    nodes = [conv("w.weight", name="a", group=2), conv("w.weight", name="b", group=4)]
    nodes += [conv("v.weight", name="c", group=2), conv("v.weight", name="d", group=2)]
    checkpoint, _ = read(model(nodes, tensors))
    assert checkpoint.convs == {"w": ConvSpec(None, False), "v": ConvSpec(2, False)}
    assert "different groups: 2, 4" in checkpoint.tensors["w.weight"].notes[0]
    assert checkpoint.tensors["v.weight"].notes == ()


def test_convolutions_without_a_stored_weight_are_noted():
    nodes = [
        conv("x", name="by input"),
        helper.make_node("MatMul", ["w", "w"], ["m"]),
        conv("m", name="by\x1bmul"),
        helper.make_node("Conv", ["x"], ["z"], name="none"),
        conv("x"),
        conv("x"),
    ]
    checkpoint, _ = read(model(nodes, {"w": weight(2, 2)}))
    assert checkpoint.convs == {}
    (note,) = checkpoint.notes
    assert note.startswith("convolutions without a stored weight: by input (an input of the model), by\\x1bmul (")
    assert note.endswith("(computed by MatMul), none (none) and 2 more")


def test_a_cycle_of_nodes_ends():
    nodes = [helper.make_node("Identity", ["b"], ["a"]), helper.make_node("Identity", ["a"], ["b"]), conv("a")]
    assert "many steps" in read(model(nodes, {}))[0].notes[0]


def test_graphs_inside_nodes_see_the_tensors_around_them():
    inner = helper.make_graph(
        [conv("w.weight", group=2), conv("v.weight")],
        "i",
        [],
        [],
        [numpy_helper.from_array(weight(2, 2, 1, 1), "v.weight")],
    )
    branch = helper.make_node("If", ["c"], ["o"], then_branch=inner)
    checkpoint, numbers = read(model([branch], {"w.weight": weight(4, 2, 1, 1)}))
    assert checkpoint.convs == {"w": ConvSpec(2, False), "v": ConvSpec(1, False)}
    assert numbers.keys() == {"w.weight", "v.weight"}


def nested(depth):
    graph = helper.make_graph(
        [conv("w.weight")], "g", [], [], [numpy_helper.from_array(weight(2, 2, 1, 1), "w.weight")]
    )
    for _ in range(depth - 1):
        graph = helper.make_graph([helper.make_node("If", ["c"], ["o"], then_branch=graph)], "g", [], [])
    return helper.make_model(graph)


def test_functions_are_noted():
    proto = model([conv("w")], {"w": weight(2, 2, 1, 1)})
    proto.functions.add().name = "f"
    assert read(proto)[0].notes == ("functions of the ONNX model were not looked at: 1",)


def test_a_wanted_moving_average_is_refused():
    with pytest.raises(GcxError, match="no moving average"):
        read(model([conv("w")], {"w": weight(2, 2, 1, 1)}), "ema")


# --- external data ---


def external(folder, location="data.bin", *, data=None, offset=None, length=None):
    array = weight(4, 2, 3, 3)
    proto = TensorProto(
        name="w.weight", data_type=TensorProto.FLOAT, dims=array.shape, data_location=TensorProto.EXTERNAL
    )
    for key, value in {"location": location, "offset": offset, "length": length}.items():
        if value is not None:
            proto.external_data.add(key=key, value=str(value))
    (folder / "data.bin").write_bytes(array.tobytes() if data is None else data)
    path = folder / "model.onnx"
    path.write_bytes(model([conv("w.weight", group=2)], {"w.weight": proto}).SerializeToString())
    return path, array


def read_path(path):
    before = set(os.listdir("/proc/self/fd"))
    source = open_source(str(path))
    try:
        checkpoint = READER.read(source, ReadOptions())
    except BaseException:
        source.close()
        assert set(os.listdir("/proc/self/fd")) == before
        raise
    with checkpoint:
        numbers = {name: np.array(ref.read()) for name, ref in checkpoint.tensors.items()}
    assert set(os.listdir("/proc/self/fd")) == before
    return numbers


def test_external_data_beside_the_model(tmp_path):
    path, array = external(tmp_path)
    assert np.array_equal(read_path(path)["w.weight"], array)
    path, array = external(tmp_path, offset=0, length=288)
    assert np.array_equal(read_path(path)["w.weight"], array)
    shifted, array = external(tmp_path, offset=16, data=bytes(16) + array.tobytes())
    assert np.array_equal(
        read_path(shifted)["w.weight"], numpy_helper.to_array(onnx.load(shifted).graph.initializer[0])
    )


@pytest.mark.parametrize(
    "location", ["../data.bin", "/etc/passwd", "a/data.bin", "", ".", "..", "a\\b", "\x1b", "x" * 300]
)
def test_external_data_elsewhere_is_never_opened(tmp_path, location, monkeypatch):
    (tmp_path / "in").mkdir()
    external(tmp_path)
    path, _ = external(tmp_path / "in", location)
    opened = []
    monkeypatch.setattr(base, "open_source", lambda path: opened.append(path) or open_source(path))
    with pytest.raises(CheckpointError, match="not a plain file name"):
        read_path(path)
    assert opened == []


def test_external_data_that_is_a_link(tmp_path):
    path, _ = external(tmp_path)
    (tmp_path / "data.bin").rename(tmp_path / "elsewhere")
    (tmp_path / "data.bin").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="symbolic link"):
        read_path(path)


@pytest.mark.parametrize("kind", ["missing", "fifo", "folder", "empty"])
def test_external_data_that_is_no_file(tmp_path, kind):
    path, _ = external(tmp_path)
    (tmp_path / "data.bin").unlink()
    if kind == "fifo":
        os.mkfifo(tmp_path / "data.bin")
    elif kind == "folder":
        (tmp_path / "data.bin").mkdir()
    elif kind == "empty":
        (tmp_path / "data.bin").touch()
    expected = {"missing": "is missing", "fifo": "regular file", "folder": "directory", "empty": "is empty"}[kind]
    with pytest.raises(CheckpointError, match=expected):
        read_path(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"offset": 4}, "needs bytes 4 to 292"),
        ({"offset": 2**62}, "which has 288"),
        ({"offset": -1}, "no number"),
        ({"offset": "1e3"}, "no number"),
        ({"offset": "٣"}, "no number"),
        ({"offset": "9" * 30}, "no number"),
        ({"length": 4}, "names 4 of external data"),
        ({"length": 2**40}, "of external data"),
        ({"length": ""}, "no number"),
        ({"data": b"x"}, "which has 1"),
    ],
)
def test_external_data_that_does_not_fit(tmp_path, options, message):
    path, _ = external(tmp_path, **options)
    with pytest.raises(CheckpointError, match=r"tensor 'w\.weight'") as caught:
        read_path(path)
    assert message in str(caught.value)


# --- lies ---


def lying(**changes) -> onnx.ModelProto:
    proto = numpy_helper.from_array(weight(4, 2, 3, 3), "w.weight")
    for key, value in changes.items():
        if key == "dims":
            del proto.dims[:]
            proto.dims.extend(value)
        elif key in ("raw_data", "data_type", "name"):
            setattr(proto, key, value)
        else:
            getattr(proto, key).extend(value)
    return model([conv("w.weight")], {"w": proto})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dims": [4, 2, 3, 4]}, "96 float32 numbers, but 288 bytes"),
        ({"dims": [2**40, 2**40]}, "beyond any memory"),
        ({"dims": [2**62, 2**62, 0]}, "beyond any memory"),
        ({"dims": [2**50]}, "but 288 bytes"),
        ({"dims": [-4, -2, 3, 3]}, "negative size"),
        ({"dims": [1] * 65}, "limit RANK"),
        ({"raw_data": b""}, "but 0 bytes"),
        ({"raw_data": bytes(289)}, "but 289 bytes"),
        ({"data_type": TensorProto.DOUBLE}, "72 float64 numbers"),
        ({"float_data": [1.0]}, "several places"),
        ({"raw_data": b"", "float_data": [1.0] * 71}, "but 284 bytes"),
        ({"raw_data": b"", "double_data": [1.0] * 72}, "a field of other numbers"),
        ({"raw_data": b"", "int32_data": [1] * 72}, "a field of other numbers"),
        ({"raw_data": b"", "int32_data": [1] * 71, "data_type": TensorProto.INT8}, "but 71 bytes"),
    ],
)
def test_a_tensor_that_lies(changes, message):
    error = refusal(lying(**changes))
    assert message in str(error)
    assert error.tensor == "w.weight" or "RANK" in str(error)


def test_varints_that_are_fewer_than_their_bytes():
    changes = {"raw_data": b"", "int32_data": [300] * 36, "data_type": TensorProto.INT32}
    assert "36 numbers where its shape has 72" in str(refusal(lying(**changes)))


@pytest.mark.parametrize("group", [0, -1, 3, 2**62])
def test_groups_that_do_not_divide(group):
    assert "do not divide" in str(refusal(model([conv("w.weight", group=group)], {"w.weight": weight(4, 2, 1, 1)})))


def test_a_tensor_stored_twice():
    proto = lying()
    proto.graph.initializer.append(proto.graph.initializer[0])
    assert "stored twice" in str(refusal(proto))


def test_two_graphs():
    data = lying().SerializeToString()
    assert "2 graphs" in str(refusal(data + data))


def test_truncated_anywhere_is_refused():
    data = model([conv("w.weight")], {"w.weight": weight(2, 1, 1, 1)}, doc_string="x").SerializeToString()
    for length in range(1, len(data)):
        with source_of(data[:length]) as source:
            try:
                if READER.recognises(source):
                    READER.read(source, ReadOptions())
                    # Cut between two fields of the model: what is left is a model.
                    assert onnx.ModelProto.FromString(data[:length]).graph.initializer
            except CheckpointError as error:
                assert "truncated" in str(error) or "damaged" in str(error) or "0 graphs" in str(error)
    with source_of(data[:-30]) as source:
        assert READER.recognises(source)


@pytest.mark.parametrize(
    ("limit", "module", "make", "at"),
    [
        ("ONNX_DEPTH", onnx_graph, nested, 3),
        ("ONNX_NODES", onnx_graph, lambda n: model([conv("w")] * n, {"w": weight(1, 1, 1)}), 3),
        ("TENSORS", onnx_graph, lambda n: model([], {str(i): weight(1) for i in range(n)}), 3),
        ("ONNX_NAME", protobuf, lambda n: model([], {"n" * n: weight(1)}), 50),
    ],
)
def test_limits_at_and_over(limit, module, make, at, monkeypatch):
    monkeypatch.setattr(module, limit, at)
    read(make(at))
    error = refusal(make(at + 1))
    assert isinstance(error, LimitError)
    assert f"limit {limit}" in str(error)


def test_field_and_size_budgets(monkeypatch):
    data = lying().SerializeToString()
    monkeypatch.setattr(reader_module, "ONNX_GRAPH", len(data))
    read(data)
    monkeypatch.setattr(reader_module, "ONNX_GRAPH", len(data) - 1)
    assert "limit ONNX_GRAPH" in str(refusal(data))
    with source_of(data) as source:
        with pytest.raises(LimitError, match="limit ONNX_FIELDS"):
            list(protobuf.Wire(source, 3).fields(0, len(data)))
        assert len(list(protobuf.Wire(source, 4).fields(0, len(data)))) == 4


def test_memory_is_that_of_one_tensor_not_of_the_file():
    tensors = {f"{i}.weight": np.zeros((500, 500, 1, 1), np.float32) for i in range(12)}
    data = model([conv(name) for name in tensors], tensors).SerializeToString()
    with source_of(data) as source:
        tracemalloc.start()
        with READER.read(source, ReadOptions()) as checkpoint:
            checkpoint.tensors["3.weight"].read()
            peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2_500_000 < len(data) / 4


def seconds(proto) -> float:
    started = time.process_time()
    read(proto)
    return time.process_time() - started


def test_time_does_not_go_with_the_square_of_weights_that_are_called_alike():
    constant = numpy_helper.from_array(weight(1, 1, 1))

    def alike(count):
        constants = [helper.make_node("Constant", [], [f"c{number}"], value=constant) for number in range(count)]
        return model([*constants, *(conv(f"c{number}", name="a") for number in range(count))], {})

    _, numbers = read(alike(3))
    assert list(numbers) == ["a.weight", "a#2.weight", "a#3.weight"]
    assert seconds(alike(8000)) < 6 * seconds(alike(2000)) + 0.5


def test_time_does_not_go_with_the_square_of_a_name():
    assert seconds(model([conv("a::" + "1" * 60_000 + "!")], {"a::" + "1" * 60_000 + "!": weight(1, 1, 1)})) < 1


def test_names_that_are_made_of_one_long_name_have_a_limit(monkeypatch):
    monkeypatch.setattr(onnx_names, "NAMES", 2000)
    name = "n" * 400 + ".weight"

    def used(ways):
        casts = [
            helper.make_node("Cast", [f"{way}.{step}" if step else name], [f"{way}.{step + 1}"], to=1)
            for way in range(ways)
            for step in range(way)
        ]
        return model([*casts, *(conv(f"{way}.{way}" if way else name) for way in range(ways))], {name: weight(1, 1, 1)})

    assert len(read(used(4))[1]) == 4
    assert "limit NAMES" in str(refusal(used(6)))


def test_empty_nodes_do_not_multiply_in_memory(monkeypatch):
    monkeypatch.setattr(onnx_graph, "ONNX_NODES", 10_000)
    data = model([], {"w": weight(1)}).SerializeToString()
    graph = b"\x0a\x00" * 15_000
    length = bytes([len(graph) & 127 | 128, len(graph) >> 7 & 127 | 128, len(graph) >> 14])
    tracemalloc.start()
    assert "limit ONNX_NODES" in str(refusal(data[: data.index(b"\x3a")] + b"\x3a" + length + graph))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000 * 1000


@settings(deadline=None, derandomize=True, max_examples=400)
@given(st.data())
def test_what_a_damaged_model_still_says_is_what_the_library_says(data):
    tensors = {"a.weight": np.arange(8, dtype=np.float32).reshape(4, 2, 1), "i": np.arange(3)}
    original = model([conv("a.weight", group=2)], tensors).SerializeToString()
    damaged = bytearray(original)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(damaged)
    with source_of(damaged) as source:
        try:
            if not READER.recognises(source):
                return
            with READER.read(source, ReadOptions()) as checkpoint:
                found = {name: ref.read() for name, ref in checkpoint.tensors.items() if not ref.unreadable}
        except GcxError:
            return
    try:
        parsed = onnx.ModelProto.FromString(damaged)
    except Exception:
        return
    for proto in parsed.graph.initializer:
        for name in (proto.name, f"{proto.name}.weight"):
            if name in found and proto.data_location != TensorProto.EXTERNAL:
                assert found[name].tobytes() == numpy_helper.to_array(proto).tobytes()


# --- recognition ---


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\x08", b"\x08\x07", b"\x08\x07\x12", b"\x08\x07\x12\xff", b"PK\3\4" + bytes(100), b"\x80\x02}q\0."),
        *(
            b"<html>" * 10,
            b"{" * 100,
            bytes(100),
            b"\xff" * 100,
            b"\x3a\x00",
            b"\x08\x07\x3a\x00",
            b"\x08\x07\x3a\x02\x48\x01",
        ),
        b"\x08\x01\x12\x05graph" * 3,
    ],
)
def test_does_not_claim_other_files(data):
    with source_of(data) as source:
        assert not READER.recognises(source)


@settings(deadline=None, derandomize=True, max_examples=500)
@given(st.binary(max_size=100))
def test_random_bytes_are_not_onnx(data):
    with source_of(data) as source:
        assert not READER.recognises(source)


# --- odd messages, byte by byte ---


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (b"\x08\x01", "a number for a message at byte 5"),
        (b"\x0a\x02\x08\x01", "a number for a name at byte 7"),
        (b"\x2a\x03\x0a\x01\x80", "damaged at byte 8"),
        (b"\x0a\x01\x07", "damaged at byte 6"),
        (b"\x0a\x0b\x0a" + b"\xff" * 9 + b"\x7f", "damaged at byte 6"),
        (b"\x0a\x02\x00\x00", "damaged at byte 6"),
        (b"\x12\x01g\x0a\x05\x0a\x01", "its message at 11"),
    ],
)
def test_damaged_messages(graph, message):
    assert message in str(refusal(b"\x08\x08\x3a" + bytes([len(graph)]) + graph))


def test_packed_numbers_count_against_the_budget():
    with source_of(b"\1" * 10) as source:
        field = protobuf.Field(1, protobuf.BYTES, 0, 10)
        assert list(protobuf.Wire(source, 10).numbers(field)) == [1] * 10
        with pytest.raises(LimitError, match="limit ONNX_FIELDS"):
            list(protobuf.Wire(source, 9).numbers(field))


def test_files_of_external_data_have_a_limit(tmp_path, monkeypatch):
    path, _ = external(tmp_path)
    monkeypatch.setattr(onnx_stores, "SHARDS", 1)
    read_path(path)
    monkeypatch.setattr(onnx_stores, "SHARDS", 0)
    with pytest.raises(LimitError, match="limit SHARDS"):
        read_path(path)


def test_external_data_that_goes_away_while_it_is_opened(tmp_path, monkeypatch):
    path, _ = external(tmp_path)
    monkeypatch.setattr(base, "open_source", lambda path: (open_source(path), os.unlink(path))[0])
    with pytest.raises(CheckpointError, match="changed while it was read"):
        read_path(path)


def test_varints_over_several_blocks(monkeypatch):
    monkeypatch.setattr(dtypes, "VARINT_BLOCK", 64)
    array = RNG.integers(-(2**40), 2**40, 500) >> RNG.integers(0, 41, 500)
    proto = helper.make_tensor("t", TensorProto.INT64, [500], array.tolist())
    assert np.array_equal(read(model([], {"t": proto}))[1]["t"], array)


def test_varints_take_little_more_memory_than_their_numbers():
    data = bytes([200, 1]) * 1_000_000
    tracemalloc.start()
    array = dtypes.from_varints(data, "float16", (1_000_000,))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (array == np.array(200, np.uint16).view(np.float16)).all()
    assert peak < 8_000_000


@pytest.mark.parametrize(
    "data", [b"\x01", b"\x01\x01\x01", b"\x01\x80", b"\x80" * 10 + b"\x01\x01", b"\x80" * 100 + b"\x01\x01"]
)
def test_varints_that_are_not_as_many_as_the_shape(data, monkeypatch):
    monkeypatch.setattr(dtypes, "VARINT_BLOCK", 16)
    with pytest.raises(CheckpointError, match=r"where its shape has 2|no number"):
        dtypes.from_varints(data, "int32", (2,))
