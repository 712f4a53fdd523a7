"""JUnit's XML, which every CI shows: a suite per rule with a case per layer, and a suite of what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from gcx.comparison import Check, Gate
from gcx.errors import printable
from gcx.renderers.options import RenderOptions
from gcx.renderers.outcome import reasons, unknown, unmatched
from gcx.results import Report


class Junit:
    """Passed, failed or skipped (the number is null), per rule and layer."""

    name = "junit"
    suffixes: tuple[str, ...] = (".xml",)
    binary = False
    needs_pictures = False

    def render(self, report: Report, options: RenderOptions) -> str:
        """The whole report as one XML document."""
        root = Element("testsuites", name="gcx")
        suites = [_coverage(report), *(_suite(gate) for gate in report.gates)]
        for total in ("tests", "failures", "errors", "skipped"):
            root.set(total, str(sum(int(suite.get(total, "0")) for suite in suites)))
        root.extend(suites)
        indent(root)
        # ASCII: whatever stands in a name is a character reference, and control characters were made visible.
        document: bytes = tostring(root, encoding="us-ascii", xml_declaration=True)
        return document.decode("ascii") + "\n"


def _coverage(report: Report) -> Element:
    """A case per model, an error where it gives no answer; a case per layer that was seen and not measured."""
    suite = Element("testsuite", name="measured")
    for model in report.models:
        _case(suite, "gcx.measured", model.path, errors=reasons(model))
        for layer in model.skipped:
            _case(suite, "gcx.measured", f"{model.path}: {layer.name}", skipped=layer.reason)
    for reason in unmatched(report):
        _case(suite, "gcx.measured", "comparison", errors=[reason])
    for event in report.track.events if report.track is not None else ():
        _case(suite, "gcx.track", event.kind, skipped=event.text)
    return _counted(suite)


def _suite(gate: Gate) -> Element:
    suite = Element("testsuite", name=printable(gate.rule))
    for check in gate.checks:
        where = check.model if check.layer is None else f"{check.model}: {check.layer}"
        case = _case(suite, gate.rule, where, skipped="the number is null" if check.outcome == "unknown" else None)
        if check.outcome == "violated":
            failure = SubElement(case, "failure", message=_message(check), type="violated")
            failure.text = printable(f"{gate.rule}: {where}: {_message(check)}")
    for reason in unknown(gate):
        _case(suite, gate.rule, "the rule", errors=[reason])
    return _counted(suite)


def _case(suite: Element, kind: str, name: str, *, errors: Sequence[str] = (), skipped: str | None = None) -> Element:
    case = SubElement(suite, "testcase", classname=printable(kind), name=printable(name), time="0")
    if errors:
        SubElement(case, "error", message="; ".join(errors), type="inconclusive")
    if skipped is not None:
        SubElement(case, "skipped", message=printable(skipped))
    return case


def _counted(suite: Element) -> Element:
    suite.set("tests", str(len(suite)))
    for total, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(total, str(len(suite.findall(f"testcase/{kind}"))))
    suite.set("time", "0")
    return suite


def _message(check: Check) -> str:
    return f"{check.value:.6g}, bound {check.bound:.6g}"
