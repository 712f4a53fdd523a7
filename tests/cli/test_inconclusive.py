"""What gives no answer is never green: exit code 3, one line on stderr, and the same in JUnit and on GitHub."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from gcx.cli.app import run
from gcx.outcome import with_reasons
from gcx.pipeline import correlate
from gcx.renderers.outcome import inconclusive
from gcx.results import Report
from gcx.settings import Settings
from gcx.summary import chosen_order


@pytest.fixture
def gcx(capfd):
    def call(*arguments):
        code = run([str(argument) for argument in arguments])
        return code, *capfd.readouterr()

    return call


def saved(path, **weights):
    torch.save({f"{name}.weight": torch.as_tensor(weight) for name, weight in weights.items()}, path)
    return path


RANDOM = np.random.default_rng(0).normal(size=(8, 4, 3, 3))
NAN = np.where(np.arange(8)[:, None, None, None] < 2, np.nan, RANDOM)
NOTHING = {
    "a layer of zeros": ({"c": np.zeros((8, 4, 3, 3))}, [], "none of 1 convolution has a number: the notes say why"),
    "single and dead filters": (
        {"a": RANDOM[:1], "b": np.zeros((8, 1, 3, 3))},
        [],
        "none of 2 convolutions has a number",
    ),
    "NaN everywhere": ({"c": NAN}, [], "none of 1 convolution could be measured"),
    "no convolution": ({"fc": np.ones((4, 4))}, [], "no convolution found"),
    "nothing chosen": ({"c": RANDOM, "d": RANDOM[:, :2]}, ["--exclude", "*"], "leave none of 2 convolutions"),
    "a gate on nothing": ({"c": RANDOM}, ["--fail-if", "across.mean_r2 > 0.1"], "the number is null everywhere"),
    "not certain": ({"c": RANDOM[:, :2]}, ["--strict-groups"], "the group count of 1 layer is ambiguous (c)"),
}


@pytest.mark.parametrize("why", NOTHING)
def test_no_answer_is_said_in_every_form(gcx, tmp_path, why):
    weights, options, says = NOTHING[why]
    path = saved(tmp_path / "net.pt", **weights)
    code, out, err = gcx("correlate", path, *options)
    assert code == 3
    assert err.startswith("inconclusive: ")
    assert says in err
    assert err.count("\n") == 1
    assert out
    code, out, _ = gcx("correlate", path, *options, "-f", "junit")
    root = ET.fromstring(out)
    assert (code, root.get("errors"), len(root.findall(".//error"))) == (3, "1", 1)
    assert says in root.find(".//error").get("message")
    code, out, _ = gcx("correlate", path, *options, "-f", "github")
    assert code == 3
    (line,) = [line for line in out.splitlines() if line.startswith("::error title=gcx%3A ")]
    assert says in line
    for form in ("terminal", "markdown", "html"):
        assert "inconclusive" in gcx("correlate", path, *options, "-f", form)[1]
    code, out, _ = gcx("correlate", path, *options, "-f", "json")
    assert (code, json.loads(out)["exit_code"]) == (3, 3)


@pytest.mark.parametrize(("options", "says"), [(["--exclude", "*"], "leave none of 1 convolution"), ([], "no convol")])
def test_a_listing_says_why_it_is_empty(gcx, tmp_path, options, says):
    path = saved(tmp_path / "net.pt", **({"c": RANDOM} if options else {"fc": np.ones((4, 4))}))
    code, out, err = gcx("layers", path, *options)
    assert code == 3
    assert says in err
    assert says in out


def test_a_listing_counts_what_it_leaves_out(gcx, tmp_path):
    path = saved(tmp_path / "net.pt", a=RANDOM, b=RANDOM[:, :2])
    code, out, err = gcx("layers", path, "--include", "a")
    assert (code, err) == (0, "")
    assert "convolutions      1, with 288 weights; 1 left out by --include or --exclude" in out


def test_skipped_layers_stand_in_what_ci_shows(gcx, tmp_path):
    path = saved(tmp_path / "net.pt", good=RANDOM, bad=NAN)
    rule = ["--fail-if", "within.excess > 5"]
    code, out, _ = gcx("correlate", path, *rule, "-f", "junit")
    root = ET.fromstring(out)
    skipped = root.find(".//testcase/skipped")
    assert (code, root.get("skipped"), root.get("errors")) == (0, "1", "0")
    assert skipped.get("message") == "2 of 8 filters hold NaN or infinity"
    cases = [case.get("name") for case in root.findall(".//testcase")]
    assert len(cases) == int(root.get("tests")) == 3
    code, out, _ = gcx("correlate", path, *rule, "-f", "github")
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.startswith("::warning title=gcx%3A skipped::")]
    assert "1 convolution not measured, the first bad 8×4×3×3: 2 of 8 filters hold NaN or infinity" in line


def test_a_depthwise_layer_has_numbers_across_groups(gcx, tmp_path):
    torch.save(nn.Conv2d(8, 8, 3, groups=8), tmp_path / "net.pt")
    assert gcx("correlate", tmp_path / "net.pt")[0] == 0


def test_a_comparison_without_a_pair_is_an_error_in_ci(gcx, tmp_path):
    path, other = saved(tmp_path / "a.pt", a=RANDOM), saved(tmp_path / "b.pt", b=RANDOM[:, :, :1, :1])
    code, out, err = gcx("compare", path, other, "-f", "junit")
    root = ET.fromstring(out)
    assert (code, root.get("errors")) == (3, "1")
    assert root.find(".//error").get("message") in err
    code, out, _ = gcx("compare", path, other, "-f", "github")
    assert "::error title=gcx%3A inconclusive::no layers match" in out


def test_what_top_leaves_out_changes_no_answer(gcx, tmp_path):
    path = saved(tmp_path / "net.pt", dead=np.zeros((64, 8, 3, 3)), good=RANDOM)
    for form in ("junit", "github"):
        _, whole, _ = gcx("correlate", path, "-f", form)
        code, cut, err = gcx("correlate", path, "--top", "1", "--sort", "parameters", "-f", form)
        assert (code, err, cut) == (0, "", whole)
    strict = Settings(strict_groups=True)
    (model,) = correlate(str(path), settings=strict).models
    unsure = replace(model.layers[0], groups_confidence="ambiguous")
    model = with_reasons(replace(model, layers=(unsure, model.layers[1])), strict)
    report = chosen_order(Report(settings=strict, models=(model,)), "excess", 1)
    assert [layer.name for layer in report.models[0].measured] == ["good"]
    (reason,) = inconclusive(report)
    assert reason == "net.pt: the group count of 1 layer is ambiguous (dead); declare it with --groups GLOB=N"


def test_two_models_of_one_shown_name_are_two_in_ci(gcx, tmp_path, monkeypatch):
    for folder, weights in (("a", np.zeros((8, 4, 3, 3))), ("b", RANDOM)):
        (tmp_path / folder).mkdir()
        saved(tmp_path / folder / "net.pt", c=weights)
    monkeypatch.chdir("/")
    for order in ("ab", "ba"):
        code, out, _ = gcx("correlate", *(tmp_path / folder / "net.pt" for folder in order), "-f", "junit")
        root = ET.fromstring(out)
        errors = [case.find("error") is not None for case in root.iter("testcase")]
        assert (code, root.get("errors"), errors) == (3, "1", [folder == "a" for folder in order])


def test_what_breaks_a_run_stands_in_what_ci_shows(gcx, tmp_path):
    rng = np.random.default_rng(1)
    paths = [saved(tmp_path / f"e{epoch}.pt", c=rng.normal(size=(16, 8, 3, 3))) for epoch in (1, 2)]
    code, out, _ = gcx("track", *paths, "-f", "github")
    assert (code, out.count("::warning title=gcx%3A lineage::")) == (0, 1)
    code, out, _ = gcx("track", *paths, "-f", "junit")
    assert "not of the lineage" in ET.fromstring(out).find(".//testcase[@name='lineage']/skipped").get("message")
    assert "no two checkpoints are of one lineage" in gcx("track", *paths)[1]
