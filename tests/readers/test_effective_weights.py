"""Live modules with parametrised, pruned and fake-quantised weights: what their forward uses, and nothing moves."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.ao import quantization as ao
from torch.ao.quantization._learnable_fake_quantize import _LearnableFakeQuantize
from torch.nn.utils import parametrizations, prune

import gcx
from gcx.checkpoint import ConvSpec
from gcx.parametrizations import recombine
from gcx.readers.module import from_module


def parametrise(kind, conv):
    if kind == "weight norm":
        return parametrizations.weight_norm(conv)
    if kind == "orthogonal":
        return parametrizations.orthogonal(conv)
    if kind == "spectral norm":
        return parametrizations.spectral_norm(conv)
    if kind == "old weight norm":
        with pytest.warns(FutureWarning):
            return nn.utils.weight_norm(conv)
    if kind == "old spectral norm":
        return nn.utils.spectral_norm(conv)
    return prune.l1_unstructured(conv, "weight", 0.5)


KINDS = ["weight norm", "orthogonal", "spectral norm", "old weight norm", "old spectral norm", "pruned"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_effective_weight_is_measured(kind):
    torch.manual_seed(0)
    conv = parametrise(kind, nn.Conv2d(4, 8, 3, groups=2))
    model = nn.Sequential(nn.Conv2d(4, 4, 1), conv)
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.mul_(1.5)  # what the old hooks computed at construction is stale now
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    checkpoint = from_module(model.train())
    assert set(checkpoint.tensors) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    assert checkpoint.convs["1"] == ConvSpec(2, False)
    ref = checkpoint.tensors["1.weight"]
    assert "effective weight" in ref.notes[0]
    found = ref.read()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.training
    assert all(module.training for module in model.modules())
    model.eval()(torch.zeros(1, 4, 5, 5))
    assert ref.shape == (8, 2, 3, 3)
    assert np.array_equal(found, conv.weight.detach().numpy())


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_hooks_on_parts_of_parts():
    """What one hook makes of another's result is as old as the last run: it is put together from the state dict."""
    torch.manual_seed(0)
    conv = nn.utils.weight_norm(nn.Conv2d(4, 8, 3, groups=2))
    prune.random_unstructured(conv, "weight_v", amount=0.4)
    model = nn.Sequential(conv)
    with torch.no_grad():
        conv.weight_v_orig.mul_(torch.rand_like(conv.weight_v_orig) + 0.5)
    checkpoint = from_module(model)
    assert [(layer.name, layer.groups_from) for layer in gcx.correlate(model).models[0].layers] == [("0", "recorded")]
    found = recombine(checkpoint.tensors)["0.weight"].read()
    for _ in range(2):
        model.eval()(torch.zeros(1, 4, 5, 5))
    np.testing.assert_allclose(found, conv.weight.detach().numpy(), rtol=4e-7)


PER_TENSOR = {"observer": ao.MovingAverageMinMaxObserver, "dtype": torch.qint8, "qscheme": torch.per_tensor_symmetric}
PER_CHANNEL = {
    "observer": ao.MovingAveragePerChannelMinMaxObserver.with_args(ch_axis=1),
    "dtype": torch.qint8,
    "qscheme": torch.per_channel_symmetric,
}
SEARCHED = {"observer": ao.HistogramObserver, "dtype": torch.qint8, "qscheme": torch.per_tensor_symmetric}
AFFINE = {"observer": ao.MinMaxObserver, "dtype": torch.quint8, "qscheme": torch.per_tensor_affine}
QUANTISERS = {
    "default": ao.default_fused_per_channel_wt_fake_quant,
    "four bits": ao.FakeQuantize.with_args(quant_min=-8, quant_max=7, **PER_TENSOR),
    "another axis": ao.FakeQuantize.with_args(quant_min=-8, quant_max=7, **PER_CHANNEL),
    "searched": ao.FakeQuantize.with_args(quant_min=-8, quant_max=7, **SEARCHED),
    "with a zero point": ao.FakeQuantize.with_args(quant_min=0, quant_max=15, **AFFINE),
    "learned": _LearnableFakeQuantize.with_args(quant_min=-8, quant_max=7, scale=0.01, **PER_TENSOR),
}


def in_training(quantiser, eps, steps=3):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 8, 3, groups=1, bias=False), *([nn.BatchNorm2d(8, eps=eps)] if eps else []))
    model.train()
    if eps:
        model = ao.fuse_modules_qat(model, [["0", "1"]])
    model.qconfig = ao.QConfig(activation=nn.Identity, weight=quantiser)
    model = ao.prepare_qat(model)
    for _ in range(steps):
        model(torch.randn(4, 8, 8, 8))
    return model


def convolved_with(model):
    """The weight with which a copy convolves, its observers standing still."""
    model = copy.deepcopy(model).eval()
    for module in model.modules():
        for flag in ("observer_enabled", "static_enabled"):
            if hasattr(module, flag):
                getattr(module, flag).zero_()
    used = []
    conv = model[0]
    conv._conv_forward = lambda images, weight, bias: (used.append(weight), nn.functional.conv2d(images, weight))[1]
    with torch.no_grad():
        model(torch.zeros(1, 8, 5, 5))
        if hasattr(conv, "bn"):
            used[0] /= (conv.bn.weight / torch.sqrt(conv.bn.running_var + conv.bn.eps)).reshape(-1, 1, 1, 1)
    return used[0].numpy()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("kind", QUANTISERS)
@pytest.mark.parametrize("eps", [None, 1e-5, 1e-3])
def test_fake_quantised_weights(kind, eps):
    model = in_training(QUANTISERS[kind], eps)
    if kind == "learned":
        with torch.no_grad():
            model[0].weight_fake_quant.enable_param_learning()
            model[0].weight_fake_quant.scale.mul_(0.7)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    checkpoint = from_module(model)
    ref = checkpoint.tensors["0.weight"]
    assert checkpoint.convs == {"0": ConvSpec(1, False)}
    assert ref.notes == ("the effective weight, after its fake quantisation",)
    assert np.array_equal(ref.read(), convolved_with(model))
    assert not np.array_equal(ref.read(), model[0].weight.detach().numpy())
    assert [layer.status for layer in gcx.correlate(model).models[0].layers] == ["measured"]
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("steps", [0, 3])
def test_fake_quantisers_that_saw_nothing_or_are_not_of_torch(steps):
    class Another(ao.FakeQuantize):
        def forward(self, weight):
            return weight.sign()

    quantiser = Another.with_args(quant_min=-8, quant_max=7, **SEARCHED) if steps else QUANTISERS["default"]
    (layer,) = gcx.correlate(in_training(quantiser, None, steps)).models[0].layers
    assert layer.status == "skipped"
    assert "fake-quantised" in layer.reason


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_fake_quantisation_that_is_switched_off():
    model = in_training(QUANTISERS["four bits"], None)
    model.apply(ao.disable_fake_quant)
    (layer,) = gcx.correlate(model).models[0].measured
    assert "switched off" in layer.notes[0]


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_modules_that_only_look_parametrised_are_read_as_they_are():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, groups=2)
            self.weight_fake_quant = torch.ao.quantization.FakeQuantize()
            self.parametrizations = nn.Identity()

    found = from_module(Odd())
    assert found.convs == {"conv": ConvSpec(2, False)}
    scripted = torch.jit.script(nn.Sequential(nn.Conv2d(4, 4, 3, groups=2)))
    assert list(from_module(scripted).tensors) == ["0.weight", "0.bias"]
