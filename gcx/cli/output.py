"""Where reports go: stdout, and files that are either complete or not there."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from gcx.errors import OutputError

if TYPE_CHECKING:
    from gcx.renderers.options import RenderOptions

STDOUT = "-"
ANOTHER = "name another file"


@dataclass(frozen=True)
class Export:
    """One `--export`: where to, and the suffix that chooses the format."""

    target: str

    @property
    def suffix(self) -> str:
        return Path(self.target).suffix.lower()

    @property
    def is_folder(self) -> bool:
        """Written with a slash at its end: one picture per layer goes there."""
        return self.target.endswith(("/", os.sep))

    def check(self, inputs: Sequence[str]) -> None:
        """Refuse what could not be written, before anything is computed.

        Args:
            inputs: files that are read: a report must not take the place of weights, nor of a baseline.

        Raises:
            OutputError: the folder is missing, the target is a folder and not written as one, or one of `inputs`.
        """
        path = Path(self.target)
        try:
            if path.is_file() and any(Path(one).is_file() and path.samefile(one) for one in inputs):
                raise OutputError("is read by this command, and would be overwritten", path=self.target, cure=ANOTHER)
            if self.is_folder and path.exists() and not path.is_dir():
                raise OutputError("is a file, not a folder", path=self.target, cure="name another folder")
            if not self.target:
                raise OutputError("is no file name", path=self.target, cure=ANOTHER)
            if path.is_dir() and not self.is_folder:
                cure = f"name a file in it, or write {self.target}/ for one heatmap per layer"
                raise OutputError("is a folder", path=self.target, cure=cure)
            if not path.parent.is_dir():
                raise OutputError("its folder does not exist", path=self.target, cure="make the folder first")
        except (OSError, ValueError) as error:
            raise OutputError("is not a file name", path=self.target) from error


@contextmanager
def replacing(target: str) -> Iterator[BinaryIO]:
    """A file to write that becomes `target` when the block ends well, and vanishes when it does not.

    Raises:
        OutputError: it cannot be written.
    """
    path = Path(target)
    try:
        # A device or a pipe (/dev/stderr) is written to; only a plain file is replaced.
        if path.exists() and not path.is_file():
            with path.open("wb") as stream:
                yield stream
            return
        path = path.resolve()
        descriptor, beside = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    except OSError as error:
        raise _cannot_write(target, error) from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
        Path(beside).chmod(0o666 & ~_umask())
        Path(beside).replace(path)
    except OSError as error:
        raise _cannot_write(target, error) from error
    finally:
        with suppress(OSError):
            Path(beside).unlink(missing_ok=True)


def write_file(target: str, content: bytes) -> None:
    """Write a whole file, or leave what was there.

    Raises:
        OutputError: it cannot be written.
    """
    with replacing(target) as stream:
        stream.write(content)


def write_folder(target: str, files: Iterable[tuple[str, bytes]]) -> None:
    """Write files into a folder, each as it comes; the folder is made if need be.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    try:
        Path(target).mkdir(exist_ok=True)
    except OSError as error:
        raise _cannot_write(target, error) from error
    for name, content in files:
        write_file(str(Path(target) / name), content)


def append_file(target: str, content: bytes) -> None:
    """Add to a file that others write to as well.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        with Path(target).open("ab") as stream:
            stream.write(content)
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot be written: {error}", path=target) from error


def write_stdout(content: str | bytes) -> None:
    """Write to stdout; a reader that has closed it (`| head`) is not an error.

    Raises:
        OutputError: the disk is full, stdout is closed.
    """
    if isinstance(content, str):
        content = content.encode(sys.stdout.encoding or "utf-8", "backslashreplace") if sys.stdout else content.encode()
    try:
        # The descriptor itself: nothing is left in a buffer that could fail again when the interpreter ends.
        view = memoryview(content)
        while view:
            view = view[os.write(1, view) :]
    except BrokenPipeError:
        return
    except OSError as error:
        raise _cannot_write("stdout", error) from error


def render_options(theme: str, *, for_stdout: bool) -> RenderOptions:
    """How stdout, or a file, is to look."""
    from gcx.renderers.options import RenderOptions, Theme

    themed: Theme = "dark" if theme == "dark" else "light"
    if not for_stdout:
        return RenderOptions(theme=themed)
    terminal = sys.stdout is not None and sys.stdout.isatty()
    dumb = os.environ.get("TERM") == "dumb"
    return RenderOptions(
        width=shutil.get_terminal_size().columns if terminal else None,
        color=terminal and not dumb and not os.environ.get("NO_COLOR"),
        unicode=_shows_unicode(),
        theme=themed,
    )


def progress_wanted(quiet: bool) -> bool:
    """Progress is for people: not when asked to be quiet, not where stderr is no terminal."""
    return not quiet and sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def say(lines: Sequence[str]) -> None:
    """Talk goes to stderr, and is not worth failing for."""
    with suppress(OSError, ValueError, AttributeError):
        for line in lines:
            os.write(2, line.encode("ascii" if not _shows_unicode(2) else "utf-8", "backslashreplace") + b"\n")


def _shows_unicode(descriptor: int = 1) -> bool:
    stream = sys.stdout if descriptor == 1 else sys.stderr
    try:
        "×±…─▁█".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError, AttributeError):
        return False
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _cannot_write(target: str, error: OSError) -> OutputError:
    return OutputError(f"cannot be written: {error.strerror or error}", path=target)
