"""`gcx.track`: the order of checkpoints, what breaks a run, and series that are the checkpoints' own numbers."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import gcx
from gcx.contract import from_mapping, to_mapping
from gcx.errors import CheckpointError, UsageError
from gcx.results import Report
from gcx.tracking.order import epochs_in_names, missing_epochs, ordered

SERIES = Path(__file__).parents[3] / "shared" / "data" / "checkpoints" / "rfb-series"
SHAPES = {"stem.weight": (16, 3, 3, 3), "body.weight": (32, 4, 3, 3)}
GROUPS = {"body": 4}


def weights(seed, shapes=None):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape) for name, shape in (shapes or SHAPES).items()}


def along(epochs, seed=0, shapes=None):
    """A run whose filters share more and more of one direction."""
    start = weights(seed, shapes)
    shared = {name: np.random.default_rng([seed, 1]).normal(size=w.shape[1:]) for name, w in start.items()}
    return [{name: start[name] + 0.1 * epoch * shared[name] for name in start} | {"epoch": epoch} for epoch in epochs]


def save(folder, states, names):
    import torch

    for state, name in zip(states, names, strict=True):
        torch.save({key: torch.as_tensor(value) for key, value in state.items() if key != "epoch"}, folder / name)


# --- numbers ---


def test_the_series_are_each_checkpoints_own_numbers():
    run = along(range(4))
    report = gcx.track(*run, groups=GROUPS)
    for number, state in enumerate(run):
        alone = gcx.correlate(state, groups=GROUPS).models[0]
        assert report.models[number] == alone
        for series, layer in zip(report.track.series, alone.measured, strict=True):
            assert series.name == layer.name
            assert series.mean_r2[number] == layer.within.mean_r2
            assert series.excess[number] == layer.within.excess
            assert series.null_permuted_r2[number] == layer.within.null_permuted_r2
            assert series.across_mean_r2[number] == (layer.across.mean_r2 if layer.across else None)
            assert series.delta[number] == (layer.kernels.delta if layer.kernels else None)
        assert report.track.model.mean_r2_within[number] == alone.summary.mean_r2_within


def test_filters_are_correlated_with_themselves_one_checkpoint_before():
    run = along(range(3))
    series = gcx.track(*run, groups=GROUPS).track.series[0]
    assert series.filter_r[0] is None
    for number in (1, 2):
        before, after = (state["stem.weight"].reshape(16, -1) for state in (run[number - 1], run[number]))
        expected = np.mean([stats.pearsonr(a, b)[0] for a, b in zip(before, after, strict=True)])
        assert series.filter_r[number] == pytest.approx(expected, abs=1e-5)


def test_the_change_is_from_the_first_to_the_last_and_counts_every_step():
    track = gcx.track(*along((0, 1, 3, 2)), groups=GROUPS).track
    series = track.series[1]
    assert series.change.mean_r2 == series.mean_r2[3] - series.mean_r2[0]
    assert (series.change.rises, series.change.steps) == (2, 3)
    assert track.model.change.steps == 3


def test_a_real_run_rises_smoothly():
    if not SERIES.is_dir():
        pytest.skip("shared data is not here")
    track = gcx.track(str(SERIES)).track
    assert [one.epoch for one in track.checkpoints] == [0, 20, 40, 60, 80, 100, 140, 180, 220, 300, 380, 460, 499]
    assert track.order == "name"
    assert track.events == ()
    assert track.model.change.rises == track.model.change.steps == 12
    assert track.model.excess_within[0] < 0.0005 < 0.004 < track.model.excess_within[-1]


# --- what breaks a run ---


def test_a_stray_file_is_said_and_the_run_goes_on_behind_it():
    run = along(range(5))
    stray = weights(99) | {"epoch": 2}
    track = gcx.track(*run[:2], stray, *run[3:], groups=GROUPS).track
    assert [one.lineage for one in track.checkpoints] == [0, 0, 1, 0, 0]
    assert [(event.kind, event.checkpoint) for event in track.events] == [("lineage", 2), ("lineage", 3)]
    assert "not of the lineage of epoch 1" in track.events[0].text
    assert "of the lineage of epoch 1 again" in track.events[1].text
    series = track.series[1]
    # Neither the stray number nor a step over it is part of the change.
    assert (series.change.first, series.change.last, series.change.steps) == (0, 4, 3)
    assert series.filter_r[2] is None
    assert series.filter_r[3] is None
    assert series.filter_r[4] > 0.9


def test_two_runs_in_one_folder_are_two_lineages():
    track = gcx.track(*along(range(3)), *along(range(3), seed=5), groups=GROUPS).track
    assert [one.lineage for one in track.checkpoints] == [0, 0, 0, 1, 1, 1]
    assert track.model.change.last == 2
    assert "2 lineages" in track.verdict


def test_an_architecture_that_changes_is_said_and_starts_another_series():
    wider = SHAPES | {"body.weight": (48, 4, 3, 3), "new.weight": (16, 16, 3, 3)}
    run = [*along(range(2)), *along(range(2, 4), shapes=wider)]
    run[2]["stem.weight"] = run[1]["stem.weight"] + 0.01
    run[3]["stem.weight"] = run[1]["stem.weight"] + 0.02
    track = gcx.track(*run, groups=GROUPS).track
    assert [one.architecture for one in track.checkpoints] == [0, 0, 1, 1]
    assert [(series.name, series.weight_shape[0], series.checkpoints) for series in track.series] == [
        ("stem", 16, (0, 1, 2, 3)),
        ("body", 32, (0, 1)),
        ("body", 48, (2, 3)),
        ("new", 16, (2, 3)),
    ]
    assert track.events[0].kind == "architecture"
    assert "1 layer changed (body); 1 layer new (new)" in track.events[0].text
    # The stem still tells that it is one run; the whole model is not compared across the change.
    assert {one.lineage for one in track.checkpoints} == {0}
    assert track.model.change is None


def test_chance_does_not_make_one_lineage_of_two_runs():
    for seed in range(20):
        first, second = weights(2 * seed), weights(2 * seed + 1)
        assert [one.lineage for one in gcx.track(first, second, groups=GROUPS).track.checkpoints] == [0, 1]


def test_saved_reports_can_be_followed_without_lineage(tmp_path):
    save(tmp_path, along(range(3)), [f"e{k}.pt" for k in range(3)])
    for k in range(3):
        report = gcx.correlate(str(tmp_path / f"e{k}.pt"), groups=GROUPS)
        from gcx.renderers.json import Json
        from gcx.renderers.options import RenderOptions

        (tmp_path / f"e{k}.json").write_text(Json().render(report, RenderOptions()))
    track = gcx.track(str(tmp_path / "e*.json"), groups=GROUPS).track
    assert [one.lineage_z for one in track.checkpoints] == [None] * 3
    assert {one.lineage for one in track.checkpoints} == {0}
    assert "lineage is not known" in " ".join(track.notes)
    assert track.model.change.steps == 2


# --- order ---


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a-epoch-10.pt", "a-epoch-9.pt"], [10, 9]),
        (["epoch=3-step=1200.ckpt", "epoch=12-step=4800.ckpt"], [3, 12]),
        (["RFB-Epoch-0-Loss-6.49.pth", "RFB-Epoch-20-Loss-3.70.pth"], [0, 20]),
        (["net_e1.pt", "net_e2.pt", "best.pt"], [1, 2, None]),
        (["v2-run-1.pt", "v2-run-12.pt"], [1, 12]),
        (["ckpt/100/model.pt", "ckpt/1000/model.pt"], [100, 1000]),
        (["iter_500.pt", "iter_1000.pt"], [500, 1000]),
        (["resnet18-lr0.1-3.pt", "resnet18-lr0.1-7.pt"], [3, 7]),
        (["a.pt", "b.pt"], [None, None]),
        (["one2.pt", "two1.pt"], [None, None]),
    ],
)
def test_numbers_in_names(names, expected):
    assert epochs_in_names(names) == expected


def test_files_come_in_the_order_of_their_numbers(tmp_path):
    save(tmp_path, along((0, 2, 10)), ["run-0.pt", "run-2.pt", "run-10.pt"])
    report = gcx.track(str(tmp_path), groups=GROUPS)
    assert [Path(model.path).name for model in report.models] == ["run-0.pt", "run-2.pt", "run-10.pt"]
    assert [one.epoch for one in report.track.checkpoints] == [0, 2, 10]


def test_the_number_inside_the_file_orders_where_names_have_none(tmp_path):
    import torch

    for name, state in zip(("c", "a", "b"), along((0, 1, 2)), strict=True):
        tensors = {key: torch.as_tensor(value) for key, value in state.items() if key != "epoch"}
        torch.save({"epoch": state["epoch"], "state_dict": tensors}, tmp_path / f"{name}.pt")
    report = gcx.track(str(tmp_path), groups=GROUPS)
    assert report.track.order == "file"
    assert [Path(model.path).stem for model in report.models] == ["c", "a", "b"]
    by_name = gcx.track(str(tmp_path), groups=GROUPS, order="name")
    assert [Path(model.path).stem for model in by_name.models] == ["a", "b", "c"]


def test_order_by_time_of_change(tmp_path):
    save(tmp_path, along((0, 1, 2)), ["e0.pt", "e1.pt", "e2.pt"])
    for name, when in (("e0.pt", 300), ("e1.pt", 100), ("e2.pt", 200)):
        os.utime(tmp_path / name, (when, when))
    report = gcx.track(str(tmp_path), groups=GROUPS, order="mtime")
    assert [Path(model.path).name for model in report.models] == ["e1.pt", "e2.pt", "e0.pt"]
    assert "copying" in report.track.notes[0]


def test_an_order_that_cannot_be_known_is_refused(tmp_path):
    save(tmp_path, along((0, 1)), ["a.pt", "b.pt"])
    with pytest.raises(UsageError, match=r"a\.pt: holds no number of an epoch or step"):
        gcx.track(str(tmp_path), order="file", groups=GROUPS)
    with pytest.raises(UsageError, match="cannot order objects by mtime"):
        gcx.track(*along((0, 1)), order="mtime", groups=GROUPS)
    with pytest.raises(CheckpointError, match="cannot be read"):
        ordered([str(tmp_path / "gone-1.pt"), str(tmp_path / "gone-2.pt")], [None, None], "mtime")


def test_one_checkpoint_is_no_run(tmp_path):
    with pytest.raises(UsageError, match="two checkpoints or more"):
        gcx.track(weights(0))
    save(tmp_path, along((0,)), ["e0.pt"])
    with pytest.raises(UsageError, match="this is 1"):
        gcx.track(str(tmp_path))


def test_duplicates_gaps_and_names_without_a_number_are_said(tmp_path):
    names = ["e0.pt", "e1.pt", "e2.pt", "e4.pt", "e5.pt", "copy-e5.pt", "best.pt"]
    save(tmp_path, along((0, 1, 2, 4, 5, 5, 5)), names)
    events = gcx.track(str(tmp_path), groups=GROUPS).track.events
    assert {event.kind for event in events} == {"missing", "duplicate", "unnumbered"}
    texts = {event.kind: event.text for event in events}
    assert "epoch 3," in texts["missing"]
    assert "2 checkpoints are of epoch 5" in texts["duplicate"]
    assert "best.pt" in texts["unnumbered"]


@given(st.integers(0, 50), st.integers(1, 20), st.integers(4, 40), st.data())
@settings(deadline=None, derandomize=True, max_examples=100)
def test_a_hole_in_an_even_spacing_is_found_and_nothing_else(start, step, count, data):
    full = [start + k * step for k in range(count)]
    assert list(missing_epochs(full)) == []
    if count >= 6:
        # One hole, with even steps enough around it.
        hole = data.draw(st.integers(2, count - 3))
        assert list(missing_epochs(full[:hole] + full[hole + 1 :])) == [full[hole]]


def test_a_run_that_is_saved_more_seldom_misses_nothing():
    assert list(missing_epochs([0, 1, 2, 3, 5, 7, 11, 15])) == []


# --- the report ---


def test_the_report_goes_to_json_and_back():
    report = gcx.track(*along(range(3)), groups=GROUPS)
    assert from_mapping(Report, to_mapping(report)).track == report.track


def test_a_tracks_report_is_no_arm_and_no_checkpoint():
    report = gcx.track(*along(range(2)), groups=GROUPS)
    with pytest.raises(UsageError, match="report of a training run"):
        gcx.compare(report, weights(0), groups=GROUPS)


def test_gates_hold_every_checkpoint():
    run = along(range(3))
    _, middle, high = gcx.track(*run, groups=GROUPS).track.model.mean_r2_within
    report = gcx.track(*run, groups=GROUPS, fail_if=[f"summary.mean_r2_within > {(middle + high) / 2}"])
    assert report.exit_code == 1
    assert (report.gates[0].checked, report.gates[0].violated) == (3, 1)
    assert report.violations[0].value == high


def test_a_checkpoint_without_convolutions_is_inconclusive():
    report = gcx.track(weights(0), {"fc.weight": np.zeros((4, 4)), "epoch": 1}, groups=GROUPS)
    assert report.exit_code == 3
