"""A progress line on stderr, for people; loaded only when stderr is a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from gcx.errors import printable
from gcx.measuring import Progress as Callback

NAME_WIDTH = 40


@contextmanager
def layer_progress() -> Iterator[Callback]:
    """Show which layer is being measured; the line is gone when the block ends."""
    console = Console(stderr=True, markup=False, highlight=False)
    columns = (BarColumn(bar_width=30), MofNCompleteColumn(), _LayerName())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)

        def show(name: str, number: int, total: int) -> None:
            progress.update(task, description=printable(name, NAME_WIDTH), completed=number, total=total)

        yield show


class _LayerName(TextColumn):
    """Names are untrusted: shown as text, never as markup."""

    def __init__(self) -> None:
        super().__init__("", markup=False)

    def render(self, task: object) -> Text:
        return Text(getattr(task, "description", ""))
