"""`gcx.compare`: arms, matching, verdicts that follow from the numbers, and real networks."""

import json
import shutil
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import gcx
from gcx.comparing.verdicts import readings, trend_of
from gcx.errors import GcxError, UsageError
from gcx.renderers.base import by_name
from gcx.renderers.options import RenderOptions

REPOSITORY = Path(__file__).parents[2]
DIGITS = REPOSITORY / "examples" / "checkpoints"
DATA = REPOSITORY.parent / "shared" / "data" / "checkpoints"


def net(seed: int, *, shape=(32, 16, 3, 3), planted: float = 0.0, names=("a", "b")):
    rng = np.random.default_rng(seed)
    weights = {}
    for name in names:
        template = rng.normal(size=(1, *shape[1:]))
        weights[f"{name}.weight"] = rng.normal(size=shape) + planted * rng.normal(size=(shape[0], 1, 1, 1)) * template
    return weights


def test_a_checkpoint_against_itself():
    report = gcx.compare(str(DIGITS / "digits-g4-seed0.pt"), str(DIGITS / "digits-g4-seed0.pt"), filters=True)
    found = report.comparison
    assert found.same_lineage is True
    assert any("paired jackknife" in note for note in found.notes)
    assert {layer.trend for layer in found.layers} == {"identical"}
    for layer in found.layers:
        for side in (layer.change.within, layer.change.across, layer.change.kernels):
            assert set(astuple(side)) <= {0.0, None}
        assert all(change in (0, None) for change in readings(layer).values())
        assert set(layer.filter_r) == {1.0}
        assert (layer.pvalue, layer.change_ci95) == (1.0, (0.0, 0.0))


def test_two_seeds_are_of_no_lineage_and_no_filter_is_matched():
    found = gcx.compare(str(DIGITS / "digits-g4-seed0.pt"), str(DIGITS / "digits-g4-seed1.pt"), filters=True).comparison
    assert found.same_lineage is False
    assert all(layer.filter_r is None for layer in found.layers)
    assert any("--filters" in note for note in found.notes)


def test_fewer_channels_are_not_taken_for_correlation():
    """The naive reading is far apart, the fair one is not."""
    rng = np.random.default_rng(5)
    dense, grouped = {"a.weight": rng.normal(size=(64, 32, 3, 3))}, {"a.weight": rng.normal(size=(64, 8, 3, 3))}
    layer = gcx.compare(dense, grouped, groups={"candidate:a": 4}).comparison.layers[0]
    assert layer.change.within.mean_r2 > 0.01
    assert abs(layer.dimension_matched.change) < 0.002
    assert (layer.tested, layer.dimension_matched.channels, layer.dimension_matched.n_draws) == (
        "dimension_matched",
        8,
        20,
    )
    assert layer.trend == "no_change"


def test_a_planted_change_is_found_and_has_its_direction():
    found = gcx.compare(net(1), net(2, planted=0.6)).comparison
    assert {layer.trend for layer in found.layers} == {"higher"}
    back = gcx.compare(net(2, planted=0.6), net(1)).comparison
    assert {layer.trend for layer in back.layers} == {"lower"}
    for there, here in zip(found.layers, back.layers, strict=True):
        assert there.change.within.mean_r2 == -here.change.within.mean_r2
        assert there.pvalue == pytest.approx(here.pvalue)


def test_runs_are_the_unit():
    dense = [net(seed) for seed in range(4)]
    planted = [net(seed, planted=0.6) for seed in range(10, 14)]
    found = gcx.compare(dense, planted).comparison
    assert (found.unit, found.reference_runs, found.candidate_runs) == ("run", 4, 4)
    assert found.smallest_pvalue == pytest.approx(2 / 70)
    assert [layer.pvalue for layer in found.layers] == pytest.approx([2 / 70, 2 / 70])
    assert {layer.trend for layer in found.layers} == {"higher"}  # both layers sit there, so the correction lets them


