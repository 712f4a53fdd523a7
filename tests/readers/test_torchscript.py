"""TorchScript archives: the numbers of the state dict, groups where the code states them, nothing of it run."""

import struct
import subprocess
import sys
from pathlib import Path

import pytest
from evil import CANARY, Call, Raw, Record, Ref, pickled, records, storage, tensor, zip_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from readers.opening import opened, refused

import gcx
from gcx.checkpoint import ConvSpec
from gcx.errors import LimitError, UsageError
from gcx.readers.torch.script_code import CodeReader

torch = pytest.importorskip("torch")

from readers.computed_nets import COMPUTED, Borrowed, Handing, Matched, Reshaped, ResultChanged, computed  # noqa: E402
from readers.program_nets import (  # noqa: E402
    PARAMETRISED,
    SPECS,
    Aliased,
    Tied,
    Unchanged,
    gained,
    net,
    parametrised,
    scripted,
    stacked,
    trained_quantised,
)
from readers.quantised_net import SPECS as QUANTISED  # noqa: E402
from readers.quantised_net import quantised_net  # noqa: E402


@pytest.mark.parametrize("how", ["script", "trace"])
def test_the_numbers_and_names_are_those_of_the_state_dict(how, watched):
    module = net()
    arrays, checkpoint = opened(scripted(module, how), watched)
    assert checkpoint.format == "torchscript"
    assert "nothing was run" in checkpoint.notes[0]
    state = module.state_dict()
    assert set(arrays) == set(state) or set(state) - set(arrays) <= {"again.weight", "again.bias"}
    for name, array in arrays.items():
        assert array.tobytes() == state[name].numpy().tobytes()
        assert array.shape == tuple(state[name].shape)
    convs = {name: spec for name, spec in SPECS.items() if name in arrays}
    assert checkpoint.convs == convs


def test_a_frozen_program_keeps_its_weights_as_constants(watched):
    module = net()
    arrays, checkpoint = opened(scripted(module, "freeze"), watched)
    weights = {array.tobytes() for name, array in arrays.items() if name.endswith(".weight")}
    for name, spec in SPECS.items():
        weight = module.get_parameter(name)
        if name.startswith("blocks"):  # freezing folds the norm into the weight before it
            continue
        assert weight.detach().numpy().tobytes() in weights
        found = [key for key in checkpoint.convs if arrays[key].tobytes() == weight.detach().numpy().tobytes()]
        assert [checkpoint.convs[key] for key in found] == [spec] * len(found)
    assert sorted(spec.groups for spec in checkpoint.convs.values()) == [1, 1, 2, 2, 2, 3, 4, 8]


@pytest.mark.parametrize("how", ["script", "trace"])
def test_quantised_layers_are_what_torch_dequantises(how, watched):
    module = quantised_net()
    arrays, checkpoint = opened(scripted(module, how, torch.randn(2, 3, 12, 12)), watched)
    for name in QUANTISED:
        expected = getattr(module, name).weight().dequantize().contiguous().numpy()
        assert arrays[f"{name}.weight"].tobytes() == expected.tobytes()
        assert "dequantised" in checkpoint.tensors[f"{name}.weight"].notes[0]
    assert checkpoint.convs == {f"{name}.weight": spec for name, spec in QUANTISED.items()}


def test_the_report_is_that_of_the_state_dict(tmp_path):
    module = net()
    (tmp_path / "net.pt").write_bytes(scripted(module))
    torch.save(module.state_dict(), tmp_path / "state.pt")
    groups = {name.removesuffix(".weight"): spec.groups for name, spec in SPECS.items()}
    script_report = gcx.correlate(str(tmp_path / "net.pt"))
    state = gcx.correlate(
        str(tmp_path / "state.pt"), groups={k: v for k, v in groups.items() if k not in ("again", "free")}
    )
    plain = {layer.name: layer for layer in state.models[0].measured}
    compared = 0
    for layer in script_report.models[0].measured:
        assert (layer.groups_from, layer.groups) == ("recorded", groups[layer.name])
        if layer.name in plain and not layer.transposed:
            assert (layer.within, layer.across) == (plain[layer.name].within, plain[layer.name].across)
            compared += 1
    assert compared >= 5


WEIGHT = tensor(storage(4), size=(4, 1, 1, 1), stride=(1, 1, 1, 1))


