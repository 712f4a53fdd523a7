"""Chance: closed forms against scipy, simulation and published values; tests that are level and have power."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from gcx.measures import adjust_pvalues, delta_pvalue, measure_layer
from gcx.measures.beta import beta_tail, beta_tail_inverse, largest_r_quantile, t_quantile
from gcx.measures.degenerate import unit_kernels
from gcx.measures.kernels import kernel_moments, measure_kernels
from gcx.measures.nulls import Isotropic, permutation_pvalue
from gcx.measures.statistics import evr1_null, variance_entropy_threshold


@settings(max_examples=300, deadline=None, derandomize=True)
@given(x=st.floats(1e-12, 1 - 1e-9), b=st.floats(0.5, 1e6))
def test_beta_tail_equals_scipy(x, b):
    expected = special.betaincc(0.5, b, x)
    if expected > 1e-290:
        assert beta_tail(x, b) == pytest.approx(expected, rel=1e-8)
    else:
        assert beta_tail(x, b) <= 1e-280


@settings(max_examples=200, deadline=None, derandomize=True)
@given(log_tail=st.floats(-40, -0.001), b=st.floats(0.5, 1e6))
def test_beta_tail_inverse_equals_scipy(log_tail, b):
    tail = float(np.exp(log_tail))
    assert beta_tail_inverse(tail, b) == pytest.approx(special.betainccinv(0.5, b, tail), rel=1e-7)


@pytest.mark.parametrize("freedom", [1, 2, 3, 15, 63, 511, 100_000])
def test_t_quantile_equals_scipy(freedom):
    assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)


@pytest.mark.parametrize(
    ("n", "d", "published"), [(64, 576, 0.174), (64, 72, 0.474), (16, 18, 0.742), (256, 36, 0.705)]
)
def test_published_points_of_the_largest_r(n, d, published):
    assert largest_r_quantile(d - 1, n * (n - 1) // 2) == pytest.approx(published, abs=5e-4)


def test_published_null_table():
    d = [576, 288, 144, 72, 36, 18, 9]
    mean_abs = [0.0333, 0.0471, 0.0668, 0.0950, 0.1358, 0.1964, 0.2910]
    rms = [0.0417, 0.0590, 0.0836, 0.1187, 0.1690, 0.2425, 0.3536]
    assert [round(Isotropic(x - 1).mean_abs_r, 4) for x in d] == mean_abs
    assert [round(Isotropic(x - 1).mean_r2 ** 0.5, 4) for x in d] == rms


def test_published_largest_r_within_a_group():
    table = {288: 0.227, 144: 0.290, 72: 0.361, 36: 0.432, 18: 0.468}
    for d, published in table.items():
        groups = 576 // d
        n = 64 // groups
        assert largest_r_quantile(d - 1, n * (n - 1) // 2) == pytest.approx(published, abs=6e-4), d


def test_published_evr1_of_random_kernels():
    """The published values come from fewer draws than gcx's table: they are good to about .004."""
    table = {2: 0.705, 4: 0.499, 8: 0.364, 16: 0.279, 32: 0.224, 64: 0.188, 128: 0.164, 256: 0.148, 512: 0.137}
    for c, published in table.items():
        assert evr1_null(c, 9) == pytest.approx(published, abs=0.004), c


@pytest.mark.parametrize(
    ("c", "k"), [(2, 9), (8, 9), (24, 9), (64, 9), (512, 9), (3, 25), (30, 4), (1, 9), (5, 5), (5, 9)]
)
def test_evr1_null_against_plain_simulation(c, k):
    rng = np.random.default_rng(0)
    draws = 4000 if c < 100 else 500
    s = np.linalg.svd(rng.normal(size=(draws, c, k)), compute_uv=False) ** 2
    shares = s[:, 0] / s.sum(axis=1)
    assert evr1_null(c, k) == pytest.approx(float(shares.mean()), abs=4 * shares.std() / np.sqrt(draws) + 0.003)


def test_variance_entropy_threshold_as_published():
    for n in (8, 64, 4096):
        expected = 1.2618047 / (1 + np.exp(-0.88767525 * (np.log2(n) - 2.30436435))) - 0.31050834
        assert variance_entropy_threshold(n) == pytest.approx(expected)


