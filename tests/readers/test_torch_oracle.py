"""What torch saves, in both containers, read to the bit as torch itself loads it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from readers.opening import opened

import gcx.readers

torch = pytest.importorskip("torch")

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
]  # fmt: skip
BOTH = pytest.mark.parametrize("modern", [True, False], ids=["zip", "legacy"])


def saved(value, *, modern=True) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=modern)
    return stream.getvalue()


def bits(tensor) -> bytes:
    """The numbers of a torch tensor, in order, whatever its strides."""
    whole = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor)
    return b"" if whole.numel() == 0 else whole.reshape(-1).view(torch.uint8).numpy().tobytes()


def assert_equal(arrays, expected):
    assert list(arrays) == list(expected)
    for name, tensor in expected.items():
        array = arrays[name]
        assert array.shape == tuple(tensor.shape), name
        assert array.dtype.name == str(tensor.dtype).removeprefix("torch."), name
        assert np.ascontiguousarray(array).tobytes() == bits(tensor), name


@st.composite
def tensors(draw):
    """Views of all kinds over a base: permuted, expanded, sliced, strided by hand, empty, of rank 0 to 6."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.lists(st.integers(0, 4), max_size=6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    base = torch.randint(-100, 100, shape, generator=generator).to(torch.float32).div(7).to(dtype)
    for _ in range(draw(st.integers(0, 2))):
        way = draw(st.sampled_from(["permute", "slice", "expand", "as_strided"]))
        if way == "permute" and base.dim():
            base = base.permute(draw(st.permutations(range(base.dim()))))
        elif way == "slice" and base.dim() and base.shape[0]:
            base = base[draw(st.integers(0, base.shape[0] - 1)) :: draw(st.integers(1, 3))]
        elif way == "expand":
            base = base.expand(draw(st.integers(1, 3)), *base.shape)
        elif way == "as_strided" and base.untyped_storage().nbytes() >= 6 * base.element_size():
            base = base.as_strided((2, 2), (draw(st.integers(0, 3)), 1), draw(st.integers(0, 1)))
    return base


names = st.text(st.characters(codec=None, exclude_categories=()), min_size=1, max_size=12)


@BOTH
@settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.dictionaries(names, tensors(), min_size=1, max_size=5))
def test_every_tensor_to_the_bit(content, modern, watched):
    arrays, _ = opened(saved(content, modern=modern), watched)
    # Prefixes of wrappers may be dropped from names; the order and the numbers stay.
    assert_equal(arrays, dict(zip(arrays, content.values(), strict=True)))


@BOTH
def test_wrappers_and_prefixes(modern, watched):
    weight, bias = torch.randn(8, 4, 3, 3), torch.randn(8)
    plain = {"conv.weight": weight, "conv.bias": bias}
    prefixed = {f"module._orig_mod.{name}": tensor for name, tensor in plain.items()}
    moments = {"state": {0: {"exp_avg": torch.zeros(8, 4, 3, 3)}}, "param_groups": [{"lr": 0.1}]}
    for value in (
        plain,
        {"state_dict": prefixed, "optimizer": moments, "epoch": 3},
        {"model": {"state_dict": plain}, "best": 0.5},
        {"net": plain, "optim": moments},
        {"params": plain, "params_ema": {name: tensor * 2 for name, tensor in plain.items()}},
        [plain, {"epoch": 1}],
    ):
        arrays, _ = opened(saved(value, modern=modern), watched)
        assert_equal(arrays, plain)


def test_twins_are_told_and_can_be_chosen(watched):
    weight = torch.randn(4, 2, 3, 3)
    data = saved({"params": {"a.weight": weight}, "params_ema": {"a.weight": weight * 2}})
    arrays, checkpoint = opened(data, watched)
    assert_equal(arrays, {"a.weight": weight})
    assert checkpoint.notes == ("weights from 'params'; there is also 'params_ema'",)
    arrays, _ = opened(data, watched, weights="ema")
    assert_equal(arrays, {"a.weight": weight * 2})


@BOTH
def test_tied_tensors_share_their_storage_and_others_do_not(modern, watched):
    weight = torch.randn(4, 2, 3, 3)
    content = {"a": weight, "b": weight, "c": weight.clone(), "d": weight[1:], "e": weight.transpose(0, 1)}
    _, checkpoint = opened(saved(content, modern=modern), watched)
    storage = {name: ref.storage for name, ref in checkpoint.tensors.items()}
    assert storage["a"] == storage["b"]
    assert len({storage[name] for name in "acde"}) == 4


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@BOTH
def test_quantised_tensors_are_what_torch_dequantises(modern, watched):
    torch.manual_seed(0)
    weight = torch.randn(6, 2, 3, 3)
    scales, zeros = torch.rand(6).double() + 0.01, torch.randint(-3, 3, (6,))
    content = {
        "tensor": torch.quantize_per_tensor(weight, 0.05, 3, torch.qint8),
        "unsigned": torch.quantize_per_tensor(weight, 0.05, 128, torch.quint8),
        "wide": torch.quantize_per_tensor(1e4 * weight, 0.001, 7, torch.qint32),
        "saturated": torch.quantize_per_tensor(1e9 * weight, 0.001, 7, torch.qint32),
        "channel": torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8),
        "other axis": torch.quantize_per_channel(weight, scales[:2], zeros[:2].abs(), 1, torch.quint8),
        "wide channel": torch.quantize_per_channel(1e4 * weight, scales / 99, zeros, 0, torch.qint32),
        "float zeros": torch.quantize_per_channel(weight, scales.float(), torch.rand(6), 0, torch.quint8),
    }
    arrays, checkpoint = opened(saved(content, modern=modern), watched)
    for name, tensor in content.items():
        assert arrays[name].tobytes() == tensor.dequantize().contiguous().numpy().tobytes(), name
        channels = ", per channel" if "per_channel" in str(tensor.qscheme()) else ""
        kind = str(tensor.dtype).removeprefix("torch.")
        assert checkpoint.tensors[name].notes == (f"dequantised from {kind}{channels}",)


