"""Where the weights are in what training scripts save: by structure, never an optimizer's, nothing lost unsaid."""

from __future__ import annotations

import struct

import pytest
from evil import Call, Raw, Ref, legacy_file, legacy_storage, ops, storage, tensor, text, zip_file
from readers.opening import opened, refused

from gcx.errors import UsageError
from gcx.readers.torch import modules as modules_module
from gcx.readers.torch import walk as walk_module
from gcx.readers.torch import work as work_module
from gcx.readers.torch import wrappers as wrappers_module


def conv(number=0, shape=(4, 3, 1, 1), kind="_rebuild_tensor_v2"):
    """A convolution's weight whose numbers are all `number`."""
    count = shape[0] * shape[1] * shape[2] * shape[3]
    stride = (shape[1] * shape[2] * shape[3], shape[2] * shape[3], shape[3], 1)
    return tensor(storage(count, f"{number}-{count}"), 0, shape, stride, kind)


def vector(number=0):
    return tensor(storage(4, f"{number}-4"))


NUMBERS = {f"{number}-{count}": struct.pack(f"<{count}f", *[float(number)] * count)
           for number in range(4) for count in (4, 12, 24)}  # fmt: skip


def net(number=0, prefix=""):
    return {f"{prefix}a.weight": conv(number), f"{prefix}a.bias": vector(number), f"{prefix}b.weight": conv(number)}


def file(value):
    return zip_file(value, data=NUMBERS)


def read(value, watched, **options):
    arrays, checkpoint = opened(file(value), watched, **options)
    return {name: float(array.flat[0]) for name, array in arrays.items()}, checkpoint


MOMENTS = {"state": {0: {"step": 3, "exp_avg": conv(3), "exp_avg_sq": conv(3)}}, "param_groups": [{"lr": 0.1}]}
NAMES = ["a.weight", "a.bias", "b.weight"]
WRAPPED = {
    "bare": net(1),
    "state_dict": {"epoch": 3, "state_dict": net(1), "best_prec1": 93.5},
    "model_state_dict": {"model_state_dict": net(1), "optimizer_state_dict": MOMENTS, "loss": 0.1},
    "model": {"model": net(1), "optimizer": MOMENTS, "lr_scheduler": {"_last_lr": [0.1]}, "scaler": {"x": conv(3)}},
    "net": {"net": net(1), "acc": vector(2)},
    "network": {"network": net(1)},
    "params": {"params": net(1)},
    "generator alone": {"generator": net(1)},
    "model within": {"model": {"state_dict": net(1), "name": "resnet"}, "args": {"lr": 0.1}},
    "module prefix": {"state_dict": net(1, "module.")},
    "compiled": {"model": net(1, "_orig_mod.")},
    "both prefixes": net(1, "module._orig_mod."),
    "lightning": {
        "epoch": 1, "global_step": 10, "pytorch-lightning_version": "2.1.0", "state_dict": net(1),
        "loops": {"fit_loop": {"state_dict": {"x": conv(3)}}}, "callbacks": {"EMA": {"w": conv(3)}},
        "optimizer_states": [MOMENTS], "lr_schedulers": [{"x": 1}], "hyper_parameters": {"w": conv(3)},
    },
    "timm": {"arch": "x", "state_dict": net(1), "optimizer": MOMENTS, "amp_scaler": {"w": conv(3)},
             "args": Call(Ref("argparse", "Namespace"), state={"w": None})},
    "apex": {"model": net(1), "amp": {"loss_scaler0": {"w": conv(3)}}},
    "fastai": {"model": net(1), "opt": {"state": [{"w": conv(3)}]}},
    "deepspeed": {"module": net(1), "optimizer": None, "random_ltd": None},
    "list": [net(1), {"epoch": 1}],
    "tuple": (3, net(1)),
    "object": Call(Ref("mine", "Checkpoint"), state={"weights": net(1), "optimizer": MOMENTS}),
    "object with slots": Call(Ref("mine", "Checkpoint"), state=(None, {"model": net(1)})),
    "argument": Call(Ref("mine", "Checkpoint"), net(1)),
    "momentum": {"model": net(1), "momentum": net(3)},
    "moments without a frame": {"model": net(1), "extra": {"exp_avg": conv(3), "exp_avg_sq": conv(3)}},
    "optimizer object": {"model": net(1), "o": Call(Ref("torch.optim.adam", "Adam"), state={"w": {"x.y": conv(3)}})},
    "optimizer by another name": {"model": net(1), "adam": MOMENTS},
    "rng": {"model": net(1), "rng_state": {"w": conv(3)}, "cuda_rng": {"w": conv(3)}},
    "statistics": {"state_dict": net(1), "stats": {"mean": vector(2), "std": vector(2)}},
}  # fmt: skip


