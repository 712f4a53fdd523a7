"""Quantisation-aware training: the weights that torch's own modules round to, whatever their levels; or a reason."""

import warnings

import numpy as np
import pytest

import gcx
from gcx.checkpoint import TensorRef
from gcx.parametrizations import recombine
from gcx.parametrizations.observers import fitting_ranges

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.ao import quantization as ao  # noqa: E402
from torch.ao.quantization._learnable_fake_quantize import _LearnableFakeQuantize  # noqa: E402

LEVELS = [(-(2 ** (bits - 1)) + spare, 2 ** (bits - 1) - 1) for bits in range(2, 9) for spare in (0, 1)]


def refs(state) -> dict[str, TensorRef]:
    """A state dict as a reader gives it."""
    return {
        name: TensorRef(name, str(t.dtype).removeprefix("torch."), tuple(t.shape), t.detach().numpy)
        for name, t in state.items()
    }


def from_arrays(arrays) -> dict[str, TensorRef]:
    return {name: TensorRef(name, a.dtype.name, a.shape, lambda a=a: a) for name, a in arrays.items()}


def trained(qconfig, conv, *, eps=None, steps=3, lr=0.0, scale=1.0):
    """A net `c` after some steps of training with a fake quantiser, as prepared by torch."""
    torch.manual_seed(2)
    net = nn.Sequential()
    net.add_module("c", conv)
    with torch.no_grad():
        conv.weight.mul_(scale)
    if eps is not None:
        net.add_module("bn", nn.BatchNorm2d(conv.out_channels, eps=eps))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.train()
        if eps is not None:
            net = ao.fuse_modules_qat(net, [["c", "bn"]])
        net.qconfig = qconfig
        net = ao.prepare_qat(net)
        optimizer = torch.optim.SGD(net.parameters(), lr=lr)
        for _ in range(steps):
            images = torch.randn(4, conv.in_channels, 8, 8)
            loss = (net(images) - images.sum(1, keepdim=True)[..., 1:-1, 1:-1]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net.eval()


def of(fake, **arguments):
    return ao.QConfig(activation=nn.Identity, weight=fake.with_args(**arguments))


def expected(net) -> np.ndarray:
    """What the module rounds its weight to, its observers standing still."""
    conv = net.c
    for module in net.modules():
        for flag in ("observer_enabled", "static_enabled"):
            if hasattr(module, flag):
                getattr(module, flag).zero_()
    with torch.no_grad():
        if not hasattr(conv, "bn"):
            return conv.weight_fake_quant(conv.weight).numpy()
        # By numpy, which rounds a root correctly: torch's can be off by a last bit, and on which numbers it is
        # depends on the processor.
        deviation = torch.from_numpy(np.sqrt((conv.bn.running_var + conv.bn.eps).numpy()))
        assert torch.allclose(deviation, torch.sqrt(conv.bn.running_var + conv.bn.eps), rtol=2**-23, atol=0)
        gain = (conv.bn.weight / deviation).reshape(-1, 1, 1, 1)
        return (conv.weight_fake_quant(conv.weight * gain) / gain).numpy()


def found_in(net) -> TensorRef:
    return recombine(refs(net.state_dict()))["c.weight"]


def agrees(net, note="weight_fake_quant"):
    weight = found_in(net)
    assert weight.unreadable is None
    assert any(note in said for said in weight.notes)
    assert weight.read().tobytes() == expected(net).tobytes()
    assert not np.array_equal(weight.read(), net.c.weight.detach().numpy())


@pytest.mark.parametrize("backend", ["fbgemm", "qnnpack", "x86", "onednn"])
@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("eps", [None, 1e-5])
@pytest.mark.parametrize("channels", [3, 8])
def test_torchs_own_settings(backend, version, eps, channels):
    net = trained(ao.get_default_qat_qconfig(backend, version=version), nn.Conv2d(channels, 8, 3, bias=False), eps=eps)
    agrees(net, "eps 1e-05 assumed" if eps else "weight_fake_quant")


@pytest.mark.parametrize("backend", ["fbgemm", "qnnpack"])
@pytest.mark.parametrize("eps", [None, 1e-5])
def test_weights_that_train_on_after_they_were_seen(backend, eps):
    """Training moves the weight, and the average of what is seen lags behind: square ones keep their axis."""
    net = trained(ao.get_default_qat_qconfig(backend), nn.Conv2d(16, 16, 3), eps=eps, steps=40, lr=0.02)
    agrees(net)


@pytest.mark.parametrize("levels", LEVELS, ids=str)
@pytest.mark.parametrize("fake", [ao.FakeQuantize, ao.FusedMovingAvgObsFakeQuantize])
@pytest.mark.parametrize("per_channel", [False, True])
def test_any_levels(fake, levels, per_channel):
    observer, scheme = ao.MovingAverageMinMaxObserver, torch.per_tensor_symmetric
    if per_channel:
        observer, scheme = ao.MovingAveragePerChannelMinMaxObserver, torch.per_channel_symmetric
    low, high = levels
    qconfig = of(fake, observer=observer, quant_min=low, quant_max=high, dtype=torch.qint8, qscheme=scheme)
    net = trained(qconfig, nn.Conv2d(3, 8, 3))
    with torch.no_grad():
        net.c.weight.mul_(1.2)  # so that weights are clipped, below and above
    assert (found_in(net).read() == found_in(net).read().min()).sum() > 0
    agrees(net)


@pytest.mark.parametrize("levels", [(-8, 7), (-7, 7), (-128, 127)])
def test_scales_that_stand_at_their_least(levels):
    scheme = {"dtype": torch.qint8, "qscheme": torch.per_channel_symmetric}
    observer = ao.MovingAveragePerChannelMinMaxObserver
    fake = ao.FusedMovingAvgObsFakeQuantize
    qconfig = of(fake, observer=observer, quant_min=levels[0], quant_max=levels[1], **scheme)
    net = trained(qconfig, nn.Conv2d(3, 8, 3), scale=1e-3)
    weight = found_in(net)
    assert weight.unreadable or weight.read().tobytes() == expected(net).tobytes()
    if levels == (-128, 127):  # no weight comes near the levels that the ranges do not share
        agrees(net)


def test_scales_that_a_gpu_lets_fall_further():
    least, most = np.array([-1e-3, -2e-3]), np.array([2e-3, 1e-3])
    scale = np.maximum(-least / 128, most / 127)
    assert fitting_ranges(scale, least, most, in_one_step=True) == [(-128, 127)]


@pytest.mark.parametrize("axis", [0, 1])
def test_scales_that_fit_two_axes(axis):
    observer = ao.PerChannelMinMaxObserver.with_args(ch_axis=axis)
    scheme = {"dtype": torch.qint8, "qscheme": torch.per_channel_symmetric}
    qconfig = of(ao.FakeQuantize, observer=observer, quant_min=-8, quant_max=7, **scheme)
    net = trained(qconfig, nn.Conv2d(8, 8, 3))
    agrees(net)
    if axis == 0:
        with torch.no_grad():  # no more the weight that was seen
            net.c.weight.copy_(net.c.weight.transpose(0, 1) + 0.05 * torch.randn(8, 8, 3, 3))
        assert "two axes" in found_in(net).unreadable


def with_histogram(levels):
    scheme = {"dtype": torch.qint8, "qscheme": torch.per_tensor_symmetric}
    return of(ao.FakeQuantize, observer=ao.HistogramObserver, quant_min=levels[0], quant_max=levels[1], **scheme)


def learnable(levels):
    scheme = {"dtype": torch.qint8, "qscheme": torch.per_tensor_symmetric}
    observer = ao.MovingAverageMinMaxObserver
    return of(_LearnableFakeQuantize, observer=observer, quant_min=levels[0], quant_max=levels[1], **scheme)


@pytest.mark.parametrize("levels", [(-8, 7), (-128, 127)])
def test_scales_that_were_searched_for_or_learned(levels, tmp_path):
    searched = trained(with_histogram(levels), nn.Conv2d(3, 8, 3))
    learned = trained(learnable(levels), nn.Conv2d(3, 8, 3))
    agrees(learned)  # as long as its observer sets them
    with torch.no_grad():
        learned.c.weight_fake_quant.scale *= 1.01
    for net in (searched, learned):
        weight = found_in(net)
        assert weight.unreadable or weight.read().tobytes() == expected(net).tobytes()
        torch.save(net.state_dict(), tmp_path / "net.pt")
    skipped = gcx.correlate(str(tmp_path / "net.pt")).models[0].skipped
    assert [(layer.name, "to how many levels" in layer.reason) for layer in skipped] == [("c", True)]


def test_a_quantiser_that_saw_nothing():
    net = trained(ao.get_default_qat_qconfig("qnnpack"), nn.Conv2d(3, 8, 3), steps=0)
    assert "to how many levels" in found_in(net).unreadable


def test_another_eps_of_the_batch_norm_is_said_not_to_be_known():
    net = trained(ao.get_default_qat_qconfig("fbgemm"), nn.Conv2d(3, 8, 3, bias=False), eps=1e-3)
    assert "(eps 1e-05 assumed)" in found_in(net).notes[0]


def quantiser(**changes) -> dict[str, np.ndarray]:
    """A file's fake quantiser over 15 levels of four bits, as torch saves one scale: what it saw has no axis."""
    parts = {
        "scale": np.array([2 / 15], np.float32),
        "zero_point": np.array([0], np.int32),
        "fake_quant_enabled": np.array([1], np.uint8),
        "activation_post_process.min_val": np.array(-1, np.float32),
        "activation_post_process.max_val": np.array(1, np.float32),
    }
    weight = {"c.weight": np.linspace(-1, 1, 24, dtype=np.float32).reshape(4, 2, 3, 1)}
    return weight | {f"c.weight_fake_quant.{key}": value for key, value in (parts | changes).items()}


@pytest.mark.parametrize("observed", [{}, {"activation_post_process.min_val": np.array([-1], np.float32)}])
def test_the_range_follows_from_what_the_observer_saw(observed):
    found = recombine(from_arrays(quantiser(**observed)))["c.weight"].read()
    expected = torch.fake_quantize_per_tensor_affine(torch.from_numpy(quantiser()["c.weight"]), 2 / 15, 0, -8, 7)
    assert found.tobytes() == expected.numpy().tobytes()


def test_observers_of_torch_before_1_8():
    arrays = quantiser(scale=np.full(4, 2 / 15, np.float32), zero_point=np.zeros(4, np.int32))
    for key in ("min_val", "max_val"):
        seen = arrays.pop(f"c.weight_fake_quant.activation_post_process.{key}")
        arrays[f"c.weight_fake_quant.activation_post_process.{key}s"] = np.full(4, seen)
    found = recombine(from_arrays(arrays))["c.weight"].read()
    assert found.tobytes() == recombine(from_arrays(quantiser()))["c.weight"].read().tobytes()


def test_a_fake_quantiser_that_is_off_or_not_understood():
    off = recombine(from_arrays(quantiser(fake_quant_enabled=np.array([0], np.uint8))))["c.weight"]
    assert off.read().tobytes() == quantiser()["c.weight"].tobytes()
    assert "switched off" in off.notes[0]
    shifted = recombine(from_arrays(quantiser(zero_point=np.array([3], np.int32))))["c.weight"]
    assert "zero point" in shifted.unreadable
    wrong = recombine(from_arrays(quantiser(scale=np.ones(3, np.float32))))["c.weight"]
    assert "do not fit" in wrong.unreadable


def test_a_part_without_numbers_is_a_reason_and_no_error():
    tensors = from_arrays(quantiser())
    name = "c.weight_fake_quant.scale"
    tensors[name] = TensorRef(name, "float32", (1,), lambda: None, unreadable="is on the meta device")
    assert recombine(tensors)["c.weight"].unreadable == "is on the meta device"


def test_a_weight_that_its_reader_has_rounded_is_left_as_it_is():
    """Of a graph: its initialisers have the names of torch's buffers, as many as the graph needs."""
    tensors = from_arrays(quantiser())
    del tensors["c.weight_fake_quant.fake_quant_enabled"]
    rounded = TensorRef("c.weight", "float32", (4, 2, 3, 1), lambda: quantiser()["c.weight"], notes=("dequantised",))
    assert recombine(tensors | {"c.weight": rounded})["c.weight"] is rounded
    assert recombine(tensors)["c.weight"].notes == ("rounded as weight_fake_quant does in training",)