def test_what_has_no_numbers_says_why(watched):
    weight = torch.randn(3, 2, 1, 1)
    content = {
        "complex": weight.to(torch.complex64),
        "sparse": weight.to_sparse(),
        "meta": torch.empty(3, 2, 1, 1, device="meta"),
        "plain": weight,
    }
    _, checkpoint = opened(saved(content), watched)
    reasons = {name: ref.unreadable for name, ref in checkpoint.tensors.items()}
    assert "complex" in reasons["complex"]
    assert "sparse" in reasons["sparse"]
    assert "meta" in reasons["meta"]
    assert reasons["plain"] is None
    assert {name: ref.shape for name, ref in checkpoint.tensors.items()} == dict.fromkeys(content, (3, 2, 1, 1))


@BOTH
def test_a_whole_module_gives_its_tensors_and_its_groups(modern, watched):
    nn = torch.nn
    net = nn.Sequential(
        nn.Conv2d(4, 8, 3, groups=2),
        nn.Sequential(nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 6, 3, groups=2)),
        nn.Conv1d(6, 6, 5, groups=6),
    )
    arrays, checkpoint = opened(saved(net, modern=modern), watched)
    assert_equal(arrays, net.state_dict())
    assert checkpoint.format == "torch-module"
    assert {name: (spec.groups, spec.transposed) for name, spec in checkpoint.convs.items()} == {
        "0": (2, False),
        "1.1": (2, True),
        "2": (6, False),
    }
    wrapped, _ = opened(saved({"model": net, "epoch": 1}, modern=modern), watched)
    assert_equal(wrapped, net.state_dict())


def test_a_module_of_a_class_that_is_not_installed(watched):
    """The class lives in this function alone: whoever unpickled the file would need it."""
    import sys
    import types

    module = types.ModuleType("nowhere_to_be_found")
    source = "import torch\nclass Net(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    source += "        self.body = torch.nn.Conv2d(6, 6, 3, groups=3)\n"
    code = compile(source, "nowhere", "exec")
    exec(code, module.__dict__)
    module.Net.__module__ = "nowhere_to_be_found"
    sys.modules["nowhere_to_be_found"] = module
    net = module.Net()
    data = saved(net)
    del sys.modules["nowhere_to_be_found"]
    arrays, checkpoint = opened(data, watched)
    assert_equal(arrays, net.state_dict())
    assert checkpoint.convs["body"].groups == 3


def real_checkpoints():
    folder = Path(__file__).parents[3] / "shared" / "data" / "checkpoints"
    return sorted(path for path in folder.rglob("*.*") if path.suffix in {".pth", ".th"})


@pytest.mark.parametrize("path", real_checkpoints(), ids=lambda path: path.name[:24])
def test_real_checkpoints_to_the_bit(path, watched):
    loaded = torch.load(path, weights_only=True, map_location="cpu")
    loaded = loaded.get("state_dict", loaded)
    with watched(), gcx.readers.read_checkpoint(str(path)) as checkpoint:
        arrays = {name: ref.read() for name, ref in checkpoint.tensors.items()}
    assert_equal(arrays, {name.removeprefix("module."): tensor for name, tensor in loaded.items()})


def test_real_checkpoints_are_there_or_it_is_said():
    if not real_checkpoints():
        pytest.skip("real checkpoints are not there (../shared/data)")


@BOTH
def test_only_the_bytes_of_the_tensor_are_read(modern, watched, monkeypatch):
    """A large file costs its structure and the tensors that are asked for; a zip record is summed once for its CRC."""
    import os

    large, small = torch.zeros(500_000), torch.randn(4, 2, 3, 3)
    data = saved({"large": large, "conv.weight": small}, modern=modern)
    Path("file.pt").write_bytes(data)
    taken = []
    original = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, length, at: taken.append(length) or original(fd, length, at))
    with watched(), gcx.readers.read_checkpoint("file.pt") as checkpoint:
        opening = sum(taken)
        taken.clear()
        checkpoint.tensors["conv.weight"].read()
    assert sum(taken) < 2000
    assert opening < 0.06 * len(data) if modern else opening < 1.2 * 2**20
