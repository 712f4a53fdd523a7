"""TorchScript archives (`torch.jit.save`): modules as data, groups from the text of the code, which is never run."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from gcx.checkpoint import Checkpoint
from gcx.errors import CheckpointError, LimitError
from gcx.limits import SCRIPT_CODE
from gcx.readers.base import ReadOptions
from gcx.readers.names import no_moving_average, shown_names
from gcx.readers.torch.archive import Archive
from gcx.readers.torch.container import Container
from gcx.readers.torch.recorded import without
from gcx.readers.torch.script_code import Class, CodeReader
from gcx.readers.torch.script_modules import Modules
from gcx.readers.torch.script_statements import UNSAVED, Program
from gcx.readers.torch.storages import reference
from gcx.readers.torch.values import Tensor

FORMAT = "torchscript"
_NOT_RUN = "the file is a program: its code was read as text, and nothing was run"
_OLD = re.compile(r"[^/]+/(model\.json\Z|attributes\.pkl\Z|code/)")
_SETTINGS = 64
"""Numbers of a tensor that holds settings, and of the storage that it lies in."""


def is_script(container: Container) -> bool:
    """Whether there is a table of constants, or code, beside the `data.pkl`."""
    marks = (f"{container.top}constants.pkl", f"{container.top}code/")
    return any(name.startswith(marks) for name in container.archive.entries)


def is_old_script(archive: Archive) -> bool:
    """Whether it is a TorchScript archive as torch 1.0 to 1.3 wrote them: without a `data.pkl`."""
    found = {match[1] for name in archive.entries if (match := _OLD.match(name))}
    return "model.json" in found and len(found) > 1


def read_script(container: Container, options: ReadOptions) -> Checkpoint:
    """Parse `data.pkl`, `constants.pkl` and what the code says about convolutions.

    Raises:
        CheckpointError: damaged, or it asks for something to be called, or it holds no module.
        UsageError: a moving average is wanted.
    """
    constants = f"{container.top}constants.pkl"
    wanted = {container.pickle: "data"}
    if constants in container.archive.entries:
        wanted[constants] = "constants"
    values = container.values(wanted)
    modules = Modules(values.get(constants), _classes(container), partial(_numbers, container))
    program = Program(modules)
    program.read(values[container.pickle])
    tensors = modules.tensors
    if not tensors and program.unsaved:
        raise CheckpointError(f"is a TorchScript archive without weights: {UNSAVED}", cure="save it before that")
    if not tensors:
        raise CheckpointError("is a TorchScript archive without parameters", cure="name one that has weights")
    if options.weights == "ema":
        raise no_moving_average()
    shown = shown_names(tensors)
    refs = {
        name: reference(shown[name], tensor, container.read, big_endian=container.big_endian)
        for name, tensor in tensors.items()
    }
    return Checkpoint(
        container.archive.source.path,
        FORMAT,
        {shown[name]: ref for name, ref in without(refs, program.recorded.unreadable()).items()},
        program.recorded.specs(shown),
        (_NOT_RUN, *container.archive.notes, *program.notes()),
        container.archive.source.close,
    )


def _classes(container: Container) -> dict[str, Class]:
    """What the code says about each class.

    Raises:
        LimitError: more code than `SCRIPT_CODE`.
    """
    home = f"{container.top}code/"
    files = [name for name in container.archive.entries if name.startswith(home) and name.endswith(".py")]
    total = sum(container.archive.entry(name).size for name in files)
    if total > SCRIPT_CODE:
        raise LimitError(f"has code of {total} characters, limit SCRIPT_CODE is {SCRIPT_CODE}")
    reader = CodeReader()
    classes: dict[str, Class] = {}
    for name in files:
        text = container.archive.read(name).decode("utf-8", "replace")
        classes.update(reader.read(text, name.removeprefix(home).removesuffix(".py").replace("/", ".")))
    return classes


def _numbers(container: Container, tensor: Tensor) -> list[int]:
    """A tensor of a few whole numbers, read; empty where it holds none."""
    if tensor.storage is None or tensor.storage.numel > _SETTINGS:
        return []
    if len(tensor.shape) > 1 or sum(tensor.shape) > _SETTINGS or "int" not in tensor.dtype.name or tensor.unreadable:
        return []
    array: Any = reference("settings", tensor, container.read, big_endian=container.big_endian).read()
    return [int(number) for number in array.reshape(-1)]
