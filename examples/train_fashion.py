"""Train the thread's kind of net on Fashion-MNIST, its second convolution in one piece or in groups, over seeds.

Runs of one seed see the same images in the same order, so that they can be compared in pairs. Each run leaves a small
JSON file; a run whose file is complete is skipped, so the same command goes on where it was stopped. The records of
the page, examples/results/fashion, are only written where `--out` says so.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import sys
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty
from typing import Any, NamedTuple

import torch
from fashion_net import CRITERIA, RECIPE, WIDTH, FashionNet, cost, equal_cost_width, measure
from image_data import Split, default_folder, digits, fashion, fetch, standardised
from recording import BUILD, Record, ensure_writable, read_json, run_script, same_making, versions, write_json
from rich.console import Console
from rich.progress import Progress
from training import make_deterministic, plain, processes, save, train

GROUPS, SEEDS, EPOCHS = (1, 2, 4, 8), tuple(range(8)), 10
EQUAL = {f"equal-{criterion}": criterion for criterion in CRITERIA}


class Plan(NamedTuple):
    """One run."""

    groups: int
    width: int
    seed: int
    epochs: int

    @property
    def name(self) -> str:
        return f"g{self.groups}-w{self.width}-seed{self.seed}"


class Places(NamedTuple):
    """Where runs read and write, and on what they run; it travels to the processes."""

    data: Path | None
    results: Path
    checkpoints: Path
    device: str
    threads: int


def run(plan: Plan, split: Split, places: Places, tell: Callable[[], None]) -> Record:
    """Train one net; keep its state at the start and after each epoch, and how well it did there."""
    # Epochs of an earlier run would be read as of this one.
    for old in checkpoint(plan, places, 0).parent.glob("epoch-*.pt"):
        old.unlink()
    torch.manual_seed(plan.seed)
    side = split.train.images.shape[-1]
    net = FashionNet(plan.groups, plan.width, side).to(places.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    epochs = []
    for epoch in itertools.chain([0], train(net, split.train, plan.seed, plan.epochs, RECIPE)):
        (train_accuracy, train_loss), (test_accuracy, test_loss) = measure(net, split.train), measure(net, split.test)
        epochs.append(
            {
                "epoch": epoch,
                "train_accuracy": train_accuracy,
                "train_loss": train_loss,
                "test_accuracy": test_accuracy,
                "test_loss": test_loss,
            }
        )
        save(plain(net.state_dict()), checkpoint(plan, places, epoch))
        tell()
    record = {
        **asked(plan, split.name, places),
        **cost(plan.groups, plan.width, side),
        "epochs": epochs,
    }
    write_json(places.results / f"{plan.name}.json", record)
    return record


def asked(plan: Plan, data: str, places: Places) -> Record:
    """What a run's file says of how it was made; a file that says otherwise is of another run."""
    return {
        "groups": plan.groups,
        "width": plan.width,
        "head": "flat",
        "seed": plan.seed,
        "n_epochs": plan.epochs,
        "data": data,
        "recipe": RECIPE,
        "device": places.device,
        "threads": places.threads,
        "versions": versions("torch", "numpy"),
    }


def is_done(plan: Plan, data: str, places: Places) -> bool:
    """Whether the run is recorded to its end and left its last checkpoint: a record alone has nothing to measure.

    Raises:
        ScriptError: there is a record, and of another run.
    """
    path = places.results / f"{plan.name}.json"
    record = read_json(path)
    if not record:
        return False
    same_making(path, record, asked(plan, data, places))
    return len(record["epochs"]) > plan.epochs and checkpoint(plan, places, plan.epochs).exists()


def checkpoint(plan: Plan, places: Places, epoch: int) -> Path:
    return places.checkpoints / plan.name / f"epoch-{epoch:02d}.pt"


def load(places: Places) -> Split:
    return standardised(fashion(places.data) if places.data else digits(), places.device)


_process: dict[str, Any] = {}


def start_process(places: Places, ticks: Any) -> None:
    """Make ready a process for many runs: the data is read once."""
    make_deterministic(places.threads)
    _process.update(split=load(places), places=places, ticks=ticks)


def run_in_process(plan: Plan) -> Record:
    return run(plan, _process["split"], _process["places"], lambda: _process["ticks"].put(None))


