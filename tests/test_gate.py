"""Gates: what a rule may say, what it is about, and the exit code that follows."""

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import gcx
from gcx.errors import UsageError
from gcx.gate import OPERATORS, gateable, parse_rule
from gcx.renderers.base import by_name
from gcx.renderers.github import SUMMARY_BYTES, job_summary
from gcx.renderers.options import RenderOptions

RNG = np.random.default_rng(0)
MODEL = {"a.0.weight": RNG.normal(size=(16, 8, 3, 3)), "a.1.weight": RNG.normal(size=(16, 16, 1, 1))}
OTHER = {name: weight + 0.1 * RNG.normal(size=weight.shape) for name, weight in MODEL.items()}


def judged(*rules: str, **options):
    return gcx.correlate(MODEL, fail_if=rules, **options)


@pytest.mark.parametrize("sign", OPERATORS)
@pytest.mark.parametrize("bound", ["0", "1", "0.5", "-1e-3", "+.5"])
def test_a_rule_is_the_comparison_it_says(sign, bound):
    report = judged(f"within.mean_r2 {sign} {bound}")
    values = [layer.within.mean_r2 for layer in report.models[0].layers]
    truth = {">": "__gt__", ">=": "__ge__", "<": "__lt__", "<=": "__le__", "==": "__eq__", "!=": "__ne__"}
    expected = [value for value in values if getattr(value, truth[sign])(float(bound))]
    assert [violation.value for violation in report.violations] == expected
    assert report.exit_code == (1 if expected else 0)


def test_a_selector_chooses_layers():
    report = judged('layers["*.1"].within.mean_r2 > 0')
    assert [(violation.layer, violation.bound) for violation in report.violations] == [("a.1", 0.0)]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("", "a key is missing"),
        ("within.mean_r2", "is no comparison"),
        ("within.mean_r2 =~ 3", "is no comparison"),
        ("within.mean_r2 > x", "is not a number"),
        ("within.mean_r2 > 1e999", "too large"),
        ("within.mean_r2 > nan", "is not a number"),
        ("within.mean_r2 > 1 or 1", "follows the number"),
        ("within.mean_r22 > 1", "did you mean 'within.mean_r2'"),
        ("within.mean_r2 > 1%", "no reference"),
        ("change.within.mean_r2 > 1%", "gate it with `gcx compare`"),
        ("__import__('os').system('true')", "is no comparison"),
        ("().__class__.__bases__ > 1", "is not a key"),
        ('layers["x"].summary.layers_tested > 1', "whole model"),
        ("name > 1", "no number of the report"),
        ("within.mean_r2 > 1" + " " * 2000, "longer than"),
    ],
)
def test_what_is_no_rule_is_one_line(rule, message):
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        judged(rule)


def test_a_rule_that_matches_no_layer_is_an_error():
    with pytest.raises(UsageError, match=r"matches no layer; did you mean 'a\.[01]'"):
        judged('layers["a.7"].within.mean_r2 > 0')


def test_null_never_violates_and_all_null_is_inconclusive():
    report = judged("kernels.same_group > -1")
    assert [violation.layer for violation in report.violations] == ["a.0"]  # a 1x1 kernel has no direction
    assert (report.gates[0].checked, report.gates[0].unknown) == (1, 1)
    assert judged("across.mean_r2 > -1").exit_code == 3
    assert judged("across.mean_r2 > -1", "within.mean_r2 > -1").exit_code == 3


def test_exit_zero_keeps_the_violations():
    report = judged("summary.layers_tested > 0", exit_zero=True)
    assert report.exit_code == 0
    assert report.violations[0].layer is None
    assert judged("across.mean_r2 > -1", exit_zero=True).exit_code == 3


def test_percent_is_of_the_reference():
    report = gcx.compare(MODEL, OTHER, fail_if=["change.within.mean_r2 > -10000%", "change.within.rms_r < -1"])
    before = {layer.name: layer.within.mean_r2 for layer in report.models[0].layers}
    assert {violation.layer: violation.bound for violation in report.violations} == pytest.approx(
        {name: -100 * value for name, value in before.items()}
    )
    assert report.exit_code == 1


