"""The sentences of `gcx track`: what a run was, what broke it, and how to read its tables."""

from __future__ import annotations

from collections.abc import Iterator

from gcx.renderers.curves import series_rows, shown_series
from gcx.renderers.prose import Kind, Line, coverage_text, named, skipped_text
from gcx.renderers.run_columns import ROWS
from gcx.results import Report
from gcx.words import plural

ORDER = {
    "name": "the number in the name",
    "file": "the number inside the file",
    "mtime": "when the files were changed",
    "given": "as given",
}
UNNUMBERED = "by name; neither names nor files hold a number"


def track_lines(report: Report) -> Iterator[Line]:
    """What is to be said of a run beside its tables."""
    track = report.track
    if track is None:
        return
    yield Line("verdict", track.verdict)
    for event in track.events:
        yield Line(event.kind, event.text, "unsure")
    numbered = any(one.epoch is not None for one in track.checkpoints)
    yield Line("order", ORDER[track.order] if numbered or track.order in ("given", "mtime") else UNNUMBERED)
    if len(track.checkpoints) > ROWS:
        text = f"{ROWS} of {len(track.checkpoints)} checkpoints in the table, evenly chosen; JSON and CSV have all"
        yield Line("shown", text)
    for text in dict.fromkeys(coverage_text(model.coverage) for model in report.models):
        models = [model for model in report.models if coverage_text(model.coverage) == text]
        kind: Kind = "fact" if all(model.measured for model in models) else "unsure"
        which = "every checkpoint" if len(models) == len(report.models) else named([model.path for model in models])
        yield Line("measured", f"{text}: {which}", kind)
    silent = len(track.series) - len(series_rows(track))
    if silent:
        yield Line("no pairs", f"{plural(silent, 'layer')} without a pair of filters to compare")
    yield from _skipped(report)
    for note in dict.fromkeys((*track.notes, *(note for model in report.models for note in model.notes))):
        yield Line("note", note)
    yield Line(
        "chance",
        "rms r when each filter's kernels stand in random channel order; it moves as kernels do, so read r beside it",
        "legend",
    )
    if any(one.lineage_z is not None for one in track.checkpoints):
        text = (
            "whether a checkpoint goes on from the one before: r of filters of one index beyond that of the others, in "
        )
        yield Line("z", f"{text}standard deviations; one lineage above 5", "legend")
    if any(not shown_series(row)[1] for row in series_rows(track)):
        yield Line("°", "across groups, since no group has a pair: one filter per group", "legend")
    yield Line("test", "one run is one run: `gcx compare FIRST LAST` gives the change an interval and a p", "legend")


def _skipped(report: Report) -> Iterator[Line]:
    found: dict[str, list[str]] = {}
    for model in report.models:
        for skipped in model.skipped:
            found.setdefault(skipped_text(skipped), []).append(model.path)
    for text, paths in found.items():
        where = "every checkpoint" if len(paths) == len(report.models) else named(paths)
        yield Line("skipped", f"{text}: {where}", "unsure")
