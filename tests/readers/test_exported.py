"""Exported programs (.pt2): the numbers of the state dict, groups from the arguments of nodes, lies refused."""

import io
import json
import struct
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import pytest
from evil import Call, Record, Ref, storage, tensor, zip_bytes, zip_file
from hypothesis import given, settings
from hypothesis import strategies as st
from readers.opening import opened, refused

import gcx
from gcx.checkpoint import ConvSpec
from gcx.errors import GcxError, LimitError, UsageError
from gcx.readers.torch import exported as exported_module
from gcx.readers.torch import exported_json

torch = pytest.importorskip("torch")

from readers.computed_nets import COMPUTED, Borrowed, Reshaped, computed  # noqa: E402
from readers.program_nets import (  # noqa: E402
    PARAMETRISED,
    SPECS,
    Tied,
    Unchanged,
    exported,
    exported_of_old,
    gained,
    net,
    parametrised,
    stacked,
    trained_quantised,
)
from torch import nn  # noqa: E402


@pytest.fixture(scope="module")
def module():
    return net()


def test_the_numbers_and_names_are_those_of_the_state_dict(module, watched):
    arrays, checkpoint = opened(exported(module), watched, name="net.pt2")
    assert checkpoint.format == "exported program"
    state = module.state_dict()
    assert set(arrays) == set(state)
    for name, array in arrays.items():
        assert array.shape == tuple(state[name].shape)
        assert array.tobytes() == state[name].numpy().tobytes()
    assert checkpoint.convs == SPECS


def test_a_decomposed_program_states_the_same(module, watched):
    assert opened(exported(module, decomposed=True), watched)[1].convs == SPECS


def test_dynamic_shapes_change_nothing(module, watched):
    dynamic = exported(module, torch.randn(2, 3, 8, 8), dynamic_shapes=({0: torch.export.Dim("batch")},))
    assert opened(dynamic, watched)[1].convs == SPECS


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype, watched):
    layer = nn.Conv2d(4, 8, 3, groups=2).to(dtype)
    arrays, checkpoint = opened(exported(layer, torch.randn(1, 4, 5, 5).to(dtype)), watched)
    bits = {2: torch.int16, 8: torch.int64}[dtype.itemsize]
    assert arrays["weight"].tobytes() == layer.weight.detach().view(bits).numpy().tobytes()
    assert checkpoint.convs == {"weight": ConvSpec(2, False)}


def test_the_report_needs_no_torch(tmp_path, module):
    (tmp_path / "net.pt2").write_bytes(exported(module))
    lines = "import sys\nfrom gcx.cli.app import run\nrun(['correlate', 'net.pt2'])\nsys.exit('torch' in sys.modules)"
    command = [sys.executable, "-P", "-c", lines]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "recorded" in done.stdout


@pytest.mark.parametrize("kind", PARAMETRISED)
def test_groups_of_weights_that_are_computed_are_recorded_too(kind, tmp_path):
    module = parametrised(kind)
    (tmp_path / "net.pt").write_bytes(exported(module))
    measured = gcx.correlate(str(tmp_path / "net.pt")).models[0].measured
    assert [(one.name, one.groups, one.groups_from) for one in measured] == [("0", 1, "recorded"), ("1", 4, "recorded")]
    live = gcx.correlate(module).models[0].measured
    for one, other in zip(measured, live, strict=True):
        assert one.within.mean_r2 == pytest.approx(other.within.mean_r2, rel=1e-6)


@pytest.mark.parametrize("first", ["gain", "pos"])
@pytest.mark.parametrize("second", [False, True])
def test_a_weight_is_found_wherever_it_stands_in_its_module(first, second, tmp_path):
    (tmp_path / "net.pt2").write_bytes(exported(gained(first, second=second)))
    layers = gcx.layers(str(tmp_path / "net.pt2")).models[0].layers
    expected = [("0", 1), *([("1", 2), ("1.weight", 2)] if second else [("1", 2)])]
    assert [(layer.name, layer.groups) for layer in layers] == expected
    assert {layer.groups_from for layer in layers} == {"recorded"}


