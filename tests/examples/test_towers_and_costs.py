"""Claim 3: published costs come out exactly; towers and their control are trained, recorded and told apart."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from scipy import stats

EXAMPLES = Path(__file__).parents[2] / "examples"
RECORDED = json.loads((EXAMPLES / "results" / "towers.json").read_text())


def test_published_counts_come_out_exactly():
    network_cost = pytest.importorskip("network_cost")
    for net, published in network_cost.PUBLISHED.items():
        for groups, counts in published.items():
            found = network_cost.cost(net, groups)
            assert {key: found[key] for key in counts} == counts
    # science.md 1.1: weights of AlexNet's convolutions, and the columns that the published table exchanges.
    assert [network_cost.cost("AlexNet", groups)["convolution_weights"] for groups in (2, 1)] == [2_332_704, 3_745_824]
    ratio = network_cost.cost("AlexNet", 1)["multiply_adds"] / network_cost.cost("AlexNet", 2)["multiply_adds"]
    assert ratio == pytest.approx(1.567, abs=5e-4)


def test_the_first_layer_has_the_groups_of_its_reader():
    network_cost = pytest.importorskip("network_cost")
    found = {row["layer"]: (row["groups"], row["induced_groups"], row["read_by"]) for row in network_cost.induced(2)}
    assert found["conv1"] == (1, 2, "conv2")
    assert found["conv3"] == (1, 2, "conv4")
    assert found["conv2"] == (2, None, None)


@pytest.mark.parametrize("script", ["network_cost", "towers"])
def test_help_is_there(script):
    command = [sys.executable, str(EXAMPLES / f"{script}.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0
    assert f"python examples/{script}.py" in done.stdout


def test_a_quick_run_is_the_same_again_and_is_not_repeated(tmp_path):
    pytest.importorskip("skimage")
    out = tmp_path / "towers.json"
    command = [sys.executable, str(EXAMPLES / "towers.py"), "--quick", "--seeds", "3", "5", "--out"]
    subprocess.run([*command, str(out)], capture_output=True, check=True, timeout=300)
    runs = json.loads(out.read_text())["runs"]
    assert [(run["towers"], run["seed"]) for run in runs] == [(2, 3), (2, 5), (1, 3), (1, 5)]
    again = subprocess.run([*command, str(out)], capture_output=True, text=True, check=True, timeout=60)
    assert "0 trained, 4 were there already" in again.stdout
    cut = json.loads(out.read_text())
    cut["runs"] = cut["runs"][1:]
    out.write_text(json.dumps(cut))
    subprocess.run([*command, str(out)], capture_output=True, check=True, timeout=300)
    assert json.loads(out.read_text())["runs"] == runs


def test_photographs_are_split_without_a_pixel_in_both():
    towers = pytest.importorskip("towers")
    pytest.importorskip("skimage")
    whole = towers.photographs()
    assert len(whole) == 6
    for one, left, right in zip(whole, *towers.split(whole), strict=True):
        assert left.shape[2] + right.shape[2] == one.shape[2]
        assert min(*left.shape[1:], *right.shape[1:]) >= towers.SIDE


def test_crops_are_turned_as_they_say():
    torch = pytest.importorskip("torch")
    towers = pytest.importorskip("towers")
    rows = torch.arange(64.0).reshape(1, 64, 1).expand(3, 64, 64)  # brighter downwards, whatever is mirrored
    images, turns = towers.crops([rows], 40, torch.Generator().manual_seed(0))
    for image, turn in zip(images, turns.tolist(), strict=True):
        back = torch.rot90(image, -turn, (1, 2))
        assert bool((back[0, 1:, 0] > back[0, :-1, 0]).all())


def test_what_the_page_concludes_follows_from_the_records():
    by = {
        (count, when): [run[when] for run in RECORDED["runs"] if run["towers"] == count]
        for count in (1, 2)
        for when in ("before", "after")
    }
    assert all(len(runs) == 12 for runs in by.values())
    fisher = {key: stats.combine_pvalues([run["pvalue"] for run in runs]).pvalue for key, runs in by.items()}
    assert fisher[2, "after"] < 0.001
    assert min(value for key, value in fisher.items() if key != (2, "after")) > 0.5
    small = sum(run["pvalue"] <= 0.05 for run in by[2, "after"])
    assert 0 < small < 6  # in some seeds plainly, in most not
    test = stats.permutation_test(
        tuple([run["between"] for run in by[count, "after"]] for count in (1, 2)),
        lambda one, two: sum(two) / len(two) - sum(one) / len(one),
        n_resamples=9999,
        rng=0,
    )
    assert test.pvalue < 0.01
