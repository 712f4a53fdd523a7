"""Whole pickled modules: the tree read off placeholders, the groups that it states, odd and hostile trees."""

from __future__ import annotations

import pytest
from evil import Call, Persistent, Raw, Ref, legacy_file, legacy_storage, ops, storage, tensor, text, zip_file
from readers.opening import opened, refused

from gcx.checkpoint import ConvSpec
from gcx.readers.torch import modules as modules_module


def weight(shape=(4, 1, 1, 1), of=None):
    stride = [1]
    for extent in reversed(shape[1:]):
        stride.insert(0, stride[0] * max(extent, 1))
    return tensor(of, 0, shape, tuple(stride))


def module(children=None, *, parameters=None, cls="mine.Net", **attributes):
    state = {"training": False, "_parameters": parameters or {}, "_buffers": {}, "_modules": children or {}}
    home, _, name = cls.rpartition(".")
    return Call(Ref(home, name), state=state | attributes)


def conv(groups=1, made=None, **more):
    return module(parameters={"weight": weight() if made is None else made}, groups=groups, kernel_size=(1, 1), **more)


def read(value, watched):
    return opened(zip_file(value), watched)


def test_names_stand_in_the_order_of_the_state_dict(watched):
    block = module({"conv": conv(2)}, parameters={"scale": weight((1, 4))}, _buffers={"mean": weight((4,))})
    arrays, checkpoint = read(module({"first": conv(), "block": block, "none": None, "last": conv()}), watched)
    names = ["first.weight", "block.scale", "block.mean", "block.conv.weight", "last.weight"]
    assert list(arrays) == names
    assert checkpoint.format == "torch-module"
    assert checkpoint.convs == {"first": ConvSpec(1), "block.conv": ConvSpec(2), "last": ConvSpec(1)}


@pytest.mark.parametrize("transposed", [True, False])
def test_transposed(transposed, watched):
    assert read(conv(2, transposed=transposed), watched)[1].convs == {"weight": ConvSpec(2, transposed)}


@pytest.mark.parametrize("groups", [0, -4, 3, 8, 10**30])
def test_groups_that_cannot_be_are_noted_and_not_used(groups, watched):
    arrays, checkpoint = read(module({"a": conv(2), "b": conv(groups)}), watched)
    assert list(arrays) == ["a.weight", "b.weight"]
    assert checkpoint.convs == {"a": ConvSpec(2)}
    assert checkpoint.notes == (
        "the file states numbers of groups that cannot be, which are not used: b.weight of shape (4, 1, 1, 1)",
    )


def test_many_odd_groups_are_one_note(watched):
    _, checkpoint = read(module({str(n): conv(3) for n in range(5)}), watched)
    assert checkpoint.notes[0].endswith("2.weight of shape (4, 1, 1, 1) and 2 more")


@pytest.mark.parametrize("groups", [None, True, 2.0, "2", (2,)])
def test_what_is_no_number_of_groups_is_none(groups, watched):
    assert read(conv(groups), watched)[1].convs == {}


def test_what_is_no_convolution_states_nothing(watched):
    experts = module(parameters={"weight": weight((2, 2))}, groups=4, kernel_size=3)
    linear = module(parameters={"weight": weight((2, 2, 1))}, groups=2)
    assert read(module({"a": experts, "b": linear}), watched)[1].convs == {}
    assert read(module({"a": experts, "b": linear}), watched)[1].notes == ()


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"weight_g": weight((4, 1, 1, 1)), "weight_v": weight()}, "a.weight_v"),
        ({"weight_orig": weight(), "weight_v": weight((4,)), "weight_u": weight((4,))}, "a.weight_orig"),
    ],
)
def test_groups_of_normalised_weights(parameters, name, watched):
    made = module({"a": module(parameters=parameters, groups=2, kernel_size=1)})
    arrays, checkpoint = read(made, watched)
    assert name in arrays
    assert checkpoint.convs == {"a": ConvSpec(2)}


def test_buffers_that_are_not_saved_are_left_out(watched):
    buffers = {"kept": weight((4,)), "temporary": weight((4,)), "none": None}
    made = module(_buffers=buffers, _non_persistent_buffers_set=Call(Ref("builtins", "set"), ["temporary"]))
    assert list(read(made, watched)[0]) == ["kept"]
    newer = b"\x8f(" + text("temporary") + b"\x90"
    assert list(read(module(_buffers=buffers, _non_persistent_buffers_set=Raw(newer)), watched)[0]) == ["kept"]