@pytest.mark.parametrize("decomposed", [False, True])
@pytest.mark.parametrize("first", ["parametrized weight_norm", "parametrized spectral_norm"])
def test_what_is_stacked_on_a_norm_is_not_forgotten(first, decomposed, tmp_path):
    (tmp_path / "net.pt2").write_bytes(exported(stacked(first), decomposed=decomposed))
    whole, left = gcx.correlate(str(tmp_path / "net.pt2")).models[0].layers
    assert (whole.status, left.status) == ("measured", "skipped")
    assert "(by `add`)" in left.reason


@pytest.mark.parametrize("decomposed", [False, True])
@pytest.mark.parametrize("kind", COMPUTED)
def test_a_weight_that_is_computed_is_not_measured_as_what_it_is_made_of(kind, decomposed, tmp_path):
    (tmp_path / "net.pt2").write_bytes(exported(computed(kind), decomposed=decomposed))
    listed = gcx.layers(str(tmp_path / "net.pt2")).models[0].layers[1]
    assert listed.name == ("1.kept" if kind is Borrowed else "1")
    assert (listed.groups, listed.groups_from) == (2, "recorded")
    _, *left = gcx.correlate(str(tmp_path / "net.pt2")).models[0].layers
    assert {layer.status for layer in left} == {"skipped"}
    by = "" if decomposed else f"(by `{COMPUTED[kind]}"  # what is decomposed has other names
    assert all("is no weight itself" in layer.reason and by in layer.reason for layer in left)


@pytest.mark.parametrize("decomposed", [False, True])
def test_a_weight_that_is_kept_as_a_matrix_is_said_to_be_missing(decomposed, watched):
    program = exported(Reshaped(), torch.randn(1, 4, 9, 9), decomposed=decomposed)
    _, checkpoint = opened(program, watched, name="net.pt2")
    assert checkpoint.convs == {"kept.weight": ConvSpec(2, False)}
    assert any("of fewer axes, not measured: matrix of shape (8, 36)" in note for note in checkpoint.notes)


@pytest.mark.parametrize("decomposed", [False, True])
def test_a_weight_in_another_precision_is_measured(decomposed, tmp_path):
    (tmp_path / "net.pt2").write_bytes(exported(Unchanged().eval(), decomposed=decomposed))
    measured = gcx.correlate(str(tmp_path / "net.pt2")).models[0].measured
    assert [(one.name, one.groups, one.groups_from) for one in measured] == [
        ("whole", 1, "recorded"),
        ("short", 2, "recorded"),
    ]


def test_a_net_in_quantisation_aware_training_is_measured_as_it_computes(tmp_path):
    module = trained_quantised()
    (tmp_path / "net.pt2").write_bytes(exported(module, torch.randn(2, 4, 12, 12)))
    torch.save(module.state_dict(), tmp_path / "state.pt")
    measured = gcx.correlate(str(tmp_path / "net.pt2")).models[0].measured
    state = gcx.correlate(str(tmp_path / "state.pt"), groups={"0": 2, "1": 1}).models[0].measured
    assert [(one.groups, one.groups_from) for one in measured] == [(2, "recorded"), (1, "recorded")]
    assert [(one.within, one.across) for one in measured] == [(one.within, one.across) for one in state]


def test_a_weight_that_is_used_both_ways_keeps_its_groups(watched):
    _, checkpoint = opened(exported(Tied().eval()), watched)
    assert checkpoint.convs == {"encoder.weight": ConvSpec(1, False)}
    assert any("used as convolution and as transposed convolution" in note for note in checkpoint.notes)


class Within(nn.Module):
    """A convolution in a graph of its own: without gradients, in another precision, or on a condition."""

    def __init__(self, how: str):
        super().__init__()
        self.how = how
        self.first, self.second = nn.Conv2d(4, 8, 3, groups=2), nn.Conv2d(4, 8, 3, groups=4)

    def forward(self, images):
        if self.how == "no_grad":
            with torch.no_grad():
                images = self.first(images)
            return images + 1
        if self.how == "weight made there":
            with torch.no_grad():
                weight = self.first.weight * 2
            return nn.functional.conv2d(images, weight, groups=2)
        if self.how == "autocast":
            with torch.autocast("cpu", torch.bfloat16):
                with torch.no_grad():
                    images = self.first(images)
                images = images + 1
            return images.float()
        return torch.cond(images.sum() > 0, lambda x: self.first(x), lambda x: self.second(x), (images,))


