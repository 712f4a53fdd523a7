"""A small net that torch has quantised: dense, grouped, depthwise and transposed convolutions, a linear layer."""

from __future__ import annotations

import warnings

import torch
from torch import nn

from gcx.checkpoint import ConvSpec

SPECS = {"a": ConvSpec(1, False), "b": ConvSpec(2, False), "d": ConvSpec(8, False), "t": ConvSpec(2, True)}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.quant, self.dequant = torch.ao.quantization.QuantStub(), torch.ao.quantization.DeQuantStub()
        self.a, self.relu = nn.Conv2d(3, 8, 3), nn.ReLU()
        self.b = nn.Conv2d(8, 8, 3, groups=2)
        self.d = nn.Conv2d(8, 8, 3, groups=8, padding=1, padding_mode="reflect")
        self.t = nn.ConvTranspose2d(8, 4, 2, groups=2)
        self.linear = nn.Linear(4, 5)

    def forward(self, x):
        x = self.t(self.d(self.b(self.relu(self.a(self.quant(x))))))
        return self.dequant(self.linear(x.mean((2, 3))))


def quantised_net() -> nn.Module:
    """Weights in qint8: of `t` per tensor, of the others per channel."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = Net().eval()
        net.qconfig = torch.ao.quantization.get_default_qconfig("fbgemm")
        net.t.qconfig = torch.ao.quantization.default_qconfig
        net = torch.ao.quantization.fuse_modules(net, [["a", "relu"]])
        prepared = torch.ao.quantization.prepare(net)
        prepared(torch.randn(2, 3, 12, 12))
        return torch.ao.quantization.convert(prepared)
