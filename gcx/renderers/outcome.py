"""Why a report gives no answer, one sentence each: stderr, JUnit and GitHub say the same."""

from __future__ import annotations

from collections.abc import Iterator

from gcx.errors import printable
from gcx.results import Listing, ModelListing, ModelResult, Report
from gcx.settings import Settings

NO_MATCH = "no layers match; name them with --map 'GLOB=GLOB'"
_NAMED = 3
"""Layers named in one sentence."""


def inconclusive(report: Report) -> Iterator[str]:
    """The reasons of exit code 3, in printable characters."""
    for model in report.models:
        yield from about_model(model, report.settings)
    if report.comparison is not None and not report.comparison.layers:
        yield NO_MATCH
    for gate in report.gates:
        if not gate.checked:
            yield f"--fail-if {printable(gate.rule, 100)!r}: the number is null everywhere"


def inconclusive_listing(listing: Listing) -> Iterator[str]:
    """The same of `gcx layers`."""
    for model in listing.models:
        if not model.layers:
            yield f"{printable(model.path)}: {nothing_listed(model)}"
        elif listing.settings.strict_groups:
            yield from _unsure(model.path, [c.name for c in model.layers if c.groups_confidence == "ambiguous"])


def unmeasured(model: ModelResult) -> str | None:
    """Why a model has no number at all; None where it has one."""
    coverage = model.coverage
    if any(layer.has_numbers for layer in model.measured):
        return None
    if not coverage.convolutions:
        return "no convolution found"
    if coverage.not_chosen == coverage.convolutions:
        return _none_chosen(coverage.convolutions)
    if not model.measured:
        return f"none of {_convolutions(coverage.convolutions)} could be measured"
    return f"none of {_convolutions(coverage.convolutions)} has a number: the notes say why"


def about_model(model: ModelResult, settings: Settings) -> Iterator[str]:
    """Those of one model."""
    reason = unmeasured(model)
    if reason is not None:
        yield f"{printable(model.path)}: {reason}"
    if settings.strict_groups:
        yield from _unsure(model.path, [c.name for c in model.measured if c.groups_confidence == "ambiguous"])


def _unsure(path: str, names: list[str]) -> Iterator[str]:
    if names:
        some = ", ".join(printable(name, 60) for name in names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
        layers = "1 layer" if len(names) == 1 else f"{len(names)} layers"
        yield f"{printable(path)}: the group count of {layers} is ambiguous ({some}); declare it with --groups GLOB=N"


def nothing_listed(model: ModelListing) -> str:
    """Why a listing is empty."""
    return _none_chosen(model.not_chosen) if model.not_chosen else "no convolution found"


def _none_chosen(count: int) -> str:
    return f"--include and --exclude leave none of {_convolutions(count)}"


def _convolutions(count: int) -> str:
    return f"{count} convolution{'' if count == 1 else 's'}"
