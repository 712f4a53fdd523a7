"""Do two towers share out colour? A small net learns which of four ways a crop of a photograph was turned.

Its second and third convolution are in two groups, so the filters of the first fall into two halves that meet only in
the head, as AlexNet's did on two GPUs. gcx says whether the halves differ in colour (`gcx correlate --induced`). The
control is the same net in one piece, its halves named at random (`--virtual-groups 2`), and both before training. Six
photographs are an illustration, no experiment on vision.
"""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from recording import (
    HERE,
    Record,
    ScriptError,
    parse_options,
    read_json,
    run_script,
    same_making,
    versions,
    write_json,
    write_whole,
)
from rich.console import Console
from rich.progress import track as progress
from torch import Tensor, nn
from torch.nn import functional
from training import content, make_deterministic, plain, processes

import gcx
from gcx.contract import to_mapping

SEEDS, TOWERS = tuple(range(24)), (2, 1)
SIDE, BATCH, STEPS, QUICK_STEPS = 32, 64, 1500, 20
SHRINK, TEST_SHARE, TEST_WIDTH, TEST_CROPS = 4, 0.25, 40, 2000
SGD: Record = {"lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": True}
STEM = 32
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class TowerNet(nn.Module):
    """Coloured 32x32 crops to 4 turns; nothing joins the towers before the head."""

    def __init__(self, towers: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, STEM, 5, padding=2, bias=False)
        self.stem_norm = nn.BatchNorm2d(STEM)
        self.conv2 = nn.Conv2d(STEM, 48, 3, padding=1, groups=towers, bias=False)
        self.norm2 = nn.BatchNorm2d(48)
        self.conv3 = nn.Conv2d(48, 64, 3, padding=1, groups=towers, bias=False)
        self.norm3 = nn.BatchNorm2d(64)
        self.head = nn.Linear(64 * (SIDE // 8) ** 2, 4)

    def forward(self, images: Tensor) -> Tensor:
        hidden = images
        for conv, norm in ((self.stem, self.stem_norm), (self.conv2, self.norm2), (self.conv3, self.norm3)):
            hidden = functional.relu(functional.max_pool2d(norm(conv(hidden)), 2))
        return cast(Tensor, self.head(hidden.flatten(1)))


class Plan(NamedTuple):
    towers: int
    seed: int
    steps: int


def photographs() -> list[Tensor]:
    """Six photographs as (3, height, width), every 4x4 pixels averaged, so that a crop shows more than a texture.

    Each colour is centred and all are scaled alike, so that what is grey stays on the grey axis.
    """
    from skimage import data
    from sklearn.datasets import load_sample_images

    pictures = [*load_sample_images().images, data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    whole = [torch.as_tensor(np.array(one)).permute(2, 0, 1).float() / 255 for one in pictures]
    small = [functional.avg_pool2d(one[None], SHRINK)[0] for one in whole]
    pixels = torch.cat([one.flatten(1) for one in small], dim=1)
    mean, deviation = pixels.mean(dim=1)[:, None, None], pixels.std()
    return [(one - mean) / deviation for one in small]


def split(pictures: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The left of each photograph to learn from, its right quarter (40 pixels at least) to test on: none is in both."""
    edges = [one.shape[2] - max(round(one.shape[2] * TEST_SHARE), TEST_WIDTH) for one in pictures]
    cut = list(zip(pictures, edges, strict=True))
    return [one[:, :, :edge] for one, edge in cut], [one[:, :, edge:] for one, edge in cut]


def crops(pictures: list[Tensor], count: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random crops, mirrored or not, turned by 0 to 3 quarters: (count, 3, 32, 32) and how often each was turned."""

    def below(limit: int) -> int:
        return int(torch.randint(limit, (), generator=draw))

    images, turns = torch.empty(count, 3, SIDE, SIDE), torch.randint(4, (count,), generator=draw)
    for number, turn in enumerate(turns.tolist()):
        picture = pictures[below(len(pictures))]
        top, left = (below(size - SIDE + 1) for size in picture.shape[1:])
        crop = picture[:, top : top + SIDE, left : left + SIDE]
        images[number] = torch.rot90(crop.flip(2) if below(2) else crop, turn, (1, 2))
    return images, turns


def colour(net: TowerNet, towers: int) -> Record:
    """What gcx says of the colour of the stem's halves: by the towers, or by halves that mean nothing."""
    state = {name: tensor.detach().cpu() for name, tensor in net.state_dict().items()}
    groups = {f"conv{number}": towers for number in (2, 3)}
    options: dict[str, Any] = {"induced": True} if towers > 1 else {"virtual_groups": 2}
    stem = gcx.correlate(state, groups={"stem": 1, **groups}, **options).models[0].measured[0]
    halves = stem.induced_groups if towers > 1 else stem.virtual_groups
    if halves is None or halves.saturation is None:
        raise RuntimeError("gcx.correlate found no halves of the stem")
    return dict(to_mapping(halves.saturation))


def train(plan: Plan) -> tuple[Record, bytes]:
    """One run: its record, and its last convolutions as a file's content."""
    torch.manual_seed(plan.seed)
    learnt_from, tested_on = split(photographs())
    draw = torch.Generator().manual_seed(plan.seed)
    net = TowerNet(plan.towers).to(DEVICE)
    before = colour(net, plan.towers)
    optimizer = torch.optim.SGD(net.parameters(), **SGD)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, SGD["lr"], total_steps=plan.steps, cycle_momentum=False)
    for _ in range(plan.steps):
        images, turns = (part.to(DEVICE) for part in crops(learnt_from, BATCH, draw))
        optimizer.zero_grad()
        functional.cross_entropy(net(images), turns).backward()
        optimizer.step()
        schedule.step()
    net.eval()
    found = []
    for pictures in (learnt_from, tested_on):
        images, turns = (part.to(DEVICE) for part in crops(pictures, TEST_CROPS, torch.Generator().manual_seed(10_000)))
        with torch.no_grad():
            found.append(float((net(images).argmax(1) == turns).float().mean()))
    record = {
        **plan._asdict(),
        "train_accuracy": round(found[0], 4),
        "test_accuracy": round(found[1], 4),
        "before": before,
        "after": colour(net, plan.towers),
    }
    return record, content(plain(net.state_dict(), without="head."))  # which is no convolution


def known_runs(path: Path, head: Record, steps: int) -> list[Record]:
    """What the file has of this experiment already."""
    known = read_json(path)
    if known is None:
        return []
    same_making(path, known, head)
    runs: list[Record] = known["runs"]
    if any(run["steps"] != steps for run in runs):
        raise ScriptError(f"{path} has runs of other than {steps} steps: name another file by --out")
    return runs


def main(arguments: list[str] | None = None) -> int:
    options = parse_options(
        "towers", __doc__, quick=f"seconds: {QUICK_STEPS} steps, 2 seeds", seeds=SEEDS, arguments=arguments
    )
    steps = QUICK_STEPS if options.quick else STEPS
    seeds = [0, 1] if options.quick and len(options.seeds) == 1 else options.seeds
    settings = {"side": SIDE, "shrink": SHRINK, "batch": BATCH, "sgd": SGD, "schedule": "one cycle", "stem": STEM}
    head = {"settings": settings, "versions": versions("gcx", "torch", "scikit-image", "scikit-learn")}
    runs = known_runs(options.out, head, steps)
    done = {Plan(run["towers"], run["seed"], run["steps"]) for run in runs}
    todo = [plan for seed in seeds for towers in TOWERS if (plan := Plan(towers, seed, steps)) not in done]
    shown = Console(stderr=True)
    with processes(2, multiprocessing.get_context("spawn"), make_deterministic) as pool:
        for record, weights in progress(
            pool.map(train, todo), "training", len(todo), console=shown, transient=True, disable=not sys.stderr.isatty()
        ):
            runs = sorted([*runs, record], key=lambda run: (-run["towers"], run["seed"]))
            write_json(options.out, {**head, "runs": runs})
            if options.published and (record["towers"], record["seed"]) == (2, 0):
                write_whole(HERE / "checkpoints" / "towers-seed0.pt", weights)
            after = record["after"]
            print(
                f"{record['towers']} towers, seed {record['seed']}: test {record['test_accuracy']:.1%}, colour "
                f"{after['least']:.2f} to {after['most']:.2f}, p {after['pvalue']:.3f}",
                flush=True,
            )
    print(f"{len(todo)} trained, {len(runs) - len(todo)} were there already: {options.out}")
    return 0


if __name__ == "__main__":
    run_script(main, goes_on=True)
