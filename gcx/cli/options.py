"""Every command-line option, declared once; commands pick from here."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from gcx.errors import UsageError
from gcx.settings import BOUNDS


class Measure(StrEnum):
    """Choices of --measure."""

    pearson = "pearson"
    cosine = "cosine"


class Weights(StrEnum):
    """Choices of --weights."""

    plain = "plain"
    ema = "ema"


class Theme(StrEnum):
    """Choices of --theme."""

    light = "light"
    dark = "dark"


Model = Annotated[str, typer.Argument(metavar="MODEL", show_default=False, help="Checkpoint to read.")]
Layer = Annotated[
    str, typer.Argument(metavar="LAYER", show_default=False, help="Its layer: a name, or a glob that only one matches.")
]
Pictures = Annotated[
    list[str],
    typer.Option(
        "--export", "-o", metavar="FILE.png", show_default=False, help="Write the picture to a file. Repeatable."
    ),
]
Models = Annotated[list[str], typer.Argument(metavar="MODEL", show_default=False, help="Checkpoints to read.")]
Groups = Annotated[
    list[str],
    typer.Option(
        metavar="GLOB=N",
        show_default=False,
        envvar="GCX_GROUPS",
        show_envvar=False,
        help="Declare how many groups the matching layers have. Repeatable; the last match wins.",
    ),
]
Include = Annotated[
    list[str],
    typer.Option(
        metavar="GLOB",
        show_default=False,
        envvar="GCX_INCLUDE",
        show_envvar=False,
        help="Only these layers. Repeatable.",
    ),
]
Exclude = Annotated[
    list[str],
    typer.Option(
        metavar="GLOB",
        show_default=False,
        envvar="GCX_EXCLUDE",
        show_envvar=False,
        help="Not these layers. Repeatable.",
    ),
]
WhichWeights = Annotated[
    Weights,
    typer.Option(
        "--weights",
        envvar="GCX_WEIGHTS",
        show_envvar=False,
        help="Which copy to read where a file holds a moving average (EMA) as well.",
    ),
]
StrictGroups = Annotated[
    bool,
    typer.Option(
        "--strict-groups",
        envvar="GCX_STRICT_GROUPS",
        show_envvar=False,
        help="Exit 3 where a layer's group count is ambiguous.",
    ),
]
WhichMeasure = Annotated[
    Measure,
    typer.Option(
        "--measure", envvar="GCX_MEASURE", show_envvar=False, help="Correlation of two filters: centred or not."
    ),
]
FoldSign = Annotated[
    bool,
    typer.Option(
        "--fold-sign",
        envvar="GCX_FOLD_SIGN",
        show_envvar=False,
        help="Multiply each filter by the sign of the batch norm that follows it.",
    ),
]
FoldScale = Annotated[
    bool,
    typer.Option(
        "--fold-scale",
        envvar="GCX_FOLD_SCALE",
        show_envvar=False,
        help="Multiply each input channel by the scale of the batch norm before it.",
    ),
]
VirtualGroups = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=BOUNDS["virtual_groups"][0],
        show_default=False,
        envvar="GCX_VIRTUAL_GROUPS",
        show_envvar=False,
        help="Negative control: cut dense layers into N groups.",
    ),
]
Induced = Annotated[
    bool,
    typer.Option(
        "--induced",
        envvar="GCX_INDUCED",
        show_envvar=False,
        help="Cut dense layers by the groups of the layer that reads them.",
    ),
]
Resamples = Annotated[
    int | None,
    typer.Option(
        "--n-resamples",
        metavar="N",
        min=BOUNDS["n_resamples"][0],
        max=BOUNDS["n_resamples"][1],
        show_default=False,
        envvar="GCX_N_RESAMPLES",
        show_envvar=False,
        help="Permutations per p-value. [default: 999, or 20 per test, at most 9999]",
    ),
]
Seed = Annotated[
    int, typer.Option(min=BOUNDS["seed"][0], envvar="GCX_SEED", show_envvar=False, help="Seed of every random draw.")
]
FailIf = Annotated[
    list[str],
    typer.Option(
        "--fail-if",
        metavar="RULE",
        show_default=False,
        help="Exit 1 where a rule is true, e.g. 'within.excess > 0.02'. Repeatable; `gcx explain` lists the keys.",
    ),
]
ExitZero = Annotated[
    bool,
    typer.Option("--exit-zero", envvar="GCX_EXIT_ZERO", show_envvar=False, help="Report violations, but exit 0."),
]
Reference = Annotated[
    str, typer.Argument(metavar="REFERENCE", show_default=False, help="What others are compared with.")
]
Candidate = Annotated[str, typer.Argument(metavar="CANDIDATE", show_default=False, help="What is compared with it.")]
Map = Annotated[
    list[str],
    typer.Option(
        "--map",
        metavar="GLOB=GLOB",
        show_default=False,
        envvar="GCX_MAP",
        show_envvar=False,
        help="Match layers of other names: 'backbone.*=*'; the * of both sides stand for the same. Repeatable.",
    ),
]
Filters = Annotated[
    bool,
    typer.Option(
        "--filters",
        envvar="GCX_FILTERS",
        show_envvar=False,
        help="How each filter correlates with itself, where both are of one lineage (a fine-tune).",
    ),
]
Draws = Annotated[
    int,
    typer.Option(
        "--n-draws",
        metavar="N",
        min=BOUNDS["n_draws"][0],
        max=BOUNDS["n_draws"][1],
        envvar="GCX_N_DRAWS",
        show_envvar=False,
        help="Random channel subsets behind a value at equal dimension.",
    ),
]


class Order(StrEnum):
    """Choices of --order."""

    name = "name"
    mtime = "mtime"
    file = "file"


Checkpoints = Annotated[
    list[str],
    typer.Argument(
        metavar="CHECKPOINT", show_default=False, help="Checkpoints of one run: files, a folder, a quoted glob."
    ),
]
WhichOrder = Annotated[
    Order | None,
    typer.Option(
        "--order",
        show_default=False,
        envvar="GCX_ORDER",
        show_envvar=False,
        help="Order by the number in the name, the time of change, or the number inside the file. "
        "[default: name, else file]",
    ),
]
Sort = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        show_default=False,
        help="Order layers by within, across, excess, delta, parameters or groups, largest first. [default: file]",
    ),
]
Top = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        show_default=False,
        help="Show only N layers: the first of --sort, else those most above their null.",
    ),
]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        "-f",
        metavar="NAME",
        help="What stdout gets: terminal, json, csv, markdown, html, junit, github, png, svg or pdf.",
    ),
]
ListingFormat = Annotated[
    str, typer.Option("--format", "-f", metavar="NAME", help="What stdout gets: terminal, json, csv or markdown.")
]
Exports = Annotated[
    list[str],
    typer.Option(
        "--export",
        "-o",
        metavar="FILE",
        show_default=False,
        help="Write the same run to a file too; its suffix chooses: .html .json .csv .md .xml .png .svg .pdf, or .npz "
        "for the full matrices; DIR/ gets one heatmap per layer. Repeatable.",
    ),
]
Cluster = Annotated[
    bool, typer.Option("--cluster", help="Figures show alike filters of a group beside each other; groups stay apart.")
]
WhichTheme = Annotated[Theme, typer.Option("--theme", help="Background of figures.")]
Threads = Annotated[int, typer.Option(min=1, max=1024, help="Threads of the linear algebra.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def declared_groups(options: list[str]) -> tuple[tuple[str, int], ...]:
    """Parse `GLOB=N` options.

    Raises:
        UsageError: no `=`, or no positive whole number behind the last one.

    >>> declared_groups(["b*.body.*=4"])
    (('b*.body.*', 4),)
    """
    return tuple(_glob_and_count(option) for option in options)


def _glob_and_count(option: str) -> tuple[str, int]:
    glob, equals, count = option.rpartition("=")
    cure = "write --groups 'GLOB=N', e.g. --groups 'features.*=4'"
    if not equals or not glob:
        raise UsageError(f"--groups {option!r} has no GLOB=N", cure=cure)
    if not (count.isascii() and count.isdigit() and len(count) < 10 and int(count) > 0):
        raise UsageError(f"--groups {option!r}: {count!r} is not a positive whole number", cure=cure)
    return glob, int(count)
