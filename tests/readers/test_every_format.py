"""One net in every format that gcx reads, saved by the framework itself: the numbers of the plain state dict, exactly.

The plain one is told its groups; those that state them must be believed, and say so.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isclose
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")

from readers.program_nets import INPUT, PARAMETRISED, exported, parametrised, scripted  # noqa: E402
from readers.quantised_net import quantised_net  # noqa: E402
from torch import Tensor, nn  # noqa: E402

import gcx  # noqa: E402
from gcx.contract import to_mapping  # noqa: E402

CHANNELS = {
    "dense": (3, 8, 1),
    "grouped": (8, 8, 2),
    "depthwise": (8, 16, 8),
    "up": (16, 6, 1),
    "grouped_up": (6, 4, 2),
}
"""Of each layer: what it reads, what it hands on, its groups."""
ONLY_SAID = ("groups_from", "groups_confidence", "groups_evidence", "groups_alternatives", "notes", "stored_shape")
"""What of a layer each format says in its own way."""


def chain(axes: int) -> nn.Module:
    """A dense, a grouped, a depthwise (multiplied) and two transposed convolutions over 1, 2 or 3 axes."""
    torch.manual_seed(axes)
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
    up = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[axes - 1]
    return nn.Sequential(
        OrderedDict(
            (name, (up if name.endswith("up") else conv)(reads, out, 3, groups=groups, bias=name != "grouped"))
            for name, (reads, out, groups) in CHANNELS.items()
        )
    ).eval()


# --- the formats: a net, as what gcx is given ---


def torch_file(value: Any, **options: Any) -> str:
    torch.save(value, "net.pt", **options)
    return "net.pt"


def program(data: bytes) -> str:
    Path("net.pt").write_bytes(data)
    return "net.pt"


def safetensors(net: nn.Module, _: Tensor) -> str:
    safetensors_torch.save_file(net.state_dict(), "net.safetensors")
    return "net.safetensors"


def sharded(net: nn.Module, _: Tensor) -> str:
    """In two files with an index, as the Hugging Face hub has them."""
    where = {}
    for number, name in enumerate(state := net.state_dict()):
        where[name] = f"model-{number % 2 + 1:05}-of-00002.safetensors"
    for file in set(where.values()):
        safetensors_torch.save_file({name: one for name, one in state.items() if where[name] == file}, file)
    Path("model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    return "model.safetensors.index.json"


def onnx(net: nn.Module, inputs: Tensor) -> str:
    torch.onnx.export(net, (inputs,), "net.onnx", dynamo=False)
    return "net.onnx"


def keras(suffix: str) -> Callable[[nn.Module, Tensor], str]:
    """In layers of Keras that compute the same; it knows no groups of transposed convolutions."""

    def save(net: nn.Module, inputs: Tensor) -> str:
        known = [(name, conv) for name, conv in net.named_children() if name != "grouped_up"]
        made = keras_model(known, inputs.dim() - 2)
        ours = nn.Sequential(*(conv for _, conv in known))(inputs).detach().numpy()
        theirs = made.predict(np.moveaxis(inputs.numpy(), 1, -1), verbose=0)
        np.testing.assert_allclose(np.moveaxis(theirs, -1, 1), ours, atol=1e-5)
        made.save_weights(f"net{suffix}") if suffix == ".weights.h5" else made.save(f"net{suffix}")
        return f"net{suffix}"

    return save


def keras_model(convs: list[tuple[str, nn.Module]], axes: int) -> Any:
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    made = keras.Sequential([keras.Input((9,) * axes + (3,))])
    for name, conv in convs:
        options: dict[str, Any] = {"name": name, "use_bias": conv.bias is not None}
        kernel = np.moveaxis(conv.weight.detach().numpy(), (0, 1), (-1, -2))
        if conv.transposed:
            layer = getattr(keras.layers, f"Conv{axes}DTranspose")(conv.out_channels, 3, **options)
        elif conv.groups == conv.in_channels and axes < 3:
            layer = getattr(keras.layers, f"DepthwiseConv{axes}D")(3, depth_multiplier=2, **options)
            kernel = kernel.reshape(*[3] * axes, conv.in_channels, 2)
        else:
            layer = getattr(keras.layers, f"Conv{axes}D")(conv.out_channels, 3, groups=conv.groups, **options)
        made.add(layer)
        layer.set_weights([kernel] if conv.bias is None else [kernel, conv.bias.detach().numpy()])
    return made


@dataclass(frozen=True)
class Form:
    """How a net is saved, and what the file keeps of it."""

    save: Callable[[nn.Module, Tensor], Any]
    groups_from: tuple[str, ...] = ("recorded",)
    """Declared where the file does not state them; weights of Keras alone state some by the name of the class."""
    named: bool = True
    """By the names of the layers; else they stand in their order."""
    lacks: tuple[str, ...] = ()


FORMS = {
    "state dict": Form(lambda net, _: torch_file(net.state_dict()), ("declared",)),
    "legacy state dict": Form(
        lambda net, _: torch_file(net.state_dict(), _use_new_zipfile_serialization=False), ("declared",)
    ),
    "live state dict": Form(lambda net, _: net.state_dict(), ("declared",)),
    "safetensors": Form(safetensors, ("declared",)),
    "sharded safetensors": Form(sharded, ("declared",)),
    "live module": Form(lambda net, _: net),
    "pickled module": Form(lambda net, _: torch_file(net)),
    "legacy pickled module": Form(lambda net, _: torch_file(net, _use_new_zipfile_serialization=False)),
    "scripted": Form(lambda net, inputs: program(scripted(net, "script", inputs))),
    "traced": Form(lambda net, inputs: program(scripted(net, "trace", inputs))),
    "frozen": Form(lambda net, inputs: program(scripted(net, "freeze", inputs)), named=False),
    "exported": Form(lambda net, inputs: program(exported(net, inputs, strict=False))),
    "exported strictly": Form(lambda net, inputs: program(exported(net, inputs, strict=True))),
    "decomposed": Form(lambda net, inputs: program(exported(net, inputs, decomposed=True))),
    "onnx": Form(onnx),
    "keras": Form(keras(".keras"), lacks=("grouped_up",)),
    "keras .h5": Form(keras(".h5"), lacks=("grouped_up",)),
    "keras weights": Form(keras(".weights.h5"), ("declared", "recorded"), lacks=("grouped_up",)),
}
STATES = ("state dict", "legacy state dict", "live state dict", "safetensors", "sharded safetensors", "live module")
PICKLED = ("pickled module", "legacy pickled module")
SCRIPTS = ("scripted", "traced", "frozen")
TRACED = ("traced", "exported", "exported strictly", "decomposed")
HELD = {
    "weight_norm": (*STATES, *PICKLED, *TRACED, "onnx"),
    "spectral_norm": (*STATES, *PICKLED, *TRACED, "onnx"),
    "pruned": (*STATES, *PICKLED, *TRACED, "onnx"),
    "parametrized weight_norm": (*STATES, *TRACED, "scripted", "onnx"),
    "parametrized spectral_norm": (*STATES, *TRACED),
}
"""In which forms torch saves a net of each parametrisation."""
assert HELD.keys() == set(PARAMETRISED)


# --- the promise ---


@dataclass(frozen=True)
class Plain:
    """One convolution of the net, as torch uses it."""

    weight: Tensor
    bias: Tensor | None
    groups: int


def convolutions(net: nn.Module) -> dict[str, Plain]:
    def value(of: Any) -> Any:
        made = of() if callable(of) and not isinstance(of, Tensor) else of  # quantised modules have methods
        return made if made is None else made.detach().dequantize()

    convs = {name: module for name, module in net.named_modules() if hasattr(module, "transposed")}
    return {name: Plain(value(conv.weight), value(conv.bias), conv.groups) for name, conv in convs.items()}


def leaves(record: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(record, (dict, list)):
        for key, value in record.items() if isinstance(record, dict) else enumerate(record):
            yield from leaves(value, f"{path}.{key}")
    else:
        yield path, record


def numbers(layer: Any) -> dict[str, Any]:
    return dict(leaves({key: value for key, value in to_mapping(layer).items() if key not in ONLY_SAID}))


def differences(ours: dict[str, Any], theirs: dict[str, Any], tolerance: float) -> Iterator[tuple[str, Any]]:
    for key in ours | theirs:
        pair = ours.get(key, "missing"), theirs.get(key, "missing")
        close = {float} == {*map(type, pair)} and isclose(*pair, rel_tol=tolerance, abs_tol=tolerance)
        if not close and pair[0] != pair[1]:
            yield key, pair


def hold_the_promise(net: nn.Module, inputs: Tensor, form: Form, tolerance: float = 0) -> None:
    """Every number of every layer, but for what a recombination rounds."""
    convs = {name: conv for name, conv in convolutions(net).items() if name not in form.lacks}
    groups = {name: conv.groups for name, conv in convs.items()}
    told = groups if "declared" in form.groups_from else {}
    found = gcx.correlate(form.save(net, inputs), groups=told).models[0].layers
    assert [layer.status for layer in found] == ["measured"] * len(convs)
    assert {layer.groups_from for layer in found} == {*form.groups_from}
    ours = {layer.name: layer.name if form.named else name for layer, name in zip(found, convs, strict=True)}
    state = {}
    for shown, name in ours.items():  # p-values are drawn by the name
        state |= {f"{shown}.weight": convs[name].weight, f"{shown}.bias": convs[name].bias}
    plain = gcx.correlate(
        {name: tensor for name, tensor in state.items() if tensor is not None},
        groups={shown: groups[name] for shown, name in ours.items()},
    )
    for layer, other in zip(found, plain.models[0].layers, strict=True):
        assert not dict(differences(numbers(layer), numbers(other), tolerance)), layer.name


pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("form", FORMS)
def test_every_kind_of_convolution(form, axes, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    hold_the_promise(chain(axes), torch.randn(1, 3, *[9] * axes), FORMS[form])


@pytest.mark.parametrize(("kind", "form"), [(kind, form) for kind, forms in HELD.items() for form in forms])
def test_parametrised_weights(kind, form):
    hold_the_promise(parametrised(kind), torch.randn(INPUT), FORMS[form], tolerance=2e-6)


@pytest.mark.parametrize("form", [*STATES[:3], "live module", *PICKLED, *SCRIPTS])
def test_quantised_weights(form):
    hold_the_promise(quantised_net(), torch.randn(2, 3, 12, 12), FORMS[form])
