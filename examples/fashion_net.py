"""The thread's kind of net: 1, 32, 64 channels by 3x3 kernels and a small dense head; `conv` is whole or in groups."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional

CLASSES, WIDTH = 10, 32


class FashionNet(nn.Module):
    """Grey square images to 10 classes. `conv` takes `width` channels to twice as many, in `groups`."""

    def __init__(self, groups: int, width: int = WIDTH) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        self.conv = nn.Conv2d(width, 2 * width, 3, padding=1, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(2 * width)
        self.head = nn.Linear(2 * width * 2 * 2, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        # The largest of four is rectified instead of all four: the same numbers, sooner.
        hidden = functional.relu(functional.max_pool2d(self.stem_norm(self.stem(images)), 2))
        hidden = functional.relu(self.norm(self.conv(hidden)))
        quarters = functional.avg_pool2d(hidden, images.shape[-1] // 4)
        return cast(Tensor, self.head(quarters.flatten(1)))


def cost(groups: int, width: int = WIDTH, side: int = 28) -> dict[str, Any]:
    """Parameters of the net, of `conv` alone, and the multiply-adds of one image, from the feature maps' sizes.

    Biases and norms are counted as parameters, not as multiply-adds: a norm folds into the weights before it.

    >>> cost(1)["parameters"], cost(4)["conv_parameters"], cost(4)["multiply_adds"]["conv"]
    (21482, 4608, 903168)
    """
    stem, conv = 9 * width, 9 * width * 2 * width // groups
    head, norms = 2 * width * 4 * CLASSES, 2 * width + 2 * 2 * width
    multiply_adds = {"stem": stem * side**2, "conv": conv * (side // 2) ** 2, "head": head}
    return {
        "parameters": stem + conv + norms + head + CLASSES,
        "conv_parameters": conv,
        "multiply_adds": {**multiply_adds, "total": sum(multiply_adds.values())},
    }


def equal_cost_width(groups: int) -> int:
    """The width at which the grouped net has about as many parameters as the ungrouped one of 32 channels.

    It then has no more multiply-adds, since less of its cost lies in `conv`, which sees smaller maps than the stem.

    >>> [(groups, equal_cost_width(groups)) for groups in (1, 2, 4, 8)]
    [(1, 32), (2, 44), (4, 60), (8, 80)]
    """
    wanted = cost(1)["parameters"]
    return min(
        range(groups, 16 * WIDTH, groups), key=lambda width: abs(int(cost(groups, width)["parameters"]) - wanted)
    )
