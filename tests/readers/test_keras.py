"""Keras files give the numbers of the same network in torch, with the groups that their configuration states."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from readers.keras_files import Made, archive, conv, forms, hdf5, model, new_layout, numbers, old_layout
from readers.opening import opened, refused

import gcx
from gcx.checkpoint import ConvSpec
from gcx.readers import read_checkpoint


def channels_first(kernel):
    """(*kernel, a, b) to (b, a, *kernel), written out by hand."""
    out = np.empty((kernel.shape[-1], kernel.shape[-2], *kernel.shape[:-2]), kernel.dtype)
    for a in range(kernel.shape[-2]):
        for b in range(kernel.shape[-1]):
            out[b, a] = kernel[..., a, b]
    return out


def by_channel(kernel):
    """(*kernel, in, multiplier) to (in * multiplier, 1, *kernel): output c * multiplier + q reads channel c."""
    ins, multiplier = kernel.shape[-2:]
    return np.stack([kernel[..., c, q] for c in range(ins) for q in range(multiplier)])[:, None]


STEM, GROUPED, UP = numbers((3, 3, 4, 8)), numbers((3, 3, 4, 8), 1), numbers((2, 2, 6, 32), 2)
DEPTHWISE, TWICE = numbers((3, 3, 8, 1), 3), numbers((3, 3, 8, 2), 4)
SPREAD, MIX = numbers((3, 3, 16, 2), 5), numbers((1, 1, 32, 32), 6)
LINE, SPACE = numbers((5, 2, 6), 7), numbers((2, 2, 2, 2, 4), 8)
NORM = {name: numbers((8,), seed) for seed, name in enumerate(("gamma", "beta", "moving_mean", "moving_variance"))}
NET = model(
    Made("InputLayer", "image"),
    conv("stem", STEM, numbers((8,)), data_format="channels_first"),
    Made("BatchNormalization", "bn", NORM),
    conv("grouped", GROUPED, groups=2),
    Made("DepthwiseConv2D", "dw", {"kernel": DEPTHWISE}),
    Made("DepthwiseConv2D", "dw2", {"kernel": TWICE, "bias": numbers((16,))}, {"depth_multiplier": 2}),
    Made("SeparableConv2D", "sep", {"depthwise_kernel": SPREAD, "pointwise_kernel": MIX}),
    conv("up", UP, numbers((6,)), class_name="Conv2DTranspose"),
    conv("line", LINE, class_name="Conv1D", groups=3),
    conv("space", SPACE, class_name="Conv3D", groups=2),
    Made("Dense", "head", {"kernel": numbers((6, 5)), "bias": numbers((5,))}),
)
EXPECTED = {
    "stem": (channels_first(STEM), ConvSpec(1, False)),
    "grouped": (channels_first(GROUPED), ConvSpec(2, False)),
    "dw": (by_channel(DEPTHWISE), ConvSpec(8, False)),
    "dw2": (by_channel(TWICE), ConvSpec(8, False)),
    "sep/depthwise_kernel": (by_channel(SPREAD), ConvSpec(16, False)),
    "sep/pointwise_kernel": (channels_first(MIX), ConvSpec(1, False)),
    "up": (channels_first(UP), ConvSpec(1, True)),
    "line": (channels_first(LINE), ConvSpec(3, False)),
    "space": (channels_first(SPACE), ConvSpec(2, False)),
}


@pytest.mark.parametrize("name", list(forms(model())))
def test_every_layout_gives_the_weights_in_torchs_order_with_recorded_groups(name, watched):
    arrays, checkpoint = opened(forms(NET)[name], watched, name=name)
    assert checkpoint.format == ("keras" if name.endswith(".keras") else "keras-hdf5")
    assert checkpoint.convs == {layer: spec for layer, (_, spec) in EXPECTED.items()}
    for layer, (weight, _) in EXPECTED.items():
        assert np.array_equal(arrays[f"{layer}.weight"], weight), layer
    assert np.array_equal(arrays["bn.running_var"], NORM["moving_variance"])
    assert arrays["head.weight"].shape == (5, 6)
    assert list(dict.fromkeys(key.rpartition(".")[0] for key in arrays)) == [
        *("stem", "bn", "grouped", "dw", "dw2", "sep/depthwise_kernel", "sep/pointwise_kernel"),
        *(("sep",) if "sep.bias" in arrays else ()),
        *("up", "line", "space", "head"),
    ]


@pytest.mark.parametrize("name", ["net.keras", "net.h5"])
def test_the_report_is_that_of_the_state_dict(name):
    Path(name).write_bytes(forms(NET)[name])
    state = {f"{layer}.weight": torch.from_numpy(weight.copy()) for layer, (weight, _) in EXPECTED.items()}
    torch.save(state, "net.pt")
    given_groups = tuple((layer, spec.groups) for layer, (_, spec) in EXPECTED.items() if layer != "up")
    from_keras = gcx.correlate(name, seed=0)
    from_torch = gcx.correlate("net.pt", groups=dict(given_groups), seed=0)
    theirs = {layer.name: layer for layer in from_torch.models[0].layers}
    for layer in from_keras.models[0].layers:
        other = theirs[layer.name]
        assert layer.groups_from == "recorded"
        if layer.name != "up":  # nothing in the state dict says that it is transposed
            assert (layer.weight_shape, layer.within, layer.across, layer.kernels) == (
                other.weight_shape, other.within, other.across, other.kernels,
            )  # fmt: skip


@pytest.mark.parametrize("multiplier", [1, 2, 3])
def test_depthwise_outputs_stand_in_tensorflows_order(multiplier, watched):
    """TensorFlow defines output[i, j, c * m + q] as the sum of input[..., c] * kernel[..., c, q]."""
    kernel, image = numbers((3, 3, 4, multiplier)), numbers((7, 6, 4), 1, "float64")
    out = np.zeros((5, 4, 4 * multiplier))
    for i, j, c, q in np.ndindex(5, 4, 4, multiplier):
        out[i, j, c * multiplier + q] = (image[i : i + 3, j : j + 3, c] * kernel[..., c, q]).sum()
    arrays, checkpoint = opened(archive(model(Made("DepthwiseConv2D", "dw", {"kernel": kernel}))), watched)
    weight = torch.from_numpy(arrays["dw.weight"].astype(np.float64))
    theirs = torch.nn.functional.conv2d(torch.from_numpy(image).permute(2, 0, 1)[None], weight, groups=4)
    assert checkpoint.convs["dw"].groups == 4
    assert np.allclose(theirs[0].permute(1, 2, 0).numpy(), out)


def nested():
    inner = model(conv("conv", GROUPED, groups=2), Made("BatchNormalization", "bn", NORM), name="inner")
    outer = model(inner, conv("mix", numbers((1, 1, 8, 8))), name="outer")
    wrapped = Made("TimeDistributed", "td", parts={"layer": conv("conv2d_7", GROUPED, groups=4)})
    cell = Made(
        "ConvLSTM2DCell", "cell", {"kernel": numbers((3, 3, 8, 16)), "recurrent_kernel": numbers((3, 3, 4, 16))}
    )
    lstm = Made("ConvLSTM2D", "lstm", {}, {"filters": 4}, parts={"cell": cell})
    return model(conv("stem", STEM), outer, wrapped, lstm, Made("Dense", "head", {"kernel": numbers((6, 5))}))


@pytest.mark.parametrize("name", list(forms(model())))
def test_layers_within_models_and_wrappers_have_their_path(name, watched):
    _, checkpoint = opened(forms(nested())[name], watched, name=name)
    assert {key: spec.groups for key, spec in checkpoint.convs.items()} == {
        "stem": 1,
        "outer/inner/conv": 2,
        "outer/mix": 1,
        "td/conv2d_7": 4,
        "lstm/cell/kernel": 1,
        "lstm/cell/recurrent_kernel": 1,
    }


@pytest.mark.parametrize(
    "data", [new_layout(NET), new_layout(NET, names=False), old_layout(NET, whole=False)], ids=["new", "bare", "old"]
)
def test_weights_alone_say_what_their_names_say(data, watched):
    arrays, checkpoint = opened(data, watched, name="net.weights.h5")
    assert any("weights only" in note for note in checkpoint.notes)
    named = {key.rpartition(".")[0]: array for key, array in arrays.items() if key.endswith(".weight")}
    assert {weight.tobytes() for weight, _ in EXPECTED.values()} <= {array.tobytes() for array in named.values()}
    spread = next(key for key, array in named.items() if np.array_equal(array, by_channel(SPREAD)))
    assert checkpoint.convs[spread].groups == 16
    grouped = next(key for key, array in named.items() if np.array_equal(array, channels_first(GROUPED)))
    assert checkpoint.convs.get(grouped, ConvSpec()).groups is None


def test_without_any_class_shapes_decide_and_the_rest_is_left_out(watched):
    def write(file):
        for name, values in {
            "stem": [STEM, numbers((8,))],
            "each": [TWICE, numbers((16,))],
            "up": [UP, numbers((6,))],
            "pair": [numbers((3, 3, 6, 2)), numbers((1, 1, 12, 4)), numbers((4,))],
            "cell": [numbers((3, 3, 8, 16)), numbers((3, 3, 4, 16)), numbers((16,))],
            "table": [numbers((1, 50, 12))],
            "two": [STEM, STEM],
        }.items():
            for number, value in enumerate(values):
                file[f"{name}/vars/{number}"] = value

    arrays, checkpoint = opened(hdf5(write), watched, name="sub.weights.h5")
    assert np.array_equal(arrays["stem.weight"], channels_first(STEM))
    assert np.array_equal(arrays["each.weight"], by_channel(TWICE))
    assert checkpoint.convs["each"].groups == 8
    assert checkpoint.convs["pair/depthwise_kernel"].groups == 6
    assert checkpoint.convs["cell/recurrent_kernel"].groups == 1
    layers = {layer.name: layer for layer in gcx.layers("sub.weights.h5").models[0].layers}
    assert layers["up"].transposed
    left = {left.name for left in gcx.layers("sub.weights.h5").models[0].left_out}
    assert left == {"table.variable0", "two.variable0", "two.variable1"}


def test_attention_is_no_convolution():
    def write(file):
        for name, kernel, bias in (("query_dense", (16, 2, 8), (2, 8)), ("output_dense", (2, 8, 16), (16,))):
            file[f"layers/multi_head_attention/{name}/vars/0"] = numbers(kernel)
            file[f"layers/multi_head_attention/{name}/vars/1"] = numbers(bias)
        file.create_group("layers/multi_head_attention/vars").attrs["name"] = "mha"

    Path("a.weights.h5").write_bytes(hdf5(write))
    model_ = gcx.layers("a.weights.h5").models[0]
    assert not model_.layers
    assert [(left.name, left.reason) for left in model_.left_out] == [
        ("mha/output_dense.variable0", "variable of layer class EinsumDense"),
        ("mha/query_dense.variable0", "variable of layer class EinsumDense"),
    ]


def test_a_class_of_ones_own_with_a_convolutions_settings_is_one(watched):
    made = model(conv("ws", GROUPED, class_name="my>WSConv2D", groups=4))
    arrays, checkpoint = opened(archive(made, new_layout(model(conv("ws", GROUPED, class_name="WSConv2D")))), watched)
    assert checkpoint.convs == {"ws": ConvSpec(4, False)}
    assert np.array_equal(arrays["ws.weight"], channels_first(GROUPED))


def test_vgg_of_keras_1_by_name(watched):
    def write(file):
        file.attrs["layer_names"] = [b"block1_conv1", b"pool"]
        group = file.create_group("block1_conv1")
        group.attrs["weight_names"] = [b"block1_conv1_W_1:0", b"block1_conv1_b_1:0"]
        group["block1_conv1_W_1:0"], group["block1_conv1_b_1:0"] = STEM, numbers((8,))
        file.create_group("pool").attrs["weight_names"] = []

    arrays, _ = opened(hdf5(write), watched, name="vgg.h5")
    assert np.array_equal(arrays["block1_conv1.weight"], channels_first(STEM))
    assert arrays["block1_conv1.bias"].shape == (8,)


def test_names_in_several_attributes(watched):
    def write(file):
        file.attrs["layer_names0"], file.attrs["layer_names1"] = [b"b"], [b"a"]
        for name in ("a", "b"):
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/kernel:0".encode()]
            group[f"{name}/kernel:0"] = STEM

    assert list(opened(hdf5(write), watched, name="a.h5")[0]) == ["b.weight", "a.weight"]


def test_short_floats(watched):
    half = numbers((3, 3, 2, 4), dtype="float16")
    brain = STEM.astype(ml_dtypes.bfloat16)

    def write(file):
        file["layers/conv2d/vars/0"] = half
        file["layers/conv2d_1/vars/0"] = brain.view("V2")
        file["layers/conv2d_1/vars/0"].attrs["dtype"] = "bfloat16"
        file["layers/conv2d_2/vars/0"] = brain.view("V2")

    data = hdf5(write)
    arrays, checkpoint = opened(data, watched, name="a.weights.h5")
    assert np.array_equal(arrays["conv2d.weight"], channels_first(half))
    assert arrays["conv2d_1.weight"].dtype == ml_dtypes.bfloat16
    assert np.array_equal(arrays["conv2d_1.weight"], channels_first(brain))
    assert "does not name" in checkpoint.tensors["conv2d_2.weight"].unreadable
    policy = {"class_name": "DTypePolicy", "config": {"name": "bfloat16"}}
    made = model(*(conv(f"c{i}", STEM, dtype=policy) for i in range(3)))
    assert opened(archive(made, data), watched)[0]["c2.weight"].dtype == ml_dtypes.bfloat16


def test_integers_are_measured_as_such_and_a_low_rank_update_is_not_forgotten(watched):
    made = model(conv("q", np.arange(72, dtype=np.int8).reshape(3, 3, 2, 4)), conv("c", STEM))
    made.layers[1].variables.update(lora_kernel_a=numbers((3, 3, 4, 2)), lora_kernel_b=numbers((2, 8)))
    _, checkpoint = opened(old_layout(made), watched, name="a.h5")
    assert checkpoint.tensors["q.weight"].dtype == "int8"
    assert "low-rank" in checkpoint.tensors["c.weight"].unreadable
    assert checkpoint.others == {"c.lora_kernel_a": "part of a low-rank update"}


def test_optimizers_and_lambdas_are_left_alone_and_said(watched):
    made = model(conv("c", STEM), Made("Lambda", "l", {}, {"function": {"class_name": "__lambda__", "config": "4wEA"}}))

    def write(file):
        file["layers/conv2d/vars/0"] = STEM
        file["optimizer/vars/2"] = STEM

    arrays, checkpoint = opened(archive(made, hdf5(write)), watched)
    assert list(arrays) == ["c.weight"]
    assert checkpoint.notes == (
        "left out the optimizer's state",
        "the model has Lambda layers: their code was not looked at and not run",
    )


def test_a_layer_under_two_names_is_one(watched):
    def write(file):
        file["layers/conv2d/vars/0"] = STEM
        file["layers/conv2d_1/vars/0"] = file["layers/conv2d/vars/0"]

    Path("a.weights.h5").write_bytes(hdf5(write))
    (layer,) = gcx.layers("a.weights.h5").models[0].layers
    assert layer.name == "conv2d"


def test_names_that_fall_together_stay_apart_and_theanos_order_is_not_guessed(watched):
    def write(file):
        for key in ("conv2d", "conv2d_1"):
            file[f"layers/{key}/vars/0"] = STEM
            file[f"layers/{key}/vars"].attrs["name"] = "same"

    data = hdf5(write)
    assert list(opened(data, watched, name="a.weights.h5")[0]) == ["same.weight", "same#2.weight"]
    made = model(conv("same", STEM, dim_ordering="th"))
    _, checkpoint = opened(archive(made, data), watched, name="a.keras")
    assert "Theano" in checkpoint.tensors["same.weight"].unreadable
    assert checkpoint.tensors["same#2.weight"].unreadable is None
    kernels = {"depthwise_kernel": SPREAD, "pointwise_kernel": MIX}
    first = Made("SeparableConvolution2D", "sep", kernels, {"dim_ordering": "th"})
    _, checkpoint = opened(archive(model(first)), watched)
    assert all("Theano" in ref.unreadable for ref in checkpoint.tensors.values())


def test_a_configuration_of_other_filters_is_not_believed(watched):
    _, checkpoint = opened(archive(model(conv("c", STEM, groups=2, filters=16))), watched)
    assert checkpoint.convs == {"c": ConvSpec(None, False)}
    assert checkpoint.tensors["c.weight"].notes == (
        "the configuration states 16 filters, so its groups were not believed",
    )


def test_no_moving_average(watched):
    Path("a.keras").write_bytes(archive(NET))
    with pytest.raises(gcx.errors.UsageError, match="no moving average"):
        read_checkpoint("a.keras", weights="ema")


def test_the_threads_example_runs_from_the_command_line(capfd):
    """Two convolutions with [100, 100, 16] -> 32 side by side, and one with groups=2 and 32 -> 64."""
    from gcx.cli.app import run

    kernel = numbers((3, 3, 16, 64))
    apart = model(conv("a", kernel[..., :32]), conv("b", kernel[..., 32:]), Made("Concatenate", "both"))
    Path("apart.keras").write_bytes(archive(apart))
    Path("grouped.keras").write_bytes(archive(model(conv("grouped", kernel, groups=2))))
    assert run(["correlate", "apart.keras", "grouped.keras", "--format", "json"]) == 0
    first, second = json.loads(capfd.readouterr().out)["models"]
    a, b = first["layers"]
    (grouped,) = second["layers"]
    assert (grouped["groups"], grouped["groups_from"], grouped["weight_shape"]) == (2, "recorded", [64, 16, 3, 3])
    assert (a["groups"], a["weight_shape"]) == (1, [32, 16, 3, 3])
    pairs = a["within"]["n_pairs"] + b["within"]["n_pairs"]
    assert grouped["within"]["n_pairs"] == pairs
    mean = sum(one["within"]["mean_r2"] * one["within"]["n_pairs"] for one in (a, b)) / pairs
    assert grouped["within"]["mean_r2"] == pytest.approx(mean, rel=1e-12)
    assert grouped["across"]["n_pairs"] == 32 * 32


GZIP = {"chunks": True, "compression": "gzip"}
PACKINGS = [{}, {"chunks": True}, GZIP | {"shuffle": True}, {"chunks": True, "fletcher32": True}]
PACKINGS += [GZIP | {"fletcher32": True}]
ARRAYS = st.tuples(
    st.sampled_from(["<f4", ">f4", "<f8", "<f2", ">f8", "i1", "<i4", ">i2", "u1"]),
    st.lists(st.integers(0, 5), max_size=4),
    st.sampled_from(PACKINGS),
    st.sampled_from([{}, {"libver": "latest"}]),
)


@given(ARRAYS, st.integers(0, 2**32))
@settings(deadline=None, derandomize=True, max_examples=120)
def test_numbers_are_those_that_the_hdf5_library_wrote(given_, seed):
    from readers.flat import source_of

    from gcx.readers.keras.hdf5 import Hdf5File

    dtype, shape, packing, version = given_
    array = np.frombuffer(np.random.default_rng(seed).bytes(8 * int(np.prod(shape))), np.uint8)
    array = array[: int(np.prod(shape))].astype(dtype).reshape(shape)
    options = packing if array.size and array.ndim else {}
    with source_of(hdf5(lambda file: file.create_dataset("x", data=array, **options), **version)) as source:
        dataset = Hdf5File(source).root.members["x"].dataset
        assert dataset.shape == array.shape
        if dataset.unreadable is None:
            assert np.array_equal(dataset.load(dataset.kind.dtype), array)
        else:
            assert version and options and "that gcx does not read" in dataset.unreadable


def test_chunks_that_do_not_divide_the_shape(watched):
    kernel = numbers((3, 3, 37, 50))
    options = {"chunks": (2, 3, 10, 7), "compression": "gzip", "shuffle": True, "fletcher32": True}
    data = hdf5(lambda file: file.create_dataset("layers/conv2d/vars/0", data=kernel, **options))
    assert np.array_equal(opened(data, watched, name="a.weights.h5")[0]["conv2d.weight"], channels_first(kernel))


@pytest.mark.filterwarnings("ignore")
def test_what_keras_itself_saves(monkeypatch):
    """The layouts above are those of Keras 3.15.1 and tf-keras 2.21; here Keras writes them."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    layers = keras.layers
    inner_in = keras.Input((8, 8, 8))
    inner = keras.Model(inner_in, layers.Conv2D(8, 3, groups=2, name="conv")(inner_in), name="inner")
    given_in = keras.Input((8, 8, 8))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="dw")(inner(given_in))
    x = layers.Conv2DTranspose(6, 2, name="up")(layers.SeparableConv2D(4, 3, name="sep")(x))
    net = keras.Model(given_in, x)
    for name in ("net.keras", "net.h5", "net.weights.h5"):
        net.save_weights(name) if name.endswith("weights.h5") else net.save(name)
        with read_checkpoint(name) as checkpoint:
            weight = checkpoint.tensors["dw.weight"].read()
            assert np.array_equal(weight, by_channel(keras.ops.convert_to_numpy(net.get_layer("dw").kernel)))
            specs = {key: spec.groups for key, spec in checkpoint.convs.items()}
            assert specs["inner/conv"] == (None if name.endswith("weights.h5") else 2)
            assert (specs["dw"], specs["up"], specs["sep/depthwise_kernel"]) == (8, 1, 16)


