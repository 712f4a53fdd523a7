"""The thread's kind of net, what it costs, and how it is trained.

1, 32, 64 channels by 3x3 kernels and a small dense head; `conv` is whole or in groups.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from image_data import Images
from recording import Record
from torch import Tensor, nn
from torch.nn import functional

CLASSES, WIDTH = 10, 32
CRITERIA = ("multiply-adds", "parameters")
SGD: Record = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": True}
RECIPE: Record = {"batch_size": 128, "schedule": "one cycle", "sgd": SGD, "augmentation": "none"}


class FashionNet(nn.Module):
    """Grey square images to 10 classes. `conv` takes `width` channels to twice as many, in `groups`.

    The head reads the whole map after a second pooling: 7x7 of each channel for images of 28x28.
    """

    def __init__(self, groups: int, width: int = WIDTH, side: int = 28) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        self.conv = nn.Conv2d(width, 2 * width, 3, padding=1, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(2 * width)
        self.head = nn.Linear(2 * width * (side // 4) ** 2, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        # The largest of four is rectified instead of all four: the same numbers, sooner.
        hidden = functional.relu(functional.max_pool2d(self.stem_norm(self.stem(images)), 2))
        hidden = functional.relu(functional.max_pool2d(self.norm(self.conv(hidden)), 2))
        return cast(Tensor, self.head(hidden.flatten(1)))


def cost(groups: int, width: int = WIDTH, side: int = 28) -> dict[str, Any]:
    """Parameters of the net, of `conv` alone, and the multiply-adds of one image, from the feature maps' sizes.

    Biases and norms are counted as parameters, not as multiply-adds: a norm folds into the weights before it.

    >>> cost(1)["parameters"], cost(4)["conv_parameters"], cost(4)["multiply_adds"]["conv"]
    (50282, 4608, 903168)
    """
    stem, conv = 9 * width, 9 * width * 2 * width // groups
    dense, norms = 2 * width * (side // 4) ** 2 * CLASSES, 2 * width + 2 * 2 * width
    multiply_adds = {"stem": stem * side**2, "conv": conv * (side // 2) ** 2, "head": dense}
    return {
        "parameters": stem + conv + norms + dense + CLASSES,
        "conv_parameters": conv,
        "multiply_adds": {**multiply_adds, "total": sum(multiply_adds.values())},
    }


def equal_cost_width(groups: int, criterion: str) -> int:
    """The largest width at which the grouped net costs no more than the ungrouped one of 32 channels.

    >>> [equal_cost_width(groups, "multiply-adds") for groups in (1, 2, 4, 8)]
    [32, 44, 60, 80]
    >>> [equal_cost_width(groups, "parameters") for groups in (1, 2, 4, 8)]
    [32, 36, 40, 40]
    """

    def spent(width: int, groups: int) -> int:
        found = cost(groups, width)
        return int(found["multiply_adds"]["total"] if criterion == "multiply-adds" else found["parameters"])

    return max(width for width in range(groups, 16 * WIDTH, groups) if spent(width, groups) <= spent(WIDTH, 1))


def measure(net: nn.Module, part: Images) -> tuple[float, float]:
    """Accuracy and mean cross-entropy over all images, the net as it would be used."""
    net.eval()
    hits, loss = 0, 0.0
    with torch.no_grad():
        # Few enough at a time that the maps stay in the cache: larger batches take almost twice as long.
        for images, labels in zip(part.images.split(250), part.labels.split(250), strict=True):
            outputs = net(images)
            hits += int((outputs.argmax(1) == labels).sum())
            loss += float(functional.cross_entropy(outputs, labels, reduction="sum"))
    return round(hits / len(part.labels), 6), round(loss / len(part.labels), 6)