def test_kernels_are_tested_over_runs_and_dense_layers_by_virtual_groups(monkeypatch):
    """Against scipy: intervals by t, the change by exact permutation; the dense side is cut as `correlate` cuts it."""
    monkeypatch.chdir(DIGITS)
    dense, grouped = ([f"digits-g{g}-seed{s}.pt" for s in range(4)] for g in (1, 4))
    report = gcx.compare(dense, grouped, virtual_groups=4, groups={"candidate:conv": 4})
    conv = report.comparison.layers[1]
    before = [layer_of(gcx.correlate(path, virtual_groups=4)).virtual_groups.kernels.delta for path in dense]
    after = [layer_of(gcx.correlate(path, groups={"conv": 4})).kernels.delta for path in grouped]
    assert conv.sides.reference.delta == pytest.approx(np.mean(before))
    assert conv.sides.candidate.delta == pytest.approx(np.mean(after))
    assert conv.change.kernels.delta == pytest.approx(np.mean(after) - np.mean(before))
    excess = [layer_of(gcx.correlate(path, groups={"conv": 4})).within.excess for path in grouped]
    across = [layer_of(gcx.correlate(path, groups={"conv": 4})).across for path in grouped]
    for values, found in (
        (before, conv.sides.reference.delta_ci95),
        (after, conv.sides.candidate.delta_ci95),
        (excess, conv.sides.candidate.excess_ci95),
        ([side.mean_r2 - side.null_permuted_r2 for side in across], conv.sides.candidate.across_excess_ci95),
    ):
        assert found == pytest.approx(tuple(stats.ttest_1samp(values, 0).confidence_interval()), rel=1e-6)
    exact = stats.permutation_test((before, after), lambda a, b: np.mean(b) - np.mean(a), n_resamples=np.inf)
    assert conv.delta_test.pvalue == pytest.approx(exact.pvalue)
    welch = stats.ttest_ind(after, before, equal_var=False).confidence_interval()
    assert conv.delta_test.change_ci95 == pytest.approx(tuple(welch), rel=1e-6)
    tests = [layer.delta_test for layer in report.comparison.layers]
    adjusted = stats.false_discovery_control([test.pvalue for test in tests])
    assert [test.pvalue_adjusted for test in tests] == pytest.approx(adjusted)
    text = by_name("terminal").render(report, RenderOptions(width=120))
    assert "virtual groups mean nothing" in text
    assert "delta changed in" in text


def test_without_groups_on_both_sides_kernels_are_not_tested(monkeypatch):
    monkeypatch.chdir(DIGITS)
    dense, grouped = ([f"digits-g{g}-seed{s}.pt" for s in range(2)] for g in (1, 4))
    saved = gcx.correlate("digits-g1-seed0.pt", virtual_groups=2)
    for found in (
        gcx.compare(dense, grouped, groups={"candidate:conv": 4}),
        gcx.compare(saved, grouped, groups={"candidate:conv": 4}),  # cut, but not asked for here
        gcx.compare(saved, grouped, groups={"candidate:conv": 4}, virtual_groups=4),  # cut otherwise
    ):
        conv = found.comparison.layers[1]
        assert (conv.sides.reference.delta, conv.change.kernels.delta, conv.delta_test) == (None, None, None)
        assert "virtual groups" not in by_name("terminal").render(found, RenderOptions())
    one = gcx.compare(saved, grouped[0], groups={"candidate:conv": 4}, virtual_groups=2).comparison.layers[1]
    assert one.change.kernels.delta is not None
    assert (one.delta_test, one.sides.candidate.delta_ci95) == (None, None)


def layer_of(report, name="conv"):
    return next(layer for layer in report.models[0].layers if layer.name == name)


def test_the_verdict_says_what_the_numbers_say():
    found = gcx.compare(*([str(DIGITS / f"digits-g{g}-seed{s}.pt") for s in range(4)] for g in (1, 4))).comparison
    for layer in found.layers:
        claimed = layer.trend in ("higher", "lower")
        agree = len({np.sign(change) for change in readings(layer).values()}) == 1
        assert claimed == (layer.pvalue_adjusted <= 0.05 and agree)
        assert layer.verdict.startswith(("higher", "lower", "no change", "depends", "not known", "identical"))
    conv = found.layers[1]
    assert conv.sides.reference.mean_r2 < conv.dimension_matched.reference < conv.dimension_matched.candidate
    assert conv.dimension_matched.ratio == pytest.approx(
        conv.dimension_matched.candidate / conv.dimension_matched.reference
    )
    assert "73.8 % fewer weights" in found.verdict


def test_a_sign_that_depends_on_the_correction_is_not_claimed():
    layer = gcx.compare(net(1), net(2, planted=0.6)).comparison.layers[0]
    within = replace(layer.change.within, excess=-0.01)
    assert trend_of(replace(layer, change=replace(layer.change, within=within))) == "depends"


def test_layers_are_matched_by_map_name_and_role():
    reference = net(0, names=("backbone.a", "head"))
    candidate = net(1, names=("a", "stem.conv"))
    by_role = gcx.compare(reference, candidate).comparison
    assert any(note.startswith(f"{len(by_role.layers)} of {len(by_role.layers)} pairs") for note in by_role.notes)
    assert [(layer.reference, layer.candidate, layer.matched_by) for layer in by_role.layers] == [
        ("backbone.a", "a", "role"),
        ("head", "stem.conv", "role"),
    ]
    mapped = gcx.compare(reference, candidate, map={"backbone.*": "*"}).comparison
    assert mapped.layers[0].matched_by == "map"
    with pytest.raises(UsageError, match="matches no layer of the reference"):
        gcx.compare(reference, candidate, map={"bockbone.*": "*"})


