"""What a grouped convolution is to a dense one: the same shapes, half the cost, a dense layer with a block mask.

Every number here is arithmetic or least squares on random and on trained layers: no training.
"""

from __future__ import annotations

import sys
from typing import cast

import torch
from recording import HERE, Record, parse_options, versions, write_json
from torch import Tensor
from torch.nn import functional

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


def trained_parts(groups: int, seed: int) -> tuple[Tensor, Tensor, dict[str, Tensor], Tensor]:
    """Of a shipped digits net: what its layer `conv` reads, its weight, the whole state, and the images' classes."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = torch.as_tensor(data.images / 16)[:, None]
    path = HERE / "checkpoints" / f"digits-g{groups}-seed{seed}.pt"
    state = {name: tensor.double() for name, tensor in torch.load(path, weights_only=True).items()}  # noqa: TID251 - a file that lies here
    stem = functional.conv2d(images, state["stem.weight"], padding=1)
    return functional.relu(norm(stem, state, "stem_norm")), state["conv.weight"], state, torch.as_tensor(data.target)


def norm(maps: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    part = [state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
    return functional.batch_norm(maps, *part)


def gradient_shares(groups: int, seed: int) -> Record:
    """Root mean square gradient off the blocks over that on them, where a grouped net is: written as a dense layer.

    With the mask in the forward pass it is 0; without, it says how fast dense training leaves the grouped subspace.
    """
    maps, weight, state, labels = trained_parts(groups, seed)
    mask = block_mask(64, 32, groups).expand(64, 32, 3, 3).bool()
    found = {}
    for name in ("masked", "free"):
        dense = as_dense(weight, groups).requires_grad_()
        used = dense * mask if name == "masked" else dense
        hidden = functional.relu(norm(functional.conv2d(maps, used, padding=1), state, "norm"))
        outputs = functional.linear(
            functional.avg_pool2d(hidden, 4).flatten(1), state["head.weight"], state["head.bias"]
        )
        functional.cross_entropy(outputs, labels).backward()
        squared = cast(Tensor, dense.grad) ** 2
        found[name] = float((squared[~mask].mean() / squared[mask].mean()).sqrt())
    return found


def mean(values: list[float]) -> float:
    return float(f"{sum(values) / len(values):.4g}")


def measure(seeds: list[int]) -> Record:
    shipped = [seed for seed in seeds if seed < 4] or [0]
    trained = {seed: trained_parts(1, seed) for seed in shipped}
    return {
        "shapes": two_ways(seeds[0]),
        "groups": [
            {
                "groups": groups,
                "masked_float32": max(float(f"{masked(groups, seed, torch.float32):.1e}") for seed in seeds),
                "masked_float64": max(float(f"{masked(groups, seed, torch.float64):.1e}") for seed in seeds),
                "dimensions": subspace(groups),
                "random_fit_loss": mean([random_fit_loss(groups, seed) for seed in seeds]),
                "trained_fit_loss": mean([best_fit_loss(at[1], at[0], groups) for at in trained.values()]),
                "gradient_free": mean([gradient_shares(groups, seed)["free"] for seed in shipped]),
                "gradient_masked": max(gradient_shares(groups, seed)["masked"] for seed in shipped),
            }
            for groups in GROUPS
        ],
    }


def main(arguments: list[str] | None = None) -> int:
    options = parse_options("equivalence", __doc__, quick="seed 0 alone", seeds=(0, 1, 2, 3), arguments=arguments)
    torch.set_num_threads(1)
    found = measure(options.seeds)
    settings = {"side": SIDE, "channels": CHANNELS, "filters": FILTERS, "kernel": 3, "seeds": options.seeds}
    write_json(options.out, {"settings": settings, "versions": versions("torch", "scikit-learn"), **found})
    shapes = found["shapes"]
    print(f"{shapes['input']} -> one {shapes['one_convolution']}, two {shapes['two_concatenated']}")
    print(f"cost of one {shapes['cost_of_one']}, of two {shapes['cost_of_two']}")
    for row in found["groups"]:
        print(", ".join(f"{key} {value}" for key, value in row.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
