"""GitHub's workflow commands: annotations of what crossed a rule or gave no answer, and a summary of the job."""

from __future__ import annotations

from collections.abc import Iterator

from gcx.renderers.comparison_lines import comparison_lines
from gcx.renderers.escape import github_property, github_text, markdown_text
from gcx.renderers.gates import gate_lines, violation_text, worst_first
from gcx.renderers.options import RenderOptions
from gcx.renderers.outcome import reasons, unknown, unmatched
from gcx.renderers.prose import coverage_text, skipped_text
from gcx.results import Report
from gcx.words import plural

SUMMARY_BYTES = 2**19
"""GitHub refuses summaries of more than 1 MiB a step; other commands of the step may add theirs."""
ANNOTATIONS = 10
"""GitHub shows ten errors of a step; the last of ours says how many more there are."""


class Github:
    """Annotations on stdout; `job_summary` is for the file that GitHub names."""

    name = "github"
    suffixes: tuple[str, ...] = ()
    binary = False
    needs_pictures = False

    def render(self, report: Report, options: RenderOptions) -> str:
        """What was not answered or not measured, then at most one annotation per rule."""
        lines = list(_annotations(report))
        if len(lines) > ANNOTATIONS:
            lines = [
                *lines[: ANNOTATIONS - 1],
                _command("error", "gcx", f"and {len(lines) - ANNOTATIONS + 1} more: see the report"),
            ]
        return "".join(f"{line}\n" for line in (*lines, _outcome(report)))


def job_summary(report: Report) -> str:
    """A Markdown summary, crossed gates first and their worst layers first, cut at a size that GitHub takes."""
    lines = ["### gcx", "", *_summary_lines(report)]
    text, size = [], 0
    for line in lines:
        size += len(line.encode("utf-8", "backslashreplace")) + 1
        if size > SUMMARY_BYTES:
            text.append("- and more: see the report")
            break
        text.append(line)
    return "\n".join(text) + "\n"


def _annotations(report: Report) -> Iterator[str]:
    for model in report.models:
        for reason in reasons(model):
            yield _command("error", "inconclusive", f"{model.path}: {reason}")
        if model.skipped:
            first = skipped_text(model.skipped[0])
            some = f"{plural(len(model.skipped), 'convolution')} not measured, the first {first}"
            yield _command("warning", "skipped", f"{model.path}: {some}")
    for reason in unmatched(report):
        yield _command("error", "inconclusive", reason)
    for event in report.track.events if report.track is not None else ():
        yield _command("warning", event.kind, event.text)
    for gate in report.gates:
        if gate.violated:
            worst = worst_first(gate, report.violations)[0]
            yield _command(
                "error", gate.rule, f"{gate.violated} of {gate.checked} cross it; worst {violation_text(worst)}"
            )
        for reason in unknown(gate):
            yield _command("error", gate.rule, reason)


def _command(kind: str, title: str, message: str) -> str:
    return f"::{kind} title={github_property(f'gcx: {title}')}::{github_text(message)}"


def _outcome(report: Report) -> str:
    crossed = sum(gate.violated > 0 for gate in report.gates)
    text = f"gcx: {crossed} of {plural(len(report.gates), 'rule')} crossed"
    text = text if report.comparison is None else f"{text}; {report.comparison.verdict}"
    return text.replace("##[", "# #[")


def _summary_lines(report: Report) -> Iterator[str]:
    lines = sorted(gate_lines(report), key=lambda line: ("violated", "inconclusive", "passed").index(line.label))
    for line in lines:
        yield f"- **{markdown_text(line.label)}** {markdown_text(line.text)}"
    if lines:
        yield ""
    if report.comparison is None:
        for model in report.models:
            yield f"- {markdown_text(model.path)}: {markdown_text(coverage_text(model.coverage))}"
        return
    for line in comparison_lines(report):
        if line.kind != "legend":
            yield f"- **{markdown_text(line.label)}** {markdown_text(line.text)}"