def test_a_layer_rule_of_compare_is_about_the_candidate():
    report = gcx.compare(MODEL, OTHER, fail_if=["within.mean_r2 > 0"])
    found = {violation.layer: violation.value for violation in report.violations}
    assert found == {layer.name: layer.within.mean_r2 for layer in report.models[1].layers}


@pytest.mark.parametrize("comparing", [False, True])
def test_every_key_that_can_be_gated_is_a_key_of_the_json(comparing):
    report = gcx.compare(MODEL, OTHER) if comparing else gcx.correlate(MODEL)
    data = json.loads(by_name("json").render(report, RenderOptions()))
    model = data["models"][0]
    places = {"layer": model["layers"][0], "model": model}
    if comparing:
        places["change"] = data["comparison"]["layers"][0]
    for key, (scope, meaning) in gateable(comparing=comparing).items():
        value = places[scope]
        for part in key.split("."):
            assert value is None or part in value, key
            value = None if value is None else value[part]
        assert value is None or isinstance(value, (int, float)), key
        assert meaning


@hypothesis_settings(deadline=None, derandomize=True, max_examples=300)
@given(
    st.text(alphabet=st.characters(codec="utf-8"), max_size=80)
    | st.from_regex(r'(layers\["[^"]*"\]\.)?[a-z_.]* ?[<>=!]* ?[-+.e0-9]*%?')
)
def test_no_text_does_harm(text):
    try:
        rule = parse_rule(text, comparing=True)
    except UsageError as error:
        assert str(error).isprintable()
    else:
        assert rule.key in gateable(comparing=True)


def test_a_thousand_rules_and_hostile_globs():
    rules = [f'layers["{"*a" * 40}*"].within.mean_r2 > {k}' for k in range(3)]
    with pytest.raises(UsageError, match="matches no layer"):
        judged(*rules)
    report = judged(*(f"within.mean_r2 > {k}" for k in range(1, 1001)))
    assert (report.exit_code, len(report.gates)) == (0, 1000)


HOSTILE = {
    "</testcase>&\x1b[31m::error::x,##[error]\n::stop-commands::a|b`<script>.weight": RNG.normal(size=(8, 4, 3, 3))
}


def test_junit_has_a_case_per_rule_and_layer():
    report = gcx.correlate({**MODEL, **HOSTILE}, fail_if=["within.mean_r2 > 0.02", "kernels.same_group < -1"])
    root = ET.fromstring(by_name("junit").render(report, RenderOptions()))
    suites = root.findall("testsuite")
    assert [len(suite.findall("testcase")) for suite in suites] == [1, 3, 3]
    for suite in suites:
        for kind, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(kind)) == len(suite.findall(f"testcase/{tag}"))
    assert int(root.get("failures")) == len(report.violations)
    assert int(root.get("skipped")) == 1


def test_github_annotates_once_per_rule_and_names_start_no_command():
    report = gcx.correlate({**MODEL, **HOSTILE}, fail_if=["within.mean_r2 > 0", "within.max_abs_r > 2"])
    lines = by_name("github").render(report, RenderOptions()).splitlines()
    commands = [line for line in lines if line.startswith("::")]
    assert len(commands) == 1
    assert commands[0].startswith("::error title=gcx%3A within.mean_r2 > 0::3 of 3 cross it")
    assert not any("##[" in line for line in lines)
    assert "\x1b" not in "".join(lines)


def test_the_job_summary_stays_under_its_size():
    many = {f"layer{'x' * 100}{k}.weight": RNG.normal(size=(4, 2, 3, 3)) for k in range(300)}
    report = gcx.correlate(many, fail_if=[f"within.mean_r2 > {k}e-6" for k in range(300)])
    summary = job_summary(report)
    assert len(summary.encode()) < SUMMARY_BYTES + 200
    assert summary.index("violated") < 40
