"""Train one small network on scikit-learn's digits and follow it while it trains: `gcx.Tracker` in a plain loop.

Every few epochs a checkpoint is saved as well; `gcx track` says the same of the folder afterwards.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track as progress
from torch.nn import functional
from train_digits import HERE, SETTINGS, SGD, DigitsNet, load_split, write_whole

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
    options.out = options.out or (HERE.parent / "build" / "quick-run" if options.quick else HERE / "run")
    options.epochs, options.every = (2, 1) if options.quick else (EPOCHS, EVERY)
    return options


def save(net: DigitsNet, path: Path) -> None:
    torch.save(net.state_dict(), content := io.BytesIO())
    write_whole(path, content.getvalue())


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(options.seed)
    (train, test), order = load_split("cpu"), torch.Generator().manual_seed(options.seed)
    net = DigitsNet(options.groups)
    optimizer = torch.optim.SGD(net.parameters(), **SGD)
    tracker = gcx.Tracker(net)
    save(net, options.out / "epoch-00.pt")
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
            save(net, options.out / f"epoch-{epoch:02d}.pt")
            conv = {key: scalars[f"gcx/conv/{key}"] for key in ("mean_r2", "excess", "filter_r")}
            said = "  ".join(f"{key} {value:.4f}" for key, value in conv.items())
            print(f"epoch {epoch:2}  test {test.accuracy(net):.1%}  conv: {said}")
    track = tracker.report().track
    print(track.verdict if track else "")
    return 0


if __name__ == "__main__":
    sys.exit(main())
