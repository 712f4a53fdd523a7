"""Train one small network on scikit-learn's digits and follow it while it trains: `gcx.Tracker` in a plain loop.

Every few epochs a checkpoint is saved as well; `gcx track` says the same of the folder afterwards.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from image_data import digits
from recording import BUILD, HERE, ensure_writable, run_script
from rich.console import Console
from rich.progress import track as progress
from torch.nn import functional
from train_digits import SETTINGS, SGD, DigitsNet, accuracy
from training import make_deterministic, save

import gcx

EPOCHS, EVERY = 20, 4


def parse(arguments: list[str] | None) -> argparse.Namespace:
    command = "python examples/track_digits.py"
    parser = argparse.ArgumentParser(
        prog=command,
        description=__doc__,
        epilog=f"examples:\n  {command}\n  {command} --quick\n  {command} --groups 8 --out run-of-8",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="seconds: 2 epochs, a checkpoint of each")
    parser.add_argument("--groups", type=int, choices=(1, 2, 4, 8), default=4, help="of conv; default: 4")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--out", type=Path, metavar="DIR", help="checkpoints; default: examples/run")
    options = parser.parse_args(arguments)
    if options.seed < 0:
        parser.error("--seed starts at 0")
    if not (options.out or options.quick) and (options.groups, options.seed) != (4, 0):
        parser.error("examples/run is of four groups and seed 0: name another folder by --out")
    options.out = options.out or (BUILD / "quick-run" if options.quick else HERE / "run")
    options.epochs, options.every = (2, 1) if options.quick else (EPOCHS, EVERY)
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    ensure_writable(options.out)
    make_deterministic()
    torch.manual_seed(options.seed)
    (_, train, test), order = digits(), torch.Generator().manual_seed(options.seed)
    net = DigitsNet(options.groups)
    optimizer = torch.optim.SGD(net.parameters(), **SGD)
    tracker = gcx.Tracker(net)
    save(net.state_dict(), options.out / "epoch-00.pt")
    tracker.step(0)
    console = Console(stderr=True)
    for epoch in progress(
        range(1, options.epochs + 1), "training", console=console, transient=True, disable=not sys.stderr.isatty()
    ):
        net.train()
        for batch in torch.randperm(len(train.labels), generator=order).split(SETTINGS["batch_size"]):
            optimizer.zero_grad()
            functional.cross_entropy(net(train.images[batch]), train.labels[batch]).backward()
            optimizer.step()
        scalars = tracker.step(epoch)
        # With TensorBoard: for name, value in scalars.items(): writer.add_scalar(name, value, epoch)
        if epoch % options.every == 0:
            save(net.state_dict(), options.out / f"epoch-{epoch:02d}.pt")
            conv = {key: scalars[f"gcx/conv/{key}"] for key in ("mean_r2", "excess", "filter_r")}
            said = "  ".join(f"{key} {value:.4f}" for key, value in conv.items())
            print(f"epoch {epoch:2}  test {accuracy(net, test):.1%}  conv: {said}")
    track = tracker.report().track
    print(track.verdict if track else "")
    return 0


if __name__ == "__main__":
    run_script(main)