WITHIN = [(how, strict) for how in ("no_grad", "autocast", "weight made there") for strict in (False, True)]


@pytest.mark.parametrize(("how", "strict"), [*WITHIN, ("cond", True)])
def test_graphs_within_the_graph_are_looked_through(how, strict, watched):
    _, checkpoint = opened(exported(Within(how), torch.randn(1, 4, 9, 9), strict=strict), watched)
    expected = {"first.weight": ConvSpec(2, False)}
    assert checkpoint.convs == (expected | {"second.weight": ConvSpec(4, False)} if how == "cond" else expected)
    computed = checkpoint.tensors["first.weight"].unreadable
    assert ("`mul`" in computed) if how == "weight made there" else computed is None


def nested(depth: int) -> dict:
    """A graph in as many others, each of which hands it the weight."""
    made = graph(node())["graph_module"]["graph"]
    for _ in range(depth):
        held = {"as_graph": {"name": "g", "graph": made | {"inputs": [{"as_tensor": {"name": "p_w"}}], "outputs": []}}}
        inputs = [{"name": "", "arg": held}, {"name": "", "arg": {"as_tensor": {"name": "p_w"}}}]
        made = {"nodes": [{"target": "torch.ops.higher_order.wrap_with_autocast", "inputs": inputs, "outputs": []}]}
    return {"graph_module": graph()["graph_module"] | {"graph": made}}


def test_graphs_within_graphs_end_somewhere(monkeypatch, watched):
    monkeypatch.setattr("gcx.readers.torch.exported_graph.EXPORT_DEPTH", 3)
    assert opened(archive(nested(3)), watched)[1].convs == {"c.weight": ConvSpec(2, False)}
    assert "EXPORT_DEPTH" in refused(archive(nested(4)), watched)


def test_what_runs_a_graph_in_an_unknown_way_hands_nothing_in(watched):
    text = json.dumps(nested(1)).replace("wrap_with_autocast", "map_impl")
    assert opened(archive(text.encode()), watched)[1].convs == {}


def test_a_constant_does_not_take_the_name_of_a_weight(watched):
    listed = json.dumps({"config": {"c.weight": weight(path_name="constant_0")}}).encode()
    more = (
        Record("net/data/constants/constant_0", struct.pack("<4f", 9, 9, 9, 9)),
        Record("net/data/constants/model_constants_config.json", listed),
    )
    assert "'c.weight' stands in it twice" in refused(archive(more=more), watched)


def test_json_names_nothing_twice_and_knows_no_nan(watched):
    text = json.dumps(graph(node())).encode()
    assert "names something twice" in refused(archive(text.replace(b'"graph": {', b'"graph": 1, "graph": {')), watched)
    odd = text.replace(b'{"name": "input"', b'{"name": "\\":", "arg": {"as_float": NaN}}, {"name": "input"')
    assert opened(archive(odd), watched)[1].convs == {"c.weight": ConvSpec(2, False)}


def test_a_program_may_have_a_folder_in_its_name(watched):
    with zipfile.ZipFile(io.BytesIO(archive())) as built:
        renamed = {name.replace("/model", "/a/b").replace("/a/bs/", "/models/"): name for name in built.namelist()}
        data = zip_bytes([Record(name, built.read(old)) for name, old in renamed.items()])
        assert "net/models/a/b.json" in renamed
    assert opened(data, watched)[1].convs == {"c.weight": ConvSpec(2, False)}


