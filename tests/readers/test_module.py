"""Live modules and state dicts: the tensors that torch has, groups recorded, effective weights, oddities named."""

from __future__ import annotations

from collections import OrderedDict

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gcx.checkpoint import ConvSpec
from gcx.errors import CheckpointError, UsageError
from gcx.readers.base import ReadOptions
from gcx.readers.module import from_module, from_state_dict


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(), nn.Conv1d(8, 4, 1, groups=2))
        self.up = nn.ConvTranspose3d(8, 4, 2, groups=4)
        self.head = nn.Linear(4, 2)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


def test_same_tensors_as_its_state_dict_and_groups_are_recorded(net):
    checkpoint = from_module(net)
    assert (checkpoint.path, checkpoint.format) == ("Net", "torch-module")
    assert list(checkpoint.tensors) == list(net.state_dict())
    for name, tensor in net.state_dict().items():
        ref = checkpoint.tensors[name]
        assert ref.name == name
        assert (ref.shape, ref.dtype) == (tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        assert np.array_equal(ref.read(), tensor.numpy())
    assert dict(checkpoint.convs) == {
        "stem": ConvSpec(1, False),
        "body.0": ConvSpec(8, False),
        "body.2": ConvSpec(2, False),
        "up": ConvSpec(4, True),
    }
    by_dict = from_state_dict(net.state_dict())
    assert (by_dict.path, by_dict.format, by_dict.convs) == ("state_dict", "state-dict", {})
    assert {k: v.read().tobytes() for k, v in by_dict.tensors.items()} == {
        k: v.read().tobytes() for k, v in checkpoint.tensors.items()
    }


def test_nothing_is_changed_by_reading(net):
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    for ref in from_module(net).tensors.values():
        ref.read()
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_read_is_lazy(net):
    ref = from_module(net).tensors["stem.weight"]
    with torch.no_grad():
        net.stem.weight.fill_(7)
    assert (ref.read() == 7).all()


def compiled(net):
    return torch.compile(net, backend="eager")


@pytest.mark.parametrize("wrap", [nn.DataParallel, compiled, lambda net: nn.DataParallel(compiled(net))])
def test_wrappers_do_not_show(net, wrap):
    checkpoint, wrapped = from_module(net), from_module(wrap(net))
    assert list(wrapped.tensors) == list(checkpoint.tensors)
    assert wrapped.convs == checkpoint.convs
    assert wrapped.path == "Net"


def test_a_convolution_that_is_the_whole_model():
    checkpoint = from_module(nn.Conv2d(4, 4, 3, groups=2))
    assert list(checkpoint.tensors) == ["weight", "bias"]
    assert checkpoint.convs == {"weight": ConvSpec(2, False)}


def test_subclasses_of_convolutions_and_odd_attributes():
    class Same(nn.Conv2d):
        pass

    class Shuffle(nn.Module):
        def __init__(self):
            super().__init__()
            self.groups = 4
            self.weight = nn.Parameter(torch.zeros(2, 2, 1, 1))

    assert from_module(nn.Sequential(Same(4, 4, 1, groups=2), Shuffle())).convs == {"0": ConvSpec(2, False)}


# --- dtypes and odd tensors ---


@pytest.mark.parametrize(
    "dtype",
    [
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2),
        *(
            torch.float8_e8m0fnu,
            torch.int64,
            torch.int32,
            torch.int16,
            torch.int8,
            torch.uint8,
            torch.uint16,
            torch.bool,
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 2)])
def test_every_number_format_to_the_bit(dtype, shape):
    tensor = (torch.rand(shape) * 2).to(dtype)
    ref = from_state_dict({"a": tensor}).tensors["a"]
    assert ref.dtype == str(dtype).removeprefix("torch.")
    array = ref.read()
    assert array.dtype.name == ref.dtype
    assert array.shape == ref.shape == shape
    assert array.tobytes() == bytes(tensor.reshape(-1).view(torch.uint8).tolist())


def complex_half():
    return torch.zeros(2, dtype=torch.complex64)