@pytest.mark.parametrize("measure", ["pearson", "cosine"])
def test_permuted_null_is_the_mean_over_all_channel_orders(measure):
    """Both filters of a pair reordered independently, heavy tails included; also what Monte Carlo gives for more."""
    rng = np.random.default_rng(1)
    filters = np.exp(3 * rng.normal(size=(1, 2, 4, 3))) - 1
    a, b = filters[0]
    values = []
    for order in permutations(range(4)):
        pair = np.stack([a, b[list(order)]])[None]
        values.append(measure_layer(pair, measure=measure).within.mean_r2)
    assert measure_layer(filters, measure=measure).within.null_permuted_r2 == pytest.approx(np.mean(values), rel=1e-12)


def test_permuted_null_against_monte_carlo_within_and_across():
    rng = np.random.default_rng(2)
    template = rng.normal(size=(1, 1, 8, 9))
    filters = rng.normal(size=(2, 6, 8, 9)) + template
    found = measure_layer(filters.copy())
    within, across = [], []
    for _ in range(400):
        shuffled = rng.permuted(np.arange(8)[None].repeat(12, 0), axis=1)
        mixed = np.take_along_axis(filters, shuffled.reshape(2, 6, 8, 1), axis=2)
        drawn = measure_layer(mixed)
        within.append(drawn.within.mean_r2)
        across.append(drawn.across.mean_r2)
    for null, draws in ((found.within.null_permuted_r2, within), (found.across.null_permuted_r2, across)):
        assert null == pytest.approx(np.mean(draws), abs=4 * np.std(draws) / np.sqrt(len(draws)))
    assert found.within.mean_r2 > 2 * found.within.null_permuted_r2, "the planted template must show"


def test_channel_shuffle_leaves_what_the_null_says():
    """iid weights: both nulls agree; pointwise Pearson: they are identical."""
    rng = np.random.default_rng(3)
    wide = measure_layer(rng.normal(size=(1, 64, 64, 9))).within
    assert wide.null_permuted_r2 == pytest.approx(wide.null_isotropic_r2, rel=0.02)
    pointwise = measure_layer(rng.normal(size=(2, 8, 6, 1)))
    assert pointwise.within.null_permuted_r2 == pytest.approx(1 / 5, rel=1e-12)
    assert pointwise.across.null_permuted_r2 == pytest.approx(1 / 5, rel=1e-12)


def test_z_has_mean_0_and_sd_1_on_random_filters():
    rng = np.random.default_rng(4)
    z = [measure_layer(rng.normal(size=(2, 12, 2, 9))).within.z_isotropic for _ in range(500)]
    assert abs(np.mean(z)) < 4 / np.sqrt(500)
    assert np.std(z) == pytest.approx(1.0, abs=0.12)


def test_isotropic_moments_on_random_filters():
    rng = np.random.default_rng(5)
    found = [measure_layer(rng.normal(size=(1, 40, 2, 9))).within for _ in range(60)]
    assert np.mean([w.mean_r2 for w in found]) == pytest.approx(found[0].null_isotropic_r2, rel=0.02)
    assert np.mean([w.mean_abs_r for w in found]) == pytest.approx(found[0].null_isotropic_mean_abs_r, rel=0.02)
    assert stats.kstest([w.max_abs_pvalue for w in found], "uniform").pvalue > 0.001


def test_the_largest_r_of_random_filters_exceeds_its_bound_once_in_twenty():
    rng = np.random.default_rng(13)
    found = [measure_layer(rng.normal(size=(1, 16, 2, 9))).within for _ in range(600)]
    beyond = np.mean([w.max_abs_r > w.null_isotropic_max_abs_r for w in found])
    assert beyond == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 600))
    assert stats.kstest([w.max_abs_pvalue for w in found], "uniform").pvalue > 1e-3


def delta_pvalues(draw, n, seed):
    rng = np.random.default_rng(seed)
    states = [measure_kernels(kernel_moments(draw(rng))[0])[1] for _ in range(n)]
    return np.array([delta_pvalue(state, 199, seed, str(i)) for i, state in enumerate(states)])


def smooth(rng, shape):
    """Filters with a blueprint of their own, the same law in every group: structure, but no group effect."""
    own = rng.normal(size=(*shape[:2], 1, shape[3]))
    return rng.normal(size=shape) + 2 * own


def test_delta_is_level_where_groups_mean_nothing():
    p = delta_pvalues(lambda rng: smooth(rng, (4, 6, 4, 9)), 1000, 6)
    assert 0.03 <= np.mean(p <= 0.05) <= 0.07
    assert stats.kstest(p, "uniform").pvalue > 1e-3


