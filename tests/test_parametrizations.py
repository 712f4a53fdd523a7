"""Parametrised weights: what torch's own modules compute with, under the module's name."""

import io
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gcx
from gcx.checkpoint import TensorRef
from gcx.errors import CheckpointError
from gcx.parametrizations import recombine
from gcx.readers import read_checkpoint

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, prune  # noqa: E402

CONVS = {
    "plain": lambda: nn.Conv2d(6, 8, 3),
    "grouped": lambda: nn.Conv2d(6, 8, 3, groups=2),
    "depthwise": lambda: nn.Conv1d(6, 6, 5, groups=6),
    "transposed": lambda: nn.ConvTranspose2d(6, 4, 3, groups=2),
    "cube": lambda: nn.Conv3d(2, 4, 2),
    "square": lambda: nn.Conv2d(8, 8, 1),
    "one": lambda: nn.Conv2d(3, 1, 3),
}


def refs(state) -> dict[str, TensorRef]:
    """A state dict as a reader gives it."""
    return {
        name: TensorRef(
            name, str(t.dtype).removeprefix("torch."), tuple(t.shape), t.detach().numpy, ("t", t.data_ptr())
        )
        for name, t in state.items()
    }


def agrees(net: nn.Module, note: str, *, exact: bool = False):
    """The effective weight of module `c` as the file has it, against the one that the module computes with."""
    net.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net(net.images)  # hooks compute the weight when the module runs
    expected = net.c.weight.detach()
    found = recombine(refs(net.state_dict()))
    assert "c.weight" in found
    assert not any("parametrizations" in name or name.endswith(("_g", "_v", "_u", "_orig", "_mask")) for name in found)
    weight = found["c.weight"]
    assert any(note in said for said in weight.notes)
    assert weight.shape == tuple(expected.shape)
    array = weight.read()
    assert array.dtype == np.float32
    if exact:
        assert array.tobytes() == expected.numpy().tobytes()
    else:
        np.testing.assert_allclose(array, expected.numpy(), rtol=4e-7, atol=0)


class Holder(nn.Module):
    def __init__(self, conv):
        super().__init__()
        self.c = conv
        self.images = torch.randn(1, conv.in_channels, *[5] * len(conv.kernel_size))

    def forward(self, x):
        return self.c(x)


@pytest.fixture(params=CONVS)
def net(request):
    torch.manual_seed(1)
    return Holder(CONVS[request.param]())


@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm_of_the_older_kind(net, dim):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(net.c, dim=dim)
    with torch.no_grad():
        net.c.weight_g.mul_(torch.rand_like(net.c.weight_g) + 0.5)
    agrees(net, "weight norm")


@pytest.mark.parametrize("dim", [0, 1])
def test_weight_norm_of_the_newer_kind(net, dim):
    parametrizations.weight_norm(net.c, dim=dim)
    with torch.no_grad():
        net.c.parametrizations.weight.original0.mul_(3.7)
    agrees(net, "weight norm")


def test_spectral_norm_of_the_older_kind(net):
    nn.utils.spectral_norm(net.c)
    net.train()
    for _ in range(3):
        net(net.images)
    agrees(net, "spectral norm")


def test_spectral_norm_of_the_newer_kind(net):
    parametrizations.spectral_norm(net.c)
    net.train()
    for _ in range(3):
        net(net.images)
    agrees(net, "spectral norm")


def test_pruning_masks(net):
    prune.l1_unstructured(net.c, "weight", amount=0.4)
    agrees(net, "pruned", exact=True)


def test_a_mask_under_weight_norm(net):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(net.c)
    prune.random_unstructured(net.c, "weight_v", amount=0.3)
    agrees(net, "weight norm")


@pytest.mark.parametrize("make", [nn.utils.parametrizations.orthogonal, None])
def test_what_the_file_does_not_describe_is_skipped_with_the_reason(make, tmp_path):
    class Symmetric(nn.Module):
        def forward(self, w):
            return w + w.flip(-1)

    net = Holder(nn.Conv2d(4, 4, 3))
    if make is None:
        torch.nn.utils.parametrize.register_parametrization(net.c, "weight", Symmetric())
    else:
        make(net.c)
    torch.save(net.state_dict(), tmp_path / "net.pt")
    skipped = gcx.correlate(str(tmp_path / "net.pt")).models[0].skipped
    assert [(layer.name, "does not describe" in layer.reason) for layer in skipped] == [("c", True)]


def test_two_parametrizations_on_one_weight_are_not_guessed(tmp_path):
    net = Holder(nn.Conv2d(4, 4, 3))
    parametrizations.spectral_norm(parametrizations.weight_norm(net.c))
    assert recombine(refs(net.state_dict()))["c.weight"].unreadable


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


@pytest.mark.parametrize(
    ("shapes", "names"),
    [
        ({"c.weight_g": (7, 1, 1, 1), "c.weight_v": (8, 3, 3, 3)}, ["c.weight_g", "c.weight_v"]),  # does not fit
        ({"c.weight_g": (8, 3, 1, 1), "c.weight_v": (8, 3, 3, 3)}, ["c.weight_g", "c.weight_v"]),  # two axes
        ({"c.weight_v": (8, 3, 3, 3)}, ["c.weight_v"]),
        ({"c.weight_orig": (8, 3, 3, 3), "c.weight_u": (8,)}, ["c.weight_orig", "c.weight_u"]),  # torch before 1.1
        ({"c.weight_orig": (8, 3, 3, 3), "c.weight_mask": (8, 3, 3, 1)}, ["c.weight_orig", "c.weight_mask"]),
        ({"c.weight": (8, 3, 3, 3), "c.weight_orig": (8, 3, 3, 3), "c.weight_mask": (8, 3, 3, 3)}, None),
        ({"weight_g": (8, 1), "weight_v": (8, 3)}, None),  # a linear layer stays as it is
        ({"c.weight_g": (), "c.weight_v": (8, 3, 3, 3)}, ["c.weight"]),
        ({"weight_orig": (8, 3, 3, 3), "weight_mask": (8, 3, 3, 3)}, ["weight"]),
    ],
)
def test_parts_go_together_where_their_shapes_allow(shapes, names):
    rng = np.random.default_rng(0)
    found = recombine(from_arrays({name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}))
    assert list(found) == (list(shapes) if names is None else names)