def test_the_layout_up_to_torch_27(module, watched):
    data = exported_of_old(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert torch.export.load(io.BytesIO(data)).state_dict.keys() == module.state_dict().keys()
    arrays, checkpoint = opened(data, watched, name="old.pt2")
    state = module.state_dict()
    assert set(arrays) == set(state)
    for name, array in arrays.items():
        assert array.tobytes() == state[name].numpy().tobytes()
    assert checkpoint.convs == SPECS
    assert "nothing was run" in checkpoint.notes[0]


class WithConstant(nn.Module):
    """A parameter and a constant whose storages have one number in their two checkpoints."""

    def __init__(self):
        super().__init__()
        self.held = nn.Parameter(torch.randn(4, 2, 3, 3))
        self.constant = torch.randn(4, 2, 3, 3)

    def forward(self, images):
        return nn.functional.conv2d(nn.functional.conv2d(images, self.held, groups=2), self.constant, groups=2)


def test_weights_of_two_checkpoints_inside_are_not_taken_for_each_other(watched):
    module = WithConstant()
    arrays, checkpoint = opened(exported_of_old(module, torch.randn(1, 4, 9, 9)), watched)
    assert arrays["held"].tobytes() == module.held.detach().numpy().tobytes()
    assert arrays["constant"].tobytes() == module.constant.numpy().tobytes()
    assert len({ref.storage for ref in checkpoint.tensors.values()}) == 2


OLD = ("serialized_exported_program.json", "serialized_state_dict.pt", "serialized_constants.pt")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({OLD[0]: b"{}"}, "'graph_module' is no object"),
        ({OLD[1]: None}, "'serialized_state_dict.pt' is missing"),
        ({OLD[1]: b"no zip"}, "holds 'serialized_state_dict.pt', which is truncated"),
        ({OLD[1]: zip_file([1, 2])}, "no weights by name"),
        ({OLD[1]: zip_file({}), OLD[2]: zip_file({})}, "without weights"),
        ({OLD[1]: zip_file({"w": tensor(storage(400), size=(400,))})}, "bytes"),
        ({OLD[1]: zip_file({"w": Call(Ref("os", "system"), "touch x")})}, "os.system"),
    ],
)
def test_old_archives_that_lie_are_refused_in_one_line(change, says, watched):
    true = {OLD[0]: json.dumps(graph(node())).encode(), OLD[1]: zip_file({"c.weight": tensor()}), OLD[2]: zip_file({})}
    found = [Record(name, data) for name, data in (true | change).items() if data is not None]
    assert says in refused(zip_bytes(found), watched)
    packed = [Record(name, data, method=8 if name == OLD[1] else 0) for name, data in true.items()]
    assert "compressed" in refused(zip_bytes(packed), watched)


class Quantised(nn.Module):
    """What quantisation of an exported program leaves: integers, and nodes that make numbers of them."""

    def __init__(self):
        super().__init__()
        self.register_buffer("whole", torch.randint(-128, 128, (8, 2, 3, 3), dtype=torch.int8))
        self.register_buffer("channel", torch.randint(-128, 128, (8, 4, 3, 3), dtype=torch.int8))
        self.register_buffer("scales", torch.rand(8))
        self.register_buffer("zeros", torch.randint(-9, 9, (8,)))

    def weights(self):
        ops = torch.ops.quantized_decomposed
        whole = ops.dequantize_per_tensor.default(self.whole, 0.03, 5, -128, 127, torch.int8)
        channel = ops.dequantize_per_channel.default(self.channel, self.scales, self.zeros, 0, -128, 127, torch.int8)
        return whole, channel

    def forward(self, images):
        whole, channel = self.weights()
        return nn.functional.conv2d(nn.functional.conv2d(images, whole, groups=2), channel, groups=2)


def test_quantised_weights_are_what_the_nodes_make_of_them(watched):
    pytest.importorskip("torch.ao.quantization.fx._decomposed")
    layer = Quantised()
    arrays, checkpoint = opened(exported(layer, torch.randn(1, 4, 8, 8)), watched)
    for name, weight in zip(("whole", "channel"), layer.weights(), strict=True):
        assert arrays[name].tobytes() == weight.numpy().tobytes()
        assert "dequantised from int8" in checkpoint.tensors[name].notes[0]
        assert checkpoint.convs[name] == ConvSpec(2, False)
    path = Path("q.pt2")
    path.write_bytes(exported(layer, torch.randn(1, 4, 8, 8)))
    found = gcx.correlate(str(path)).models[0].measured
    assert [(one.name, one.groups) for one in found] == [("whole", 2), ("channel", 2)]


# --- archives built by hand ---


def integer(*numbers: int) -> list[dict]:
    return [{"as_int": number} for number in numbers]


def meta(**changes) -> dict:
    true = {"dtype": 7, "sizes": integer(4, 1, 1, 1), "strides": integer(1, 1, 1, 1), "storage_offset": {"as_int": 0}}
    return true | changes


def weight(**changes) -> dict:
    return {"path_name": "weight_0", "is_param": True, "use_pickle": False, "tensor_meta": meta()} | changes