def test_a_shared_module_has_both_names_and_one_storage(watched):
    shared = b"\x80\x02" + ops(conv(2)) + b"q\x010"
    tree = module({"a": Raw(b"h\x01"), "b": Raw(b"h\x01")})
    _, checkpoint = read(Raw(shared + ops(tree) + b"."), watched)
    assert list(checkpoint.tensors) == ["a.weight", "b.weight"]
    assert len({ref.storage for ref in checkpoint.tensors.values()}) == 1
    assert checkpoint.convs == {"a": ConvSpec(2), "b": ConvSpec(2)}


def test_wrappers_of_modules_do_not_show(watched):
    net = module({"c": conv(2)})
    for wrapper in (
        module({"module": net}, cls="torch.nn.parallel.data_parallel.DataParallel"),
        module({"_orig_mod": net}, cls="torch._dynamo.eval_frame.OptimizedModule"),
        {"model": net, "ema": None, "optimizer": None},
        {"epoch": 1, "net": {"model": net}},
        [net],
        Call(Ref("mine", "Trainer"), state={"net": net}),
    ):
        arrays, checkpoint = read(wrapper, watched)
        assert list(arrays) == ["c.weight"]
        assert checkpoint.convs == {"c": ConvSpec(2)}
        assert checkpoint.format == "torch-module"


def test_two_modules(watched):
    value = {"netG": module({"a": conv(2), "b": conv()}), "netD": module({"a": conv(4)})}
    _, checkpoint = read(value, watched)
    assert list(checkpoint.tensors) == ["netG.a.weight", "netG.b.weight", "netD.a.weight"]
    assert checkpoint.convs == {"netG.a": ConvSpec(2), "netG.b": ConvSpec(1), "netD.a": ConvSpec(4)}


def test_a_module_that_contains_itself(watched):
    data = b"\x80\x02cmine\nNet\n)\x81q\x05" + ops(
        {"_parameters": {"weight": weight()}, "_buffers": {}, "_modules": {"x\x1b": Raw(b"h\x05")}}
    )
    assert "contains itself: 'x\\x1b.'" in refused(zip_file(Raw(data + b"b.")), watched)


def test_a_module_of_slots_or_without_buffers(watched):
    state = {"_parameters": {"weight": weight()}, "_modules": {}}
    for given in ((None, state), (state, {"x": 1}), state):
        assert list(read(Call(Ref("mine", "Net"), state=given), watched)[0]) == ["weight"]


def test_modules_at_and_over(monkeypatch, watched):
    monkeypatch.setattr(modules_module, "MODULES", 3)
    read(module({"a": conv(), "b": conv()}), watched)
    assert "limit MODULES" in refused(zip_file(module({"a": conv(), "b": conv(), "c": conv()})), watched)


def test_billions_of_shared_modules_end(monkeypatch, watched):
    """Each of forty modules twice in the next: 2^40 names from 8 kB."""
    monkeypatch.setattr(modules_module, "MODULES", 10_000)
    data = b"\x80\x02" + ops(conv()) + b"q\x000"
    for level in range(40):
        inner = Raw(b"h" + bytes([level]))
        data += ops(module({"a": inner, "b": inner})) + b"q" + bytes([level + 1]) + (b"0" if level < 39 else b"")
    assert "limit MODULES" in refused(zip_file(Raw(data + b".")), watched)


ATTRIBUTES = {
    "activation": Ref("torch.nn.functional", "relu"),
    "builtin function": Ref("torch._C._nn", "gelu"),
    "absolute": Ref("builtins", "abs"),
    "layer": Call(
        Ref("functools", "partial"), Ref("torch.nn.modules.normalization", "LayerNorm"), state=(1, (), {}, None)
    ),
    "bound method": Call(Ref("builtins", "getattr"), Call(Ref("mine", "Net")), "forward"),
    "enum": Call(Ref("mine", "Mode"), 1),
    "path": Call(Ref("pathlib", "PosixPath"), "a", "b"),
    "hooks": Call(Ref("collections", "OrderedDict")),
    "array": Call(
        Ref("numpy._core.multiarray", "_reconstruct"),
        Ref("numpy", "ndarray"),
        (0,),
        b"b",
        state=(1, (2,), None, False, b"x"),
    ),
    "nested tensor": Call(Ref("torch.nested._internal.nested_tensor", "_rebuild_njt"), 1),
    "unknown tensor": Call(Ref("torch._utils", "_rebuild_new_thing"), 1, 2, 3),
}


@pytest.mark.parametrize("kind", ATTRIBUTES)
def test_attributes_are_passed_over(kind, watched):
    arrays, checkpoint = read(conv(2, thing=ATTRIBUTES[kind]), watched)
    assert list(arrays) == ["weight"]
    assert checkpoint.convs == {"weight": ConvSpec(2)}


