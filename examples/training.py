"""What the scripts that train share: deterministic torch, a recipe, files of weights, processes that stop together."""

from __future__ import annotations

import io
import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Any

import torch
from image_data import Images
from recording import Record, write_whole
from torch import Tensor, nn
from torch.nn import functional


def make_deterministic(threads: int = 1) -> None:
    """The same seed gives the same weights on the same kind of machine with as many threads."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    # On a GPU, max pooling has no backward pass that is promised to be deterministic: then torch only warns.
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())


def train(net: nn.Module, part: Images, seed: int, epochs: int, recipe: Record) -> Iterator[int]:
    """SGD with one warm-up and one decay, yielding after each epoch; `seed` alone says how the images are ordered.

    Args:
        recipe: has `batch_size` and, under `sgd`, the options of the optimizer.
    """
    order = torch.Generator().manual_seed(seed)
    sgd, size = recipe["sgd"], recipe["batch_size"]
    steps = epochs * math.ceil(len(part.labels) / size)
    optimizer = torch.optim.SGD(net.parameters(), **sgd)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, sgd["lr"], total_steps=steps, cycle_momentum=False)
    for epoch in range(1, epochs + 1):
        net.train()
        shuffled = torch.randperm(len(part.labels), generator=order).to(part.labels.device)
        for batch in shuffled.split(size):
            optimizer.zero_grad()
            functional.cross_entropy(net(part.images[batch]), part.labels[batch]).backward()
            optimizer.step()
            schedule.step()
        yield epoch


def plain(state: Mapping[str, Tensor], *, without: str | None = None) -> dict[str, Tensor]:
    """Weights as any machine reads them, but for those whose names begin with `without`."""
    return {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in state.items()
        if without is None or not name.startswith(without)
    }


def content(state: Mapping[str, Tensor]) -> bytes:
    # By way of memory: into a file, torch would write the temporary name into the archive.
    torch.save(state, written := io.BytesIO())
    return written.getvalue()


def save(state: Mapping[str, Tensor], path: Path) -> None:
    write_whole(path, content(state))


@contextmanager
def processes(
    count: int, context: SpawnContext, start: Callable[..., None], *given: Any
) -> Iterator[ProcessPoolExecutor]:
    """So many processes, each begun by `start(*given)`; what stops this one stops them, and only this one speaks."""
    with ProcessPoolExecutor(count, context, _begin, (start, *given)) as pool:
        try:
            yield pool
        except BaseException:
            # The pool itself joins them, and is left once it has: two that join one process race.
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _begin(start: Callable[..., None], *given: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    start(*given)
