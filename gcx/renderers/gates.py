"""The sentences of gates: which rules were crossed, and where most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gcx.comparison import Gate, Violation
from gcx.renderers.prose import Line
from gcx.results import Report
from gcx.words import plural

SHOWN = 6
"""Violations of one rule that are named; the JSON has the others."""


def worst_first(gate: Gate, violations: Sequence[Violation]) -> list[Violation]:
    """The violations of one rule, the farthest beyond its bound first."""
    own = [violation for violation in violations if violation.rule == gate.rule]
    return sorted(own, key=lambda violation: -abs(violation.value - violation.bound))


def gate_lines(report: Report) -> Iterator[Line]:
    """Every rule and how it went; of a crossed one the worst layers."""
    for gate in report.gates:
        if gate.violated:
            worst = worst_first(gate, report.violations)
            where = "; ".join(map(violation_text, worst[:SHOWN]))
            more = f"; and {len(worst) - SHOWN} more" if len(worst) > SHOWN else ""
            yield Line("violated", f"{gate.rule}: {gate.violated} of {gate.checked}: {where}{more}", "unsure")
        elif not gate.checked:
            yield Line("inconclusive", f"{gate.rule}: the number is null everywhere", "unsure")
        else:
            unknown = f", {gate.unknown} not known" if gate.unknown else ""
            yield Line("passed", f"{gate.rule}: {plural(gate.checked, 'number')} checked{unknown}")


def violation_text(violation: Violation) -> str:
    """Where, value and bound of one violation."""
    where = violation.model if violation.layer is None else f"{violation.layer} in {violation.model}"
    return f"{where}: {violation.value:.6g}, bound {violation.bound:.6g}"
