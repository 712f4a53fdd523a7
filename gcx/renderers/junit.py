"""JUnit's XML, which every CI shows: a suite per rule with a case per layer, and a suite of what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from gcx.comparison import Check, Gate
from gcx.errors import printable
from gcx.renderers.options import RenderOptions
from gcx.renderers.outcome import NO_MATCH, about_model
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
    skipped = sum(len(model.skipped) for model in report.models)
    found = {model.path: tuple(about_model(model, report.settings)) for model in report.models}
    bare = sum(map(bool, found.values()))
    unmatched = report.comparison is not None and not report.comparison.layers
    suite = _counted("measured", len(report.models) + skipped + unmatched, 0, bare + unmatched, skipped)
    for model in report.models:
        case = SubElement(suite, "testcase", classname="gcx.measured", name=printable(model.path))
        if found[model.path]:
            SubElement(case, "error", message="; ".join(found[model.path]), type="inconclusive")
        for layer in model.skipped:
            name = printable(f"{model.path}: {layer.name}")
            case = SubElement(suite, "testcase", classname="gcx.measured", name=name)
            SubElement(case, "skipped", message=printable(layer.reason))
    if unmatched:
        case = SubElement(suite, "testcase", classname="gcx.measured", name="comparison")
        SubElement(case, "error", message=NO_MATCH, type="inconclusive")
    return suite


def _suite(gate: Gate) -> Element:
    suite = _counted(printable(gate.rule), len(gate.checks), gate.violated, 0, gate.unknown)
    suite.extend(_cases(gate))
    return suite


def _counted(name: str, tests: int, failures: int, errors: int, skipped: int) -> Element:
    counts = {"tests": tests, "failures": failures, "errors": errors, "skipped": skipped}
    return Element("testsuite", {"name": name, **{key: str(count) for key, count in counts.items()}, "time": "0"})


def _cases(gate: Gate) -> Iterator[Element]:
    for check in gate.checks:
        where = check.model if check.layer is None else f"{check.model}: {check.layer}"
        case = Element("testcase", classname=printable(gate.rule), name=printable(where), time="0")
        if check.outcome == "violated":
            failure = SubElement(case, "failure", message=_message(check), type="violated")
            failure.text = printable(f"{gate.rule}: {where}: {_message(check)}")
        elif check.outcome == "unknown":
            SubElement(case, "skipped", message="the number is null")
        yield case


def _message(check: Check) -> str:
    return f"{check.value:.6g}, bound {check.bound:.6g}"
