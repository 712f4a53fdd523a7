"""Claim 3: published costs come out exactly; towers and their control are trained, recorded and told apart."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

EXAMPLES = Path(__file__).parents[2] / "examples"
SEEDS = 24
RECORDED = json.loads((EXAMPLES / "results" / "towers.json").read_text())


def test_published_counts_come_out_exactly():
    import network_cost

    for net, published in network_cost.PUBLISHED.items():
        for groups, counts in published.items():
            found = network_cost.cost(net, groups)
            assert {key: found[key] for key in counts} == counts
    # Weights of AlexNet's convolutions, and the columns that the published table exchanges.
    assert [network_cost.cost("AlexNet", groups)["convolution_weights"] for groups in (2, 1)] == [2_332_704, 3_745_824]
    ratio = network_cost.cost("AlexNet", 1)["multiply_adds"] / network_cost.cost("AlexNet", 2)["multiply_adds"]
    assert ratio == pytest.approx(1.567, abs=5e-4)


def test_the_first_layer_has_the_groups_of_its_reader():
    import network_cost

    found = {row["layer"]: (row["groups"], row["induced_groups"], row["read_by"]) for row in network_cost.induced(2)}
    assert found["conv1"] == (1, 2, "conv2")
    assert found["conv3"] == (1, 2, "conv4")
    assert found["conv2"] == (2, None, None)


def test_the_quick_costs_are_those_of_the_page(tmp_path):
    out = tmp_path / "cost.json"
    command = [sys.executable, str(EXAMPLES / "network_cost.py"), "--quick", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "NOT" not in done.stdout
    recorded = json.loads((EXAMPLES / "results" / "network_cost.json").read_text())
    assert json.loads(out.read_text())["costs"] == recorded["costs"]


def pairings(halves):
    """Every way to pair them, by brute force."""
    if not halves:
        yield []
        return
    first, *others = halves
    for k, other in enumerate(others):
        for rest in pairings(others[:k] + others[k + 1 :]):
            yield [(first, other), *rest]


def test_halves_are_opposed_as_brute_force_finds_it():
    import tower_blocks

    pairs = [(0.1, 0.9), (0.2, 0.7), (0.35, 0.6), (0.4, 0.5)]
    own, anew, pvalue = tower_blocks.opposed([{"least": a, "most": b} for a, b in pairs])
    every = [sum((a - b) ** 2 for a, b in way) / 4 for way in pairings([half for pair in pairs for half in pair])]
    assert len(every) == 105
    assert own == pytest.approx(sum((a - b) ** 2 for a, b in pairs) / 4)
    assert anew == pytest.approx(sum(every) / 105)
    assert pvalue == pytest.approx(sum(one >= own - 1e-12 for one in every) / 105, abs=0.005)


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


def test_runs_made_otherwise_are_neither_gone_on_with_nor_lost(tmp_path, monkeypatch):
    """Runs of another version were dropped at the first write."""
    import recording
    import towers

    out = tmp_path / "towers.json"
    other = {**RECORDED, "versions": {**RECORDED["versions"], "torch": "1.0"}}
    settings, made = RECORDED["settings"], RECORDED["versions"]
    out.write_text(json.dumps(other))
    with pytest.raises(recording.ScriptError, match=r"has versions .*'torch': '1\.0'.* and here it is"):
        towers.known_runs(out, {"settings": settings, "versions": made}, 1500)
    out.write_text(json.dumps(RECORDED))
    assert towers.known_runs(out, {"settings": settings, "versions": made}, 1500) == RECORDED["runs"]
    with pytest.raises(recording.ScriptError, match="other than 20 steps"):
        towers.known_runs(out, {"settings": settings, "versions": made}, 20)


def test_photographs_are_split_without_a_pixel_in_both():
    import towers

    pytest.importorskip("skimage")
    whole = towers.photographs()
    assert len(whole) == 6
    for one, left, right in zip(whole, *towers.split(whole), strict=True):
        assert left.shape[2] + right.shape[2] == one.shape[2]
        assert min(*left.shape[1:], *right.shape[1:]) >= towers.SIDE


def test_crops_are_turned_as_they_say():
    torch = pytest.importorskip("torch")
    import towers

    rows = torch.arange(64.0).reshape(1, 64, 1).expand(3, 64, 64)  # brighter downwards, whatever is mirrored
    images, turns = towers.crops([rows], 40, torch.Generator().manual_seed(0))
    for image, turn in zip(images, turns.tolist(), strict=True):
        back = torch.rot90(image, -turn, (1, 2))
        assert bool((back[0, 1:, 0] > back[0, :-1, 0]).all())


def test_what_the_page_concludes_follows_from_the_records():
    by = {
        (count, when): [
            run[when] for run in sorted(RECORDED["runs"], key=lambda run: run["seed"]) if run["towers"] == count
        ]
        for count in (1, 2)
        for when in ("before", "after")
    }
    assert {len(runs) for runs in by.values()} == {SEEDS}
    assert by[1, "before"] == by[2, "before"]  # one row of the table
    fisher = {key: stats.combine_pvalues([run["pvalue"] for run in runs]).pvalue for key, runs in by.items()}
    assert fisher[2, "after"] < 0.001
    assert min(value for key, value in fisher.items() if key != (2, "after")) > 0.4
    small = sum(run["pvalue"] <= 0.05 for run in by[2, "after"])
    assert 0 < small < SEEDS / 4  # plain in some nets, not visible in most
    share = {key: [run["between"] for run in runs] for key, runs in by.items()}
    assert paired(share[2, "after"], share[1, "after"]) < 0.01
    assert paired(share[2, "after"][12:], share[1, "after"][12:]) > 0.05
    assert paired(share[2, "after"], share[2, "before"]) > 0.05
    assert abs(np.mean(share[1, "after"][12:]) - 1 / 31) < 0.01 < abs(np.mean(share[1, "after"][:12]) - 1 / 31)
    from tower_blocks import opposed

    assert max(opposed(by[2, "after"])[2], opposed(by[2, "after"][12:])[2]) < 0.01
    assert min(opposed(by[key])[2] for key in by if key != (2, "after")) > 0.1


def paired(one, other):
    """scipy's p of a paired test by flipped signs."""
    return stats.permutation_test(
        (one, other), lambda a, b: sum(a) - sum(b), permutation_type="samples", n_resamples=4999, rng=0
    ).pvalue
