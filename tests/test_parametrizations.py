"""Parametrised weights: what torch's own modules compute with, under the module's name."""

import io
import time
import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gcx
from gcx.checkpoint import ConvSpec, TensorRef
from gcx.errors import CheckpointError
from gcx.extract import find_convolutions
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


def from_arrays(arrays) -> dict[str, TensorRef]:
    return {name: TensorRef(name, a.dtype.name, a.shape, lambda a=a: a) for name, a in arrays.items()}


def masks(module, name):
    return prune.random_unstructured(module, name, amount=0.4)


QUANTISER = {
    "scale": np.array([2 / 255], np.float32),
    "zero_point": np.array([0], np.int32),
    "fake_quant_enabled": np.array([1], np.uint8),
    "activation_post_process.min_val": np.array(-1, np.float32),
    "activation_post_process.max_val": np.array(1, np.float32),
}
"""A file's fake quantiser of eight bits."""


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


@pytest.mark.parametrize("name", ["original1", "original0"])
def test_a_mask_under_weight_norm_of_the_newer_kind(net, name):
    parametrizations.weight_norm(net.c)
    with torch.no_grad():
        net.c.parametrizations.weight.original0.mul_(3.7)
    prune.random_unstructured(net.c.parametrizations.weight, name, amount=0.4)
    agrees(net, "weight norm")


def test_a_mask_under_spectral_norm_of_the_newer_kind(net):
    parametrizations.spectral_norm(net.c)
    prune.random_unstructured(net.c.parametrizations.weight, "original", amount=0.4)
    agrees(net, "spectral norm")


STACKS = {
    "spectral norm, its weight weight-normed": (
        (nn.utils.spectral_norm, "weight"),
        (nn.utils.weight_norm, "weight_orig"),
    ),
    "weight norm, its direction spectral-normed": (
        (nn.utils.weight_norm, "weight"),
        (nn.utils.spectral_norm, "weight_v"),
    ),
    "masked, its weight spectral-normed": ((masks, "weight"), (nn.utils.spectral_norm, "weight_orig")),
    "spectral norm, its weight masked": ((nn.utils.spectral_norm, "weight"), (masks, "weight_orig")),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("stack", STACKS)
def test_one_parametrization_of_a_part_of_another(net, stack):
    for wrap, name in STACKS[stack]:
        wrap(net.c, name)
    net.train()
    for _ in range(3):
        net(net.images)
    net.eval()
    net(net.images)  # each hook computes with what the one after it made the time before
    agrees(net, "")


class Odd(nn.Module):
    """A convolution whose weight is not called one."""

    in_channels, kernel_size = 4, (3, 3)

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(8, 4, 3, 3))

    def forward(self, x):
        return nn.functional.conv2d(x, self.kernel)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "wrap",
    [nn.utils.weight_norm, nn.utils.spectral_norm, masks, parametrizations.weight_norm, parametrizations.spectral_norm],
)
def test_a_weight_of_another_name(wrap, tmp_path):
    torch.manual_seed(1)
    net = Holder(Odd())
    wrap(net.c, "kernel")
    for _ in range(3):
        net(net.images)
    net.eval()(net.images)
    found = recombine(refs(net.state_dict()))
    assert list(found) == ["c.kernel"]
    np.testing.assert_allclose(found["c.kernel"].read(), net.c.kernel.detach().numpy(), rtol=4e-7, atol=0)
    for model in (net, net.state_dict()):
        assert [layer.name for layer in gcx.correlate(model).models[0].measured] == ["c"]


@pytest.mark.parametrize(
    "shapes",
    [
        {"c.kernel_g": (7, 1, 1, 1), "c.kernel_v": (8, 3, 3, 3)},
        {"c.kernel_orig": (8, 3, 3, 3), "c.kernel_u": (8,)},
        {"c.weight_orig_v": (8, 3, 3, 3), "c.weight_u": (8,)},
        {"c.parametrizations.weight.original0": (8, 1, 1, 1), "c.parametrizations.weight.original1_orig": (8, 3, 3, 3)},
        {"c.parametrizations.weight.basis": (8, 3, 3, 3)},
        {"c.weight": (8, 3, 3, 3), "c.parametrizations.weight.original": (8, 4, 3, 3)},
    ],
)
def test_a_part_that_stays_one_is_not_measured(shapes):
    rng = np.random.default_rng(0)
    model = gcx.correlate({name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}).models[0]
    assert [layer.name for layer in model.measured] == ["c"] * ("c.weight" in shapes)
    assert len(model.skipped) == 1
    assert "parametrization" in model.skipped[0].reason or "part of the weight only" in model.skipped[0].reason


