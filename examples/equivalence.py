"""What a grouped convolution is to a dense one: the same shapes, half the cost, a dense layer with a block mask.

Every number here is arithmetic or least squares on random and on trained layers: no training.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import cast

import torch
from image_data import Images, digits
from recording import HERE, Record, parse_options, run_script, versions, write_json
from rich.console import Console
from rich.progress import track as progress
from torch import Tensor
from torch.nn import functional
from train_digits import FILE_NAME, DigitsNet
from train_digits import SEEDS as SHIPPED

SIDE, CHANNELS, FILTERS = 100, 32, 64
GROUPS = (2, 4, 8)


def cost(in_channels: int, filters: int, side: int) -> Record:
    """Weights (no biases) and multiply-adds of a 3x3 convolution that keeps the map's size."""
    weights = filters * in_channels * 9
    return {"parameters": weights, "multiply_adds": weights * side**2}


def two_ways(seed: int) -> Record:
    """[100,100,32] through 64 filters, and two times [100,100,16] through 32 filters, concatenated."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.randn(1, SIDE, SIDE, CHANNELS, generator=draw)  # channels last, as the thread writes shapes
    dense = torch.randn(FILTERS, CHANNELS, 3, 3, generator=draw)
    halves = torch.randn(2, FILTERS // 2, CHANNELS // 2, 3, 3, generator=draw)

    first = images.permute(0, 3, 1, 2)
    whole = functional.conv2d(first, dense, padding=1)
    parts = [
        functional.conv2d(some, weight, padding=1)
        for some, weight in zip(first.split(CHANNELS // 2, dim=1), halves, strict=True)
    ]
    joined = torch.cat(parts, dim=1)
    grouped = functional.conv2d(first, halves.flatten(0, 1), padding=1, groups=2)
    last = torch.cat([part.permute(0, 2, 3, 1) for part in parts], dim=3)
    one_half = cost(CHANNELS // 2, FILTERS // 2, SIDE)
    return {
        "input": list(images.shape[1:]),
        "one_convolution": list(whole.permute(0, 2, 3, 1).shape[1:]),
        "two_concatenated": list(last.shape[1:]),
        "one_convolution_channels_first": list(whole.shape[1:]),
        "two_concatenated_channels_first": list(joined.shape[1:]),
        "two_against_groups_2": float((joined - grouped).abs().max() / joined.abs().max()),
        "cost_of_one": cost(CHANNELS, FILTERS, SIDE),
        "cost_of_two": {key: 2 * value for key, value in one_half.items()},
    }


def block_mask(filters: int, channels: int, groups: int) -> Tensor:
    """(filters, channels, 1, 1): 1 where a filter of a grouped layer reads the channel."""
    return torch.block_diag(*[torch.ones(filters // groups, channels // groups)] * groups)[..., None, None]


def as_dense(weight: Tensor, groups: int) -> Tensor:
    """The weight of a grouped layer (filters, channels/groups, kh, kw) with its zeros written out."""
    return block_mask(len(weight), weight.shape[1] * groups, groups) * weight.repeat(1, groups, 1, 1)


def masked(groups: int, seed: int, dtype: torch.dtype) -> float:
    """Largest difference of the outputs of a grouped layer and of the dense one with a mask, as a share."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.randn(4, CHANNELS, 16, 16, generator=draw, dtype=dtype)
    weight = torch.randn(FILTERS, CHANNELS // groups, 3, 3, generator=draw, dtype=dtype)
    outputs = functional.conv2d(images, weight, padding=1, groups=groups)
    again = functional.conv2d(images, as_dense(weight, groups), padding=1)
    return float((outputs - again).abs().max() / outputs.abs().max())


def subspace(groups: int) -> Record:
    """Dimensions of all weights that 8 channels to 16 filters can have, dense and grouped: by the rank of the map."""
    filters, channels = 16, 8
    free = filters * channels // groups * 9
    units = torch.eye(free, dtype=torch.float64).reshape(free, filters, channels // groups, 3, 3)
    grouped = torch.stack([as_dense(unit, groups).flatten() for unit in units])
    return {"dense": filters * channels * 9, "grouped": int(torch.linalg.matrix_rank(grouped))}


def patches(maps: Tensor) -> Tensor:
    """(n, channels, h, w) as rows of what a 3x3 filter sees: (channels, positions, 9)."""
    n, channels = maps.shape[:2]
    columns = functional.unfold(maps, 3, padding=1).reshape(n, channels, 9, -1)
    return columns.permute(1, 0, 3, 2).reshape(channels, -1, 9)


def best_fit_loss(weight: Tensor, maps: Tensor, groups: int) -> float:
    """What the best grouped layer (least squares, with a bias) leaves of a dense layer's outputs: share of variance."""
    rows = patches(maps)
    filters, channels = weight.shape[:2]
    lost, total = 0.0, 0.0
    everything = rows.permute(1, 0, 2).flatten(1)
    outputs = everything @ weight.flatten(1).T
    outputs = outputs - outputs.mean(0)
    for group in range(groups):
        own = slice(group * channels // groups, (group + 1) * channels // groups)
        wanted = outputs[:, group * filters // groups : (group + 1) * filters // groups]
        seen = rows[own].permute(1, 0, 2).flatten(1)
        seen = seen - seen.mean(0)
        fitted = seen @ torch.linalg.lstsq(seen.T @ seen, seen.T @ wanted, driver="gelsd").solution
        lost += float(((wanted - fitted) ** 2).sum())
        total += float((wanted**2).sum())
    return lost / total


def random_fit_loss(groups: int, seed: int) -> float:
    """Of a random dense layer on inputs whose numbers are all independent."""
    draw = torch.Generator().manual_seed(seed)
    maps = torch.randn(24, 16, 16, 16, generator=draw, dtype=torch.float64)
    return best_fit_loss(torch.randn(32, 16, 3, 3, generator=draw, dtype=torch.float64), maps, groups)


def at_the_start(groups: int, seed: int) -> DigitsNet:
    """The net that `train_digits.py` starts this run from, in float64."""
    torch.manual_seed(seed)
    return DigitsNet(groups).double()


def at_the_end(groups: int, seed: int) -> DigitsNet:
    """The net as that run left it: it lies in checkpoints/."""
    net = DigitsNet(groups)
    net.load_state_dict(torch.load(HERE / "checkpoints" / FILE_NAME.format(groups, seed), weights_only=True))  # noqa: TID251 - a file that lies here
    return net.double()


def trained_fit_loss(groups: int, seed: int, images: Tensor) -> float:
    """Of the layer `conv` of a trained ungrouped net, its channels in their order, on what it reads."""
    net = at_the_end(1, seed).eval()
    with torch.no_grad():
        maps = functional.relu(net.stem_norm(net.stem(images)))
        return best_fit_loss(net.conv.weight, maps, groups)


def gradients(net: DigitsNet, data: Images, *, mask: bool) -> Record:
    """Root mean square gradient on the blocks and off them, where a grouped net is: `conv` written as a dense layer.

    With the mask in the forward pass it is 0 off them; without, it says how fast dense training leaves the subspace.
    """
    groups = net.conv.groups
    blocks = block_mask(64, 32, groups).expand(64, 32, 3, 3).bool()
    dense = as_dense(net.conv.weight.detach(), groups).requires_grad_()
    hidden = functional.relu(net.stem_norm(net.stem(data.images)))
    hidden = functional.relu(net.norm(functional.conv2d(hidden, dense * blocks if mask else dense, padding=1)))
    outputs = net.head(functional.avg_pool2d(hidden, 4).flatten(1))
    functional.cross_entropy(outputs, data.labels).backward()
    squared = cast(Tensor, dense.grad) ** 2
    return {"on": float(squared[blocks].mean().sqrt()), "off": float(squared[~blocks].mean().sqrt())}


def mean(values: list[float]) -> float:
    return float(f"{sum(values) / len(values):.4g}")


def gradient_rows(groups: int, seeds: list[int], data: Images) -> Record:
    """Means over seeds: the gradient on the blocks, and its size off them as a share."""
    found = {}
    for when, net in (("start", at_the_start), ("trained", at_the_end)):
        free = [gradients(net(groups, seed), data, mask=False) for seed in seeds]
        found[when] = {
            "on_blocks": mean([one["on"] for one in free]),
            "off_over_on": mean([one["off"] / one["on"] for one in free]),
        }
    masked = [gradients(at_the_end(groups, seed), data, mask=True)["off"] for seed in seeds]
    return {**found, "masked_off": max(masked)}


def measure(seeds: list[int], rows: Iterable[int]) -> Record:
    shipped = [seed for seed in seeds if seed in SHIPPED] or [0]
    data = digits().train
    data = Images(data.images.double(), data.labels)
    return {
        "shapes": two_ways(seeds[0]),
        "groups": [
            {
                "groups": groups,
                "masked_float32": max(float(f"{masked(groups, seed, torch.float32):.1e}") for seed in seeds),
                "masked_float64": max(float(f"{masked(groups, seed, torch.float64):.1e}") for seed in seeds),
                "dimensions": subspace(groups),
                "random_fit_loss": mean([random_fit_loss(groups, seed) for seed in seeds]),
                "trained_fit_loss": mean([trained_fit_loss(groups, seed, data.images) for seed in shipped]),
                "gradient": gradient_rows(groups, shipped, data),
            }
            for groups in rows
        ],
    }


def main(arguments: list[str] | None = None) -> int:
    options = parse_options("equivalence", __doc__, quick="seed 0 alone", seeds=SHIPPED, arguments=arguments)
    torch.set_num_threads(1)
    hidden, console = not sys.stderr.isatty(), Console(stderr=True)
    found = measure(options.seeds, progress(GROUPS, "measuring", console=console, transient=True, disable=hidden))
    settings = {"side": SIDE, "channels": CHANNELS, "filters": FILTERS, "kernel": 3, "seeds": options.seeds}
    write_json(options.out, {"settings": settings, "versions": versions("torch", "scikit-learn"), **found})
    shapes = found["shapes"]
    print(f"{shapes['input']} -> one {shapes['one_convolution']}, two {shapes['two_concatenated']}")
    print(f"cost of one {shapes['cost_of_one']}, of two {shapes['cost_of_two']}")
    for row in found["groups"]:
        print(", ".join(f"{key} {value}" for key, value in row.items()))
    return 0


if __name__ == "__main__":
    run_script(main)