def program(
    code: str, state: dict | None = None, *, constants: object = (), cls: str = "Net", more: tuple = ()
) -> bytes:
    """An archive built by hand: one module with four numbers, its code as given."""
    held = {"weight": WEIGHT} if state is None else state
    found = records(pickled(Call(Ref("__torch__", cls), state=held)))
    return zip_bytes(
        [
            *found,
            Record("archive/constants.pkl", pickled(constants)),
            Record("archive/code/__torch__.py", code.encode()),
            *more,
        ]
    )


HEAD = 'class Net(Module):\n  __parameters__ = ["weight", ]\n  __buffers__ = []\n  weight : Tensor\n'
BODY = "  def forward(self: __torch__.Net,\n    x: Tensor) -> Tensor:\n"


def code(*lines: str) -> str:
    return HEAD + BODY + "".join(f"    {line}\n" for line in lines)


CONV = "torch.conv2d(x, {weight}, None, [1, 1], [0, 0], [1, 1], {groups})"
BRANCHES = ["if x:", "  g = 2", "else:", "  g = 4", f"return {CONV.format(weight='self.weight', groups='g')}"]
TWICE = [f"_{count} = {CONV.format(weight='self.weight', groups=count)}" for count in (2, 4)]


@pytest.mark.parametrize(
    ("lines", "spec"),
    [
        ([f"return {CONV.format(weight='self.weight', groups=4)}"], ConvSpec(4, False)),
        (["w = self.weight", f"_0 = {CONV.format(weight='w', groups=2)}", "return _0"], ConvSpec(2, False)),
        (["g = 2", f"return {CONV.format(weight='self.weight', groups='g')}"], ConvSpec(2, False)),
        (["return torch.conv2d(x, self.weight)"], ConvSpec(1, False)),
        ([f"return {CONV.format(weight='self.weight', groups='(torch.size(self.weight))[0]')}"], ConvSpec(4, False)),
        ([f"return {CONV.format(weight='self.weight', groups='torch.size(self.weight, 0)')}"], ConvSpec(4, False)),
        (['w = getattr(self, "weight")', f"return {CONV.format(weight='w', groups=2)}"], ConvSpec(2, False)),
        ([f"return {CONV.format(weight='unchecked_cast(Tensor, (self.weight))', groups=2)}"], ConvSpec(2, False)),
        ([f"return {CONV.format(weight='torch.to(self.weight, dtype=5)', groups=2)}"], ConvSpec(2, False)),
        ([f"return {CONV.format(weight='torch.mul(self.weight, 2)', groups=2)}"], ConvSpec(2, False)),
        ([f"return {CONV.format(weight='torch.mul(self.weight, x)', groups=2)}"], ConvSpec(2, False)),
        (["w, v = torch.split(self.weight, 2)", f"_0 = {CONV.format(weight='w', groups=2)}"], ConvSpec(2, False)),
        (["return torch.conv_transpose2d(x, self.weight, None, [1, 1], [0, 0], [0, 0], 4)"], ConvSpec(4, True)),
        (
            ["return torch._convolution(x, self.weight, None, [1], [0], [1], True, [0], 2, False, False, True, True)"],
            ConvSpec(2, True),
        ),
        ([f"return {CONV.format(weight='torch.detach(self.weight)', groups=2)}"], ConvSpec(2, False)),
        ([f"return torch.relu({CONV.format(weight='self.weight', groups=2)})"], ConvSpec(2, False)),
        ([f"return {CONV.format(weight='([x, self.weight])[1]', groups=2)}"], ConvSpec(2, False)),
        ([f"return {CONV.format(weight='([self.weight, torch.exp(self.weight)])[x]', groups=2)}"], ConvSpec(2, False)),
        ([f"return {CONV.format(weight='([])[x]', groups=2)}"], None),
        # What is not stated is not made up.
        ([f"return {CONV.format(weight='self.other', groups=2)}"], None),
        ([f"return {CONV.format(weight='x.foo(self.weight)', groups=2)}"], None),
        ([f"return {CONV.format(weight='self.weight if x else x', groups=2)}"], None),
        ([f"return {CONV.format(weight='torch.mul(self.weight, 2', groups=2)}"], None),
        (["a = b", "b = a", f"return {CONV.format(weight='a', groups=2)}"], None),
        (["w = self.weight", "w = x", f"return {CONV.format(weight='w', groups=2)}"], None),
        ([f"return {CONV.format(weight='torch.detach(' * 99 + 'self.weight' + ')' * 99, groups=2)}"], None),
        (BRANCHES, ConvSpec(None, False)),
        (["return torch.convert2d(x, self.weight, None, [1, 1], [0, 0], [1, 1], 2)"], None),
        # What cannot be is not used.
        ([f"return {CONV.format(weight='self.weight', groups=3)}"], None),
        ([f"return {CONV.format(weight='self.weight', groups=0)}"], None),
        ([f"return {CONV.format(weight='self.weight', groups=10**30)}"], ConvSpec(None, False)),
        (TWICE, None),
    ],
)  # fmt: skip
def test_groups_are_what_the_code_states(lines, spec, watched):
    _, checkpoint = opened(program(code(*lines)), watched)
    found = {name: one for name, one in checkpoint.convs.items() if one.groups is not None or spec is not None}
    assert list(found.values()) == ([] if spec is None else [spec])


