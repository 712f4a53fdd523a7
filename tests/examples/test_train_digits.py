"""The digits example trains, can be repeated and resumed, and its shipped checkpoints are what it says they are."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gcx.readers import read_checkpoint

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPT = EXAMPLES / "train_digits.py"
SHIPPED = EXAMPLES / "checkpoints"
RUNS = json.loads((SHIPPED / "results.json").read_text())["runs"]


@pytest.fixture(scope="module")
def example():
    """The script as a module; it makes torch deterministic, which the tests of others have not asked for."""
    spec = importlib.util.spec_from_file_location("train_digits", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        spec.loader.exec_module(module)
        yield module
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture(scope="module")
def quick(example, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("digits") / "new"
    assert example.main(["--quick", "--out", str(folder)]) == 0
    return folder


def test_help_ends_with_commands_to_copy():
    shown = subprocess.run([sys.executable, SCRIPT, "--help"], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-3:] == [
        "  python examples/train_digits.py",
        "  python examples/train_digits.py --quick",
        "  python examples/train_digits.py --groups 1 8 --seeds 4 5 6 7 --out more",
    ]
    assert shown.stderr == ""


def test_quick_trains_two_nets_that_gcx_reads(quick):
    assert sorted(path.name for path in quick.iterdir()) == ["digits-g1-seed0.pt", "digits-g4-seed0.pt", "results.json"]
    for groups in (1, 4):
        path = quick / f"digits-g{groups}-seed0.pt"
        tensors = read_checkpoint(str(path)).tensors
        truth = torch.load(path, weights_only=True)
        assert set(tensors) == set(truth)
        for name, tensor in truth.items():
            np.testing.assert_array_equal(tensors[name].read(), tensor.numpy())
        assert tensors["conv.weight"].shape == (64, 32 // groups, 3, 3)
    records = json.loads((quick / "results.json").read_text())["runs"]
    assert [(record["groups"], record["seed"], record["epochs"]) for record in records] == [(1, 0, 2), (4, 0, 2)]
    assert all(record["test_accuracy"] > 0.85 for record in records)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(example, quick, tmp_path):
    example.main(["--quick", "--groups", "4", "--seeds", "0", "1", "--out", str(tmp_path)])
    again = (tmp_path / "digits-g4-seed0.pt").read_bytes()
    assert again == (quick / "digits-g4-seed0.pt").read_bytes()
    assert again != (tmp_path / "digits-g4-seed1.pt").read_bytes()


def test_goes_on_where_it_stopped(example, quick, tmp_path, capsys, monkeypatch):
    trained = []

    def note(groups, seed, options, split):
        trained.append((groups, seed, options.epochs))
        return example_run(groups, seed, options, split)

    example_run = example.run
    monkeypatch.setattr(example, "run", note)
    for path in quick.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())

    def rerun(*arguments):
        trained.clear()
        example.main(["--quick", "--out", str(tmp_path), *arguments])
        return list(trained)

    assert rerun() == []
    assert "0 trained, 2 were there already" in capsys.readouterr().out
    (tmp_path / "digits-g4-seed0.pt").unlink()
    assert rerun() == [(4, 0, 2)]
    assert rerun("--groups", "4", "--epochs", "1") == [(4, 0, 1)], "other settings are another run"
    assert rerun("--groups", "4", "--epochs", "1", "--force") == [(4, 0, 1)]
    records = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert [(record["groups"], record["epochs"]) for record in records] == [(1, 2), (4, 1)]


def test_an_interrupted_run_leaves_nothing_half_written(example, tmp_path, monkeypatch):
    def stop(self, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", stop)
        example.main(["--groups", "8", "--seeds", "0", "--epochs", "1", "--out", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--groups", "3"], "--groups divides 32 channels"),
        (["--epochs", "0"], "--epochs starts at 1"),
        (["--seeds", "-1"], "--seeds at 0"),
    ],
)
def test_refuses_what_cannot_be_trained(example, tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        example.main([*arguments, "--out", str(tmp_path / "none")])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("arguments", [["--epochs", "1"], ["--seeds", "4"], ["--groups", "16"]])
def test_only_all_of_it_is_written_to_the_shipped_folder(example, capsys, arguments):
    with pytest.raises(SystemExit):
        example.main(arguments)
    assert "name another folder by --out" in capsys.readouterr().err


def test_ships_four_seeds_of_each_and_is_small():
    assert [(run["groups"], run["seed"]) for run in RUNS] == [(g, seed) for g in (1, 2, 4, 8) for seed in range(4)]
    files = [path for path in SHIPPED.iterdir() if path.name.startswith("digits-")]
    assert {path.name for path in files} == {run["file"] for run in RUNS}
    assert sum(path.stat().st_size for path in files) <= 1_100_000
    assert all(run["test_accuracy"] >= 0.97 for run in RUNS)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run["file"])
def test_shipped_checkpoint_is_what_the_results_say(example, run):
    net = example.DigitsNet(run["groups"])
    net.load_state_dict(torch.load(SHIPPED / run["file"], weights_only=True), strict=True)
    _, train, test = example.digits()
    # One image of 360 may stand on the edge between two classes on another machine.
    assert example.accuracy(net, test) == pytest.approx(run["test_accuracy"], abs=1.5 / 360)
    assert example.accuracy(net, train) == pytest.approx(run["train_accuracy"], abs=1.5 / 1437)
    assert sum(weight.numel() for weight in net.parameters()) == run["parameters"]
    assert net.conv.weight.numel() == run["conv_parameters"] == 64 * 32 // run["groups"] * 9
