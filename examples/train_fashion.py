"""Train the thread's kind of net on Fashion-MNIST, its second convolution in one piece or in groups, over seeds.

Runs of one seed see the same images in the same order, so that they can be compared in pairs. Each run leaves a small
JSON file; a run whose file is complete is skipped, so the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import io
import itertools
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from queue import Empty
from typing import Any, NamedTuple

import torch
from fashion_net import CRITERIA, HEADS, WIDTH, FashionNet, cost, equal_cost_width
from image_data import DataError, Images, Split, default_folder, digits, fashion, fetch, standardised
from recording import BUILD, RESULTS, Record, read_json, versions, write_json, write_whole
from rich.console import Console
from rich.progress import Progress
from torch import nn
from torch.nn import functional

GROUPS, SEEDS, EPOCHS = (1, 2, 4, 8), tuple(range(8)), 10
SGD: Record = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": True}
RECIPE: Record = {"batch_size": 128, "schedule": "one cycle", "sgd": SGD, "augmentation": "none"}
EQUAL = {f"equal-{criterion}": criterion for criterion in CRITERIA}


class Plan(NamedTuple):
    """One run."""

    groups: int
    width: int
    head: str
    seed: int
    epochs: int

    @property
    def name(self) -> str:
        kind = "" if self.head == "flat" else f"{self.head}-"
        return f"{kind}g{self.groups}-w{self.width}-seed{self.seed}"


class Places(NamedTuple):
    """Where runs read and write, and on what they run; it travels to the processes."""

    data: Path | None
    results: Path
    checkpoints: Path
    device: str
    threads: int


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


def train(net: nn.Module, part: Images, seed: int, epochs: int) -> Iterator[int]:
    """SGD with one warm-up and one decay, yielding after each epoch; `seed` alone says how the images are ordered."""
    order = torch.Generator().manual_seed(seed)
    steps = epochs * math.ceil(len(part.labels) / RECIPE["batch_size"])
    optimizer = torch.optim.SGD(net.parameters(), **SGD)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, SGD["lr"], total_steps=steps, cycle_momentum=False)
    for epoch in range(1, epochs + 1):
        net.train()
        shuffled = torch.randperm(len(part.labels), generator=order).to(part.labels.device)
        for batch in shuffled.split(RECIPE["batch_size"]):
            optimizer.zero_grad()
            functional.cross_entropy(net(part.images[batch]), part.labels[batch]).backward()
            optimizer.step()
            schedule.step()
        yield epoch


def save(net: nn.Module, path: Path) -> None:
    # By way of memory: into a file, torch would write the temporary name into the archive.
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in net.state_dict().items()}
    torch.save(state, content := io.BytesIO())
    write_whole(path, content.getvalue())


def run(plan: Plan, split: Split, places: Places, tell: Callable[[], None]) -> Record:
    """Train one net; keep its state at the start and after each epoch, and how well it did there."""
    torch.manual_seed(plan.seed)
    side = split.train.images.shape[-1]
    net = FashionNet(plan.groups, plan.width, plan.head, side).to(places.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    epochs = []
    for epoch in itertools.chain([0], train(net, split.train, plan.seed, plan.epochs)):
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
        save(net, checkpoint(plan, places, epoch))
        tell()
    record = {
        **asked(plan, split.name, places),
        "threads": places.threads,
        "versions": versions("torch", "numpy"),
        **cost(plan.groups, plan.width, plan.head, side),
        "epochs": epochs,
    }
    write_json(places.results / f"{plan.name}.json", record)
    return record


def asked(plan: Plan, data: str, places: Places) -> Record:
    """What a run's file says of how it was made; a file that says otherwise is of another run."""
    return {
        "groups": plan.groups,
        "width": plan.width,
        "head": plan.head,
        "seed": plan.seed,
        "n_epochs": plan.epochs,
        "data": data,
        "recipe": RECIPE,
        "device": places.device,
    }


def is_done(plan: Plan, data: str, places: Places) -> bool:
    """Whether the run is recorded to its end and left its last checkpoint: a record alone has nothing to measure."""
    record = read_json(places.results / f"{plan.name}.json")
    if not record or not checkpoint(plan, places, plan.epochs).exists():
        return False
    return asked(plan, data, places).items() <= record.items() and len(record["epochs"]) > plan.epochs


