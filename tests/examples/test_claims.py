"""The recorded runs of the thread's experiment: whole, of one recipe, and what the page says of them."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples"
RUNS = sorted((EXAMPLES / "results" / "fashion").glob("*.json"))
SCRIPTS = ("channels_last", "claims", "equivalence", "fashion_kernels", "train_fashion", "write_page")


def test_every_run_is_whole_and_of_one_recipe():
    runs = [json.loads(path.read_text()) for path in RUNS]
    assert {(run["groups"], run["seed"]) for run in runs if run["width"] == 32} == {
        (groups, seed) for groups in (1, 2, 4, 8) for seed in range(8)
    }
    assert len({json.dumps([run["recipe"], run["versions"], run["data"]]) for run in runs}) == 1
    assert all(len(run["epochs"]) == run["n_epochs"] + 1 == 11 for run in runs)


def test_intervals_are_those_of_scipy():
    import claims

    runs = claims.last_epochs(EXAMPLES / "results" / "fashion")
    differences = claims.paired(runs, claims.Arm(4, 32), claims.test_accuracy)
    expected = stats.ttest_1samp(differences, 0.0).confidence_interval()
    middle = np.mean(differences)
    assert claims.points(differences) == f"{middle:+.2f} ({expected.low:+.2f} to {expected.high:+.2f})"


@pytest.mark.parametrize("count", [2, 5, 8, 11])
def test_sign_flips_are_those_of_scipy(count):
    import claims

    draw = np.random.default_rng(count)
    for shift in (0.0, 0.8):
        differences = np.round(draw.normal(shift, 1, count), 1)  # rounded: ties count as far
        ways = 2**count
        expected = stats.permutation_test(
            (differences,), np.mean, permutation_type="samples", n_resamples=ways, alternative="two-sided"
        )
        assert claims.sign_flip_pvalue(differences.tolist()) == pytest.approx(expected.pvalue)
    assert claims.sign_flip_pvalue([0.0, 0.0]) == 1


def test_runs_that_are_not_all_there_yet_are_shown_as_far_as_they_go(tmp_path, capsys):
    """A seed without its ungrouped run, a setting of one seed, a width of its own: each ended in a traceback."""
    import accuracy_picture as pictured
    import claims

    for name in ("g1-w32-seed0", "g1-w32-seed1", "g2-w32-seed0", "g4-w32-seed0", "g4-w32-seed1", "g4-w32-seed2"):
        (tmp_path / f"{name}.json").write_bytes((EXAMPLES / "results" / "fashion" / f"{name}.json").read_bytes())
    own = json.loads((EXAMPLES / "results" / "fashion" / "g4-w40-seed0.json").read_text()) | {"width": 48, "seed": 9}
    (tmp_path / "g4-w48-seed9.json").write_text(json.dumps(own))
    assert claims.main(["--runs", str(tmp_path)]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    by_arm = {(row[0].strip("| "), row[1]): row for row in rows}
    assert by_arm["2", "32"][4:6] == ["1", "–"]
    assert by_arm["4", "32"][4] == "2"
    assert by_arm["4", "48"][4:6] == ["0", "–"]
    assert claims.criterion_of(claims.Arm(4, 48)) == "own width"
    assert claims.sentences(claims.last_epochs(tmp_path)) == []
    pictured.draw(claims.last_epochs(tmp_path), tmp_path / "accuracy.png")
    assert (tmp_path / "accuracy.png").stat().st_size > 5000


def test_the_page_agrees_with_the_records(capsys, tmp_path):
    import write_page

    assert write_page.main(["--check"]) == 0
    changed = tmp_path / "README.md"
    changed.write_text((EXAMPLES / "README.md").read_text().replace("92.46 %", "92.47 %"))
    assert write_page.main(["--check", "--page", str(changed)]) == 1
    assert "disagrees" in capsys.readouterr().out
    page = changed.read_text()
    assert set(re.findall(r"<!-- (\w+) -->\n", page)) - {"end"} == set(write_page.BLOCKS)


def test_what_the_page_concludes_follows_from_the_records():
    """Each sentence in bold that a further run could overturn."""
    import claims

    from gcx.measures import runs_interval

    runs = claims.last_epochs(EXAMPLES / "results" / "fashion")
    for groups in (4, 8):
        assert max(claims.paired(runs, claims.Arm(groups, 32), claims.test_accuracy)) <= 0
        assert runs_interval(claims.paired(runs, claims.Arm(groups, 32), claims.gap))[1] < 0
    assert claims.points(claims.paired(runs, claims.Arm(8, 32), claims.test_accuracy)) == "-0.41 (-0.66 to -0.16)"
    for width, groups in ((32, 2), (44, 2), (60, 4), (80, 8)):
        low, high = runs_interval(claims.paired(runs, claims.Arm(groups, width), claims.test_accuracy))
        assert low < 0 < high
    for groups, fewer in ((4, 7), (8, 14)):
        arm = claims.Arm(groups, 40)
        assert runs_interval(claims.paired(runs, arm, claims.test_accuracy))[1] < 0
        spent = [runs[one, 0]["parameters"] for one in (arm, claims.UNGROUPED)]
        assert round(100 * (1 - spent[0] / spent[1])) == fewer
    recorded = json.loads((EXAMPLES / "results" / "fashion_kernels.json").read_text())
    peaks = {}
    for one in recorded["along"]:
        excess = np.subtract(one["mean_r2"], one["null_permuted_r2"])
        peaks[one["groups"]] = int(excess.argmax())
    assert peaks == {1: 4, 2: 4, 4: 4, 8: 6}
    compared = recorded["compared"]
    for one in compared:
        conv = one["conv"]
        sides = conv["sides"].values()
        assert one["runs"] == [8, 8]
        across = [side["across_excess_ci95"] for side in sides if side["groups"] > 1]
        assert all(low < 0 < high for low, high in across)
        if one["against"] == "its beginning":
            before, after = (side["excess_ci95"] for side in sides)
            assert before[1] < 0.003 < 0.007 < after[0]
        else:
            assert conv["change_ci95"][0] < 0 < conv["change_ci95"][1]
        if "before training" in one["against"]:
            assert all(side["delta_ci95"][0] < 0 < side["delta_ci95"][1] for side in sides)
    tests = [one["conv"]["delta_test"]["pvalue"] for one in compared if one["against"] == "ungrouped"]
    assert min(stats.false_discovery_control(tests)) > 0.05


def test_shipped_nets_are_the_recorded_ones():
    """Four of the eight runs lie here: what gcx says of each is among what the record averages."""
    import gcx

    compared = json.loads((EXAMPLES / "results" / "fashion_kernels.json").read_text())["compared"]
    for groups in (1, 4):
        recorded = next(one for one in compared if (one["groups"], one["against"]) == (groups, "its beginning"))
        low, high = recorded["conv"]["sides"]["candidate"]["excess_ci95"]
        for seed in range(4):
            path = str(EXAMPLES / "checkpoints" / f"fashion-g{groups}-seed{seed}.pt")
            conv = gcx.correlate(path, groups={"conv": groups}, include=["conv"]).models[0].measured[0]
            assert conv.weight_shape == (64, 32 // groups, 3, 3)
            assert abs(conv.within.excess - (low + high) / 2) < 3 * (high - low)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_there(script):
    pytest.importorskip("torch")
    command = [sys.executable, str(EXAMPLES / f"{script}.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0
    assert f"python examples/{script}.py" in done.stdout


def test_training_is_the_same_again_and_goes_on_where_it_stopped(tmp_path):
    pytest.importorskip("sklearn")
    command = [sys.executable, str(EXAMPLES / "train_fashion.py"), "--quick", "--groups", "4"]
    first, second = (tmp_path / name for name in "ab")
    for folder in (first, second):
        subprocess.run([*command, "--out", str(folder)], capture_output=True, check=True, timeout=120)
    name = "g4-w32-seed0"
    assert (first / f"{name}.json").read_bytes() == (second / f"{name}.json").read_bytes()
    assert (first / name / "epoch-02.pt").read_bytes() == (second / name / "epoch-02.pt").read_bytes()
    again = subprocess.run([*command, "--out", str(first)], capture_output=True, text=True, check=True, timeout=120)
    assert "0 trained, 1 were there already" in again.stdout
    (first / name / "epoch-02.pt").unlink()
    again = subprocess.run([*command, "--out", str(first)], capture_output=True, text=True, check=True, timeout=120)
    assert "1 trained" in again.stdout


def test_kernels_are_measured_over_runs(tmp_path):
    pytest.importorskip("sklearn")
    out = tmp_path / "kernels.json"
    command = [sys.executable, str(EXAMPLES / "fashion_kernels.py"), "--quick", "--out", str(out)]
    subprocess.run(command, capture_output=True, check=True, timeout=300)
    found = json.loads(out.read_text())
    assert [one["runs"] for one in found["compared"]] == [[2, 2]] * 10
    assert [one["groups"] for one in found["along"]] == [1, 2, 4, 8]
    assert all(one["lineages"] == 1 and one["epochs"] == [0, 1, 2] for one in found["along"])
    for one in found["along"]:  # the last epoch of the series is the trained side of the comparison
        compared = next(
            other
            for other in found["compared"]
            if (other["groups"], other["against"]) == (one["groups"], "its beginning")
        )
        assert one["mean_r2"][-1] == pytest.approx(compared["conv"]["sides"]["candidate"]["mean_r2"])


def test_a_grouped_layer_is_a_masked_dense_one(tmp_path):
    pytest.importorskip("sklearn")
    out = tmp_path / "equivalence.json"
    command = [sys.executable, str(EXAMPLES / "equivalence.py"), "--quick", "--out", str(out)]
    subprocess.run(command, capture_output=True, check=True, timeout=120)
    found = json.loads(out.read_text())
    assert found["shapes"]["one_convolution"] == found["shapes"]["two_concatenated"] == [100, 100, 64]
    assert found["shapes"]["cost_of_one"]["parameters"] == 2 * found["shapes"]["cost_of_two"]["parameters"]
    for row in found["groups"]:
        assert row["masked_float64"] < 1e-12
        assert row["gradient"]["masked_off"] == 0
        assert row["gradient"]["start"]["off_over_on"] == pytest.approx(1, abs=0.1)
        assert row["gradient"]["trained"]["off_over_on"] > 1
        assert row["gradient"]["trained"]["on_blocks"] < 0.05 * row["gradient"]["start"]["on_blocks"]
        assert row["dimensions"]["dense"] == row["groups"] * row["dimensions"]["grouped"]
        # Independent inputs: what a group does not see is lost, 1 - 1/g of the variance.
        assert row["random_fit_loss"] == pytest.approx(1 - 1 / row["groups"], abs=0.03)


@pytest.mark.skipif(find_spec("keras") is None, reason="Keras is not installed")
def test_the_threads_layers_in_keras_are_those_that_lie_here(tmp_path):
    """Channels last, as the thread has them: what Keras saves, gcx reads, with the groups that Keras was told."""
    from gcx.readers import read_checkpoint

    command = [sys.executable, str(EXAMPLES / "channels_last.py"), "--quick", "--out", str(tmp_path / "record.json")]
    subprocess.run(command, capture_output=True, check=True, timeout=120)
    found = json.loads((tmp_path / "record.json").read_text())
    assert [way["output"] for way in found["ways"]] == [[100, 100, 64]] * 3
    assert found["apart_against_grouped"] < 1e-6
    weights = []
    for path in (tmp_path / "thread.keras", EXAMPLES / "checkpoints" / "thread.keras"):
        with read_checkpoint(str(path)) as checkpoint:
            assert {name: spec.groups for name, spec in checkpoint.convs.items()} == {
                **dict.fromkeys(("left", "right", "whole"), 1),
                "grouped": 2,
            }
            weights.append({name: ref.read() for name, ref in checkpoint.tensors.items()})
    made, kept = weights
    for name, weight in kept.items():
        assert made[name].shape == weight.shape
        assert made[name] == pytest.approx(weight, abs=1e-6)
    assert (made["grouped.weight"] == np.concatenate([made["left.weight"], made["right.weight"]])).all()
