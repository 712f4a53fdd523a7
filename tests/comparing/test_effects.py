"""Intervals, p-values, dimension-matching and lineage against scipy, brute force and simulation."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from gcx.measures import (
    adjust_pvalues,
    matched_mean_r2,
    measure_lineage,
    paired_se,
    runs_pvalue,
    smallest_pvalue,
    welch,
    welch_runs,
)
from gcx.measures.beta import t_quantile
from gcx.measures.effects import t_pvalue


@pytest.mark.parametrize("freedom", [1, 1.7, 3.2, 10, 63.5, 800])
def test_students_t_is_scipys(freedom):
    for t in (0.0, 0.3, 1.0, 2.5, 7.0, 40.0):
        assert t_pvalue(t, freedom) == pytest.approx(2 * stats.t.sf(t, freedom), rel=1e-9, abs=1e-300)
    assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_welch_of_runs_is_scipys(seed):
    rng = np.random.default_rng(seed)
    before, after = rng.normal(size=4), rng.normal(1, 3, size=6)
    theirs = stats.ttest_ind(after, before, equal_var=False)
    assert welch_runs(list(before), list(after)) == pytest.approx(tuple(theirs.confidence_interval()))
    errors = [float(x.std(ddof=1)) / np.sqrt(len(x)) for x in (before, after)]
    _, pvalue = welch(float(after.mean() - before.mean()), tuple(errors), (3, 5))
    assert pvalue == pytest.approx(theirs.pvalue)


@pytest.mark.parametrize(("n", "m"), [(4, 4), (2, 3), (1, 4), (3, 3)])
def test_runs_are_dealt_in_every_way(n, m):
    rng = np.random.default_rng(n * 10 + m)
    before, after = rng.normal(size=n), rng.normal(0.5, size=m)
    values = np.concatenate([before, after])
    observed = abs(after.mean() - before.mean())
    hits = [
        abs(np.delete(values, chosen).mean() - values[list(chosen)].mean()) >= observed - 1e-12
        for chosen in combinations(range(n + m), n)
    ]
    assert runs_pvalue(list(before), list(after), [0]) == pytest.approx(np.mean(hits))
    apart = runs_pvalue(list(range(n)), list(range(100, 100 + m)), [0])
    assert apart == pytest.approx(smallest_pvalue(n, m))


def test_four_and_four_runs_give_two_in_seventy_at_best():
    assert smallest_pvalue(4, 4) == pytest.approx(2 / 70)


def test_equal_dimension_of_all_channels_is_the_plain_mean():
    x = np.random.default_rng(1).normal(size=(2, 6, 5, 9))
    found = matched_mean_r2(x, 5, "pearson", 20, [0])
    r = [np.corrcoef(group.reshape(6, 45)) for group in x]
    upper = np.triu_indices(6, 1)
    assert found.value == pytest.approx(np.mean([one[upper] ** 2 for one in r]))


def test_equal_dimension_is_the_mean_over_all_channel_subsets():
    x = np.random.default_rng(2).normal(size=(1, 5, 6, 4))
    exact = []
    for chosen in combinations(range(6), 3):
        r = np.corrcoef(x[0][:, chosen].reshape(5, 12))
        exact.append(np.mean(r[np.triu_indices(5, 1)] ** 2))
    found = matched_mean_r2(x, 3, "pearson", 4000, [0])
    assert found.value == pytest.approx(np.mean(exact), abs=4 * np.std(exact) / np.sqrt(4000))


def test_fewer_channels_alone_are_no_change():
    rng = np.random.default_rng(3)
    dense, grouped = rng.normal(size=(1, 64, 32, 9)), rng.normal(size=(4, 16, 8, 9))
    ours = matched_mean_r2(dense, 8, "pearson", 20, [0])
    theirs = matched_mean_r2(grouped, 8, "pearson", 20, [0])
    _, pvalue = welch(theirs.value - ours.value, (ours.se, theirs.se), (ours.freedom, theirs.freedom))
    assert pvalue > 0.05
    assert ours.value == pytest.approx(1 / 71, rel=0.05)


def test_two_draws_of_one_law_rarely_differ():
    """No layer may pass at 5 % after correction in at least 93 % of 400 pairs of networks of one law."""
    rng = np.random.default_rng(4)
    quiet = 0
    template = rng.normal(size=(6, 9))
    for _ in range(400):
        pvalues = []
        for _layer in range(4):
            sides = []
            for _side in range(2):
                net = rng.normal(size=(1, 24, 6, 9)) + 0.4 * rng.normal(size=(1, 24, 1, 1)) * template
                sides.append(matched_mean_r2(net, 6, "pearson", 1, [0]))
            first, second = sides
            found = welch(second.value - first.value, (first.se, second.se), (first.freedom, second.freedom))
            pvalues.append(found[1])
        quiet += min(adjust_pvalues(pvalues)) > 0.05
    assert quiet >= 0.93 * 400


@pytest.mark.parametrize("groups", [1, 4, 16])
def test_lineage_of_independent_runs_is_standard_normal(groups):
    rng = np.random.default_rng(groups)
    shape = (groups, 16 // groups, 4, 9)
    z = [measure_lineage(rng.normal(size=shape), rng.normal(size=shape), "pearson")[0] for _ in range(300)]
    assert abs(np.mean(z)) < 0.25
    assert 0.8 < np.std(z) < 1.25


def test_lineage_of_a_fine_tune_and_of_the_same_filters_in_another_order():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(2, 16, 4, 9))
    tuned = x + 0.5 * rng.normal(size=x.shape)
    z, r = measure_lineage(x, tuned, "pearson")
    brute = [
        np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(x.reshape(32, 36), tuned.reshape(32, 36), strict=True)
    ]
    assert z > 20
    assert r == pytest.approx(brute)
    shuffled = tuned[:, rng.permutation(16)]
    assert measure_lineage(x, shuffled, "pearson")[0] < 5


def test_a_paired_error_is_the_jackknife_with_a_filter_gone_from_both():
    rng = np.random.default_rng(8)
    x = rng.normal(size=(2, 6, 3, 9))
    y = 0.9 * x + 0.4 * rng.normal(size=x.shape)

    def mean_r2(filters, gone):
        values = []
        for number, group in enumerate(filters):
            kept = [row.ravel() for k, row in enumerate(group) if (number, k) != gone]
            r = np.corrcoef(kept)
            values += list(r[np.triu_indices(len(kept), 1)] ** 2)
        return np.mean(values)

    changes = np.array([mean_r2(y, (g, k)) - mean_r2(x, (g, k)) for g in range(2) for k in range(6)])
    expected = np.sqrt(11 / 12 * np.sum((changes - changes.mean()) ** 2))
    assert paired_se(x, y, "pearson") == pytest.approx(expected)


def test_a_fine_tune_without_change_is_rarely_called_one_and_a_small_change_is_seen():
    rng = np.random.default_rng(9)
    false, seen, seen_unpaired = 0, 0, 0
    for _ in range(200):
        x = rng.normal(size=(1, 32, 4, 9)) + 0.3 * rng.normal(size=(1, 32, 1, 1))
        same_law = 0.95 * x + np.sqrt(1 - 0.95**2) * (rng.normal(size=x.shape) + 0.3 * rng.normal(size=(1, 32, 1, 1)))
        more = x + 0.15 * rng.normal(size=(1, 32, 1, 1)) * rng.normal(size=(1, 1, 4, 9))
        before = matched_mean_r2(x, 4, "pearson", 1, [0])
        for after, paired in ((same_law, True), (more, True), (more, False)):
            found = matched_mean_r2(after, 4, "pearson", 1, [0])
            errors = (paired_se(x, after, "pearson"), 0.0) if paired else (before.se, found.se)
            _, pvalue = welch(found.value - before.value, errors, (31, 31))
            if after is same_law:
                false += pvalue <= 0.05
            elif paired:
                seen += pvalue <= 0.05
            else:
                seen_unpaired += pvalue <= 0.05
    assert false <= 0.09 * 200
    assert seen > seen_unpaired