def checkpoint(plan: Plan, places: Places, epoch: int) -> Path:
    return places.checkpoints / plan.name / f"epoch-{epoch:02d}.pt"


def make_deterministic(threads: int) -> None:
    """The same seed gives the same weights on the same kind of machine with as many threads."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    # On a GPU, max pooling has no backward pass that is promised to be deterministic: then torch only warns.
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())


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
    task = progress.add_task("training", total=sum(plan.epochs + 1 for plan in plans))
    if jobs == 1:
        split = load(places)
        for plan in plans:
            started = time.monotonic()
            report(run(plan, split, places, lambda: progress.advance(task)), plan, time.monotonic() - started)
        return
    context = multiprocessing.get_context("spawn")
    ticks = context.Queue()
    with ProcessPoolExecutor(jobs, context, start_process, (places, ticks)) as pool:
        started = time.monotonic()
        waiting = {pool.submit(run_in_process, plan): plan for plan in plans}
        try:
            while waiting:
                for future in [future for future in waiting if future.done()]:
                    report(future.result(), waiting.pop(future), time.monotonic() - started)
                advance(ticks, progress, task)
        except BaseException:
            stop(waiting)
            raise


def advance(ticks: Any, progress: Progress, task: Any) -> None:
    try:
        ticks.get(timeout=0.5)
    except Empty:
        return
    progress.advance(task)


def stop(waiting: dict[Future[Record], Plan]) -> None:
    for future in waiting:
        future.cancel()


def report(record: Record, plan: Plan, seconds: float) -> None:
    last = record["epochs"][-1]
    scores = f"train {last['train_accuracy']:.2%}  test {last['test_accuracy']:.2%}"
    print(f"{plan.name}  {scores}  ({seconds:.0f} s)", flush=True)


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
    parser.add_argument("--head", choices=HEADS, default="flat", help="what the dense layer reads; default: flat")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time; default: 1")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of each run; default: 1")
    parser.add_argument("--out", type=Path, metavar="DIR", help="results; default: examples/results/fashion")
    parser.add_argument("--checkpoints", type=Path, metavar="DIR", help="default: build/fashion, a folder for each run")
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
    options.out = options.out or (BUILD / "quick-fashion" if options.quick else RESULTS / "fashion")
    options.checkpoints = options.checkpoints or (options.out if options.quick else BUILD / "fashion")
    options.device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if min(options.epochs, options.jobs, options.threads, *options.groups) < 1 or min(options.seeds) < 0:
        parser.error("--groups, --epochs, --jobs and --threads start at 1, --seeds at 0")
    if options.width not in EQUAL and not (options.width.isdecimal() and int(options.width)):
        parser.error(f"--width is a number of channels, {' or '.join(EQUAL)}")
    for groups in options.groups:
        if width_of(options, groups) % groups:
            parser.error(f"--groups divides {options.width} channels, and {groups} does not")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU here: leave --device out")


def width_of(options: argparse.Namespace, groups: int) -> int:
    criterion = EQUAL.get(options.width)
    return equal_cost_width(groups, criterion, options.head) if criterion else int(options.width)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    make_deterministic(options.threads)
    data = None if options.quick else options.data or default_folder()
    places = Places(data, options.out, options.checkpoints, options.device, options.threads)
    # All of one seed before the next: what is stopped early can still be compared in pairs.
    wanted = [
        Plan(groups, width_of(options, groups), options.head, seed, options.epochs)
        for seed, groups in itertools.product(sorted(set(options.seeds)), sorted(set(options.groups)))
    ]
    name = "digits" if options.quick else "fashion-mnist"
    todo = [plan for plan in wanted if options.force or not is_done(plan, name, places)]
    if todo and data and not options.data:
        fetch(data)
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        if todo:
            run_all(todo, places, min(options.jobs, len(todo)), progress)
    print(f"{len(todo)} trained, {len(wanted) - len(todo)} were there already: {options.out}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DataError as error:
        sys.exit(f"train_fashion.py: {error}")
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from here", file=sys.stderr)
        sys.exit(130)
