"""torch's zip archives since 1.6: a checkpoint, a TorchScript program, or an exported one."""

from __future__ import annotations

from gcx.checkpoint import Checkpoint
from gcx.errors import CheckpointError
from gcx.readers.archives import is_keras_archive
from gcx.readers.base import ReadOptions, Source
from gcx.readers.foreign import describe
from gcx.readers.torch.archive import LOCAL, Archive
from gcx.readers.torch.container import Container
from gcx.readers.torch.exported import is_exported, read_exported
from gcx.readers.torch.script import is_old_script, is_script, read_script
from gcx.readers.torch.wrappers import Parsed, checkpoint_of


class TorchZipReader:
    """`torch.save`, `torch.jit.save`, `torch.export.save`; the archive's directory says which, read once."""

    name = "torch zip"
    suffixes: tuple[str, ...] = (
        *(".pt", ".pth", ".ckpt", ".bin", ".tar", ".th", ".pkl"),
        *(".ptl", ".torchscript", ".ts", ".pt2"),
    )

    def recognises(self, source: Source) -> bool:
        head = source.head
        # torch's records lie in a folder; only of an archive whose first one does not is the directory looked at here.
        in_folder = b"/" in head[30 : 30 + int.from_bytes(head[26:28], "little")]
        return head[:4] == LOCAL and (in_folder or not is_keras_archive(source))

    def read(self, source: Source, options: ReadOptions) -> Checkpoint:
        """Parse the structure; storages are read when asked for.

        Raises:
            CheckpointError: not torch's archive, damaged, or it asks for something to be called.
        """
        archive = Archive(source)
        if is_exported(archive):
            return read_exported(archive, options)
        if is_old_script(archive):
            raise CheckpointError(
                "is a TorchScript archive of torch 1.3 or older, which gcx does not read",
                cure="load it with torch, where you trust it, and save its state dict",
            )
        container = Container(archive)
        if is_script(container):
            return read_script(container, options)
        if f"{container.top}.data/extern_modules" in archive.entries:
            raise describe(source) or CheckpointError("is a program in an archive, not a checkpoint")
        parsed = Parsed(container.root(), container.read, big_endian=container.big_endian, notes=archive.notes)
        return checkpoint_of(parsed, source, options)
