"""Train small convolutional networks on scikit-learn's digits: the middle convolution in one piece, or in groups.

The networks differ in `groups` of `conv` alone, which takes 32 channels to 64: each filter sees 32, 16, 8 or 4 of them.
Runs of one seed see the same images in the same order, so that they can be compared in pairs.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import cast

import torch
from image_data import Images, Split, digits
from recording import BUILD, HERE, Record, ensure_writable, read_json, run_script, write_json
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn import functional
from training import make_deterministic, save, train

GROUPS, SEEDS, EPOCHS = (1, 2, 4, 8), (0, 1, 2, 3), 20
FILE_NAME = "digits-g{}-seed{}.pt"
SGD: Record = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": True}
SETTINGS: Record = {"test_images": 360, "batch_size": 64, "schedule": "one cycle", "sgd": SGD}


class DigitsNet(nn.Module):
    """8x8 grey images to 10 classes; `conv` is the layer in question."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 32, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(32)
        self.conv = nn.Conv2d(32, 64, 3, padding=1, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(64)
        self.head = nn.Linear(64 * 2 * 2, 10)

    def forward(self, images: Tensor) -> Tensor:
        hidden = functional.relu(self.stem_norm(self.stem(images)))
        hidden = functional.relu(self.norm(self.conv(hidden)))
        return cast(Tensor, self.head(functional.avg_pool2d(hidden, 4).flatten(1)))


def accuracy(net: nn.Module, part: Images) -> float:
    net.eval()
    with torch.no_grad():
        hits = net(part.images).argmax(1) == part.labels
    return round(float(hits.double().mean()), 6)


def on(split: Split, device: str) -> Split:
    parts = (Images(part.images.to(device), part.labels.to(device)) for part in (split.train, split.test))
    return Split(split.name, *parts)


def run(groups: int, seed: int, options: argparse.Namespace, split: Split) -> Record:
    """Train one network, save its state dict, and say how it did."""
    torch.manual_seed(seed)
    net = DigitsNet(groups).to(options.device)
    for _ in train(net, split.train, seed, options.epochs, SETTINGS):
        pass
    record: Record = {
        "file": FILE_NAME.format(groups, seed),
        "groups": groups,
        "seed": seed,
        "epochs": options.epochs,
        "device": options.device,
        "torch": torch.__version__,
        "parameters": sum(weight.numel() for weight in net.parameters()),
        "conv_parameters": net.conv.weight.numel(),
        "train_accuracy": accuracy(net, split.train),
        "test_accuracy": accuracy(net, split.test),
    }
    save(net.cpu().state_dict(), options.out / record["file"])
    return record


def read_results(folder: Path) -> dict[str, Record]:
    """What results.json says of each file beside it; nothing where it tells of another recipe."""
    known: Record = read_json(folder / "results.json") or {"settings": SETTINGS, "runs": []}
    return {record["file"]: record for record in known["runs"] if known["settings"] == SETTINGS}


def write_results(folder: Path, records: dict[str, Record]) -> None:
    runs = sorted(records.values(), key=lambda record: (record["groups"], record["seed"]))
    write_json(folder / "results.json", {"settings": SETTINGS, "runs": runs})


def is_done(record: Record | None, options: argparse.Namespace) -> bool:
    """Trained as asked for now, and its file is still there."""
    asked = {"epochs": options.epochs, "device": options.device}
    return record is not None and asked.items() <= record.items() and (options.out / record["file"]).exists()


def parse(arguments: list[str] | None) -> argparse.Namespace:
    command = "python examples/train_digits.py"
    parser = argparse.ArgumentParser(
        prog=command,
        description=__doc__,
        epilog=f"examples:\n  {command}\n  {command} --quick\n  {command} --groups 1 8 --seeds 4 5 6 7 --out more",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="seconds: 2 epochs, groups 1 and 4, seed 0")
    parser.add_argument("--groups", type=int, nargs="+", metavar="G", help="default: 1 2 4 8")
    parser.add_argument("--seeds", type=int, nargs="+", metavar="S", help="default: 0 1 2 3")
    parser.add_argument("--epochs", type=int, metavar="N", help=f"default: {EPOCHS}")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: examples/checkpoints; build/quick by --quick")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu, as the shipped ones")
    parser.add_argument("--force", action="store_true", help="train again what is already there")
    options = parser.parse_args(arguments)
    if not {1, 2, 4, 8, 16, 32}.issuperset(options.groups or ()):
        parser.error("--groups divides 32 channels: 1, 2, 4, 8, 16 or 32")
    if (options.epochs is not None and options.epochs < 1) or min(options.seeds or SEEDS) < 0:
        parser.error("--epochs starts at 1, --seeds at 0")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU here: leave --device out")
    options.groups = options.groups or ((1, 4) if options.quick else GROUPS)
    options.seeds = options.seeds or ((0,) if options.quick else SEEDS)
    options.epochs = options.epochs or (2 if options.quick else EPOCHS)
    shipped = {*GROUPS}.issuperset(options.groups) and {*SEEDS}.issuperset(options.seeds) and options.epochs == EPOCHS
    if not (options.out or options.quick) and (not shipped or options.device != "cpu"):
        parser.error("examples/checkpoints has groups 1 to 8, seeds 0 to 3, all epochs: name another folder by --out")
    options.out = options.out or (BUILD / "quick" if options.quick else HERE / "checkpoints")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    make_deterministic()
    records = read_results(options.out)
    wanted = list(itertools.product(sorted(set(options.groups)), sorted(set(options.seeds))))
    todo = [one for one in wanted if options.force or not is_done(records.get(FILE_NAME.format(*one)), options)]
    ensure_writable(options.out)
    split = on(digits(), options.device)
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        for groups, seed in progress.track(todo, description="training"):
            record = run(groups, seed, options, split)
            records[record["file"]] = record
            write_results(options.out, records)
            print(f"{record['file']}  train {record['train_accuracy']:.2%}  test {record['test_accuracy']:.2%}")
    print(f"{len(todo)} trained, {len(wanted) - len(todo)} were there already: {options.out}")
    return 0


if __name__ == "__main__":
    run_script(main, goes_on=True)
