"""Quantisation-aware training: the weights that torch's own modules round to."""

import warnings

import numpy as np
import pytest

from gcx.checkpoint import TensorRef
from gcx.parametrizations import recombine

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402


def refs(state) -> dict[str, TensorRef]:
    """A state dict as a reader gives it."""
    return {
        name: TensorRef(name, str(t.dtype).removeprefix("torch."), tuple(t.shape), t.detach().numpy)
        for name, t in state.items()
    }


@pytest.mark.parametrize("qconfig", ["fbgemm", "qnnpack"])
@pytest.mark.parametrize("fused", [False, True])
def test_fake_quantised_weights_are_those_of_training(qconfig, fused):
    torch.manual_seed(2)
    net = nn.Sequential()
    net.add_module("c", nn.Conv2d(3, 8, 3, bias=False))
    net.add_module("bn", nn.BatchNorm2d(8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.train()
        if fused:
            net = torch.ao.quantization.fuse_modules_qat(net, [["c", "bn"]])
        net.qconfig = torch.ao.quantization.get_default_qat_qconfig(qconfig)
        net = torch.ao.quantization.prepare_qat(net)
        for _ in range(3):
            net(torch.randn(4, 3, 8, 8))
    net.eval()
    conv = net.c
    with torch.no_grad():
        if fused:
            # By numpy, which rounds a root correctly: torch's can be off by a last bit, and on which numbers it is
            # depends on the processor.
            deviation = torch.from_numpy(np.sqrt((conv.bn.running_var + conv.bn.eps).numpy()))
            assert torch.allclose(deviation, torch.sqrt(conv.bn.running_var + conv.bn.eps), rtol=2**-23, atol=0)
            gain = (conv.bn.weight / deviation).reshape(-1, 1, 1, 1)
            conv.weight_fake_quant(conv.weight * gain)  # the observer sees the last state
            expected = conv.weight_fake_quant(conv.weight * gain) / gain
        else:
            expected = conv.weight_fake_quant(conv.weight)
    found = recombine(refs(net.state_dict()))["c.weight"]
    assert any("weight_fake_quant" in note for note in found.notes)
    assert found.read().tobytes() == expected.numpy().tobytes()
    assert len(np.unique(found.read()[0])) < 3 * 3 * 3  # few levels, or the test shows nothing


def quantiser(**changes) -> dict[str, np.ndarray]:
    """A file's fake quantiser over 15 levels of four bits."""
    parts = {
        "c.weight": np.linspace(-1, 1, 24, dtype=np.float32).reshape(4, 2, 3, 1),
        "c.weight_fake_quant.scale": np.array([2 / 15], np.float32),
        "c.weight_fake_quant.zero_point": np.array([0], np.int32),
        "c.weight_fake_quant.fake_quant_enabled": np.array([1], np.uint8),
        "c.weight_fake_quant.activation_post_process.min_val": np.array([-1], np.float32),
        "c.weight_fake_quant.activation_post_process.max_val": np.array([1], np.float32),
    }
    return parts | {f"c.weight_fake_quant.{key}": value for key, value in changes.items()}


def from_arrays(arrays) -> dict[str, TensorRef]:
    return {name: TensorRef(name, a.dtype.name, a.shape, lambda a=a: a) for name, a in arrays.items()}


def test_the_range_follows_from_what_the_observer_saw():
    found = recombine(from_arrays(quantiser()))["c.weight"].read()
    expected = torch.fake_quantize_per_tensor_affine(torch.from_numpy(quantiser()["c.weight"]), 2 / 15, 0, -8, 7)
    assert found.tobytes() == expected.numpy().tobytes()


def test_a_fake_quantiser_that_is_off_or_not_understood():
    off = recombine(from_arrays(quantiser(fake_quant_enabled=np.array([0], np.uint8))))["c.weight"]
    assert off.read().tobytes() == quantiser()["c.weight"].tobytes()
    assert "switched off" in off.notes[0]
    shifted = recombine(from_arrays(quantiser(zero_point=np.array([3], np.int32))))["c.weight"]
    assert "zero point" in shifted.unreadable
    wrong = recombine(from_arrays(quantiser(scale=np.ones(3, np.float32))))["c.weight"]
    assert "do not fit" in wrong.unreadable