@pytest.mark.filterwarnings("ignore")
def test_names_of_ones_own_do_not_become_each_other(monkeypatch, watched):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", reason="Keras is not installed")

    class Own(keras.layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(name="kernel", shape=(3, 3, 4, 8), initializer="normal")
            self.others = [self.add_weight(name=name, shape=(8,)) for name in ("proj_W", "bias", "x_b", "weight")]

        def call(self, x):
            return x

    given_in = keras.Input((8, 8, 4))
    low_rank = keras.layers.Conv2D(4, 3, name="c")
    net = keras.Model(given_in, Own(name="own")(low_rank(given_in)))
    low_rank.enable_lora(2)
    net.save("own.h5")
    arrays, checkpoint = opened(Path("own.h5").read_bytes(), watched, name="own.h5")
    assert "low-rank" in checkpoint.tensors["c.weight"].unreadable
    kernel = keras.ops.convert_to_numpy(net.get_layer("own").kernel)
    assert np.array_equal(arrays["own.weight"], channels_first(kernel))
    assert {"own.proj_W", "own.bias", "own.x_b", "own#2.weight", "c.lora_kernel_b"} <= set(arrays)


def test_names_like_those_of_keras_1_are_kept_where_they_would_become_one(watched):
    def write(file):
        file.attrs["layer_names"] = [b"own"]
        group = file.create_group("own")
        group.attrs["weight_names"] = [b"kernel:0", b"proj_W:0", b"kernel:0"]
        group["kernel:0"], group["proj_W:0"] = STEM, numbers((8,))

    arrays, _ = opened(hdf5(write), watched, name="own.h5")
    assert list(arrays) == ["own.weight", "own.proj_W", "own#2.weight"]
    assert np.array_equal(arrays["own.weight"], channels_first(STEM))


@pytest.mark.filterwarnings("ignore")
def test_each_of_several_files_holds_what_keras_put_into_it(monkeypatch):
    """Keras cuts between the two kernels of one layer, and names a layer in the file where it begins only."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    given_in = keras.Input((8, 8, 4))
    sep = keras.layers.SeparableConv2D(64, 3, name="sep")
    keras.Model(given_in, sep(given_in)).save_weights("net.weights.json", max_shard_size=1100 / 1024**3)
    with pytest.raises(gcx.errors.CheckpointError, match="name one of its"):
        gcx.layers("net.weights.json")
    with read_checkpoint("net_00000.weights.h5") as checkpoint:
        assert np.array_equal(
            checkpoint.tensors["sep/depthwise_kernel.weight"].read(),
            by_channel(keras.ops.convert_to_numpy(sep.depthwise_kernel)),
        )
    with read_checkpoint("net_00001.weights.h5") as checkpoint:
        assert list(checkpoint.convs) == ["separable_conv2d/pointwise_kernel"]
        assert np.array_equal(
            checkpoint.tensors["separable_conv2d/pointwise_kernel.weight"].read(),
            channels_first(keras.ops.convert_to_numpy(sep.pointwise_kernel)),
        )


@pytest.mark.filterwarnings("ignore")
def test_where_keras_keeps_no_order_nothing_is_concluded_from_it(monkeypatch):
    """Weights alone are sorted by class, and the layers of a model in code by attribute: no one feeds the next."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    layers = keras.layers

    def grouped(x, count, name):
        x = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x))
        return layers.BatchNormalization()(layers.Conv2D(16, 1, groups=count, name=name)(x))

    given_in = keras.Input((16, 16, 3))
    x = layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same", name="stem")(given_in))
    net = keras.Model(given_in, grouped(grouped(x, 2, "two"), 4, "four"))

    class InCode(keras.Model):
        def __init__(self):
            super().__init__()
            self.after = layers.Conv2D(16, 1, groups=2)
            self.blocks = [layers.DepthwiseConv2D(3, depth_multiplier=2), layers.BatchNormalization()]
            self.stem = layers.Conv2D(16, 3)

        def call(self, x):
            x = self.stem(x)
            for block in self.blocks:
                x = block(x)
            return self.after(x)

    in_code = InCode()
    in_code(np.zeros((1, 16, 16, 3), "float32"))
    net.save("net.keras")
    net.save("net.h5")
    net.save_weights("net.weights.h5")
    in_code.save("code.keras")
    in_code.save_weights("code.weights.h5")
    for name, recorded in {"net.weights.h5": [16, 16], "code.keras": [16], "code.weights.h5": [16]}.items():
        found = gcx.layers(name).models[0].layers
        assert [layer.groups for layer in found if layer.groups_from == "recorded"] == recorded
        free = [layer for layer in found if layer.groups_from != "recorded"]
        assert {(layer.groups_from, layer.groups_confidence) for layer in free} == {("assumed", "ambiguous")}
        assert all("`" not in layer.groups_evidence and 2 in layer.groups_alternatives for layer in free)
    for name in ("net.keras", "net.h5"):
        with read_checkpoint(name) as checkpoint:
            assert checkpoint.ordered