def test_lies_about_groups_are_said(watched):
    _, checkpoint = opened(program(code(f"return {CONV.format(weight='self.weight', groups=3)}")), watched)
    assert any("cannot be" in note for note in checkpoint.notes)
    _, checkpoint = opened(program(code(*TWICE)), watched)
    assert any("two numbers of groups" in note for note in checkpoint.notes)


@pytest.mark.parametrize(
    ("kind", "how"), [*((kind, "trace") for kind in PARAMETRISED), ("parametrized weight_norm", "script")]
)
def test_groups_of_weights_that_are_computed_are_recorded_too(kind, how, tmp_path):
    module = parametrised(kind)
    (tmp_path / "net.pt").write_bytes(scripted(module, how))
    measured = gcx.correlate(str(tmp_path / "net.pt")).models[0].measured
    assert [(one.name, one.groups, one.groups_from) for one in measured] == [("0", 1, "recorded"), ("1", 4, "recorded")]
    live = gcx.correlate(module).models[0].measured
    for one, other in zip(measured, live, strict=True):
        assert one.within.mean_r2 == pytest.approx(other.within.mean_r2, rel=1e-6)


@pytest.mark.parametrize("first", ["parametrized weight_norm", "parametrized spectral_norm"])
def test_what_is_stacked_on_a_norm_is_not_forgotten(first, tmp_path):
    (tmp_path / "net.pt").write_bytes(scripted(stacked(first), "trace"))
    whole, left = gcx.correlate(str(tmp_path / "net.pt")).models[0].layers
    assert (whole.status, left.status) == ("measured", "skipped")
    assert "Norm, Symmetric`" in left.reason


@pytest.mark.parametrize("how", ["script", "trace"])
@pytest.mark.parametrize("first", ["gain", "pos"])
@pytest.mark.parametrize("second", [False, True])
def test_a_weight_is_found_wherever_it_stands_in_its_module(how, first, second, tmp_path):
    (tmp_path / "net.pt").write_bytes(scripted(gained(first, second=second), how))
    layers = gcx.layers(str(tmp_path / "net.pt")).models[0].layers
    expected = [("0", 1), *([("1", 2), ("1.weight", 2)] if second else [("1", 2)])]
    assert [(layer.name, layer.groups) for layer in layers] == expected
    assert {layer.groups_from for layer in layers} == {"recorded"}


@pytest.mark.parametrize("form", ["script", "trace"])
@pytest.mark.parametrize("kind", COMPUTED)
def test_a_weight_that_is_computed_is_not_measured_as_what_it_is_made_of(form, kind, tmp_path):
    (tmp_path / "net.pt").write_bytes(scripted(computed(kind), form))
    listed = gcx.layers(str(tmp_path / "net.pt")).models[0].layers[1]
    assert listed.name == ("1.kept" if kind is Borrowed else "1")
    assert (listed.groups, listed.groups_from) == (2, "recorded")
    _, *left = gcx.correlate(str(tmp_path / "net.pt")).models[0].layers
    assert {layer.status for layer in left} == {"skipped"}
    assert all(f"(by `{COMPUTED[kind]}" in layer.reason for layer in left)