def test_delta_finds_planted_group_templates():
    def planted(rng):
        return rng.normal(size=(4, 6, 4, 9)) + rng.normal(size=(4, 1, 1, 9))

    assert np.mean(delta_pvalues(planted, 40, 7) <= 0.05) > 0.9


def test_permuting_kernels_instead_of_filters_would_call_everything_significant():
    """The trap: kernels of one filter resemble each other, so they are not exchangeable units."""
    rng = np.random.default_rng(8)
    wrong = []
    for _ in range(20):
        filters = smooth(rng, (2, 4, 8, 9))
        kernels, _ = unit_kernels(filters)
        moments = np.einsum("gncj,gnck->gncjk", kernels, kernels).reshape(64, 81)

        def same_group(orders, moments=moments):
            sums = moments[orders].reshape(len(orders), 2, 32, 81).sum(axis=2)
            return np.einsum("bgp,bgp->b", sums, sums)

        observed = float(same_group(np.arange(64)[None])[0])
        wrong.append(permutation_pvalue(observed, same_group, 64, 199, [0]))
    assert np.mean(np.array(wrong) <= 0.05) > 0.9


def test_choosing_layers_changes_no_pvalue_and_the_seed_does():
    state = measure_kernels(kernel_moments(np.random.default_rng(9).normal(size=(4, 6, 4, 9)))[0])[1]
    assert delta_pvalue(state, 999, 0, "a") == delta_pvalue(state, 999, 0, "a")
    assert len({delta_pvalue(state, 999, seed, "a") for seed in range(6)}) > 1
    assert len({delta_pvalue(state, 999, 0, name) for name in ("a", "b", "c", "\ud800")}) > 1


def test_virtual_groups_are_drawn_by_the_layers_name_and_the_seed():
    filters = smooth(np.random.default_rng(15), (1, 12, 3, 9))

    def contrasts(seeds, names):
        return [
            measure_layer(filters, virtual_groups=3, seed=seed, name=name).virtual.contrast_pvalue
            for seed in seeds
            for name in names
        ]

    assert len(set(contrasts([0], "aaa"))) == 1
    assert len(set(contrasts([0], "abc"))) > 1
    assert len(set(contrasts([0, 1, 2], "a"))) > 1


def test_virtual_groups_of_a_dense_layer_are_level():
    rng = np.random.default_rng(10)
    found = [measure_layer(smooth(rng, (1, 12, 3, 9)), virtual_groups=3, seed=i).virtual for i in range(200)]
    for p in ([f.contrast_pvalue for f in found], [f.kernels.pvalue for f in found]):
        assert 0.01 <= np.mean(np.array(p) <= 0.05) <= 0.11


@pytest.mark.parametrize("groups", [1, 4, 8, 16])
@pytest.mark.parametrize("law", ["iid", "template"])
def test_jackknife_interval_covers(groups, law):
    """32 filters, down to two a group; the truth is the mean r^2 of a pair of the same law, from many pairs."""
    rng = np.random.default_rng(11)
    template = 0.7 * np.random.default_rng(12).normal(size=(1, 1, 2, 9)) if law == "template" else 0.0

    def draw(groups, n):
        return rng.normal(size=(groups, n, 2, 9)) + template

    truth = np.mean([measure_layer(draw(1, 64)).within.mean_r2 for _ in range(60)])
    intervals = [measure_layer(draw(groups, 32 // groups)).within.ci95 for _ in range(300)]
    assert 0.90 <= np.mean([low <= truth <= high for low, high in intervals]) <= 0.997


@pytest.mark.parametrize("law", ["iid", "template"])
def test_jackknife_interval_covers_for_sixteen_filters(law):
    rng = np.random.default_rng(14)
    template = 0.7 * np.random.default_rng(12).normal(size=(1, 1, 2, 9)) if law == "template" else 0.0
    truth = np.mean([measure_layer(rng.normal(size=(1, 64, 2, 9)) + template).within.mean_r2 for _ in range(60)])
    intervals = [measure_layer(rng.normal(size=(1, 16, 2, 9)) + template).within.ci95 for _ in range(400)]
    assert 0.90 <= np.mean([low <= truth <= high for low, high in intervals]) <= 0.997


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=30))
def test_adjusted_pvalues_equal_scipy(pvalues):
    assert adjust_pvalues(pvalues) == pytest.approx(list(stats.false_discovery_control(pvalues)), rel=1e-12)


def test_pvalues_are_never_zero():
    assert permutation_pvalue(5.0, lambda orders: np.zeros(len(orders)), 4, 999, [0]) == 1 / 1000