def test_layers_that_are_listed_by_name_keep_their_order(watched):
    _, checkpoint = opened(old_layout(NET, whole=False), watched, name="net.h5")
    assert checkpoint.ordered
    _, checkpoint = opened(new_layout(model(conv("c", STEM))), watched, name="one.weights.h5")
    assert checkpoint.ordered, "one layer has an order"
    custom = Made("Own", "own", parts={"layer": conv("conv", STEM)})
    _, checkpoint = opened(archive(model(conv("c", STEM), custom)), watched)
    assert checkpoint.ordered, "placed by its own configuration"


def test_numpy_weights_are_refused_by_name(watched):
    with zipfile.ZipFile("a.keras", "w") as zipped:
        zipped.writestr("config.json", "{}")
        zipped.writestr("model.weights.npz", b"x")
    assert "weights in NumPy's format" in refused(Path("a.keras").read_bytes(), watched)


def test_no_layer_reads_another_where_the_order_is_unknown():
    """Induced groups and folded norms are read off the order, so a file without one has none."""
    stem, reader = numbers((3, 3, 3, 32)), numbers((3, 3, 16, 48), 1)
    whole = model(conv("conv2d", stem), conv("conv2d_1", reader, groups=2))
    Path("net.keras").write_bytes(archive(whole))
    Path("net.weights.h5").write_bytes(new_layout(whole))
    options = {"groups": {"conv2d*1": 2, "conv2d": 1}, "induced": True}
    (known, _), (unknown, _) = (
        gcx.correlate(name, **options).models[0].measured for name in ("net.keras", "net.weights.h5")
    )
    assert known.induced_groups.consumer == "conv2d_1"
    assert unknown.induced_groups is None
