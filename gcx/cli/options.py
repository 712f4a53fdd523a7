"""Every command-line option, declared once; commands pick from here.

An option that is a field of `Settings` has its name, and a variable `GCX_*` beside the flag.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from gcx.errors import UsageError
from gcx.renderers.options import Theme
from gcx.settings import BOUNDS, Measure, Order, Settings, Weights

SORT_KEYS = ("file", "within", "across", "excess", "delta", "parameters", "groups")
FORMATS = ("terminal", "json", "csv", "markdown", "html", "junit", "github")
FIGURES = ("png", "svg", "pdf")


def _setting(name: str, about: str, **more: Any) -> Any:
    variable = f"GCX_{name.upper().replace('-', '_')}"
    return typer.Option(f"--{name}", envvar=variable, show_envvar=False, help=about, **more)


def _number(name: str, about: str, **more: Any) -> Any:
    least, most = BOUNDS[name.replace("-", "_")]
    return _setting(name, about, metavar="N", min=least, max=most, **more)


def _format(formats: tuple[str, ...]) -> Any:
    about = f"What stdout gets: {', '.join(formats[:-1])} or {formats[-1]}."
    return typer.Option("--format", "-f", metavar="NAME", autocompletion=lambda: list(formats), help=about)


def _export(what: str) -> Any:
    about = f"Write the same run to a file too; its suffix chooses: {what}. Repeatable."
    return typer.Option("--export", "-o", metavar="FILE", show_default=False, help=about)


Models = Annotated[list[str], typer.Argument(metavar="MODEL", show_default=False, help="Checkpoints to read.")]
Model = Annotated[str, typer.Argument(metavar="MODEL", show_default=False, help="Checkpoint to read.")]
Layer = Annotated[
    str, typer.Argument(metavar="LAYER", show_default=False, help="Its layer: a name, or a glob that only one matches.")
]
Reference = Annotated[
    str, typer.Argument(metavar="REFERENCE", show_default=False, help="What others are compared with.")
]
Candidate = Annotated[str, typer.Argument(metavar="CANDIDATE", show_default=False, help="What is compared with it.")]
Checkpoints = Annotated[
    list[str],
    typer.Argument(
        metavar="CHECKPOINT", show_default=False, help="Checkpoints of one run: files, a folder, a quoted glob."
    ),
]

Groups = Annotated[
    list[str],
    _setting(
        "groups",
        "Declare how many groups the matching layers have. Repeatable; the last match wins.",
        metavar="GLOB=N",
        show_default=False,
    ),
]
Include = Annotated[
    list[str], _setting("include", "Only these layers. Repeatable.", metavar="GLOB", show_default=False)
]
Exclude = Annotated[list[str], _setting("exclude", "Not these layers. Repeatable.", metavar="GLOB", show_default=False)]
WhichMeasure = Annotated[Measure, _setting("measure", "Correlation of two filters: centred or not.")]
WhichWeights = Annotated[
    Weights, _setting("weights", "Which copy to read where a file holds a moving average (EMA) as well.")
]
StrictGroups = Annotated[bool, _setting("strict-groups", "Exit 3 where a layer's group count is ambiguous.")]
FoldSign = Annotated[bool, _setting("fold-sign", "Multiply each filter by the sign of the batch norm that follows it.")]
FoldScale = Annotated[
    bool, _setting("fold-scale", "Multiply each input channel by the scale of the batch norm before it.")
]
VirtualGroups = Annotated[
    int | None,
    _number("virtual-groups", "Negative control: cut dense layers into N groups.", show_default=False),
]
Induced = Annotated[bool, _setting("induced", "Cut dense layers by the groups of the layer that reads them.")]
Resamples = Annotated[
    int | None,
    _number(
        "n-resamples",
        "Permutations per p-value. [default: 999, or 20 per test, at most 9999]",
        show_default=False,
    ),
]
Seed = Annotated[int, _number("seed", "Seed of every random draw.")]
Map = Annotated[
    list[str],
    _setting(
        "map",
        "Match layers of other names: 'backbone.*=*'; the * of both sides stand for the same. Repeatable.",
        metavar="GLOB=GLOB",
        show_default=False,
    ),
]
Filters = Annotated[
    bool,
    _setting("filters", "How each filter correlates with itself, where both are of one lineage (a fine-tune)."),
]
Draws = Annotated[int, _number("n-draws", "Random channel subsets behind a value at equal dimension.")]
WhichOrder = Annotated[
    Order | None,
    _setting(
        "order",
        "Order by the number in the name, the time of change, or the number inside the file. "
        "[default: name, else file]",
        show_default=False,
    ),
]
FailIf = Annotated[
    list[str],
    typer.Option(  # GCX_FAIL_IF is split at `;`: see config
        "--fail-if",
        metavar="RULE",
        show_default=False,
        help="Exit 1 where a rule is true, e.g. 'within.excess > 0.02'. Repeatable; `gcx explain` lists the keys.",
    ),
]
ExitZero = Annotated[bool, _setting("exit-zero", "Report violations, but exit 0.")]

Sort = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        show_default=False,
        autocompletion=lambda: list(SORT_KEYS),
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
Format = Annotated[str, _format((*FORMATS, *FIGURES))]
ComparisonFormat = Annotated[str, _format(FORMATS)]
ListingFormat = Annotated[str, _format(("terminal", "json", "csv", "markdown"))]
Exports = Annotated[
    list[str],
    _export(".html .json .csv .md .xml .png .svg .pdf, or .npz for the full matrices; DIR/ gets one heatmap per layer"),
]
ComparisonExports = Annotated[list[str], _export(".html .json .csv .md .xml")]
RunExports = Annotated[list[str], _export(".html .json .csv .md .xml .png .svg .pdf")]
Pictures = Annotated[
    list[str],
    typer.Option(
        "--export", "-o", metavar="FILE.png", show_default=False, help="Write the picture to a file. Repeatable."
    ),
]
Cluster = Annotated[
    bool, typer.Option("--cluster", help="Figures show alike filters of a group beside each other; groups stay apart.")
]
WhichTheme = Annotated[Theme, typer.Option("--theme", help="Background of figures.")]
Threads = Annotated[int, typer.Option(metavar="N", min=1, max=1024, help="Threads of the linear algebra.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def settings_of(context: typer.Context) -> Settings:
    """The settings among the options of a command, which have the same names.

    Raises:
        UsageError: --groups or --map cannot be meant.
    """
    known = {field.name for field in fields(Settings)}
    return Settings(**{name: _parsed(context, name) for name in context.params if name in known})


def origin(context: typer.Context, name: str) -> str | None:
    """The variable or the file that set an option, where no flag did."""
    source = getattr(context.get_parameter_source(name), "name", "")
    if source == "ENVIRONMENT":
        return f"GCX_{name.upper()}"
    if source != "DEFAULT_MAP":
        return None
    from gcx.cli.config import configuring_file

    return configuring_file(Path())


def _parsed(context: typer.Context, name: str) -> Any:
    try:
        return _stored(name, context.params[name])
    except UsageError as error:
        raise error.located(path=origin(context, name)) from None


def _stored(name: str, value: Any) -> Any:
    """An option's value as `Settings` has it."""
    if name == "groups":
        return declared_groups(value)
    if name == "map":
        return mapped_layers(value)
    return tuple(value) if isinstance(value, list) else value


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


def mapped_layers(options: list[str]) -> tuple[tuple[str, str], ...]:
    """Parse `GLOB=GLOB` options.

    Raises:
        UsageError: no `=`, or an empty side.

    >>> mapped_layers(["backbone.*=*"])
    (('backbone.*', '*'),)
    """
    pairs = []
    for option in options:
        left, _, right = option.partition("=")
        if not left or not right:
            cure = "write --map 'GLOB=GLOB', e.g. --map 'backbone.*=*'"
            raise UsageError(f"--map {option!r} has no GLOB=GLOB", cure=cure)
        pairs.append((left, right))
    return tuple(pairs)