@pytest.mark.parametrize("how", ["script", "trace"])
def test_a_weight_is_followed_through_what_it_is_handed_to(how, tmp_path):
    (tmp_path / "net.pt").write_bytes(scripted(Handing().eval(), how, torch.randn(1, 4, 9, 9)))
    listed = gcx.layers(str(tmp_path / "net.pt")).models[0].layers
    assert {layer.name: (layer.groups, layer.groups_from) for layer in listed} == {
        "kept": (2, "recorded"),
        "bent": (2, "recorded"),
        "own": (8, "recorded"),
        "pair": (2, "recorded"),
        "pair.1": (2, "recorded"),
        "listed": (2, "recorded"),
        "listed.1": (2, "recorded"),
        "other": (2, "recorded"),
    }
    layers = gcx.correlate(str(tmp_path / "net.pt")).models[0].layers
    assert {layer.name for layer in layers if layer.status == "measured"} == {"kept", "own", "pair"}
    reasons = {layer.name: layer.reason for layer in layers if layer.status == "skipped"}
    assert "(by `exp`)" in reasons.pop("bent")
    assert all("(by `mul`)" in reason for reason in reasons.values())


@pytest.mark.parametrize("how", ["script", "trace"])
def test_what_a_layer_makes_of_its_input_is_no_form_of_its_weight(how, tmp_path):
    (tmp_path / "net.pt").write_bytes(scripted(Matched().eval(), how, torch.randn(1, 4, 6, 6)))
    listed = gcx.layers(str(tmp_path / "net.pt")).models[0].layers
    assert {layer.name: (layer.groups, layer.groups_from) for layer in listed} == {
        "first": (4, "recorded"),
        "second": (1, "recorded"),
        "gated": (4, "recorded"),
    }
    left = gcx.correlate(str(tmp_path / "net.pt")).models[0]
    assert {layer.name: layer.status for layer in left.layers if layer.name != "gated"} == {
        "first": "measured",
        "second": "measured",
    }
    assert [layer.status for layer in left.layers if layer.name == "gated"] == ["skipped"]
    assert not any("fewer axes" in note for note in left.notes)


@pytest.mark.parametrize("how", ["script", "trace"])
def test_a_weight_that_is_kept_as_a_matrix_is_said_to_be_missing(how, watched):
    _, checkpoint = opened(scripted(Reshaped().eval(), how, torch.randn(1, 4, 9, 9)), watched)
    assert checkpoint.convs == {"kept.weight": ConvSpec(2, False)}
    assert any("of fewer axes, not measured: matrix of shape (8, 36)" in note for note in checkpoint.notes)


@pytest.mark.parametrize("how", ["script", "trace"])
def test_a_result_that_is_changed_in_place_changes_no_weight(how, tmp_path):
    (tmp_path / "net.pt").write_bytes(scripted(ResultChanged().eval(), how, torch.randn(1, 4, 6, 6)))
    measured = gcx.correlate(str(tmp_path / "net.pt")).models[0].measured
    assert [(one.name, one.groups, one.groups_from) for one in measured] == [
        ("inline", 2, "recorded"),
        ("handed", 2, "recorded"),
    ]


def chained(length: int, last: str) -> str:
    """Functions that hand a weight on, each to the next."""
    found = code("return __torch__.f0(x, self.weight, )")
    for number in range(length):
        following = f"__torch__.f{number + 1}(x, w, )" if number < length - 1 else last
        found += f"def f{number}(x: Tensor,\n    w: Tensor) -> Tensor:\n  return {following}\n"
    return found


@pytest.mark.parametrize(
    ("length", "last", "by"),
    [
        (60, CONV.format(weight="w", groups=2), None),
        (60, CONV.format(weight="torch.exp(w)", groups=2), "exp"),
        # What is not followed to its end is not measured as it is kept.
        (5000, CONV.format(weight="w", groups=2), "code that is not followed"),
        (3, "__torch__.f0(x, w, )", "code that is not followed"),
        (3, CONV.format(weight="w if x else x", groups=2), "code that is not followed"),
        # Neither is what is handed to code that does not convolve with it.
        (3, "torch.add(x, w)", None),
        (3, CONV.format(weight="x", groups=2), None),
    ],
)
def test_a_long_way_through_functions_is_followed_or_said(length, last, by, watched):
    _, checkpoint = opened(program(chained(length, last)), watched)
    said = checkpoint.tensors["weight"].unreadable
    assert said is None if by is None else f"(by `{by}`)" in said