@pytest.mark.parametrize("kind", WRAPPED)
def test_the_weights_are_found_and_nothing_else(kind, watched):
    numbers, checkpoint = read(WRAPPED[kind], watched)
    assert numbers == dict.fromkeys(NAMES, 1.0)
    assert checkpoint.format == "torch-state-dict"
    assert checkpoint.notes == ()


@pytest.mark.parametrize("key", ["upscaler", "momentum_encoder", "adoption", "string", "scheduled_net", "loopsy"])
def test_words_that_only_look_like_an_optimizers(key, watched):
    assert read({key: net(1)}, watched)[0] == dict.fromkeys(NAMES, 1.0)


@pytest.mark.parametrize(
    ("plain", "average"),
    [
        *(("model", "ema"), ("model", "model_ema"), ("params", "params_ema"), ("state_dict", "state_dict_ema")),
        *(("net", "ema_net"), ("state_dict", "averaged_model"), ("model", "swa_state_dict"), ("net", "netEMA")),
    ],
)
def test_averages(plain, average, watched):
    for value in ({plain: net(1), average: net(2)}, {average: net(2), plain: net(1)}):
        numbers, checkpoint = read(value, watched)
        assert numbers == dict.fromkeys(NAMES, 1.0)
        assert checkpoint.notes == (f"weights from '{plain}'; there is also '{average}'",)
        numbers, checkpoint = read(value, watched, weights="ema")
        assert numbers == dict.fromkeys(NAMES, 2.0)
        assert checkpoint.notes == (f"weights from '{average}'; there is also '{plain}'",)


def test_averages_in_a_frame_of_their_own(watched):
    value = {"model": net(1), "ema": {"decay": 0.9, "shadow": net(2)}}
    assert read(value, watched, weights="ema")[0] == dict.fromkeys(NAMES, 2.0)
    assert read(value, watched)[0] == dict.fromkeys(NAMES, 1.0)


def test_an_average_alone_is_measured_and_that_is_said(watched):
    numbers, checkpoint = read({"params_ema": net(2)}, watched)
    assert numbers == dict.fromkeys(NAMES, 2.0)
    assert checkpoint.notes == ("weights from 'params_ema', a moving average: there are no others",)


@pytest.mark.parametrize("value", [net(1), {"model": net(1)}, {"model": Call(Ref("m", "N"), state=None), "x": net(1)}])
def test_no_average_where_one_is_wanted(value, watched):
    with pytest.raises(UsageError, match="no moving average"):
        read(value, watched, weights="ema")


def test_several_networks_are_all_taken_by_their_names(watched):
    value = {"generator": {"state_dict": net(1)}, "discriminator": {"c.weight": conv(2), "d.weight": conv(2)}}
    numbers, checkpoint = read(value | {"optimizer": MOMENTS}, watched)
    assert numbers == {f"generator.{name}": 1.0 for name in NAMES} | {
        "discriminator.c.weight": 2.0,
        "discriminator.d.weight": 2.0,
    }
    assert checkpoint.notes == ("holds 2 sets of weights: 'generator.state_dict', 'discriminator'",)


def test_two_networks_of_one_architecture_are_two(watched):
    numbers, _ = read({"netG_A": net(1), "netG_B": net(2)}, watched)
    assert numbers == {f"netG_{which}.{name}": number for which, number in (("A", 1.0), ("B", 2.0)) for name in NAMES}
    framed = {"A": {"state_dict": net(1)}, "B": {"state_dict": net(2)}}
    assert list(read(framed, watched)[0]) == [f"{which}.{name}" for which in "AB" for name in NAMES]


def test_of_copies_the_one_with_the_known_word(watched):
    numbers, checkpoint = read({"best": net(2), "model": net(1)}, watched)
    assert numbers == dict.fromkeys(NAMES, 1.0)
    assert checkpoint.notes == ("weights from 'model'; there is also 'best'",)
    assert read({"params": net(2), "state_dict": net(1)}, watched)[0] == dict.fromkeys(NAMES, 1.0)


