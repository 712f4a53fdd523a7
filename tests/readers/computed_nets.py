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


class ByMethod(Computed):
    """In a method of its own, which is given the weight."""

    def run(self, images: Tensor, weight: Tensor) -> Tensor:
        return functional.conv2d(images, weight * 2, self.bias, groups=self.groups)

    def forward(self, images: Tensor) -> Tensor:
        return self.run(images, self.weight)


def convolved(images: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
    return functional.conv2d(images, weight, bias, groups=groups)


def convolved_in_two(images: Tensor, weight: Tensor) -> Tensor:
    return convolved(images, weight, None, 2)


class ByFunction(Computed):
    """In a function that it gives the weight."""

    def forward(self, images: Tensor) -> Tensor:
        return convolved(images, torch.tanh(self.weight), self.bias, self.groups)


class Handing(nn.Module):
    """Weights that functions and methods of others convolve with, as they are kept and otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = nn.Parameter(torch.randn(8, 2, 3, 3))
        self.bent = nn.Parameter(torch.randn(8, 2, 3, 3))
        self.listed = nn.ParameterList([nn.Parameter(torch.randn(8, 2, 3, 3)) for _ in range(2)])
        self.other = ByMethod()
        self.own = nn.Parameter(torch.randn(8, 1, 3, 3))
        self.pair = nn.ParameterList([nn.Parameter(torch.randn(8, 4, 3, 3)) for _ in range(2)])

    def dense(self, images: Tensor, weight: Tensor, groups: int) -> Tensor:
        return convolved(images, weight, None, groups)

    def both(self, images: Tensor, weights: list[Tensor]) -> Tensor:
        return functional.conv2d(images, weights[0], groups=2) + functional.conv2d(images, weights[1], groups=2)

    def forward(self, images: Tensor) -> Tensor:
        images = self.both(images.repeat(1, 2, 1, 1), [self.pair[0], self.pair[1] * 2])[:, :4]
        found = convolved_in_two(images, self.kept) + convolved_in_two(images, self.bent.exp())
        for weight in self.listed:
            found = found + self.other.run(images, weight)
        return self.dense(self.other(images) + found, self.own, 8)


class Matched(nn.Module):
    """One layer's result is the weight of another, and a gate: it is no form of that layer's own weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 8, 3, groups=4, padding=1)
        self.second = nn.Conv2d(8, 8, 3, groups=1, padding=1)
        self.gated = nn.Parameter(torch.randn(8, 2, 3, 3))

    def matched(self, images: Tensor, weight: Tensor) -> Tensor:
        return functional.conv2d(images, weight.reshape(8, 1, 6, 6), groups=8)

    def forward(self, images: Tensor) -> Tensor:
        found = self.second(self.first(images))
        return self.matched(found, found) + convolved(found, self.gated * found.mean(), None, 4).mean()


class Reshaped(nn.Module):
    """A weight that is kept as a matrix, beside one that is kept as a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(8, 36))
        self.kept = nn.Conv2d(8, 8, 3, groups=2)

    def forward(self, images: Tensor) -> Tensor:
        return self.kept(functional.conv2d(images, self.matrix.view(8, 4, 3, 3)))


class ChangedByFunction(Computed):
    """In place, of a copy that the function makes."""

    def forward(self, images: Tensor) -> Tensor:
        return clamped(images, self.weight)


def clamped(images: Tensor, weight: Tensor) -> Tensor:
    weight = weight.clone()
    weight.clamp_(-0.05, 0.05)
    return functional.conv2d(images, weight, groups=2)


class ResultChanged(nn.Module):
    """In place, of results: the weights stay what they are."""

    def __init__(self) -> None:
        super().__init__()
        self.inline = nn.Parameter(torch.randn(8, 2, 3, 3))
        self.handed = nn.Parameter(torch.randn(8, 4, 3, 3))

    def forward(self, images: Tensor) -> Tensor:
        found = functional.relu_(functional.conv2d(images, self.inline, groups=2))
        return activated(found, self.handed)


def activated(images: Tensor, weight: Tensor) -> Tensor:
    found = functional.conv2d(images, weight, groups=2)
    return found.relu_().add_(1.0)


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
    ByMethod: "mul",
    ChangedByFunction: "clamp_",
    ByFunction: "tanh",
}
"""To each the function that makes the weight in the end; empty where each form has its own name for it."""


def computed(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), kind()).eval()
