"""The commands: each runs the pipeline and hands the report to renderers.

Options that are settings reach the pipeline by their names, through `options.settings_of`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from gcx.cli import options as opt
from gcx.cli.output import Export, progress_wanted, render_options, say, write_file, write_stdout
from gcx.cli.output_plan import OutputPlan
from gcx.errors import UsageError

if TYPE_CHECKING:
    from gcx.measuring import Progress
    from gcx.results import Report

THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
KERNEL_PICTURE = ".png"

CORRELATE_EXAMPLES = """\b
Examples:
  gcx correlate model.pt --groups 'body.*=4' --fail-if 'within.excess > 0.02'
  gcx correlate model.pt --format json --export report.md --export heatmap.png
  gcx correlate before.pt after.pt --include 'layer3.*' --top 10"""
COMPARE_EXAMPLES = """\b
Examples:
  gcx compare dense.pt grouped.pt
  gcx compare 'runs/dense-*.pt' 'runs/grouped-*.pt' --groups 'candidate:conv*=4'
  gcx compare baseline.json model.pt --fail-if 'change.within.mean_r2 > 10%'"""
TRACK_EXAMPLES = """\b
Examples:
  gcx track runs/a/
  gcx track 'runs/a/epoch-*.pt' --export run.html --export run.png
  gcx track runs/a/ --order mtime --format json --fail-if 'summary.excess_within > .02'"""
LAYERS_EXAMPLES = """\b
Examples:
  gcx layers model.pt
  gcx layers model.safetensors --include 'features.*' --strict-groups
  gcx layers model.onnx --format json"""
FILTERS_EXAMPLES = """\b
Examples:
  gcx filters model.pt conv1 --export conv1.png
  gcx filters alexnet.pt features.0 --induced --export stem.png
  gcx filters model.pt layer1.0.conv2 --groups 'layer1.*=32'"""
EXPLAIN_EXAMPLES = """\b
Examples:
  gcx explain
  gcx explain within.null_permuted_r2
  gcx explain delta"""


def register(app: typer.Typer) -> None:
    """Add every command to the program."""
    app.command(epilog=CORRELATE_EXAMPLES)(correlate)
    app.command(epilog=COMPARE_EXAMPLES)(compare)
    app.command(epilog=TRACK_EXAMPLES)(track)
    app.command(epilog=LAYERS_EXAMPLES)(layers)
    app.command(epilog=FILTERS_EXAMPLES)(filters)
    app.command(epilog=EXPLAIN_EXAMPLES)(explain)


def correlate(
    context: typer.Context,
    models: opt.Models,
    groups: opt.Groups = [],  # noqa: B006 - typer's way to say "repeatable"
    include: opt.Include = [],  # noqa: B006
    exclude: opt.Exclude = [],  # noqa: B006
    measure: opt.WhichMeasure = "pearson",
    weights: opt.WhichWeights = "plain",
    strict_groups: opt.StrictGroups = False,
    fold_sign: opt.FoldSign = False,
    fold_scale: opt.FoldScale = False,
    virtual_groups: opt.VirtualGroups = None,
    induced: opt.Induced = False,
    n_resamples: opt.Resamples = None,
    seed: opt.Seed = 0,
    fail_if: opt.FailIf = [],  # noqa: B006
    exit_zero: opt.ExitZero = False,
    sort: opt.Sort = None,
    top: opt.Top = None,
    format_: opt.Format = "terminal",
    export: opt.Exports = [],  # noqa: B006
    cluster: opt.Cluster = False,
    theme: opt.WhichTheme = "light",
    threads: opt.Threads = 1,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> int:
    """Measure filter correlation within and across groups, one table per model."""
    _limit_threads(threads)
    from gcx.measuring import Extras
    from gcx.pipeline import correlate as measured
    from gcx.summary import check_sort, chosen_order

    settings = opt.settings_of(context)
    check_sort(sort)
    plan = OutputPlan(format_, export, models)
    if cluster and not plan.needs_pictures:
        raise UsageError("--cluster orders figures, and none is wanted", cure="add --export FILE.html or FILE.png")
    with ExitStack() as files:
        sink = plan.open_matrices(files)
        progress = files.enter_context(_progress(quiet))
        extras = Extras(
            pictures=plan.needs_pictures,
            cluster=cluster,
            distributions=plan.shows_distributions,
            sink=sink,
            progress=progress,
            opened=plan.refuse_input,
        )
        measured_report = measured(*models, settings=settings, extras=extras)
        report = chosen_order(measured_report, sort, top)
        rendered = plan.render(report, theme)
    plan.append_summary(measured_report)
    plan.write_plates(report, theme)
    plan.write(rendered)
    say(_talk(measured_report))
    return report.exit_code


def compare(
    context: typer.Context,
    reference: opt.Reference,
    candidate: opt.Candidate,
    groups: opt.Groups = [],  # noqa: B006
    include: opt.Include = [],  # noqa: B006
    exclude: opt.Exclude = [],  # noqa: B006
    map: opt.Map = [],  # noqa: A002, B006
    measure: opt.WhichMeasure = "pearson",
    weights: opt.WhichWeights = "plain",
    strict_groups: opt.StrictGroups = False,
    fold_sign: opt.FoldSign = False,
    fold_scale: opt.FoldScale = False,
    virtual_groups: opt.VirtualGroups = None,
    filters: opt.Filters = False,
    n_draws: opt.Draws = 20,
    n_resamples: opt.Resamples = None,
    seed: opt.Seed = 0,
    fail_if: opt.FailIf = [],  # noqa: B006
    exit_zero: opt.ExitZero = False,
    format_: opt.ComparisonFormat = "terminal",
    export: opt.ComparisonExports = [],  # noqa: B006
    threads: opt.Threads = 1,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> int:
    """Compare two networks, or repeated runs of two settings, at equal dimension.

    Each side is a checkpoint, a folder, a quoted glob (several files are repeated runs), or a report that
    `gcx correlate --export report.json` saved. A glob of --groups may begin with `reference:` or `candidate:`.
    """
    _limit_threads(threads)
    from gcx.comparing import compare as compared
    from gcx.inputs import models_of
    from gcx.measuring import Extras

    settings = opt.settings_of(context)
    plan = OutputPlan(format_, export, [*models_of(reference), *models_of(candidate)])
    plan.refuse_figures()
    with _progress(quiet) as progress:
        extras = Extras(progress=progress, opened=plan.refuse_input)
        report = compared(reference, candidate, settings=settings, extras=extras)
    rendered = plan.render(report, "light")
    plan.append_summary(report)
    plan.write(rendered)
    say(_talk(report))
    return report.exit_code


def track(
    context: typer.Context,
    checkpoints: opt.Checkpoints,
    order: opt.WhichOrder = None,
    groups: opt.Groups = [],  # noqa: B006
    include: opt.Include = [],  # noqa: B006
    exclude: opt.Exclude = [],  # noqa: B006
    measure: opt.WhichMeasure = "pearson",
    weights: opt.WhichWeights = "plain",
    strict_groups: opt.StrictGroups = False,
    fold_sign: opt.FoldSign = False,
    fold_scale: opt.FoldScale = False,
    n_resamples: opt.Resamples = None,
    seed: opt.Seed = 0,
    fail_if: opt.FailIf = [],  # noqa: B006
    exit_zero: opt.ExitZero = False,
    format_: opt.Format = "terminal",
    export: opt.RunExports = [],  # noqa: B006
    theme: opt.WhichTheme = "light",
    threads: opt.Threads = 1,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> int:
    """Follow one training run along its checkpoints: the same numbers along time, and what breaks the run.

    A rule of --fail-if is about every checkpoint.
    """
    _limit_threads(threads)
    from gcx.inputs import models_of
    from gcx.measuring import Extras
    from gcx.tracking import track as followed

    settings = opt.settings_of(context)
    plan = OutputPlan(format_, export, models_of(checkpoints))
    plan.refuse_matrices()
    with _progress(quiet) as progress:
        extras = Extras(progress=progress, pictures=plan.needs_pages, opened=plan.refuse_input)
        report = followed(*checkpoints, settings=settings, extras=extras)
    rendered = plan.render(report, theme)
    plan.append_summary(report)
    plan.write(rendered)
    say(_talk(report))
    return report.exit_code


def layers(
    context: typer.Context,
    models: opt.Models,
    groups: opt.Groups = [],  # noqa: B006
    include: opt.Include = [],  # noqa: B006
    exclude: opt.Exclude = [],  # noqa: B006
    weights: opt.WhichWeights = "plain",
    strict_groups: opt.StrictGroups = False,
    format_: opt.ListingFormat = "terminal",
    debug: opt.Debug = False,
) -> int:
    """List the convolutions, how many groups each has, how that is known, and what is left out."""
    from gcx.pipeline import layers as listed
    from gcx.renderers.base import listing_by_name
    from gcx.renderers.outcome import inconclusive

    renderer = listing_by_name(format_)
    listing = listed(*models, settings=opt.settings_of(context))
    write_stdout(renderer.render_listing(listing, render_options("light", for_stdout=True)))
    say([f"inconclusive: {reason}" for reason in inconclusive(listing)])
    return listing.exit_code


def filters(
    context: typer.Context,
    model: opt.Model,
    layer: opt.Layer,
    groups: opt.Groups = [],  # noqa: B006
    weights: opt.WhichWeights = "plain",
    induced: opt.Induced = False,
    export: opt.Pictures = [],  # noqa: B006
    theme: opt.WhichTheme = "light",
    debug: opt.Debug = False,
) -> int:
    """Show the kernels of one layer, by group: on a terminal with colour at once, with --export as a picture."""
    from gcx.filters import filter_bank
    from gcx.renderers.kernel_picture import kernel_png, kernel_text

    files = [Export(target) for target in export]
    for file in files:
        if file.suffix != KERNEL_PICTURE:
            raise UsageError(
                f"filters are drawn as {KERNEL_PICTURE}, not {file.suffix or file.target!r}", path=file.target
            )
        file.check([model])
    bank = filter_bank(model, layer, opt.settings_of(context))
    for file in files:
        write_file(file.target, kernel_png(bank, render_options(theme, for_stdout=False)))
    if not files:
        write_stdout(kernel_text(bank, render_options(theme, for_stdout=True)))
    return 0


def explain(
    key: Annotated[str | None, typer.Argument(metavar="[KEY]", help="A column or a JSON key.")] = None,
    debug: opt.Debug = False,
) -> int:
    """Say what a number means; without KEY, list every number."""
    from gcx.cli.explanations import explanation

    write_stdout(explanation(key))
    return 0


def _limit_threads(threads: int) -> None:
    """Before numpy is imported: it reads these once."""
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(threads)


@contextmanager
def _progress(quiet: bool) -> Iterator[Progress | None]:
    if not progress_wanted(quiet):
        yield None
        return
    from gcx.cli.progress import layer_progress

    with layer_progress() as progress:
        yield progress


def _talk(report: Report) -> list[str]:
    """Why the exit code is not 0, one line each."""
    from gcx.renderers.outcome import inconclusive

    lines = [f"inconclusive: {reason}" for reason in inconclusive(report)]
    if report.violations:
        crossed = sum(gate.violated > 0 for gate in report.gates)
        lines.append(f"violated: {crossed} of {len(report.gates)} rules; every violation stands in the report")
    return lines