def fanned() -> str:
    """Functions that call the next one twice, once with the product of two weights: each choice of them is another."""
    names = [f"w{k}" for k in range(20)]
    parameters = "".join(f",\n    {name}: Tensor" for name in names)
    found = code(f"return __torch__.f0(x, {', '.join(['self.weight'] * 20)})")
    for number in range(20):
        rest = ", ".join([*names[2:], names[1]])
        both = [f"__torch__.f{number + 1}(x, {one}, {rest})" for one in ("w0", "torch.mul(w0, w1)")]
        last = CONV.format(weight="w0", groups=2)
        line = f"torch.add({', '.join(both)})" if number < 19 else last
        found += f"def f{number}(x: Tensor{parameters}) -> Tensor:\n  return {line}\n"
    return found


def test_calls_that_fan_out_are_not_followed_one_by_one(watched):
    _, checkpoint = opened(program(fanned()), watched)
    assert "`code that is not followed`" in checkpoint.tensors["weight"].unreadable


def test_each_convolution_that_is_followed_counts(monkeypatch, watched):
    monkeypatch.setattr("gcx.readers.torch.work.LOOKS", 50_000)
    assert "LOOKS" in refused_limit(program(fanned()), watched)


@pytest.mark.parametrize("how", ["script", "trace"])
def test_a_weight_in_another_precision_is_measured(how, tmp_path):
    (tmp_path / "net.pt").write_bytes(scripted(Unchanged().eval(), how))
    measured = gcx.correlate(str(tmp_path / "net.pt")).models[0].measured
    assert [(one.name, one.groups, one.groups_from) for one in measured] == [
        ("whole", 1, "recorded"),
        ("short", 2, "recorded"),
    ]


@pytest.mark.parametrize("how", ["script", "trace"])
def test_a_net_in_quantisation_aware_training_is_measured_as_it_computes(how, tmp_path):
    module = trained_quantised()
    (tmp_path / "net.pt").write_bytes(scripted(module, how, torch.randn(2, 4, 12, 12)))
    torch.save(module.state_dict(), tmp_path / "state.pt")
    measured = gcx.correlate(str(tmp_path / "net.pt")).models[0].measured
    state = gcx.correlate(str(tmp_path / "state.pt"), groups={"0": 2, "1": 1}).models[0].measured
    assert [(one.groups, one.groups_from) for one in measured] == [(2, "recorded"), (1, "recorded")]
    assert [(one.within, one.across) for one in measured] == [(one.within, one.across) for one in state]


@pytest.mark.parametrize("how", ["script", "trace"])
def test_a_module_under_two_names_has_the_groups_that_its_code_states(how, tmp_path):
    (tmp_path / "net.pt").write_bytes(scripted(Aliased().eval(), how, torch.randn(1, 8, 6, 6)))
    (layer,) = gcx.correlate(str(tmp_path / "net.pt")).models[0].layers
    assert (layer.groups, layer.groups_from, len(layer.tied)) == (4, "recorded", 1)


@pytest.mark.parametrize("how", ["script", "trace", "freeze"])
def test_a_weight_that_is_used_both_ways_keeps_its_groups(how, watched):
    _, checkpoint = opened(scripted(Tied().eval(), how), watched)
    assert list(checkpoint.convs.values()) == [ConvSpec(1, False)]
    assert any("used as convolution and as transposed convolution" in note for note in checkpoint.notes)


def test_weights_that_torch_does_not_save_are_missed_aloud(watched):
    line = "torch.conv2d(x, {0}, {0}, [1, 1], [0, 0], [1, 1], 1)"
    gone = ["w = ops.prim.ConstantMKLDNNTensor()", f"x0 = {line.format('w')}", f"x1 = {line.format('w')} "]
    _, checkpoint = opened(program(code(*gone)), watched)
    assert any("1 convolution without weights" in note for note in checkpoint.notes)
    gone[1:] = [line.format("ops.prim.ConstantMKLDNNTensor()"), f"return {line.format('w')}"]
    _, checkpoint = opened(program(code(*gone)), watched)
    assert any("2 convolutions without weights" in note for note in checkpoint.notes)
    assert "optimize_for_inference" in refused(program(code(*gone), {}), watched)


