"""Gates: `[layers["GLOB"].]KEY OP NUMBER[%]` over the report's own keys, parsed by hand and never evaluated."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from math import isfinite
from typing import Any, Literal

from gcx import limits
from gcx.comparison import Check, Gate, LayerComparison, Violation
from gcx.contract import number_at, numeric_keys
from gcx.errors import LimitError, UsageError
from gcx.globs import matches
from gcx.results import Coverage, LayerResult, ModelResult, Report, Summary
from gcx.summary import mean_at

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
GRAMMAR = "[layers[\"GLOB\"].]KEY OP NUMBER, e.g. 'within.excess > 0.02'"
CHANGE = "change."

_SELECTOR = re.compile(r"""layers\s*\[\s*(?:"([^"]*)"|'([^']*)')\s*\]\s*\.""")
_KEY = re.compile(r"[a-z_0-9]+(?:\.[a-z_0-9]+)*")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")

Scope = Literal["layer", "model", "change"]


@dataclass(frozen=True)
class Rule:
    """One parsed rule."""

    text: str
    glob: str | None
    key: str
    scope: Scope
    operator: str
    number: float
    percent: bool


def parse_rule(text: str, *, comparing: bool) -> Rule:
    """Parse one rule.

    Args:
        text: as typed.
        comparing: whether the report is of two arms, and so has changes.

    Raises:
        UsageError: it does not follow the grammar, or names no number of the report.

    >>> rule = parse_rule('layers["layer3.*"].kernels.delta < 0', comparing=False)
    >>> rule.glob, rule.key, rule.operator, rule.number
    ('layer3.*', 'kernels.delta', '<', 0.0)
    """
    if len(text) > limits.RULE:
        raise UsageError(f"--fail-if {text[:40]!r}…: longer than limits.RULE = {limits.RULE} characters")
    rest = text.strip()
    glob = None
    if (found := _SELECTOR.match(rest)) is not None:
        glob = found[1] if found[1] is not None else found[2]
        rest = rest[found.end() :].lstrip()
    key, rest = _taken(_KEY, rest, text, "a key")
    sign = next((sign for sign in OPERATORS if rest.startswith(sign)), None)
    if sign is None:
        raise _wrong(text, f"{rest[:20]!r} is no comparison", f"use one of {' '.join(OPERATORS)}")
    written, rest = _taken(_NUMBER, rest[len(sign) :].lstrip(), text, "a number")
    percent = rest.startswith("%")
    if rest[percent:].strip():
        raise _wrong(text, f"{rest[percent:].strip()[:20]!r} follows the number")
    number = float(written)
    if not isfinite(number):
        raise _wrong(text, f"{written} is too large")
    scope = _scope(text, key, comparing)
    if percent and not (scope == "change" and key.startswith(CHANGE)):
        raise _wrong(text, f"{key} has no reference to be a percentage of", "only change.… may be bounded in %")
    if glob is not None and scope == "model":
        raise _wrong(text, f"{key} is a number of the whole model", 'leave layers["…"] out')
    return Rule(text, glob, key, scope, sign, number, percent)


def check_rules(rules: Sequence[str], *, comparing: bool) -> tuple[Rule, ...]:
    """Parse every rule, before anything is measured.

    Raises:
        UsageError: one is wrong, or there are too many.
    """
    if len(rules) > limits.RULES:
        raise UsageError(f"{len(rules)} rules: more than limits.RULES = {limits.RULES}")
    return tuple(parse_rule(text, comparing=comparing) for text in rules)


@cache
def gateable(*, comparing: bool) -> Mapping[str, tuple[Scope, str]]:
    """Every key that a rule may name, with what it is of and what it means."""
    found: dict[str, tuple[Scope, str]] = {}
    for prefix, record in (("summary.", Summary), ("coverage.", Coverage)):
        found |= {f"{prefix}{key}": ("model", meaning) for key, meaning in numeric_keys(record).items()}
    if comparing:
        found |= {key: ("change", meaning) for key, meaning in numeric_keys(LayerComparison).items()}
    return {key: ("layer", meaning) for key, meaning in numeric_keys(LayerResult).items()} | found


def judged(report: Report) -> Report:
    """The report with its gates, their violations, and the exit code that follows: 3 over 1 over 0.

    A rule without a selector is about every measured layer: of a comparison the candidate's, or its compared pairs.

    Raises:
        UsageError: a rule cannot be meant, or its selector matches no layer.
        LimitError: rules times layers are too many.
    """
    settings = report.settings
    rules = check_rules(settings.fail_if, comparing=report.comparison is not None)
    layers = sum(len(model.layers) for model in report.models)
    if len(rules) * layers > limits.CHECKS:
        raise LimitError(f"{len(rules)} rules on {layers} layers: more than limits.CHECKS = {limits.CHECKS}")
    gates = tuple(_gate(rule, tuple(_checks(rule, report))) for rule in rules)
    violations = tuple(
        Violation(rule=gate.rule, model=check.model, layer=check.layer, value=check.value, bound=check.bound)
        for gate in gates
        for check in gate.checks
        if check.outcome == "violated" and check.value is not None and check.bound is not None
    )
    code = report.exit_code
    if any(gate.checked == 0 for gate in gates):
        code = 3
    elif code == 0 and violations and not settings.exit_zero:
        code = 1
    return replace(report, gates=gates, violations=violations, exit_code=code)