def test_what_has_no_partner_is_listed_with_the_reason():
    found = gcx.compare(net(0, names=("a", "b")), net(1, names=("a",))).comparison
    assert [(alone.arm, alone.name) for alone in found.unmatched] == [("reference", "b")]
    assert "no layer of this name" in found.unmatched[0].reason
    nothing = gcx.compare(net(0, names=("a",)), net(1, shape=(8, 4, 5, 5), names=("z",)))
    assert nothing.exit_code == 3
    assert "nothing is compared" in nothing.comparison.verdict


def test_a_saved_report_stands_in_for_its_weights(tmp_path):
    paths = [str(DIGITS / f"digits-g{g}-seed{seed}.pt") for g, seed in ((1, 0), (4, 1))]
    saved = tmp_path / "report.json"
    saved.write_text(by_name("json").render(gcx.correlate(paths[0]), RenderOptions()))
    whole, partly = gcx.compare(*paths).comparison, gcx.compare(str(saved), paths[1]).comparison
    for ours, theirs in zip(whole.layers, partly.layers, strict=True):
        assert ours.change == theirs.change
    stem, conv = partly.layers
    assert stem.pvalue == whole.layers[0].pvalue  # one dimension: no weights needed
    assert conv.dimension_matched.change is None
    assert "weights needed" in conv.notes[0]
    assert conv.trend == "unknown"
    # Where the denser layer has its weights, nothing is missing.
    saved.write_text(by_name("json").render(gcx.correlate(paths[1]), RenderOptions()))
    assert gcx.compare(paths[0], str(saved)).comparison.layers[1].pvalue == pytest.approx(whole.layers[1].pvalue)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.update(schema=99), "another schema"),
        (lambda data: data["settings"].update(measure="cosine"), "--measure cosine"),
        (lambda data: data.update(models=[]), "no model"),
        (lambda data: data["models"][0]["layers"][0].update(groups="x"), "groups is 'x', not a whole number"),
        (lambda data: data["models"][0]["layers"][0]["within"].update(mean_r2=10**400), "not a finite number"),
        (lambda data: data["models"][0].pop("summary"), "is missing"),
        (lambda data: data["models"][0]["layers"][0].update(weight_shape=[]), "impossible"),
        (lambda data: data["models"][0]["layers"][0].update(weight_shape=[32, 1, 0, 3], parameters=0), "impossible"),
        (lambda data: data["models"][0]["layers"][0]["within"].update(se=1e200), "impossible"),
        (lambda data: data["models"][0]["layers"][0]["kernels"].update(delta=1e200), "impossible"),
    ],
)
def test_a_report_that_does_not_fit_is_refused(tmp_path, change, message):
    path = str(DIGITS / "digits-g1-seed0.pt")
    data = json.loads(by_name("json").render(gcx.correlate(path), RenderOptions()))
    change(data)
    saved = tmp_path / "report.json"
    saved.write_text(json.dumps(data))
    with pytest.raises(GcxError, match=message):
        gcx.compare(str(saved), path)


def test_folders_and_globs_are_runs(tmp_path):
    found = gcx.compare(str(DIGITS / "digits-g1-*.pt"), str(DIGITS / "digits-g2-seed0.pt")).comparison
    assert (found.reference_runs, found.candidate_runs) == (4, 1)
    assert all(layer.change_ci95 is None for layer in found.layers)
    with pytest.raises(UsageError, match="matches no file"):
        gcx.compare(str(DIGITS / "nothing-*.pt"), str(DIGITS / "digits-g2-seed0.pt"))
    with pytest.raises(UsageError, match="not of one network"):
        gcx.compare(str(DIGITS / "digits-*.pt"), str(DIGITS / "digits-g2-seed0.pt"))
    for seed in (2, 10):
        shutil.copy(DIGITS / "digits-g1-seed0.pt", tmp_path / f"run{seed}.pt")
    (tmp_path / "notes.txt").write_text("no checkpoint")
    models = gcx.compare(str(tmp_path), str(DIGITS / "digits-g2-seed0.pt")).models
    assert [Path(model.path).name for model in models] == ["run2.pt", "run10.pt", "digits-g2-seed0.pt"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no checkpoint"):
        gcx.compare(str(tmp_path / "empty"), str(DIGITS / "digits-g2-seed0.pt"))


def real(*names: str) -> list[str]:
    paths = [next(iter(sorted(DATA.glob(name))), None) for name in names]
    if None in paths:
        pytest.skip("the real checkpoints are not there")
    return [str(path) for path in paths]


def test_resnet20_against_resnet56():
    found = gcx.compare(*real("resnet20-*.th", "resnet56-*.th")).comparison
    assert len(found.layers) == 19
    assert len(found.unmatched) == 36
    assert found.same_lineage is False


def test_lineage_of_real_runs():
    first, last, other = real("rfb-series/*Epoch-0-*", "rfb-series/*Epoch-499-*", "version-RFB-320.pth")
    assert gcx.compare(first, last).comparison.same_lineage is True
    independent = gcx.compare(other, last, filters=True).comparison
    assert independent.same_lineage is False
    assert all(layer.filter_r is None for layer in independent.layers)