def run_all(plans: list[Plan], places: Places, jobs: int, progress: Progress) -> None:
    """Every plan, `jobs` at a time; what is finished is on disk and printed at once."""
    split = load(places)  # data that cannot be read is one line here, before there are processes
    task, started = progress.add_task("training", total=sum(plan.epochs + 1 for plan in plans)), time.monotonic()
    if jobs == 1:
        for plan in plans:
            report(run(plan, split, places, lambda: progress.advance(task)), plan, started)
        return
    context = multiprocessing.get_context("spawn")
    ticks = context.Queue()
    with processes(jobs, context, start_process, places, ticks) as pool:
        waiting = {pool.submit(run_in_process, plan): plan for plan in plans}
        while waiting:
            for future in [future for future in waiting if future.done()]:
                report(future.result(), waiting.pop(future), started)
            advance(ticks, progress, task)


def advance(ticks: Any, progress: Progress, task: Any) -> None:
    try:
        ticks.get(timeout=0.5)
    except Empty:
        return
    progress.advance(task)


def report(record: Record, plan: Plan, started: float) -> None:
    last = record["epochs"][-1]
    scores = f"train {last['train_accuracy']:.2%}  test {last['test_accuracy']:.2%}"
    print(f"{plan.name}  {scores}  (after {time.monotonic() - started:.0f} s)", flush=True)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    command = "python examples/train_fashion.py"
    parser = argparse.ArgumentParser(
        prog=command,
        description=__doc__,
        epilog=f"examples:\n  {command} --quick\n  {command} --data fashion-mnist --jobs 2\n"
        f"  {command} --width equal-multiply-adds --groups 2 4 8 --seeds 0 1 2 3",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="seconds: 2 epochs of digits, groups 1 and 4, seed 0")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the files of Fashion-MNIST; else downloaded once")
    parser.add_argument("--groups", type=int, nargs="+", metavar="G", help="default: 1 2 4 8")
    parser.add_argument("--seeds", type=int, nargs="+", metavar="S", help="default: 0 1 2 3 4 5 6 7")
    parser.add_argument("--epochs", type=int, metavar="N", help=f"default: {EPOCHS}")
    parser.add_argument(
        "--width",
        default=str(WIDTH),
        metavar="W",
        help=f"channels into conv; equal-multiply-adds or equal-parameters: as {WIDTH} ungrouped; default: {WIDTH}",
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time; default: 1")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of each run; default: 1")
    parser.add_argument("--out", type=Path, metavar="DIR", help="a record of each run; default: build/fashion")
    parser.add_argument("--checkpoints", type=Path, metavar="DIR", help="a folder of each run; default: as --out")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    parser.add_argument("--force", action="store_true", help="train again what is already there")
    options = parser.parse_args(arguments)
    complete(options, parser)
    return options


def complete(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Fill in what was not said, and refuse what cannot be meant."""
    options.groups = options.groups or ([1, 4] if options.quick else list(GROUPS))
    options.seeds = options.seeds or ([0] if options.quick else list(SEEDS))
    options.epochs = (2 if options.quick else EPOCHS) if options.epochs is None else options.epochs
    options.out = options.out or BUILD / ("quick-fashion" if options.quick else "fashion")
    options.checkpoints = options.checkpoints or options.out
    options.device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if min(options.epochs, options.jobs, options.threads, *options.groups) < 1 or min(options.seeds) < 0:
        parser.error("--groups, --epochs, --jobs and --threads start at 1, --seeds at 0")
    if options.width not in EQUAL and not (options.width.isdecimal() and int(options.width)):
        parser.error(f"--width is a number of channels, {' or '.join(EQUAL)}")
    for groups in options.groups:
        if width_of(options, groups) % groups:
            parser.error(f"--groups divides {options.width} channels, and {groups} does not")
    if options.quick and options.data:
        parser.error("--quick trains on digits: leave --data out")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU here: leave --device out")


def width_of(options: argparse.Namespace, groups: int) -> int:
    criterion = EQUAL.get(options.width)
    return equal_cost_width(groups, criterion) if criterion else int(options.width)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    make_deterministic(options.threads)
    data = None if options.quick else options.data or default_folder()
    places = Places(data, options.out, options.checkpoints, options.device, options.threads)
    # All of one seed before the next: what is stopped early can still be compared in pairs.
    wanted = [
        Plan(groups, width_of(options, groups), seed, options.epochs)
        for seed, groups in itertools.product(sorted(set(options.seeds)), sorted(set(options.groups)))
    ]
    name = "digits" if options.quick else "fashion-mnist"
    todo = [plan for plan in wanted if options.force or not is_done(plan, name, places)]
    for folder in (options.out, options.checkpoints):
        ensure_writable(folder)
    if todo and data and not options.data:
        fetch(data)
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        if todo:
            run_all(todo, places, min(options.jobs, len(todo)), progress)
    print(f"{len(todo)} trained, {len(wanted) - len(todo)} were there already: {options.out}")
    return 0


if __name__ == "__main__":
    run_script(main, goes_on=True)