ODD = {
    "complex": complex_half,
    "meta": lambda: torch.empty(2, 2, device="meta"),
    "sparse": lambda: torch.eye(2).to_sparse_coo(),
    "sparse tensor": lambda: torch.eye(2).to_sparse_csr(),
    "nested": lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)], layout=torch.jagged),
    "initialised": lambda: nn.LazyConv2d(3, 3).weight,
    "float4": lambda: torch.zeros(2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize("reason", ODD)
def test_what_has_no_numbers_says_why(reason):
    checkpoint = from_state_dict({"a.weight": ODD[reason](), "b": torch.ones(1)})
    ref = checkpoint.tensors["a.weight"]
    assert reason.split()[0] in ref.unreadable
    with pytest.raises(CheckpointError, match=r"tensor 'a\.weight'"):
        ref.read()
    assert checkpoint.tensors["b"].read() == 1


def test_lazy_modules_are_listed():
    ref = from_module(nn.Sequential(nn.LazyConv2d(3, 3))).tensors["0.weight"]
    assert "not initialised" in ref.unreadable


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("per_channel", [False, True])
def test_quantised_weights_are_dequantised_as_torch_does(per_channel):
    weight = torch.randn(4, 3, 2, 2)
    if per_channel:
        quantised = torch.quantize_per_channel(weight, torch.rand(4) + 0.1, torch.zeros(4), 0, torch.qint8)
    else:
        quantised = torch.quantize_per_tensor(weight, 0.1, 3, torch.quint8)
    ref = from_state_dict({"w": quantised}).tensors["w"]
    assert ref.dtype == "float32"
    assert ref.notes == ("dequantised from qint8, per channel" if per_channel else "dequantised from quint8",)
    assert np.array_equal(ref.read(), quantised.dequantize().numpy())


def test_views_negated_and_expanded_tensors():
    base = torch.arange(24.0).reshape(2, 3, 4)
    views = {
        "t": base.permute(2, 0, 1),
        "s": base[:, ::2, 1:],
        "e": torch.ones(1).expand(3, 3),
        "n": torch.arange(4.0).view(torch.complex64).conj().imag,
        "b": base.bfloat16().permute(2, 0, 1),
        "g": base.clone().requires_grad_(),
        "p": nn.Parameter(base),
    }
    for name, ref in from_state_dict(views).tensors.items():
        assert np.array_equal(ref.read().astype(float), views[name].detach().float().resolve_neg().numpy()), name


def test_tied_weights_share_their_storage():
    conv = nn.Conv2d(2, 2, 1)
    model = nn.ModuleDict({"a": conv, "b": conv, "c": nn.Conv2d(2, 2, 1)})
    model["c"].weight = conv.weight
    tensors = from_module(model).tensors
    assert tensors["a.weight"].storage == tensors["b.weight"].storage == tensors["c.weight"].storage is not None
    assert tensors["a.bias"].storage != tensors["c.bias"].storage
    assert from_module(model).convs.keys() == {"a", "b", "c"}
    base = torch.zeros(4, 4)
    state = from_state_dict({"a": base, "b": base.T, "c": base[0], "d": base.view(4, 4)}).tensors
    assert state["a"].storage == state["d"].storage
    assert len({ref.storage for ref in state.values()}) == 3
    array = np.zeros((2, 2))
    state = from_state_dict({"a": array, "b": array, "c": array.T, "d": np.zeros((2, 2))}).tensors
    assert state["a"].storage == state["b"].storage
    assert len({ref.storage for ref in state.values()}) == 3


def test_empty_tensors_are_not_tied():
    state = from_state_dict({"a": torch.empty(0, 3), "b": torch.empty(0, 3), "c": np.empty(0), "d": np.empty(0)})
    assert {ref.storage for ref in state.tensors.values()} == {None}


# --- mappings ---


def test_arrays_of_numpy_and_ml_dtypes():
    arrays = {
        "f": np.ones((2, 2), np.float32),
        "b": np.ones(2, ml_dtypes.bfloat16),
        "big": np.arange(3, dtype=">i4"),
        "order": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "scalar": np.float64(3),
    }
    tensors = from_state_dict(arrays).tensors
    assert {name: ref.dtype for name, ref in tensors.items()} == {
        "f": "float32",
        "b": "bfloat16",
        "big": "int32",
        "order": "float64",
        "scalar": "float64",
    }
    assert all(np.array_equal(tensors[name].read(), array) for name, array in arrays.items())
    odd = {"o": np.array([{}]), "c": np.zeros(2, complex), "r": np.zeros(2, [("x", "f4")]), "s": np.array(["text"])}
    tensors = from_state_dict(odd).tensors
    assert tensors.keys() == {"o", "c", "r"}
    assert all(ref.unreadable for ref in tensors.values())


def test_arrays_of_other_libraries_through_numpy():
    class Foreign:
        shape = (2,)
        dtype = np.dtype(np.float32)

        def __array__(self, dtype=None, copy=None):
            return np.ones(2, np.float32)

    ref = from_state_dict({"a": Foreign()}).tensors["a"]
    assert (ref.dtype, ref.shape, ref.read().tolist()) == ("float32", (2,), [1, 1])


def test_other_values_are_passed_over_and_prefixes_dropped():
    state = OrderedDict({"module.a": torch.ones(2), "epoch": 3, "module.b": torch.ones(1), "name": "x", "none": None})
    assert list(from_state_dict(state).tensors) == ["a", "b"]


def test_the_moving_average_can_be_chosen():
    state = {"a.weight": torch.zeros(2, 2), "ema.a.weight": torch.ones(2, 2)}
    assert from_state_dict(state).tensors["a.weight"].read().sum() == 0
    assert from_state_dict(state, ReadOptions("ema")).tensors["a.weight"].read().sum() == 4


def test_training_checkpoints_are_unwrapped():
    net, ema = torch.ones(2, 2, 1, 1), torch.zeros(2, 2, 1, 1)
    optimizer = {"state": {0: {"exp_avg": torch.ones(9)}}, "param_groups": []}
    checkpoint = {"epoch": 3, "optimizer": optimizer, "state_dict": {"module.a.weight": net}}
    assert from_state_dict(checkpoint).tensors["a.weight"].read().sum() == 4
    assert from_state_dict(checkpoint).notes == ()
    twins = {"other": optimizer, "params_ema": {"a.weight": ema}, "params": {"a.weight": net}}
    plain, average = from_state_dict(twins), from_state_dict(twins, ReadOptions("ema"))
    assert (plain.tensors["a.weight"].read().sum(), average.tensors["a.weight"].read().sum()) == (4, 0)
    assert plain.notes == ("weights from 'params'; there is also 'params_ema'",)
    assert average.notes == ("weights from 'params_ema'; there is also 'params'",)
    nested = {"model": {"state_dict": {"a.weight": net}}, "epoch": 1}
    assert list(from_state_dict(nested).tensors) == ["a.weight"]
    with pytest.raises(UsageError, match="no moving average"):
        from_state_dict(checkpoint, ReadOptions("ema"))


def test_a_module_in_a_training_checkpoint_records_its_groups(net):
    checkpoint = from_state_dict({"epoch": 1, "model": net})
    assert (checkpoint.path, checkpoint.convs["up"]) == ("Net", ConvSpec(4, True))


def test_mappings_within_mappings_without_end():
    endless = {}
    endless["a"] = endless["b"] = endless
    with pytest.raises(CheckpointError, match="maps no name to a tensor"):
        from_state_dict(endless)


def test_mappings_that_hold_no_weights():
    assert from_state_dict({}).tensors == {}
    with pytest.raises(CheckpointError, match="maps no name to a tensor"):
        from_state_dict({"a": 1})
    assert list(from_state_dict({0: torch.ones(1)}).tensors) == ["0"]  # as of a file


@settings(deadline=None, derandomize=True, max_examples=100)
@given(
    st.integers(1, 3), st.sampled_from([1, 2, 3]), st.integers(1, 3), st.booleans(), st.sampled_from(["f4", "f8", "f2"])
)
def test_every_convolution_states_itself(rank, groups, factor, transposed, dtype):
    kinds = [nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d]
    conv = kinds[rank - 1 + 3 * transposed](groups * factor, groups * 2, 2, groups=groups)
    conv = conv.to({"f4": torch.float32, "f8": torch.float64, "f2": torch.float16}[dtype])
    checkpoint = from_module(nn.Sequential(conv))
    assert checkpoint.convs == {"0": ConvSpec(groups, transposed)}
    assert np.array_equal(checkpoint.tensors["0.weight"].read(), conv.weight.detach().numpy())


def test_a_tensor_that_cannot_be_copied_out(monkeypatch):
    ref = from_state_dict({"a": torch.ones(2)}).tensors["a"]

    def cpu(self):
        raise RuntimeError("device\nis gone")

    monkeypatch.setattr(torch.Tensor, "cpu", cpu)
    with pytest.raises(CheckpointError, match="tensor 'a': cannot be copied out of torch: device") as caught:
        ref.read()
    assert str(caught.value).isprintable()