class Constants(torch.nn.Module):
    """A child that is called as torch calls the constants of an archive, and a constant."""

    def __init__(self):
        super().__init__()
        self.CONSTANTS = torch.nn.Module()
        self.CONSTANTS.c0 = torch.nn.Conv2d(4, 4, 3, groups=2)
        self.kept = torch.randn(4, 1, 3, 3)

    def forward(self, images):
        return torch.nn.functional.conv2d(self.CONSTANTS.c0(images), self.kept, groups=4)


def test_a_constant_takes_no_name_of_a_module(watched):
    module = Constants()
    arrays, checkpoint = opened(scripted(module, "trace", torch.randn(1, 4, 9, 9)), watched)
    assert arrays["CONSTANTS.c0.weight"].tobytes() == module.CONSTANTS.c0.weight.detach().numpy().tobytes()
    assert arrays["CONSTANTS_.c0.weight"].tobytes() == module.kept.numpy().tobytes()
    assert [spec.groups for spec in checkpoint.convs.values()] == [2, 4]


def test_a_weight_that_is_computed_from_a_constant_is_not_measured_as_that(watched):
    lines = code("w = torch.flip(CONSTANTS.c0, [2])", f"return {CONV.format(weight='w', groups=2)}")
    numbers = Record("archive/constants/0", struct.pack("<4f", 1, 2, 3, 4))
    _, checkpoint = opened(program(lines, constants=(WEIGHT,), state={"weight": None}, more=(numbers,)), watched)
    assert checkpoint.convs == {"CONSTANTS.c0": ConvSpec(2, False)}
    assert "`flip`" in checkpoint.tensors["CONSTANTS.c0"].unreadable


def test_a_tensor_that_is_left_out_is_named(watched):
    data = program(code(f"return {CONV.format(weight='self.kept', groups=2)}"), {"weight": WEIGHT, "kept": WEIGHT})
    _, checkpoint = opened(data, watched)
    assert "left out, since neither parameter nor buffer: kept" in checkpoint.notes


def test_groups_that_only_a_run_decides_are_said(watched):
    _, checkpoint = opened(program(code(f"return {CONV.format(weight='self.weight', groups='g')}")), watched)
    assert any("not known before the program runs: weight" in note for note in checkpoint.notes)


def test_archives_of_old_torch_are_named(watched):
    old = [Record("net/model.json", b"{}"), Record("net/attributes.pkl", pickled(())), Record("net/tensors/0", b"")]
    assert "TorchScript archive of torch 1.3" in refused(zip_bytes(old), watched)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (program(code("pass"), {}), "without parameters"),
        (program("import os\nos.system('touch " + CANARY + "')\n", {}), "without parameters"),
        (program(code("pass"), cls="Net", constants=Call(Ref("os", "system"), f"touch {CANARY}")), "os.system"),
        (zip_bytes([*records(pickled([1])), Record("archive/constants.pkl", pickled(()))]), "without a module"),
        (zip_bytes([*records(Raw(b"\x80\x02")), Record("archive/constants.pkl", pickled(()))]), "pickle"),
        (zip_bytes([Record("archive/constants.pkl", pickled(())), Record("archive/code/a.py", b"")]), ""),
        (program(code("pass"), {"weight": tensor(storage(400), size=(400,))}), "storage"),
        (program(code("pass"), {"weight": tensor(storage(4), size=(5,))}), "reaches byte"),
    ],
)
def test_hostile_archives_are_refused_in_one_line(data, says, watched):
    assert says in refused(data, watched)


def test_a_module_that_contains_itself_is_refused(watched):
    # }(X "a" <memo 0>u: the state of the object names the object itself.
    body = b"\x80\x02c__torch__\nNet\n)\x81q\x00}(X\x01\x00\x00\x00ah\x00ub."
    data = zip_bytes([*records(Raw(body)), Record("archive/constants.pkl", pickled(()))])
    assert "contains itself" in refused(data, watched)


def test_a_long_way_to_a_weight_is_gone_once():
    """A chain of names and the calls that go through it: looked into once, however many calls there are."""
    chain = [f"a{k} = torch.to(a{k + 1}, 5)" for k in range(20)] + ["a20 = self.weight"]
    calls = [", ".join([CONV.format(weight="a0", groups=2)] * 500)] * 20
    reader = CodeReader()
    found = dict(reader.read(code(*chain, *calls), "__torch__"))["__torch__.Net"]
    assert [call.weight.place for call in found.calls] == [("weight",)]
    assert reader.statements < 12_000