def test_the_layer_counts_as_a_plain_one(tmp_path):
    """Groups, order, ties and the report of a net with weight norm, against the same net with it removed."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 16, 3, groups=4), nn.BatchNorm2d(16))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for place in (0, 2):
            nn.utils.weight_norm(net[place])
    torch.save(net.state_dict(), tmp_path / "normed.pt")
    for place in (0, 2):
        nn.utils.remove_weight_norm(net[place])
    torch.save(net.state_dict(), tmp_path / "plain.pt")
    normed, plain = (gcx.correlate(str(tmp_path / f"{name}.pt")).models[0] for name in ("normed", "plain"))
    assert [layer.name for layer in normed.measured] == [layer.name for layer in plain.measured] == ["0", "2"]
    for one, other in zip(normed.measured, plain.measured, strict=True):
        assert (one.groups, one.groups_confidence) == (other.groups, other.groups_confidence)
        assert one.within.mean_r2 == pytest.approx(other.within.mean_r2, rel=1e-6)
        assert any("weight norm" in note for note in one.notes)
    assert normed.coverage.convs == plain.coverage.convs if hasattr(normed.coverage, "convs") else True


def test_a_whole_pickled_module_keeps_its_groups(tmp_path):
    net = nn.Sequential(nn.Conv2d(8, 8, 3, groups=4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(net[0])
        torch.save(net, tmp_path / "whole.pt")
    layer = gcx.correlate(str(tmp_path / "whole.pt")).models[0].measured[0]
    assert (layer.name, layer.groups, layer.groups_from) == ("0", 4, "recorded")


def test_live_modules_and_files_agree(tmp_path):
    torch.manual_seed(4)
    net = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2)).eval()
    parametrizations.weight_norm(net[0])
    torch.save(net.state_dict(), file := io.BytesIO())
    (tmp_path / "net.pt").write_bytes(file.getvalue())
    live, read = gcx.correlate(net).models[0].measured[0], gcx.correlate(str(tmp_path / "net.pt"), groups={"0": 2})
    assert live.within.mean_r2 == pytest.approx(read.models[0].measured[0].within.mean_r2, rel=1e-6)


def test_a_filter_of_zeros_is_what_torch_makes_of_it(tmp_path):
    state = {"c.weight_g": torch.ones(4, 1, 1, 1), "c.weight_v": torch.randn(4, 2, 3, 3)}
    state["c.weight_v"][1] = 0
    torch.save(state, tmp_path / "net.pt")
    assert "NaN" in gcx.correlate(str(tmp_path / "net.pt")).models[0].skipped[0].reason


def test_a_damaged_part_is_an_error_with_its_name():
    def broken():
        raise CheckpointError("is damaged")

    parts = from_arrays({"c.weight_g": np.ones((4, 1, 1), np.float32), "c.weight_v": np.ones((4, 2, 3), np.float32)})
    parts["c.weight_g"] = TensorRef("c.weight_g", "float32", (4, 1, 1), broken)
    with pytest.raises(CheckpointError, match="damaged"):
        recombine(parts)["c.weight"].read()


def test_safetensors_too(tmp_path):
    save = pytest.importorskip("safetensors.numpy").save_file
    rng = np.random.default_rng(0)
    v, g = rng.normal(size=(8, 4, 3, 3)).astype(np.float32), rng.random((8, 1, 1, 1)).astype(np.float32)
    save({"module.c.weight_v": v, "module.c.weight_g": g}, tmp_path / "n.safetensors")
    with read_checkpoint(str(tmp_path / "n.safetensors")) as checkpoint:
        found = recombine(checkpoint.tensors)["c.weight"].read()
    assert found == pytest.approx(g * v / np.sqrt((v.astype(float) ** 2).sum(axis=(1, 2, 3), keepdims=True)), rel=3e-7)


NAMES = st.sampled_from(
    "weight weight_v weight_g weight_u weight_orig weight_mask parametrizations.weight.original"
    " parametrizations.weight.original0 parametrizations.weight.original1 parametrizations.weight.0._u"
    " parametrizations.weight.0._v weight_fake_quant.scale weight_fake_quant.zero_point bn.weight".split()
)
SIZES = st.lists(st.integers(0, 3), max_size=6).map(tuple)


@given(st.dictionaries(NAMES, SIZES, max_size=6), st.booleans())
@settings(deadline=None, derandomize=True, max_examples=400)
def test_whatever_is_there_a_weight_has_its_shape_or_a_reason(shapes, prefixed):
    prefix = "c." if prefixed else ""
    rng = np.random.default_rng(0)
    arrays = {prefix + name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    found = recombine(from_arrays(arrays))
    for name, ref in found.items():
        assert ref.name == name
        assert ref.unreadable or ref.read().shape == ref.shape