def test_tensors_of_unknown_kinds_are_listed_with_their_reason(watched):
    value = {"a": weight(), "b": ATTRIBUTES["nested tensor"], "c": ATTRIBUTES["unknown tensor"]}
    reasons = {name: ref.unreadable for name, ref in read(value, watched)[1].tensors.items()}
    assert reasons["a"] is None
    assert "nested" in reasons["b"]
    assert reasons["c"] == "is rebuilt by torch._utils._rebuild_new_thing, which gcx does not know"


INT, NONE = Ref("builtins", "int"), Call(Ref("builtins", "type"), None)


@pytest.mark.parametrize(
    "value",
    [
        Call(Ref("_operator", "getitem"), Ref("typing", "Union"), (INT, NONE)),
        Call(Ref("operator", "getitem"), Ref("typing", "List"), INT),
        Call(Ref("functools", "reduce"), Ref("_operator", "or_"), (INT, NONE)),
        Call(Ref("types", "GenericAlias"), Ref("builtins", "list"), (INT,)),
        Call(Ref("_io", "BytesIO"), state=(b"x", 0, None)),
        Ref("typing", "Any"),
    ],
    ids=["optional", "list of", "union", "generic", "buffer", "any"],
)
def test_types_in_configurations_are_passed_over(value, watched):
    assert list(read({"w": weight(), "config": value}, watched)[0]) == ["w"]


@pytest.mark.parametrize(
    "value",
    [
        Call(Ref("operator", "getitem"), {"a": 1}, "a"),
        Call(Ref("_operator", "getitem"), Ref("mine", "Registry"), "key"),
        Call(Ref("_operator", "getitem")),
        Call(Ref("functools", "reduce"), Ref("mine", "function"), (1, 2)),
        Call(Ref("functools", "reduce"), Ref("_operator", "getitem"), (1, 2)),
        Call(Ref("functools", "reduce"), Ref("_operator", "or_"), (1, 2), 3),
        Call(Ref("_operator", "or_"), 1, 2),
        Call(Ref("operator", "attrgetter"), "a"),
    ],
)
def test_operators_that_are_called_are_refused(value, watched):
    message = refused(zip_file({"w": weight(), "x": value}), watched)
    assert "asks to call " in message or "with 0 arguments" in message


@pytest.mark.parametrize("name", ["abs", "max", "map", "print", "vars"])
def test_a_builtin_that_is_called_is_refused(name, watched):
    assert f"asks to call builtins.{name};" in refused(zip_file(conv(thing=Call(Ref("builtins", name), 1))), watched)


def test_a_legacy_module_with_its_source(watched):
    """torch before 1.6 wrote a class as a persistent id with its source text beside it: text, and no more."""
    cls = Persistent(("module", Ref("mine", "Net"), "mine.py", "import os; os.system('touch x')"))
    state = {"_parameters": {"weight": weight(of=legacy_storage())}, "_modules": {}, "groups": 4, "kernel_size": 1}
    data = b"\x80\x02" + ops(cls) + b")\x81" + ops(state) + b"b."
    arrays, checkpoint = opened(legacy_file(Raw(data)), watched)
    assert arrays["weight"].tolist() == [[[[1.0]]], [[[2.0]]], [[[3.0]]], [[[4.0]]]]
    assert checkpoint.convs == {"weight": ConvSpec(4)}


CHAINS = {
    "from type": Call(
        Ref("torch._tensor", "_rebuild_from_type_v2"),
        Ref("torch._tensor", "_rebuild_from_type"),
        Ref("torch", "Tensor"),
        (Ref("mine", "f"), Ref("mine", "T"), ()),
        {},
    ),
    "newobj": Call(Ref("copyreg", "__newobj__"), Ref("copyreg", "__newobj__"), Ref("mine", "Net")),
    "reconstructor": Call(
        Ref("copyreg", "_reconstructor"), Ref("copyreg", "_reconstructor"), Ref("builtins", "object"), None
    ),
}


@pytest.mark.parametrize("kind", CHAINS)
def test_a_call_of_a_call_is_no_recursion(kind, watched):
    assert "within a call" in refused(zip_file({"a": tensor(), "x": CHAINS[kind]}), watched)


def test_relayed_arguments_are_short(watched):
    relayed = Call(
        Ref("torch._tensor", "_rebuild_from_type_v2"),
        Ref("collections", "OrderedDict"),
        Ref("mine", "T"),
        (None,) * 65,
        {},
    )
    assert "no short tuple" in refused(zip_file({"a": tensor(), "x": relayed}), watched)


def test_a_subclass_of_tensor(watched):
    rebuilt = Call(
        Ref("torch._tensor", "_rebuild_from_type_v2"),
        Ref("torch._utils", "_rebuild_tensor_v2"),
        Ref("mine", "Sub"),
        (storage(), 0, (4,), (1,), False, {}),
        {"extra": 1},
    )
    assert read({"a": rebuilt}, watched)[0]["a"].tolist() == [1, 2, 3, 4]