def node(groups: object = 2, target: str = "torch.ops.aten.conv2d.default", name: str = "p_w") -> dict:
    inputs = [("input", {"as_tensor": {"name": "x"}}), ("weight", {"as_tensor": {"name": name}})]
    inputs += [] if groups is None else [("groups", {"as_int": groups})]
    return {
        "target": target,
        "inputs": [{"name": key, "arg": value, "kind": 1} for key, value in inputs],
        "outputs": [{"as_tensor": {"name": "out"}}],
    }


SPEC = {"parameter": {"arg": {"name": "p_w"}, "parameter_name": "c.weight"}}


def graph(*nodes: object, specs: object = (SPEC,)) -> dict:
    return {"graph_module": {"graph": {"nodes": list(nodes)}, "signature": {"input_specs": list(specs)}}}


def archive(program: object = None, config: object = None, *, data: bytes = struct.pack("<4f", 1, 2, 3, 4), more=()):
    program = graph(node()) if program is None else program
    config = {"config": {"c.weight": weight()}} if config is None else config
    texts = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in (program, config)]
    return zip_bytes(
        [
            Record("net/data/weights/weight_0", data),
            Record("net/data/weights/model_weights_config.json", texts[1]),
            Record("net/models/model.json", texts[0]),
            Record("net/archive_format", b"pt2"),
            Record("net/byteorder", b"little"),
            *more,
        ]
    )


def test_one_built_by_hand_is_read(watched):
    arrays, checkpoint = opened(archive(), watched)
    assert arrays["c.weight"].ravel().tolist() == [1, 2, 3, 4]
    assert checkpoint.convs == {"c.weight": ConvSpec(2, False)}


def test_big_endian_numbers_are_turned(watched):
    data = archive(data=struct.pack(">4f", 1, 2, 3, 4)).replace(b"little", b"big")
    assert len(data) != len(archive())
    records = [Record("net/byteorder", b"big")]
    with zipfile.ZipFile(io.BytesIO(archive(data=struct.pack(">4f", 1, 2, 3, 4)))) as built:
        records += [Record(name, built.read(name)) for name in built.namelist() if not name.endswith("byteorder")]
    assert opened(zip_bytes(records), watched)[0]["c.weight"].ravel().tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("nodes", "spec"),
    [
        ([node(None)], ConvSpec(1, False)),
        ([node(4, "torch.ops.aten.conv_transpose2d.input")], ConvSpec(4, True)),
        ([node(4, "torch.ops.aten.convolution.default")], ConvSpec(4, None)),
        ([node(2), node(2)], ConvSpec(2, False)),
        ([node(2), node(4)], None),
        ([node(3)], None),
        ([node(0)], None),
        ([node(-2)], ConvSpec(None, False)),
        ([node("2")], ConvSpec(None, False)),
        ([node(2**80)], ConvSpec(None, False)),
        ([node(2, "torch.ops.mine.conv2d.default")], None),
        ([node(2, "torch.ops.aten.linear.default")], None),
        ([node(2, name="elsewhere")], None),
        ([{"target": 5}, None, [], "conv2d", {"target": "torch.ops.aten.conv2d.default", "inputs": []}], None),
        (
            [
                {
                    "target": "torch.ops.aten._to_copy.default",
                    "inputs": [{"name": "self", "arg": {"as_tensor": {"name": "p_w"}}}],
                    "outputs": [{"as_tensor": {"name": "half"}}],
                },
                node(2, name="half"),
            ],
            ConvSpec(2, False),
        ),
    ],
)
def test_groups_are_what_nodes_state(nodes, spec, watched):
    _, checkpoint = opened(archive(graph(*nodes)), watched)
    assert checkpoint.convs == ({} if spec is None else {"c.weight": spec})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"program": b"{"}, "no JSON"),
        ({"program": b"[" * 100_000}, "nested too deeply"),
        ({"program": {}}, "'graph_module' is no object"),
        ({"program": {"graph_module": {"graph": [], "signature": {}}}}, "'graph' is no object"),
        ({"program": {"graph_module": {"graph": {"nodes": 3}, "signature": {}}}}, "'input_specs' is no list"),
        ({"program": {"graph_module": graph()["graph_module"] | {"graph": {}}}}, "'nodes' is no list"),
        ({"config": {"config": []}}, "'config' is no object"),
        ({"config": {"config": {}}}, "without weights"),
        ({"config": {"config": {"c.weight": 5}}}, "'tensor_meta' is no object"),
        ({"config": {"config": {"c.weight": weight(tensor_meta=None)}}}, "'tensor_meta' is no object"),
        ({"config": {"config": {"c.weight": weight(path_name="../../etc/passwd")}}}, "no record"),
        ({"config": {"config": {"c.weight": weight(path_name=["x"])}}}, "'c.weight' has no record"),
        ({"config": {"config": {"c.weight": weight(path_name="weight_9")}}}, "no record"),
        ({"config": {"config": {"c.weight": weight(tensor_meta=meta(sizes=integer(5, 1, 1, 1)))}}}, "reaches byte"),
        ({"config": {"config": {"c.weight": weight(tensor_meta=meta(storage_offset={"as_int": 1}))}}}, "reaches byte"),
        ({"config": {"config": {"c.weight": weight(tensor_meta=meta(storage_offset={"as_int": -1}))}}}, "cannot be"),
        ({"config": {"config": {"c.weight": weight(tensor_meta=meta(strides=integer(1)))}}}, "cannot be"),
        ({"config": {"config": {"c.weight": weight(tensor_meta=meta(sizes=[{"as_expr": "s0"}]))}}}, "whole numbers"),
        ({"config": {"config": {"c.weight": weight(tensor_meta=meta(sizes=integer(2**62, 2**62)))}}}, "cannot be"),
        ({"data": b"\0" * 15}, "reaches byte 16"),
        ({"more": (Record("net/models/other.json", b"{}"),)}, "2 exported programs"),
    ],
)
def test_archives_that_lie_are_refused_in_one_line(change, says, watched):
    message = refused(archive(**change), watched)
    assert says in message
    ours = ("no JSON", "deeply", "no object", "no list", "cannot be", "whole numbers", "'c.weight' has no record")
    assert "damaged exported program" in message or not says.endswith(ours)


