"""Why a report gives no answer, one printable sentence each: stderr, JUnit and GitHub say the same."""

from __future__ import annotations

from collections.abc import Iterator

from gcx.comparison import Gate
from gcx.errors import MESSAGE_LIMIT, printable
from gcx.results import Listing, ModelListing, ModelResult, Report

NO_MATCH = "no layers match; name them with --map 'GLOB=GLOB'"


def inconclusive(report: Report | Listing) -> Iterator[str]:
    """The reasons of exit code 3."""
    for model in report.models:
        yield from (f"{printable(model.path)}: {reason}" for reason in reasons(model))
    if isinstance(report, Report):
        yield from unmatched(report)
        for gate in report.gates:
            yield from (f"--fail-if {printable(gate.rule, 100)!r}: {reason}" for reason in unknown(gate))


def reasons(model: ModelResult | ModelListing) -> list[str]:
    """Those of one model."""
    return [printable(reason, 2 * MESSAGE_LIMIT) for reason in model.inconclusive]


def unmatched(report: Report) -> list[str]:
    """That of a comparison of nothing."""
    return [NO_MATCH] if report.comparison is not None and not report.comparison.layers else []


def unknown(gate: Gate) -> list[str]:
    """That of a rule about which nothing is known."""
    return [] if gate.checked else ["the number is null everywhere"]
