"""`gcx correlate` and `gcx layers` on files, as a user types them."""

import csv
import io
import json

import jsonschema
import numpy as np
import pytest

from gcx.cli.app import run
from gcx.contract import json_schema


@pytest.fixture
def gcx(capfdbinary):
    """Run a command line; gives (exit code, stdout, stderr)."""

    def call(*arguments):
        code = run([str(argument) for argument in arguments])
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode()

    return call


def report_of(answer):
    code, out, err = answer
    assert (code, err) == (0, "")
    report = json.loads(out)
    jsonschema.Draft202012Validator(json_schema()).validate(report)
    return report


def layers_of(answer):
    return {layer["name"]: layer for layer in report_of(answer)["models"][0]["layers"]}


def test_a_state_dict_gives_every_convolution(gcx, torch_file):
    layers = layers_of(gcx("correlate", torch_file, "--format", "json"))
    assert {name: layer["groups"] for name, layer in layers.items()} == {
        "stem.0": 1,
        "grouped.0": 4,
        "depthwise.0": 32,
        "pointwise.0": 1,
    }
    assert layers["depthwise.0"]["within"] is None
    assert layers["stem.0"]["across"] is None
    assert layers["pointwise.0"]["kernels"] is None
    assert layers["depthwise.0"]["across"]["order_free"] is True
    for layer in layers.values():
        for key in ("within", "across", "kernels"):
            if layer[key] is None:
                assert any(note.startswith(f"{key} is null") for note in layer["notes"]), (layer["name"], key)


def test_two_runs_give_the_same_bytes(gcx, torch_file, tmp_path):
    outputs = []
    for number in range(2):
        files = [tmp_path / f"{number}{suffix}" for suffix in (".json", ".csv", ".md", ".png", ".svg", ".pdf", ".npz")]
        code, out, _ = gcx("correlate", torch_file, *(f"--export={file}" for file in files))
        assert code == 0
        outputs.append([out, *(file.read_bytes() for file in files)])
    assert outputs[0] == outputs[1]


def test_matrices_equal_numpy_and_keep_the_true_names(gcx, torch_file, grouped_net, tmp_path):
    target = tmp_path / "r.npz"
    assert gcx("correlate", torch_file, "-o", target)[0] == 0
    with np.load(target) as archive:
        assert archive["names"].tolist() == ["stem.0", "grouped.0", "depthwise.0", "pointwise.0"]
        assert archive["groups"].tolist() == [1, 4, 32, 1]
        weight = grouped_net.grouped[0].weight.detach().double().numpy().reshape(32, -1)
        assert archive["001_grouped_0"] == pytest.approx(np.corrcoef(weight), abs=1e-12)


def test_declared_groups_are_taken_and_counted(gcx, torch_file):
    report = report_of(gcx("correlate", torch_file, "--groups", "*.0=1", "--groups", "gr*=2", "--format", "json"))
    layers = {layer["name"]: layer for layer in report["models"][0]["layers"]}
    assert (layers["grouped.0"]["groups"], layers["grouped.0"]["groups_from"]) == (2, "declared")
    assert layers["stem.0"]["groups"] == 1
    assert "--groups '*.0=1' matches 4 layers" in report["models"][0]["notes"]
    assert report["settings"]["groups"] == [["*.0", 1], ["gr*", 2]]


def test_include_and_exclude_choose_and_coverage_tells(gcx, torch_file):
    report = report_of(gcx("correlate", torch_file, "--include", "*w*", "--exclude", "depth*", "--format", "json"))
    model = report["models"][0]
    assert [layer["name"] for layer in model["layers"]] == ["pointwise.0"]
    assert model["coverage"]["convolutions"] == 4
    assert model["coverage"]["not_chosen"] == 3
    assert 0 < model["coverage"]["weight_share"] < 1


def test_choosing_layers_changes_no_number(gcx, torch_file):
    every = layers_of(gcx("correlate", torch_file, "--format", "json"))
    one = layers_of(gcx("correlate", torch_file, "--include", "grouped*", "--format", "json"))
    assert one["grouped.0"] == every["grouped.0"]


def test_sort_and_top(gcx, torch_file):
    code, out, _ = gcx("correlate", torch_file, "--sort", "parameters", "--top", "2", "--format", "csv")
    assert code == 0
    assert [row[1] for row in csv.reader(io.StringIO(out))][1:3] == ["grouped.0", "pointwise.0"]


def test_several_models_and_several_outputs(gcx, torch_file, tmp_path):
    target = tmp_path / "both.md"
    report = report_of(gcx("correlate", torch_file, torch_file, "-f", "json", "-o", target))
    assert len(report["models"]) == 2
    assert target.read_text().count("grouped.0") >= 2


def test_settings_change_numbers(gcx, torch_file):
    plain = layers_of(gcx("correlate", torch_file, "-f", "json"))["stem.0"]
    cosine = layers_of(gcx("correlate", torch_file, "-f", "json", "--measure", "cosine"))["stem.0"]
    assert plain["within"]["mean_r2"] != cosine["within"]["mean_r2"]
    virtual = layers_of(gcx("correlate", torch_file, "-f", "json", "--virtual-groups", "4"))["stem.0"]
    assert virtual["virtual_groups"]["groups"] == 4
    induced = layers_of(gcx("correlate", torch_file, "-f", "json", "--induced"))["stem.0"]
    assert induced["induced_groups"]["consumer"] == "grouped.0"