def _gate(rule: Rule, checks: tuple[Check, ...]) -> Gate:
    counts = {outcome: sum(check.outcome == outcome for check in checks) for outcome in ("unknown", "violated")}
    return Gate(
        rule=rule.text,
        checked=len(checks) - counts["unknown"],
        unknown=counts["unknown"],
        violated=counts["violated"],
        checks=checks,
    )


def _checks(rule: Rule, report: Report) -> Iterator[Check]:
    gated = report.models if report.comparison is None else report.models[report.comparison.reference_runs :]
    if rule.scope == "model":
        yield from (_check(rule, model.path, None, number_at(model, rule.key), rule.number) for model in gated)
        return
    found = False
    for check in _change_checks(rule, report) if rule.scope == "change" else _layer_checks(rule, gated):
        found = True
        yield check
    if not found and rule.glob is not None:
        names = _names(report)
        close = get_close_matches(rule.glob, names[: limits.ROLE_LAYERS], n=1, cutoff=0.4)
        cure = f"did you mean {close[0]!r}?" if close else "`gcx layers` lists the names"
        raise UsageError(f"--fail-if {rule.text!r} matches no layer", cure=cure)


def _layer_checks(rule: Rule, models: Sequence[ModelResult]) -> Iterator[Check]:
    for model in models:
        for layer in model.layers if rule.glob is not None else model.measured:
            names = (layer.name, *layer.tied) if isinstance(layer, LayerResult) else (layer.name,)
            if rule.glob is None or matches(names, rule.glob):
                value = number_at(layer, rule.key) if isinstance(layer, LayerResult) else None
                yield _check(rule, model.path, layer.name, value, rule.number)


def _change_checks(rule: Rule, report: Report) -> Iterator[Check]:
    comparison = report.comparison
    if comparison is None:
        return
    candidate = comparison.candidate
    before = _reference_numbers(rule, report.models[: comparison.reference_runs]) if rule.percent else {}
    for pair in comparison.layers:
        if rule.glob is None or matches((pair.candidate, pair.reference), rule.glob):
            bound = _share(rule.number, before.get(pair.reference)) if rule.percent else rule.number
            yield _check(rule, candidate, pair.candidate, number_at(pair, rule.key), bound)
    for alone in comparison.unmatched:
        if rule.glob is not None and matches((alone.name,), rule.glob):
            yield _check(rule, candidate, alone.name, None, None)


def _reference_numbers(rule: Rule, runs: Sequence[ModelResult]) -> dict[str, float | None]:
    """By layer the number that a bound in % is of: its mean over the reference's runs."""
    layers: dict[str, list[LayerResult]] = {}
    for model in runs:
        for layer in model.measured:
            layers.setdefault(layer.name, []).append(layer)
    return {name: mean_at(found, rule.key.removeprefix(CHANGE)) for name, found in layers.items()}


def _share(percent: float, number: float | None) -> float | None:
    """The bound; not known where the number that it is a share of is null."""
    return None if number is None else percent / 100 * abs(number)


def _check(rule: Rule, model: str, layer: str | None, value: Any, bound: float | None) -> Check:
    if value is None or bound is None:
        return Check(model=model, layer=layer, outcome="unknown", value=None, bound=bound)
    violated = OPERATORS[rule.operator](value, bound)
    return Check(
        model=model, layer=layer, outcome="violated" if violated else "passed", value=float(value), bound=bound
    )


def _names(report: Report) -> list[str]:
    return [layer.name for model in report.models for layer in model.layers]


def _scope(text: str, key: str, comparing: bool) -> Scope:
    known = gateable(comparing=comparing)
    if key in known:
        return known[key][0]
    if not comparing and key in gateable(comparing=True):
        raise _wrong(text, f"{key} is a number of a comparison", "gate it with `gcx compare`")
    close = get_close_matches(key, known, n=1)
    raise _wrong(
        text, f"{key!r} is no number of the report", f"did you mean {close[0]!r}?" if close else "see `gcx explain`"
    )


def _taken(pattern: re.Pattern[str], rest: str, text: str, what: str) -> tuple[str, str]:
    found = pattern.match(rest)
    if found is None:
        raise _wrong(text, f"{rest[:20]!r} is not {what}" if rest else f"{what} is missing")
    return found[0], rest[found.end() :].lstrip()


def _wrong(text: str, what: str, cure: str | None = None) -> UsageError:
    return UsageError(f"--fail-if {text[:100]!r}: {what}", cure=cure or f"write {GRAMMAR}")
