"""Quantised modules, whole and as a state dict: the numbers that torch's own dequantize gives, groups recorded."""

from __future__ import annotations

import io

import pytest
from evil import Call, Ref, storage, zip_file
from readers.opening import opened, refused

torch = pytest.importorskip("torch")

from readers.quantised_net import SPECS, quantised_net  # noqa: E402


@pytest.fixture(scope="module")
def net():
    return quantised_net()


@pytest.mark.parametrize("whole", [True, False])
def test_quantised_convolutions_are_what_torch_dequantises(net, whole, watched):
    stream = io.BytesIO()
    torch.save(net if whole else net.state_dict(), stream)
    arrays, checkpoint = opened(stream.getvalue(), watched)
    for name in SPECS:
        module = getattr(net, name)
        assert arrays[f"{name}.weight"].tobytes() == module.weight().dequantize().contiguous().numpy().tobytes()
        assert arrays[f"{name}.bias"].tobytes() == module.bias().detach().numpy().tobytes()
        channels = "" if name == "t" else ", per channel"
        assert checkpoint.tensors[f"{name}.weight"].notes == (f"dequantised from qint8{channels}",)
    assert checkpoint.convs == (SPECS if whole else {})


def quantised(**parts):
    """A pickled quantised convolution in which every part can lie."""
    held = Call(
        Ref("torch._utils", "_rebuild_qtensor"), storage(4, "0", "QInt8Storage"), 0, (4, 1, 1, 1), (1, 1, 1, 1),
        (Ref("torch", "per_tensor_affine"), 0.5, 0), False, {},
    )  # fmt: skip
    state = (1, 4, (1, 1), (1, 1), (0, 0), (1, 1), False, (0, 0), 4, "zeros", held, None, 1.0, 0, False)
    changed = tuple(parts.get(f"at{place}", value) for place, value in enumerate(state))
    cls = parts.get("cls", Ref("torch.ao.nn.quantized.modules.conv", "Conv2d"))
    child = Call(cls, state=changed + parts.get("more", ()))
    root = {"_parameters": {}, "_buffers": {}, "_modules": {"c": child}}
    return zip_file(Call(Ref("mine", "Net"), state=root), data={"0": bytes(4)})


def test_a_built_one_is_read(watched):
    arrays, checkpoint = opened(quantised(), watched)
    assert list(arrays) == ["c.weight"]
    assert (checkpoint.convs["c"].groups, checkpoint.convs["c"].transposed) == (4, False)


@pytest.mark.parametrize(
    "parts",
    [
        {"at8": "4"},
        {"at8": True},
        {"at6": 0},
        {"at10": None},
        {"at10": (1,)},
        {"more": (1,)},
        {"cls": Ref("mine", "Conv2d")},
    ],
)
def test_what_is_packed_in_another_way_is_no_convolution(parts, watched):
    assert "no names with tensors" in refused(quantised(**parts), watched)


def test_groups_that_cannot_be_are_not_used(watched):
    _, checkpoint = opened(quantised(at8=3), watched)
    assert checkpoint.convs == {}
    assert "numbers of groups that cannot be" in checkpoint.notes[0]