def test_a_class_is_not_gone_through_for_each_of_its_modules(watched):
    names = "".join(f'"p{k}", ' for k in range(20_000))
    children = {f"m{k}": Call(Ref("__torch__", "C"), state={"p7": WEIGHT, "p3": WEIGHT}) for k in range(2_000)}
    both = code("pass") + f"class C(Module):\n  __parameters__ = [{names}]\n  __buffers__ = []\n"
    _, checkpoint = opened(program(both, {"weight": WEIGHT, **children}), watched)
    assert list(checkpoint.tensors)[1:5] == ["m0.p3", "m0.p7", "m1.p3", "m1.p7"]


def test_calls_of_a_class_count_for_each_of_its_modules(monkeypatch, watched):
    monkeypatch.setattr("gcx.readers.torch.work.LOOKS", 50_000)
    calls = "".join(f"    _{k} = {CONV.format(weight=f'self.q{k}.weight', groups=k)}\n" for k in range(300))
    children = {f"m{k}": Call(Ref("__torch__", "C"), state={"weight": WEIGHT}) for k in range(300)}
    both = code("pass") + "class C(Module):\n" + BODY + calls
    assert "LOOKS" in refused_limit(program(both, {"weight": WEIGHT, **children}), watched)


@pytest.mark.parametrize(
    ("limit", "most"),
    [
        ("script.SCRIPT_CODE", 100),
        ("script_modules.TENSORS", 0),
        ("script_code.SCRIPT_STATEMENTS", 5),
    ],
)
def test_code_beyond_its_budget_is_refused(limit, most, monkeypatch, watched):
    monkeypatch.setattr(f"gcx.readers.torch.{limit}", most)
    assert limit.partition(".")[2] in refused_limit(program(code(*(f"_{k} = self.weight" for k in range(20)))), watched)


def refused_limit(data, watched) -> str:
    Path("file.pt").write_bytes(data)
    with watched(), pytest.raises(LimitError) as caught:
        gcx.readers.read_checkpoint("file.pt")
    return str(caught.value)


@pytest.mark.parametrize(("numbers", "groups"), [(64, 2), (65, None)])
def test_settings_are_not_looked_for_in_large_storages(numbers, groups, watched):
    held = struct.pack(f"<{numbers}q", 2, *[1] * 8, 2, 0, *[0] * (numbers - 11))
    state = ("2", [tensor(storage(numbers, "9", "LongStorage"), size=(11,), stride=(1,)), WEIGHT], [None])
    packed = Call(Ref("__torch__.torch.classes.quantized", "Conv2dPackedParamsBase"), state=state)
    data = program(code("pass"), {"p": packed}, more=(Record("archive/data/9", held),))
    _, checkpoint = opened(data, watched)
    assert [spec.groups for spec in checkpoint.convs.values()] == ([] if groups is None else [groups])


def test_a_moving_average_is_not_there(tmp_path):
    path = tmp_path / "net.pt"
    path.write_bytes(scripted(net()))
    with pytest.raises(UsageError, match="moving average"):
        gcx.correlate(str(path), weights="ema")


@pytest.mark.parametrize("depth", [10, 100_000])
def test_deep_brackets_cost_one_pass(depth, watched):
    deep = "(" * depth + CONV.format(weight="self.weight", groups=2) + ")" * depth
    _, checkpoint = opened(program(code(f"return {deep}")), watched)
    assert checkpoint.tensors["weight"].shape == (4, 1, 1, 1)


@given(st.text(alphabet='selfwighconv2d.torch()[],=" \n:0123_', max_size=400))
@settings(deadline=None, derandomize=True, max_examples=300)
def test_no_text_of_code_is_more_than_text(text):
    for _, found in CodeReader().read(HEAD + BODY + text, "__torch__"):
        assert found.module or found.calls is not None


def test_nothing_imports_torch(tmp_path):
    (tmp_path / "net.pt").write_bytes(scripted(net()))
    lines = "import sys\nfrom gcx.cli.app import run\nrun(['correlate', 'net.pt'])\nsys.exit('torch' in sys.modules)"
    command = [sys.executable, "-P", "-c", lines]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "recorded" in done.stdout