def test_one_dict_per_layer(watched):
    """Layers of one shape are alike and no copies of each other; norms beside them stay."""
    layer, norm = {"weight": conv(1), "bias": vector(1)}, {"weight": vector(2)}
    value = {"params": {"one": dict(layer), "norm": norm, "two": dict(layer), "net": dict(layer)}}
    names = ["one.weight", "one.bias", "norm.weight", "two.weight", "two.bias", "weight", "bias"]
    assert list(read(value, watched)[0]) == names


def test_pictures_beside_the_weights_are_strays(watched):
    numbers, checkpoint = read({"state_dict": net(1), "images": conv(2, (2, 3, 2, 2))}, watched)
    assert numbers == dict.fromkeys(NAMES, 1.0)
    assert checkpoint.notes == ("weights from 'state_dict'; there is also 'the top'",)


def test_names_that_would_fall_together_stay_apart(watched):
    weight = {"b.weight": conv(1), "c.d": vector(1)}
    numbers, _ = read({"a": dict(weight), "a.b": {"weight": conv(2), "x.y": conv(2)}}, watched)
    assert numbers == {"a.b.weight": 1.0, "a.c.d": 1.0, "a.b.weight (2)": 2.0, "a.b.x.y": 2.0}
    numbers, _ = read({1: conv(1), "1": conv(2), "1 (2)": conv(3), 2.5: conv(3), None: conv(3)}, watched)
    assert numbers == {"1 (3)": 1.0, "1": 2.0, "1 (2)": 3.0}
    numbers, _ = read({"module.a": conv(1), "a": conv(2)}, watched)
    assert numbers == {"module.a": 1.0, "a": 2.0}


def test_names_of_bytes(watched):
    assert read({b"a": conv(1), "a": conv(2), b"\xff": conv(3)}, watched)[0] == {"a (2)": 1.0, "a": 2.0, "\xff": 3.0}


def test_tensors_without_a_name_are_counted(watched):
    value = {
        "model": net(1),
        "batch": [conv(2), conv(2), vector(2)],
        "by": {None: conv(2), (1, 2): conv(2), 2.5: vector()},
    }
    numbers, checkpoint = read(value, watched)
    assert numbers == dict.fromkeys(NAMES, 1.0)
    assert checkpoint.notes == ("left out, since they have no name: 4 tensors of three axes or more",)


def test_the_last_of_equal_keys_counts(watched):
    data = Raw(b"\x80\x02}(" + text("a") + ops(conv(1)) + text("a") + ops(conv(2)) + b"u.")
    assert opened(file(data), watched)[0]["a"].flat[0] == 2.0


def test_tied_tensors_have_both_names_and_one_storage(watched):
    _, checkpoint = read({"a": conv(1), "b": conv(1), "c": conv(2)}, watched)
    storages = [ref.storage for ref in checkpoint.tensors.values()]
    assert storages[0] == storages[1] != storages[2]


def test_a_dict_that_is_reached_twice_is_taken_once(watched):
    data = (
        b"\x80\x02}q\x00(" + text("model") + ops(net(1)) + b"q\x01" + text("again") + b"h\x01" + text("me") + b"h\0u."
    )
    numbers, checkpoint = read(Raw(data), watched)
    assert numbers == dict.fromkeys(NAMES, 1.0)
    assert checkpoint.notes == ()


NOT_WEIGHTS = {
    "an optimizer": (MOMENTS, "holds an optimizer's state, no weights"),
    "an optimizer object": (Call(Ref("torch.optim.sgd", "SGD"), state=MOMENTS), "holds an optimizer's state"),
    "an optimizer in a dict": ({"optimizer": MOMENTS}, "holds an optimizer's state"),
    "moments": ({"x": {"exp_avg": conv(1)}}, "holds an optimizer's state"),
    "numpy": (
        {"a.weight": Call(Ref("numpy.core.multiarray", "_reconstruct"), Ref("numpy", "ndarray"), (0,), b"b")},
        "holds arrays of numpy, no tensors of torch",
    ),
    "a tensor": (conv(1), "holds one tensor without a name"),
    "a number": (5, "holds one value (int)"),
    "text": ("x", "holds one value (str)"),
    "a list": ([conv(1), conv(2)], "holds a list of 2 values"),
    "other things": ({"epoch": 1, "x\x1b": 2}, "holds a dict of 'epoch', 'x\\x1b'"),
    "numbers as names": ({2.5: 1}, "holds a dict of no names"),
    "an object": (Call(Ref("mine", "Net"), 1), "holds an object of mine.Net"),
}


