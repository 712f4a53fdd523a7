"""What one run writes and where: checked before anything is computed, written after everything is."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from gcx.cli.output import (
    STDOUT,
    Export,
    append_file,
    render_options,
    replacing,
    write_file,
    write_folder,
    write_stdout,
)
from gcx.errors import UsageError

if TYPE_CHECKING:
    from gcx.renderers.base import Renderer
    from gcx.results import Report

MATRICES = ".npz"
SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"


class OutputPlan:
    """What stdout and the exported files get; checked before anything is computed, written after everything is."""

    def __init__(self, format_: str, exports: list[str], inputs: Sequence[str]) -> None:
        """Check what is wanted.

        Args:
            format_: what stdout gets.
            exports: the files and folders.
            inputs: files that are read, and so are not written.

        Raises:
            UsageError: no such format, or one that the place cannot hold.
            OutputError: a file or folder cannot be written, or is an input.
        """
        from gcx.renderers.base import by_name, by_suffix

        files = [Export(target) for target in exports if target != STDOUT]
        for file in files:
            file.check(inputs)
        self._exports = files
        self._stdout = by_name(format_)
        if self._stdout.binary and sys.stdout is not None and sys.stdout.isatty():
            raise UsageError(f"a terminal cannot show {format_}", cure=f"add --export FILE.{format_}, or > FILE")
        self._folders = [file.target for file in files if file.is_folder]
        files = [file for file in files if not file.is_folder]
        self._matrices = [file.target for file in files if file.suffix == MATRICES]
        self._files: list[tuple[str, Renderer]] = [
            (file.target, by_suffix(file.suffix)) for file in files if file.suffix != MATRICES
        ]
        if len(self._matrices) > 1:
            raise UsageError("one .npz is enough", cure="name it once")

    def refuse_input(self, path: str) -> None:
        """A further file that is read: shards and external data are only known once the checkpoint is open.

        Raises:
            OutputError: it would be written.
        """
        for file in self._exports:
            file.check([path])

    @property
    def _renderers(self) -> list[Renderer]:
        return [self._stdout, *(renderer for _, renderer in self._files)]

    @property
    def needs_pictures(self) -> bool:
        """Whether the layers' pictures are wanted anywhere."""
        return bool(self._folders) or any(renderer.needs_pictures for renderer in self._renderers)

    @property
    def shows_distributions(self) -> bool:
        """A terminal with colour and more than ASCII has room for one small drawing per layer."""
        options = render_options("light", for_stdout=True)
        return self._stdout.name == "terminal" and options.color and options.unicode

    @property
    def needs_pages(self) -> bool:
        """Whether a page is wanted, the one format that shows layers beside a run."""
        return any(renderer.needs_pictures and not renderer.binary for renderer in self._renderers)

    def refuse_matrices(self) -> None:
        """A run has too many matrices for a file or folder.

        Raises:
            UsageError: full matrices or a folder of heatmaps are wanted.
        """
        if self._folders or self._matrices:
            raise UsageError("track writes no matrices and no folder", cure="use `gcx correlate` on one checkpoint")

    def refuse_figures(self) -> None:
        """A comparison is no picture of one model.

        Raises:
            UsageError: a figure or full matrices are wanted.
        """
        if self._folders or self._matrices or any(renderer.binary for renderer in self._renderers):
            raise UsageError("compare draws no figures", cure="use `gcx correlate` for pictures and matrices")

    def open_matrices(self, files: ExitStack) -> Callable[..., None] | None:
        """The sink for full matrices, if an .npz is wanted; it becomes a file when `files` closes well."""
        if not self._matrices:
            return None
        from gcx.cli.matrices import MatrixArchive

        return files.enter_context(MatrixArchive(files.enter_context(replacing(self._matrices[0])))).add

    def render(self, report: Report, theme: str) -> list[tuple[str, str | bytes]]:
        """Every output with where it goes, stdout last; nothing is written yet."""
        for_file = render_options(theme, for_stdout=False)
        contents = [(target, renderer.render(report, for_file)) for target, renderer in self._files]
        return [*contents, (STDOUT, self._stdout.render(report, render_options(theme, for_stdout=True)))]

    def write(self, contents: list[tuple[str, str | bytes]]) -> None:
        """Write what was rendered; stdout comes last, so that an answer there means that everything is written."""
        for target, content in contents:
            if target == STDOUT:
                write_stdout(content)
            else:
                write_file(target, content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)

    def write_plates(self, report: Report, theme: str) -> None:
        """One heatmap per layer in every folder named, under numbered names that no layer name can escape from."""
        if not self._folders:
            return
        from gcx.cli.matrices import matrix_key
        from gcx.renderers.plates import layer_plates

        for folder in self._folders:
            plates = layer_plates(report, render_options(theme, for_stdout=False))
            write_folder(folder, ((f"{matrix_key(k, name)}.png", plate) for k, (name, plate) in enumerate(plates)))

    def append_summary(self, report: Report) -> None:
        """GitHub shows what a step appends to the file that it names; only `--format github` does."""
        target = os.environ.get(SUMMARY_VARIABLE)
        if self._stdout.name == "github" and target:
            from gcx.renderers.github import job_summary

            append_file(target, job_summary(report).encode("utf-8", "backslashreplace"))
