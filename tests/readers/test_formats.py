"""One small net in every format: the same numbers and names come out of each, and groups where the format has them."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from gcx.checkpoint import ConvSpec
from gcx.readers import read_checkpoint
from gcx.readers.module import from_module, from_state_dict


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, groups=4, bias=False), nn.Conv2d(8, 8, 3, groups=8))
        self.up = nn.ConvTranspose2d(8, 4, 2, groups=2)

    def forward(self, x):
        return self.up(self.body(self.stem(x)))


SPECS = {
    "stem": ConvSpec(1, False),
    "body.0": ConvSpec(4, False),
    "body.1": ConvSpec(8, False),
    "up": ConvSpec(2, True),
}


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return Net().eval()


def save(net, path, form):
    state = net.state_dict()
    if form == "safetensors":
        safetensors.torch.save_file(state, path / "a.safetensors")
        return path / "a.safetensors"
    if form in ("safetensors shards", "torch shards"):
        names = list(state)
        suffix = "safetensors" if form == "safetensors shards" else "bin"
        files = [f"model-{part}-of-2.{suffix}" for part in (1, 2)]
        for file, part in zip(files, (names[:3], names[3:]), strict=True):
            some = {name: state[name].clone() for name in part}
            safetensors.torch.save_file(some, path / file) if suffix != "bin" else torch.save(some, path / file)
        index = path / f"model.{suffix}.index.json"
        index.write_text(json.dumps({"weight_map": {name: files[names.index(name) >= 3] for name in names}}))
        return index
    if form == "onnx":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(net, torch.zeros(1, 3, 9, 9), path / "a.onnx", dynamo=False)
        return path / "a.onnx"
    if form == "torch module":
        torch.save(net, path / "a.pt")
    elif form == "torch legacy":
        torch.save(state, path / "a.pt", _use_new_zipfile_serialization=False)
    else:
        torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, path / "a.pt")
    return path / "a.pt"


FORMS = ["safetensors", "safetensors shards", "torch shards", "onnx", "torch module", "torch legacy", "torch zip"]
RECORDED = ("onnx", "torch module")


@pytest.mark.parametrize("form", FORMS)
def test_every_format_gives_the_tensors_of_the_state_dict(net, tmp_path, form):
    with read_checkpoint(str(save(net, tmp_path, form))) as checkpoint:
        assert checkpoint.tensors.keys() == net.state_dict().keys()
        for name, tensor in net.state_dict().items():
            ref = checkpoint.tensors[name]
            assert (ref.name, ref.dtype, ref.shape) == (name, "float32", tuple(tensor.shape))
            assert np.array_equal(ref.read(), tensor.numpy())
        assert checkpoint.convs == (SPECS if form in RECORDED else {})


def test_live_ones_too(net):
    for checkpoint in (from_module(net), from_state_dict(net.state_dict())):
        for name, tensor in net.state_dict().items():
            assert np.array_equal(checkpoint.tensors[name].read(), tensor.numpy())
    assert from_module(net).convs == SPECS