@pytest.mark.parametrize("kind", NOT_WEIGHTS)
def test_what_holds_no_weights_is_said(kind, watched):
    value, says = NOT_WEIGHTS[kind]
    assert says in refused(file(value), watched)


def test_an_empty_state_dict_is_empty(watched):
    assert read({}, watched)[0] == {}


def test_only_small_tensors(watched):
    assert list(read({"fc": {"w": vector(1), "b": vector(1)}, "loss": {"x": vector(2)}}, watched)[0]) == ["w", "b"]


def test_legacy_too(watched):
    weight = tensor(legacy_storage(), size=(2, 2, 1, 1), stride=(2, 1, 1, 1))
    data = legacy_file({"state_dict": {"module.w": weight}, "optimizer": MOMENTS["param_groups"]})
    assert list(opened(data, watched)[0]) == ["w"]


# --- budgets ---


def deep(levels, value):
    for _ in range(levels):
        value = {"x": value}
    return value


def test_what_lies_too_deep_is_not_looked_at_and_that_is_said(watched):
    limit = walk_module.NESTING
    assert list(read(deep(limit - 1, net(1)), watched)[0]) == NAMES
    numbers, checkpoint = read({"model": net(1), "log": deep(limit, {"x": conv(2)})}, watched)
    assert numbers == dict.fromkeys(NAMES, 1.0)
    assert checkpoint.notes == (f"what lies deeper than {limit} dicts and lists was not looked at",)


def test_sets_at_and_over(monkeypatch, watched):
    monkeypatch.setattr(walk_module, "WEIGHT_SETS", 3)
    read({str(n): net(1) for n in range(3)}, watched)
    assert "limit WEIGHT_SETS" in refused(file({str(n): net(1) for n in range(4)}), watched)


def test_tensors_at_and_over(monkeypatch, watched):
    monkeypatch.setattr(wrappers_module, "TENSORS", 3)
    read(net(1), watched)
    assert "limit TENSORS" in refused(file(net(1) | {"more": conv(1)}), watched)


def test_names_at_and_over(monkeypatch, watched):
    value = {"long": net(1), "other": net(2)}
    monkeypatch.setattr(work_module, "NAME", len("other.a.weight"))
    read(value, watched)
    monkeypatch.setattr(work_module, "NAME", len("other.a.weight") - 1)
    assert "limit NAME " in refused(file(value), watched)
    monkeypatch.setattr(work_module, "NAME", 4096)
    total = sum(len(f"{key}.{name}") for key in value for name in NAMES) + len("longother")
    monkeypatch.setattr(work_module, "NAMES", total)
    read(value, watched)
    monkeypatch.setattr(work_module, "NAMES", total - 1)
    assert "limit NAMES" in refused(file(value), watched)


def shared_state(objects, attributes):
    """Many objects whose one state has many attributes: short to write, endless to look through."""
    state = b"}(" + b"".join(text(f"k{n}") + b"N" for n in range(attributes)) + b"uq\x01"
    one = b"cmine\nNet\n)\x81h\x01b"
    return file(Raw(b"\x80\x02}(" + text("s") + state + text("l") + b"](" + one * objects + b"eu."))


def test_shared_states_are_counted(monkeypatch, watched):
    monkeypatch.setattr(work_module, "LOOKS", 100_000)
    assert "no names with tensors" in refused(shared_state(100, 100), watched)
    assert "limit LOOKS" in refused(shared_state(1000, 1000), watched)


def test_modules_limit_is_the_tree_s(monkeypatch, watched):
    leaf = {"_parameters": {"weight": conv(1)}, "_buffers": {}, "_modules": {}}
    one = Call(Ref("mine", "Net"), state=leaf)
    root = Call(Ref("mine", "Net"), state={"_parameters": {}, "_modules": {"0": one, "1": one}})
    monkeypatch.setattr(modules_module, "MODULES", 3)
    monkeypatch.setattr(modules_module, "TENSORS", 2)
    read(root, watched)
    monkeypatch.setattr(modules_module, "TENSORS", 1)
    assert "limit TENSORS" in refused(file(root), watched)
    monkeypatch.setattr(modules_module, "MODULES", 2)
    assert "limit MODULES" in refused(file(root), watched)