def test_folding_multiplies_by_the_norm_and_says_so(gcx, tmp_path, grouped_net):
    import copy

    import torch

    net = copy.deepcopy(grouped_net)
    with torch.no_grad():
        net.stem[1].weight[:8] = -2.0
    torch.save(net.state_dict(), tmp_path / "n.pt")
    folded = layers_of(gcx("correlate", tmp_path / "n.pt", "-f", "json", "--fold-sign"))["stem.0"]
    assert "filters multiplied by the sign of stem.1.weight" in folded["notes"]
    weight = net.stem[0].weight.detach().double().numpy().reshape(16, -1)
    weight[:8] *= -1
    r = np.corrcoef(weight)[np.triu_indices(16, 1)]
    assert folded["within"]["mean_r"] == pytest.approx(r.mean(), abs=1e-12)
    scaled = layers_of(gcx("correlate", tmp_path / "n.pt", "-f", "json", "--fold-scale"))["grouped.0"]
    assert "no scale folded: no batch norm stands right before it" in scaled["notes"]


def test_layers_lists_without_measuring(gcx, torch_file):
    code, out, _ = gcx("layers", torch_file, "--format", "json")
    listing = json.loads(out)
    assert code == 0
    assert [layer["groups"] for layer in listing["models"][0]["layers"]] == [1, 4, 32, 1]
    assert all(layer["groups_evidence"] for layer in listing["models"][0]["layers"])
    for form in ("terminal", "csv", "markdown"):
        code, out, _ = gcx("layers", torch_file, "--format", form)
        assert code == 0
        assert "grouped.0" in out


def test_strict_groups_is_inconclusive_where_ambiguous(gcx, tmp_path):
    import torch

    torch.save({"a.weight": torch.randn(8, 2, 3, 3)}, tmp_path / "one.pt")
    for command in ("correlate", "layers"):
        code, out, err = gcx(command, tmp_path / "one.pt", "--strict-groups")
        if code == 3:
            assert err.startswith("inconclusive: ")
            assert err.count("\n") == 1
        assert "a" in out
    code, _, err = gcx("correlate", tmp_path / "one.pt", "--strict-groups", "--groups", "a=4")
    assert (code, err) == (0, "")


@pytest.mark.parametrize("form", ["terminal", "json", "csv", "markdown"])
def test_no_convolution_is_inconclusive_and_still_reports(gcx, tmp_path, form):
    import torch

    torch.save({"fc.weight": torch.randn(4, 4)}, tmp_path / "mlp.pt")
    code, out, err = gcx("correlate", tmp_path / "mlp.pt", "--format", form)
    assert code == 3
    assert err == f"inconclusive: {tmp_path.name and 'mlp.pt'}: no convolution found\n" or "no convolution found" in err
    assert out
    if form == "json":
        assert json.loads(out)["exit_code"] == 3


def test_non_finite_layers_are_skipped_and_the_others_measured(gcx, tmp_path):
    import torch

    bad = torch.randn(8, 4, 3, 3)
    bad[2, 0, 0, 0], bad[5, 1, 1, 1] = float("nan"), float("inf")
    torch.save({"good.weight": torch.randn(4, 3, 3, 3), "bad.weight": bad}, tmp_path / "n.pt")
    layers = layers_of(gcx("correlate", tmp_path / "n.pt", "-f", "json"))
    assert layers["bad"]["status"] == "skipped"
    assert layers["bad"]["reason"] == "2 of 8 filters hold NaN or infinity"
    assert layers["good"]["status"] == "measured"


def test_tied_weights_are_measured_once_and_named_twice(gcx, tmp_path):
    import torch

    weight = torch.randn(8, 4, 3, 3)
    torch.save({"a.weight": weight, "b.weight": weight}, tmp_path / "tied.pt")
    layers = layers_of(gcx("correlate", tmp_path / "tied.pt", "-f", "json"))
    assert list(layers) == ["a"]
    assert layers["a"]["tied"] == ["b"]


def test_real_checkpoint_with_its_true_groups(gcx, data):
    groups = ["--groups", "b?.b1.body.[02]=4", "--groups", "upsample.*=4"]
    layers = layers_of(gcx("correlate", data / "checkpoints" / "carn_m.pth", *groups, "-f", "json"))
    assert len(layers) == 29
    grouped = [layer for layer in layers.values() if layer["groups"] > 1]
    assert len(grouped) == 10

    def mean(part, key):
        return np.mean([layer[part][key] for layer in grouped])

    assert mean("within", "mean_abs_r") == pytest.approx(0.124, abs=5e-4)
    assert mean("across", "mean_abs_r") == pytest.approx(0.078, abs=5e-4)
    assert mean("within", "null_isotropic_mean_abs_r") == pytest.approx(0.067, abs=5e-4)
    assert mean("within", "rms_r") == pytest.approx(0.159, abs=5e-4)
    assert mean("across", "rms_r") == pytest.approx(0.098, abs=5e-4)
