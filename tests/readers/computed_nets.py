"""Convolutions that compute their weight from what they keep, each in a way of its own that no parametrisation has."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Computed(nn.Conv2d):
    """A convolution that computes its weight from the one it keeps."""

    def __init__(self) -> None:
        super().__init__(4, 8, 3, groups=2)
        self.register_buffer("mask", (torch.rand(8, 2, 3, 3) > 0.5).float())
        self.scale = nn.Parameter(torch.rand(8, 1, 1, 1))


class Standardised(Computed):
    def forward(self, images: Tensor) -> Tensor:
        variance, mean = torch.var_mean(self.weight, dim=[1, 2, 3], keepdim=True)
        weight = (self.weight - mean) / torch.sqrt(variance + 1e-5)
        return functional.conv2d(images, weight, self.bias, groups=self.groups)


class Masked(Computed):
    def forward(self, images: Tensor) -> Tensor:
        return functional.conv2d(images, self.weight * self.mask, self.bias, groups=self.groups)


class Scaled(Computed):
    def forward(self, images: Tensor) -> Tensor:
        return functional.conv2d(images, (self.weight * self.scale).reshape(8, 2, 3, 3), self.bias, groups=self.groups)


class Equalised(Computed):
    def forward(self, images: Tensor) -> Tensor:
        return functional.conv2d(images, self.weight * 0.3, self.bias, groups=self.groups)


class Flipped(Computed):
    def forward(self, images: Tensor) -> Tensor:
        return functional.conv2d(images, self.weight.flip([2, 3]), self.bias, groups=self.groups)


class Blended(Computed):
    def __init__(self) -> None:
        super().__init__()
        self.slow = nn.Identity()
        self.slow.register_buffer("weight", torch.randn(8, 2, 3, 3))

    def forward(self, images: Tensor) -> Tensor:
        weight = self.weight * 0.1 + self.slow.weight * 0.9
        return functional.conv2d(images, weight, self.bias, groups=self.groups)


class Changed(Computed):
    def forward(self, images: Tensor) -> Tensor:
        weight = self.weight.clone()
        weight.clamp_(-0.05, 0.05)
        return functional.conv2d(images, weight, self.bias, groups=self.groups)


class ChangedInPart(Computed):
    def forward(self, images: Tensor) -> Tensor:
        weight = self.weight.clone()
        weight[:, 0].mul_(3.0)
        return functional.conv2d(images, weight, self.bias, groups=self.groups)


class Borrowed(nn.Module):
    """It takes the weight of a convolution that does not run itself."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = nn.Conv2d(4, 8, 3, groups=2)

    def forward(self, images: Tensor) -> Tensor:
        return functional.conv2d(images, self.kept.weight.tanh(), self.kept.bias, groups=self.kept.groups)


class Normalised(Computed):
    """By a function that is no operator: torch writes its code beside that of the modules."""

    def forward(self, images: Tensor) -> Tensor:
        return functional.conv2d(images, functional.normalize(self.weight, dim=1), self.bias, groups=self.groups)


class ComputedInTurn(Computed):
    """In one branch only, which torch writes even where the other is taken."""

    def forward(self, images: Tensor) -> Tensor:
        weight = self.weight
        if images.shape[0] < 9:
            weight = torch.sigmoid(weight)
        return functional.conv2d(images, weight, self.bias, groups=self.groups)


class Gated(Computed):
    """By what the images say."""

    def forward(self, images: Tensor) -> Tensor:
        gate = images.mean((0, 2, 3)).sigmoid()[:2].reshape(1, 2, 1, 1)
        return functional.conv2d(images, self.weight * gate, self.bias, groups=self.groups)


class HandedOn(Computed):
    def forward(self, images: Tensor) -> Tensor:
        return self._conv_forward(images, self.weight * 2, self.bias)


COMPUTED: dict[type[nn.Module], str] = {
    Standardised: "div",
    Masked: "mul",
    Scaled: "mul",
    Equalised: "mul",
    Flipped: "flip",
    Blended: "add",
    Changed: "clamp_",
    ChangedInPart: "mul_",
    Borrowed: "tanh",
    Normalised: "",
    ComputedInTurn: "sigmoid",
    Gated: "mul",
    HandedOn: "mul",
}
"""To each the function that makes the weight in the end; empty where each form has its own name for it."""


def computed(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), kind()).eval()
