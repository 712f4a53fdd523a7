"""Which tensors of a file are the weights: wrappers, averages, several networks, and what is never taken."""

from __future__ import annotations

import pytest
from evil import Call, Ref, pickled, records, storage, tensor, zip_bytes
from readers.opening import opened, refused

from gcx.errors import GcxError

SHAPE, STRIDES = (1, 1, 2, 2), (4, 4, 2, 1)


def weight(key: str = "0") -> Call:
    return tensor(of=storage(key=key), size=SHAPE, stride=STRIDES)


def module(**parameters) -> Call:
    """An object that keeps its tensors as torch's modules do, of a class that is nowhere."""
    state = {"_parameters": parameters, "_buffers": {}, "_modules": {}, "groups": 1, "kernel_size": 2}
    return Call(Ref("lab.nets", "Net"), state=state)


def read(value, watched, **options):
    """First number of each tensor: 0 for storage '0', 1 for '1', …"""
    from struct import pack

    data = {str(key): pack("<4f", *[float(key)] * 4) for key in range(4)}
    arrays, checkpoint = opened(zip_bytes(records(pickled(value), data=data)), watched, **options)
    return {name: float(array.flat[0]) for name, array in arrays.items()}, checkpoint


NET = {"a.weight": weight()}
OTHER = {"a.weight": weight("1")}
WRAPPED = {
    "bare": NET,
    "lightning": {
        "epoch": 1,
        "state_dict": NET,
        "callbacks": {"c": OTHER},
        "optimizer_states": [{"state": {0: OTHER}}],
    },
    "nested": {"model": {"state_dict": NET}},
    "in a list": [3, NET],
    "beside a stray tensor": {"net": NET, "best": tensor(of=storage(key="1"))},
    "beside moments by name": {"model": NET, "optimizer": {"state": {"a.weight": {"exp_avg": weight("1")}}}},
    "beside an optimizer": {"model": NET, "trainer": {"state": {0: {"m": weight("1")}}, "param_groups": []}},
    "beside an optimizer object": {"model": NET, "o": Call(Ref("torch.optim.adam", "Adam"), state={"m": OTHER})},
    "prefixed": {"state_dict": {"module._orig_mod.a.weight": weight()}},
    "in an object": Call(Ref("lab", "Trainer"), state={"network": NET, "epoch": 3}),
    "copy": {"state_dict": NET, "best_so_far": OTHER},
    "average beside it": {"params_ema": OTHER, "params": NET},
    "average alone": {"model": None, "ema": NET},
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_the_weights_are_found(kind, watched):
    numbers, checkpoint = read(WRAPPED[kind], watched)
    assert numbers == {"a.weight": 0}
    assert checkpoint.format == "torch-state-dict"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("copy", "weights from 'state_dict'; there is also 'best_so_far'"),
        ("average beside it", "weights from 'params'; there is also 'params_ema'"),
        ("average alone", "weights from 'ema', a moving average: there are no others"),
    ],
)
def test_a_choice_is_told(kind, said, watched):
    assert read(WRAPPED[kind], watched)[1].notes == (said,)


@pytest.mark.parametrize(
    "value",
    [
        {"params": OTHER, "params_ema": NET},
        {"state_dict": OTHER, "state_dict_ema": NET},
        {"model": OTHER, "ema": {"decay": 0.9, "shadow": NET}},
        {"a.weight": weight("1"), "model_ema.a.weight": weight()},
    ],
)
def test_the_average_is_taken_where_it_is_wanted(value, watched):
    assert read(value, watched, weights="ema")[0] == {"a.weight": 0}
    assert read(value, watched)[0] == {"a.weight": 1}


@pytest.mark.parametrize("value", [NET, {"model": NET}, {"model": module(weight=weight())}])
def test_an_average_that_is_not_there_is_refused(value, watched):
    with pytest.raises(GcxError, match="holds no moving average"):
        read(value, watched, weights="ema")


def test_different_networks_are_all_taken_under_their_names(watched):
    two = {"generator": {"state_dict": NET}, "discriminator": {"b.weight": weight("1")}}
    assert read(two, watched)[0] == {"generator.a.weight": 0, "discriminator.b.weight": 1}


@pytest.mark.parametrize(
    "value",
    [
        module(weight=weight()),
        {"model": module(weight=weight()), "epoch": 2},
        {"state_dict": {"weight": weight("1")}, "model": module(weight=weight())},
        Call(Ref("torch._dynamo.eval_frame", "OptimizedModule"), module(weight=weight()), None),
    ],
    ids=["bare", "in a dict", "beside a copy", "compiled"],
)
def test_a_module_is_preferred_since_it_records_groups(value, watched):
    numbers, checkpoint = read(value, watched)
    assert numbers == {"weight": 0}
    assert checkpoint.format == "torch-module"
    assert [spec.groups for spec in checkpoint.convs.values()] == [1]


@pytest.mark.parametrize("groups", [0, -1, 3])
def test_groups_that_cannot_be_are_told_and_not_used(groups, watched):
    value = module(weight=weight())
    value.state["groups"] = groups
    numbers, checkpoint = read(value, watched)
    assert numbers == {"weight": 0}
    assert checkpoint.convs == {}
    assert "cannot be" in checkpoint.notes[0]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"epoch": 3}, "'epoch'"),
        (tensor(), "one tensor"),
        ([1, 2], "a list of 2 values"),
        (7, "one value"),
        ({"optimizer": {"state": {}, "param_groups": []}}, "optimizer"),
        (Call(Ref("lab", "Config")), "lab.Config"),
    ],
)
def test_a_file_without_weights_says_what_it_holds(value, said, watched):
    assert said in refused(zip_bytes(records(pickled(value))), watched)


def test_an_empty_state_dict_is_a_checkpoint_without_tensors(watched):
    assert read({}, watched)[0] == {}