def test_a_moving_average_is_not_there(tmp_path):
    (tmp_path / "net.pt2").write_bytes(archive())
    with pytest.raises(UsageError, match="moving average"):
        gcx.correlate(str(tmp_path / "net.pt2"), weights="ema")


def test_what_is_not_measured_says_why(watched):
    odd = {"d.weight": weight(use_pickle=True), "e.weight": weight(tensor_meta=meta(dtype=99))}
    _, checkpoint = opened(archive(config={"config": {"c.weight": weight(), **odd}}), watched)
    assert "pickled" in checkpoint.tensors["d.weight"].unreadable
    assert "number format" in checkpoint.tensors["e.weight"].unreadable


def test_compiled_programs_are_refused_by_name(watched):
    compiled = zip_bytes([Record("net/data/aotinductor/model/x.so", b"\x7fELF"), Record("net/archive_format", b"pt2")])
    assert "AOTInductor" in refused(compiled, watched)


@pytest.mark.parametrize(
    ("module", "limit", "most"),
    [
        (exported_json, "EXPORT_JSON", 100),
        (exported_json, "EXPORT_VALUES", 20),
        (exported_module, "TENSORS", 0),
    ],
)
def test_budgets_hold(module, limit, most, monkeypatch, watched):
    monkeypatch.setattr(module, limit, most)
    Path("file.pt2").write_bytes(archive())
    with watched(), pytest.raises(LimitError, match=limit):
        gcx.readers.read_checkpoint("file.pt2")


KEYS = (
    "graph_module graph nodes signature input_specs config target inputs name arg as_tensor as_int c.weight tensor_meta"
    " sizes parameter"
).split()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=30,
)


@given(JSON, JSON)
@settings(deadline=None, derandomize=True, max_examples=300)
def test_whatever_the_json_says_the_answer_is_a_line(program, config):
    Path("any.pt2").write_bytes(archive({"graph_module": program}, {"config": config}))
    try:
        with gcx.readers.read_checkpoint("any.pt2") as checkpoint:
            for ref in checkpoint.tensors.values():
                assert ref.unreadable or ref.read() is not None
    except GcxError as error:
        assert str(error).isprintable()
