"""The recorded runs of the thread's experiment: whole, of one recipe, and what the page says of them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from scipy import stats

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples"
RUNS = sorted((EXAMPLES / "results" / "fashion").glob("*.json"))
SCRIPTS = ("claims", "equivalence", "train_fashion")


def test_every_run_is_whole_and_of_one_recipe():
    runs = [json.loads(path.read_text()) for path in RUNS]
    assert {(run["groups"], run["seed"]) for run in runs if run["width"] == 32} == {
        (groups, seed) for groups in (1, 2, 4, 8) for seed in range(8)
    }
    assert len({json.dumps([run["recipe"], run["versions"], run["data"]]) for run in runs}) == 1
    assert all(len(run["epochs"]) == run["n_epochs"] + 1 == 11 for run in runs)


def test_intervals_are_those_of_scipy():
    claims = pytest.importorskip("claims")
    differences = claims.paired(claims.last_epochs(EXAMPLES / "results" / "fashion"), 4, 32, "test_accuracy")
    expected = stats.ttest_1samp(differences, 0.0).confidence_interval()
    assert claims.interval(differences)[1:] == pytest.approx((expected.low, expected.high))


def test_the_page_says_what_the_runs_say():
    claims = pytest.importorskip("claims")
    page = (EXAMPLES / "README.md").read_text()
    runs = claims.last_epochs(EXAMPLES / "results" / "fashion")
    for line in (*claims.table(runs), *claims.sentences(runs)):
        assert line in page


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
        assert row["dimensions"]["dense"] == row["groups"] * row["dimensions"]["grouped"]
        # Independent inputs: what a group does not see is lost, 1 - 1/g of the variance.
        assert row["random_fit_loss"] == pytest.approx(1 - 1 / row["groups"], abs=0.03)
