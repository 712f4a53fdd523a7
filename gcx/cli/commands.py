"""The commands: each collects its options, runs the pipeline, and hands the report to renderers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from gcx.cli import options as opt
from gcx.cli.output import (
    STDOUT,
    Export,
    append_file,
    progress_wanted,
    render_options,
    replacing,
    say,
    write_file,
    write_folder,
    write_stdout,
)
from gcx.errors import UsageError
from gcx.settings import Settings

if TYPE_CHECKING:
    from gcx.measuring import Progress
    from gcx.renderers.base import Renderer
    from gcx.results import Report

THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
MATRICES = ".npz"
KERNEL_PICTURE = ".png"
SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"

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
    models: opt.Models,
    groups: opt.Groups = [],  # noqa: B006 - typer's way to say "repeatable"
    include: opt.Include = [],  # noqa: B006
    exclude: opt.Exclude = [],  # noqa: B006
    measure: opt.WhichMeasure = opt.Measure.pearson,
    weights: opt.WhichWeights = opt.Weights.plain,
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
    theme: opt.WhichTheme = opt.Theme.light,
    threads: opt.Threads = 1,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> int:
    """Measure filter correlation within and across groups, one table per model."""
    _limit_threads(threads)
    settings = Settings(
        measure=measure.value,
        groups=opt.declared_groups(groups),
        include=tuple(include),
        exclude=tuple(exclude),
        weights=weights.value,
        fold_sign=fold_sign,
        fold_scale=fold_scale,
        virtual_groups=virtual_groups,
        induced=induced,
        strict_groups=strict_groups,
        n_resamples=n_resamples,
        seed=seed,
        fail_if=tuple(fail_if),
        exit_zero=exit_zero,
    )
    from gcx.measuring import Extras
    from gcx.pipeline import correlate as measured
    from gcx.summary import check_sort, chosen_order

    check_sort(sort)
    plan = _OutputPlan(format_, export)
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
        )
        measured_report = measured(*models, settings=settings, extras=extras)
        report = chosen_order(measured_report, sort, top)
        rendered = plan.render(report, theme.value)
    plan.append_summary(measured_report)
    plan.write_plates(report, theme.value)
    plan.write(rendered)
    say(_talk(measured_report))
    return report.exit_code


def compare(
    reference: opt.Reference,
    candidate: opt.Candidate,
    groups: opt.Groups = [],  # noqa: B006
    include: opt.Include = [],  # noqa: B006
    exclude: opt.Exclude = [],  # noqa: B006
    map_: opt.Map = [],  # noqa: B006
    measure: opt.WhichMeasure = opt.Measure.pearson,
    weights: opt.WhichWeights = opt.Weights.plain,
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
    format_: opt.Format = "terminal",
    export: opt.Exports = [],  # noqa: B006
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
    from gcx.comparing.matching import parse_map
    from gcx.measuring import Extras

    settings = Settings(
        measure=measure.value,
        groups=opt.declared_groups(groups),
        include=tuple(include),
        exclude=tuple(exclude),
        weights=weights.value,
        fold_sign=fold_sign,
        fold_scale=fold_scale,
        virtual_groups=virtual_groups,
        strict_groups=strict_groups,
        n_resamples=n_resamples,
        seed=seed,
        map=tuple(map(parse_map, map_)),
        filters=filters,
        n_draws=n_draws,
        fail_if=tuple(fail_if),
        exit_zero=exit_zero,
    )
    plan = _OutputPlan(format_, export)
    plan.refuse_figures()
    with _progress(quiet) as progress:
        report = compared(reference, candidate, settings=settings, extras=Extras(progress=progress))
    rendered = plan.render(report, "light")
    plan.append_summary(report)
    plan.write(rendered)
    say(_talk(report))
    return report.exit_code


def track(
    checkpoints: opt.Checkpoints,
    order: opt.WhichOrder = None,
    groups: opt.Groups = [],  # noqa: B006
    include: opt.Include = [],  # noqa: B006
    exclude: opt.Exclude = [],  # noqa: B006
    measure: opt.WhichMeasure = opt.Measure.pearson,
    weights: opt.WhichWeights = opt.Weights.plain,
    strict_groups: opt.StrictGroups = False,
    fold_sign: opt.FoldSign = False,
    fold_scale: opt.FoldScale = False,
    n_resamples: opt.Resamples = None,
    seed: opt.Seed = 0,
    fail_if: opt.FailIf = [],  # noqa: B006
    exit_zero: opt.ExitZero = False,
    format_: opt.Format = "terminal",
    export: opt.Exports = [],  # noqa: B006
    theme: opt.WhichTheme = opt.Theme.light,
    threads: opt.Threads = 1,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> int:
    """Follow one training run along its checkpoints: the same numbers along time, and what breaks the run.

    A rule of --fail-if is about every checkpoint.
    """
    _limit_threads(threads)
    from gcx.measuring import Extras
    from gcx.tracking import track as followed

    settings = Settings(
        measure=measure.value,
        groups=opt.declared_groups(groups),
        include=tuple(include),
        exclude=tuple(exclude),
        weights=weights.value,
        fold_sign=fold_sign,
        fold_scale=fold_scale,
        strict_groups=strict_groups,
        n_resamples=n_resamples,
        seed=seed,
        order=None if order is None else order.value,
        fail_if=tuple(fail_if),
        exit_zero=exit_zero,
    )
    plan = _OutputPlan(format_, export)
    plan.refuse_matrices()
    with _progress(quiet) as progress:
        extras = Extras(progress=progress, pictures=plan.needs_pages)
        report = followed(*checkpoints, settings=settings, extras=extras)
    rendered = plan.render(report, theme.value)
    plan.append_summary(report)
    plan.write(rendered)
    say(_talk(report))
    return report.exit_code


def layers(
    models: opt.Models,
    groups: opt.Groups = [],  # noqa: B006
    include: opt.Include = [],  # noqa: B006
    exclude: opt.Exclude = [],  # noqa: B006
    weights: opt.WhichWeights = opt.Weights.plain,
    strict_groups: opt.StrictGroups = False,
    format_: opt.ListingFormat = "terminal",
    debug: opt.Debug = False,
) -> int:
    """List the convolutions, how many groups each has, how that is known, and what is left out."""
    from gcx.pipeline import layers as listed
    from gcx.renderers.base import listing_by_name
    from gcx.renderers.outcome import inconclusive_listing

    renderer = listing_by_name(format_)
    settings = Settings(
        groups=opt.declared_groups(groups),
        include=tuple(include),
        exclude=tuple(exclude),
        weights=weights.value,
        strict_groups=strict_groups,
    )
    listing = listed(*models, settings=settings)
    write_stdout(renderer.render_listing(listing, render_options("light", for_stdout=True)))
    say([f"inconclusive: {reason}" for reason in inconclusive_listing(listing)])
    return listing.exit_code


def filters(
    model: opt.Model,
    layer: opt.Layer,
    groups: opt.Groups = [],  # noqa: B006
    weights: opt.WhichWeights = opt.Weights.plain,
    induced: opt.Induced = False,
    export: opt.Pictures = [],  # noqa: B006
    theme: opt.WhichTheme = opt.Theme.light,
    debug: opt.Debug = False,
) -> int:
    """Show the kernels of one layer, by group: on a terminal with colour at once, with --export as a picture."""
    from gcx.filters import filter_bank
    from gcx.renderers.kernel_picture import kernel_png, kernel_text

    files = [Export(target) for target in export]
    for file in files:
        if file.suffix != KERNEL_PICTURE:
            raise UsageError(f"filters are drawn as {KERNEL_PICTURE}, not {file.suffix or 'that'!r}", path=file.target)
        file.check()
    settings = Settings(groups=opt.declared_groups(groups), weights=weights.value, induced=induced)
    bank = filter_bank(model, layer, settings)
    for file in files:
        write_file(file.target, kernel_png(bank, render_options(theme.value, for_stdout=False)))
    if not files:
        write_stdout(kernel_text(bank, render_options(theme.value, for_stdout=True)))
    return 0


def explain(
    key: Annotated[str | None, typer.Argument(metavar="[KEY]", help="A column or a JSON key.")] = None,
    debug: opt.Debug = False,
) -> int:
    """Say what a number means; without KEY, list every number."""
    from gcx.cli.explanations import explanation

    write_stdout(explanation(key))
    return 0


class _OutputPlan:
    """What stdout and the exported files get; checked before anything is computed, written after everything is."""

    def __init__(self, format_: str, exports: list[str]) -> None:
        from gcx.renderers.base import by_name, by_suffix

        files = [Export(target) for target in exports if target != STDOUT]
        for file in files:
            file.check()
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

    @property
    def needs_pictures(self) -> bool:
        renderers = [self._stdout, *(renderer for _, renderer in self._files)]
        return bool(self._folders) or any(renderer.needs_pictures for renderer in renderers)

    @property
    def shows_distributions(self) -> bool:
        """A terminal with colour and more than ASCII has room for one small drawing per layer."""
        options = render_options("light", for_stdout=True)
        return self._stdout.name == "terminal" and options.color and options.unicode

    @property
    def needs_pages(self) -> bool:
        """Whether a page is wanted, the one format that shows layers beside a run."""
        renderers = [self._stdout, *(renderer for _, renderer in self._files)]
        return any(renderer.needs_pictures and not renderer.binary for renderer in renderers)

    def refuse_matrices(self) -> None:
        """A run has too many matrices for a file or folder.

        Raises:
            UsageError: full matrices or a folder of heatmaps are wanted.
        """
        if self._folders or self._matrices:
            raise UsageError("track writes no matrices", cure="use `gcx correlate` on one checkpoint")

    def refuse_figures(self) -> None:
        """A comparison is no picture of one model.

        Raises:
            UsageError: a figure or full matrices are wanted.
        """
        renderers = [self._stdout, *(renderer for _, renderer in self._files)]
        if self._folders or self._matrices or any(renderer.binary for renderer in renderers):
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