def test_alike_names_of_whole_weights_are_measured():
    rng = np.random.default_rng(0)
    names = ["c.kernel_v", "c.kernel_h", "d.filter_g", "d.filter_v", "e.kernel_orig"]
    model = gcx.correlate({name: rng.normal(size=(8, 4, 3, 3)).astype(np.float32) for name in names}).models[0]
    assert len(model.measured) == 5


def test_spectral_norm_that_never_trained():
    torch.manual_seed(0)
    conv = nn.utils.spectral_norm(nn.ConvTranspose2d(8, 8, 3)).eval()
    conv(torch.randn(1, 8, 5, 5))
    state = refs({f"c.{key}": value for key, value in conv.state_dict().items()})
    known = recombine(state, {"c": ConvSpec(1, True)})["c.weight"]
    np.testing.assert_allclose(known.read(), conv.weight.detach().numpy(), rtol=1e-6)
    assert known.notes == ("divided by its spectral norm",)
    assert "the larger along two axes" in recombine(state)["c.weight"].notes[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weight_norm_of_halves_says_that_it_is_done_in_singles(dtype):
    state = parametrizations.weight_norm(nn.Conv2d(4, 8, 3)).to(dtype).state_dict()
    tensors = {name: TensorRef(name, str(dtype)[6:], tuple(t.shape), t.float().numpy) for name, t in state.items()}
    notes = recombine(tensors)["weight"].notes
    assert notes == (f"taken for weight norm: g v / |v|, in float32 where the net computes in {str(dtype)[6:]}",)


@pytest.mark.parametrize(
    "name", ["bias" * 50_000, "weight_" * 30_000 + "orig", "parametrizations." * 12_000, "_v" * 90_000]
)
def test_a_long_name_takes_no_longer_than_its_length(name):
    """A pattern that goes back once for each letter would take a minute here."""
    before = time.process_time()
    for tensor in (name, f"{name}_orig", f"{name}_mask", f"{name}.weight_v"):
        found = recombine(from_arrays({tensor: np.ones((4, 4, 3, 3), np.float32)}))
        find_convolutions({name: ref.shape for name, ref in found.items()})
    assert time.process_time() - before < 5


@pytest.mark.parametrize("kind", ["masked", "weight norm", "spectral norm", "rounded", "rounded with its norm"])
def test_memory_stays_within_three_weights(kind):
    shape, one = (64, 64, 32, 32), np.ones
    arrays = {
        "masked": {"c.weight_mask": one(shape, bool)},
        "weight norm": {"c.weight_g": one((64, 1, 1, 1), np.float32)},
        "spectral norm": {"c.weight_u": one(64, np.float32), "c.weight_v": one(2**16, np.float32)},
    }.get(kind, {f"c.weight_fake_quant.{key}": value for key, value in QUANTISER.items()})
    if kind.endswith("its norm"):
        arrays |= {"c.bn.weight": one(64, np.float32), "c.bn.running_var": one(64, np.float32)}
    name = {"masked": "c.weight_orig", "weight norm": "c.weight_v", "spectral norm": "c.weight_orig"}.get(
        kind, "c.weight"
    )
    tensors = from_arrays(arrays)
    tensors[name] = TensorRef(name, "float32", shape, lambda: one(shape, np.float32))
    weight = recombine(tensors)["c.weight"]
    tracemalloc.start()
    assert weight.read().shape == shape
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3.1 * 4 * 64 * 64 * 32 * 32


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
    assert normed.coverage == plain.coverage


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
    " parametrizations.weight.0._v parametrizations.weight.original1_orig parametrizations.weight.original1_mask"
    " weight_orig_g weight_orig_v weight_v_orig weight_v_mask kernel_g kernel_v weight_fake_quant.scale"
    " weight_fake_quant.zero_point weight_fake_quant.fake_quant_enabled bn.weight bn.running_var"
    " weight_fake_quant.activation_post_process.min_val weight_fake_quant.activation_post_process.max_val".split()
)
SIZES = st.lists(st.integers(0, 3), max_size=6).map(tuple)


@given(st.dictionaries(NAMES, SIZES, max_size=9), st.booleans())
@settings(deadline=None, derandomize=True, max_examples=400)
def test_whatever_is_there_a_weight_has_its_shape_or_a_reason(shapes, prefixed):
    prefix = "c." if prefixed else ""
    rng = np.random.default_rng(0)
    arrays = {prefix + name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    found = recombine(from_arrays(arrays))
    for name, ref in found.items():
        assert ref.name == name
        assert ref.unreadable or ref.read().shape == ref.shape
