"""Every number of a layer against plain loops, scipy and numpy."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measures import reference
from scipy import special, stats

from gcx import limits
from gcx.measures import correlation_blocks, delta_pvalue, measure_layer
from gcx.measures.nulls import Isotropic
from gcx.measures.pairs import PairStatistics
from gcx.measures.statistics import measure_statistics

CLOSE = {"rel": 1e-9, "abs": 1e-12}


@st.composite
def layers(draw):
    """Random layers with what real ones hold: float16 values, dead, constant and duplicate filters, dead kernels."""
    g, n = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    c, k = draw(st.integers(1, 4)), draw(st.sampled_from([1, 2, 4, 9]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    filters = rng.normal(size=(g, n, c, k)) * draw(st.sampled_from([1.0, 1e-150, 1e150]))
    filters += draw(st.sampled_from([0.0, 3.0])) * np.abs(filters).max()
    dtype = draw(st.sampled_from(["float64", "float32", "float16"]))
    if dtype != "float64":
        filters = (filters / np.abs(filters).max()).astype(dtype).astype(np.float64)
    for fault in draw(st.lists(st.sampled_from(["zero", "constant", "duplicate", "tiny", "dead kernel"]), max_size=3)):
        i, j = rng.integers(g), rng.integers(n)
        if fault == "zero":
            filters[i, j] = 0.0
        elif fault == "constant":
            filters[i, j] = 0.1
        elif fault == "duplicate":
            filters[i, j] = -2.0 * filters[rng.integers(g), rng.integers(n)]
        elif fault == "tiny":
            filters[i, j] *= 1e-13
        else:
            filters[i, j, rng.integers(c)] *= 1e-8
    return filters


measures = st.sampled_from(["pearson", "cosine"])


def about(value):
    return pytest.approx(value, **CLOSE)


def check_pairs(record, pairs, law):
    values = np.array(list(pairs.values()))
    assert record.n_pairs == len(values)
    assert record.null_isotropic_r2 == about(law.mean_r2)
    assert record.null_isotropic_mean_abs_r == about(law.mean_abs_r)
    if not len(values):
        assert record.mean_r2 is record.rms_r is record.mean_abs_r is record.max_abs_r is None
        return
    assert record.mean_r2 == about(np.mean(values**2))
    assert record.rms_r == about(np.sqrt(np.mean(values**2)))
    assert record.mean_abs_r == about(np.mean(np.abs(values)))
    assert record.max_abs_r == about(np.abs(values).max())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(filters=layers(), measure=measures)
def test_every_number_equals_loops_over_pairs(filters, measure):
    g, n, c, k = filters.shape
    found = measure_layer(filters.copy(), measure=measure)
    dead = reference.is_degenerate(filters)
    assert found.degenerate_filters == sum(dead)
    dimension = c * k - (measure == "pearson")
    assert (found.within is None) == (n == 1)
    assert (found.across is None) == (g == 1)
    if dimension < 2:
        assert all(record is None or record.mean_r2 is None for record in (found.within, found.across))
        why = "one number has no direction" if c * k == 1 else "±1 by construction"
        assert any(why in note for note in found.notes)
        return
    law = Isotropic(dimension)
    if found.within is not None:
        check_pairs(found.within, reference.pairs(filters, measure, True), law)
        check_within(found.within, filters, measure, law)
    if found.across is not None:
        check_pairs(found.across, reference.pairs(filters, measure, False), law)
        assert found.across.order_free == (c == 1)
        if found.across.n_pairs and c > 1:
            expected = reference.mean_permuted_r2(filters, measure, False)
            assert found.across.null_permuted_r2 == about(expected)
        else:
            assert found.across.null_permuted_r2 is None


def check_within(within, filters, measure, law):
    c = filters.shape[2]
    pairs = reference.pairs(filters, measure, True)
    if not pairs:
        assert within.excess is within.ci95 is within.z_isotropic is within.null_permuted_r2 is None
        return
    r2 = np.array(list(pairs.values())) ** 2
    assert within.mean_r == about(np.mean(list(pairs.values())))
    null = law.mean_r2
    if c > 1:
        null = reference.mean_permuted_r2(filters, measure, True)
        assert within.null_permuted_r2 == about(null)
    else:
        assert within.null_permuted_r2 is None
    assert within.excess_over == ("permuted" if c > 1 else "isotropic")
    assert within.excess == pytest.approx(r2.mean() - null, abs=1e-12)
    assert within.z_isotropic == pytest.approx(
        (r2.mean() - law.mean_r2) / (stats.beta(0.5, (law.dimension - 1) / 2).std() / np.sqrt(len(r2))),
        rel=1e-9,
        abs=1e-9,
    )
    interval = reference.ci95(filters, measure)
    if interval is None:
        assert within.ci95 is within.se is None
    else:
        assert within.ci95 == pytest.approx(interval, rel=1e-6, abs=1e-9)
    assert abs(pairs[within.max_abs_pair]) == about(within.max_abs_r)
    tail = special.betaincc(0.5, (law.dimension - 1) / 2, min(1.0, within.max_abs_r**2))
    # A max |r| a rounding away from 1 has a tail that rounding decides.
    if within.max_abs_r < 1 - 1e-9:
        assert within.max_abs_pvalue == pytest.approx(-np.expm1(len(r2) * np.log1p(-tail)), rel=1e-6)
    for group in within.per_group:
        own = [r * r for (i, _), r in pairs.items() if i // filters.shape[1] == group.group]
        assert group.n_pairs == len(own)
        assert (group.mean_r2 is None) if not own else (group.mean_r2 == about(np.mean(own)))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(filters=layers())
def test_kernel_numbers_equal_loops_over_kernel_pairs(filters):
    g, n, _, k = filters.shape
    found = measure_layer(filters.copy())
    if k == 1:
        assert found.kernels is None
        assert found.degenerate_kernels is None
        return
    same, different = reference.kernel_means(filters)
    assert found.degenerate_kernels == reference.dead_kernels(filters)
    for value, expected in ((found.kernels.same_group, same), (found.kernels.different_groups, different)):
        assert (value is None) if expected is None else (value == about(expected))
    assert (found.kernels.delta is None) == (same is None or different is None)
    assert (found.delta_state is None) == (found.kernels.delta is None)
    if np.abs(filters).max() > 0:
        assert found.kernel_statistics.evr1 == about(reference.first_share(filters))
        assert found.kernel_statistics.sparsity == reference.sparse_share(filters)
    if k == 9 and g * n > 1:
        assert found.kernel_statistics.variance_entropy == pytest.approx(reference.entropy(filters), abs=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_r_equals_scipy_and_numpy_for_every_dtype(dtype):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    rng = np.random.default_rng(1)
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    filters = rng.normal(size=(2, 6, 3, 9)).astype(kind).astype(np.float64)
    flat = filters.reshape(12, 27)
    r = np.concatenate(list(correlation_blocks(filters, "pearson")))
    assert r == pytest.approx(np.corrcoef(flat), abs=1e-12)
    for i, j in combinations(range(12), 2):
        assert r[i, j] == pytest.approx(stats.pearsonr(flat[i], flat[j]).statistic, abs=1e-12)
    within = measure_layer(filters.copy()).within
    expected = np.mean([stats.pearsonr(flat[i], flat[j]).statistic ** 2 for i, j in combinations(range(6), 2)])
    assert within.per_group[0].mean_r2 == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shape", [(1, 23, 3, 4), (3, 9, 2, 4), (23, 1, 1, 4), (8, 2, 2, 9)])
@pytest.mark.parametrize("block", [2, 5, 64])
def test_blocks_do_not_show(monkeypatch, shape, block):
    filters = np.random.default_rng(2).normal(size=shape)
    filters[0, -1] = 0.0
    whole = measure_layer(filters.copy(), picture=True)
    matrix = np.concatenate(list(correlation_blocks(filters, "pearson")))
    monkeypatch.setattr(limits, "BLOCK", block)
    parts = measure_layer(filters.copy(), picture=True)
    for one, other in ((whole.within, parts.within), (whole.across, parts.across)):
        if one is not None:
            assert one.mean_r2 == about(other.mean_r2)
            assert one.mean_abs_r == about(other.mean_abs_r)
            assert one.max_abs_r == about(other.max_abs_r)
            assert getattr(one, "max_abs_pair", None) == getattr(other, "max_abs_pair", None)
    if whole.within is not None:
        assert whole.within.se == pytest.approx(parts.within.se, rel=1e-9)
    assert np.array_equal(whole.picture.within_counts, parts.picture.within_counts)
    assert np.array_equal(whole.picture.across_counts, parts.picture.across_counts)
    blocks = np.concatenate(list(correlation_blocks(filters, "pearson")))
    assert blocks == pytest.approx(matrix, abs=1e-12, nan_ok=True)


def test_equal_largest_pairs_name_the_first(monkeypatch):
    filters = np.random.default_rng(3).normal(size=(1, 12, 2, 4))
    filters[0, 9] = filters[0, 2]
    filters[0, 11] = filters[0, 7]
    monkeypatch.setattr(limits, "BLOCK", 3)
    assert measure_layer(filters).within.max_abs_pair in {(2, 9), (7, 11)}
    filters = np.zeros((1, 8, 1, 4)) + np.array([1.0, -1.0, 1.0, -1.0])
    assert measure_layer(filters).within.max_abs_pair == (0, 1)


def test_what_rounding_puts_beyond_1_is_1():
    found = PairStatistics(4, bins=True)
    beyond = np.nextafter(1.0, 2.0)
    found.add(np.array([[[0.5, 1.0], [beyond, -beyond]]]), np.array([[0, 1]]), np.array([[2, 3]]), None)
    assert (found.max_abs_r, found.max_abs_pair) == (1.0, (0, 3))
    assert found.counts.sum() == 4
    assert (found.counts[-1], found.counts[0]) == (2, 1)


def test_statistics_of_hand_made_kernels():
    """Sparsity is strictly below 1 %; equal directions have no entropy, even ones all of it; EVR1 is uncentred."""
    kernels = np.zeros((1, 4, 1, 9))
    kernels[0, :, 0, 0] = [100.0, 1.0, np.nextafter(1.0, 0.0), 0.0]
    found = measure_statistics(kernels)
    assert found.sparsity == 0.5
    assert found.variance_entropy == 0.0
    assert found.evr1 == 1.0
    every_tap = np.concatenate([np.eye(9), -np.eye(9)]).reshape(1, 1, 18, 9)
    found = measure_statistics(every_tap)
    assert found.variance_entropy == pytest.approx(np.log10(9))
    assert found.evr1 == pytest.approx(1 / 9)
    flat = np.ones((1, 2, 4, 9))  # centred, there would be nothing left
    assert measure_statistics(flat).evr1 == pytest.approx(1.0)
    assert measure_statistics(flat).variance_entropy is None
    assert measure_statistics(np.zeros((1, 2, 4, 9))).sparsity is None
    # 0.1 has no exact mean: rounding must not pass for variance.
    equal = measure_layer(np.full((1, 30, 7, 9), 0.1))
    assert equal.kernel_statistics.variance_entropy is None
    assert "variance_entropy is null: all kernels are equal" in equal.notes
    pointwise = measure_statistics(np.ones((1, 2, 4, 1)))
    assert pointwise.evr1 is pointwise.evr1_null is pointwise.variance_entropy is None


@pytest.mark.parametrize("scale", [1e300, 1e-300, 5e-324 * 2**40])
def test_extreme_scales_give_the_same_numbers(scale):
    filters = np.random.default_rng(4).integers(-100, 100, size=(2, 4, 2, 9)).astype(np.float64)
    plain, scaled = measure_layer(filters / 128.0), measure_layer(filters / 128.0 * scale)
    assert scaled.degenerate_filters == 0
    assert scaled.within.mean_r2 == pytest.approx(plain.within.mean_r2, rel=1e-3 if scale < 1e-300 else 1e-9)


def test_an_offset_of_a_million_does_not_hide_the_noise():
    noise = np.random.default_rng(5).normal(size=(1, 8, 2, 9))
    assert measure_layer(noise + 1e6).within.mean_r2 == pytest.approx(
        measure_layer(noise.copy()).within.mean_r2, rel=1e-6
    )


def test_the_picture_counts_every_pair_once_and_keeps_the_matrix():
    filters = np.random.default_rng(6).normal(size=(3, 5, 2, 4))
    filters[1, 2] = 0.0
    found = measure_layer(filters.copy(), picture=True)
    picture = found.picture
    assert picture.within_counts.sum() == found.within.n_pairs
    assert picture.across_counts.sum() == found.across.n_pairs
    values = np.array(list(reference.pairs(filters, "pearson", True).values()))
    assert np.array_equal(picture.within_counts, np.histogram(values, picture.bins)[0])
    expected = np.concatenate(list(correlation_blocks(filters, "pearson")))
    np.fill_diagonal(expected, np.nan)
    assert picture.r == pytest.approx(expected, abs=1e-6, nan_ok=True)
    assert picture.edges == (0, 5, 10, 15)
    assert picture.null_density.sum() == pytest.approx(1.0)
    law = stats.beta(0.5, (7 - 1) / 2)
    inner = np.diff([0.5 + 0.5 * np.sign(edge) * law.cdf(edge * edge) for edge in picture.bins])
    assert picture.null_density == pytest.approx(inner, abs=1e-12)
    flat = filters.reshape(15, 2, 4)
    between = [reference.kernel_cos2(flat[i], flat[j]) for i in range(5) for j in range(10, 15)]
    assert picture.kernels[0, 2] == pytest.approx(np.mean(between))
    inside = [reference.kernel_cos2(flat[i], flat[j]) for i, j in combinations(range(5), 2)]
    assert picture.kernels[0, 0] == pytest.approx(np.mean(inside))


def test_a_large_picture_keeps_the_largest_of_each_tile(monkeypatch):
    filters = np.random.default_rng(7).normal(size=(1, 11, 2, 4))
    full = measure_layer(filters.copy(), picture=True).picture.r
    monkeypatch.setattr(limits, "PICTURE", 4)
    small = measure_layer(filters.copy(), picture=True).picture
    assert small.step == 3
    tile = full[0:3, 6:9]
    assert small.r[0, 2] == tile.ravel()[np.abs(tile).argmax()]
    assert small.r[1, 1] == max((full[3, 4], full[3, 5], full[4, 5]), key=abs)


def test_a_wide_kernel_takes_the_other_route_to_the_same_numbers(monkeypatch):
    filters = np.random.default_rng(8).normal(size=(3, 4, 2, 25))
    filters[0, 0, 1] = 0.0
    narrow = measure_layer(filters.copy())
    monkeypatch.setattr("gcx.measures.kernels.WIDEST_MOMENT", 9)
    monkeypatch.setattr("gcx.measures.kernels.MOMENTS", 0)
    wide = measure_layer(filters.copy())
    assert wide.kernels.same_group == about(narrow.kernels.same_group)
    assert wide.kernels.different_groups == about(narrow.kernels.different_groups)
    assert delta_pvalue(wide.delta_state, 999, 0, "x") == delta_pvalue(narrow.delta_state, 999, 0, "x")


def test_virtual_groups_are_the_loops_numbers():
    filters = np.random.default_rng(9).normal(size=(1, 12, 3, 9))
    part = measure_layer(filters.copy(), virtual_groups=3).virtual
    cut = filters.reshape(3, 4, 3, 9)
    within = np.mean(np.square(list(reference.pairs(cut, "pearson", True).values())))
    across = np.mean(np.square(list(reference.pairs(cut, "pearson", False).values())))
    assert (part.within_mean_r2, part.across_mean_r2) == about((within, across))
    assert part.contrast == pytest.approx(within - across)
    assert (part.kernels.same_group, part.kernels.different_groups) == about(reference.kernel_means(cut))
    assert 0 < part.contrast_pvalue <= 1
    assert 0 < part.kernels.pvalue <= 1
    assert measure_layer(filters.copy(), virtual_groups=5).virtual is None
