"""What the scripts that train share: deterministic torch, files of weights, processes that stop together."""

from __future__ import annotations

import io
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
from recording import write_whole
from torch import Tensor


def make_deterministic(threads: int = 1) -> None:
    """The same seed gives the same weights on the same kind of machine with as many threads."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    # On a GPU, max pooling has no backward pass that is promised to be deterministic: then torch only warns.
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())


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
