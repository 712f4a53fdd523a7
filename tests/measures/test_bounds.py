"""What measuring may cost: memory beside the weight, time, and that cutting the work into parts shows in no number."""

import tracemalloc
from itertools import combinations

import numpy as np
import pytest
from measures import reference

from gcx import limits
from gcx.measures import correlation_blocks, delta_pvalue, measure_layer
from gcx.measures.kernels import group_matrix, kernel_moments, measure_kernels

MIB = 2**20


def peak(work):
    tracemalloc.start()
    work()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def test_memory_of_many_groups_does_not_grow_with_their_square():
    filters = np.random.default_rng(0).normal(size=(8000, 1, 1, 9))  # 8000^2 numbers would be 488 MiB
    assert peak(lambda: measure_layer(filters, picture=True)) < 120 * MIB
    assert peak(lambda: sum(len(block) for block in correlation_blocks(filters, "pearson"))) < 100 * MIB


def test_a_large_weight_is_not_copied():
    filters = np.random.default_rng(1).normal(size=(1, 2048, 1024, 9))  # 144 MiB
    assert peak(lambda: measure_layer(filters, overwrite=True)) < 130 * MIB


@pytest.mark.parametrize("shape", [(1, 9, 4, 9), (3, 4, 3, 4), (12, 1, 1, 9), (6, 2, 2, 9), (2, 3, 5, 1)])
def test_the_caller_keeps_his_array_and_overwriting_changes_no_number(shape):
    filters = np.random.default_rng(3).normal(size=shape) * 2.0**-7
    before = filters.copy()
    kept = measure_layer(filters, picture=True)
    assert np.array_equal(filters, before)
    given = measure_layer(filters, picture=True, overwrite=True)
    assert (given.within, given.across, given.kernels, given.kernel_statistics) == (
        kept.within,
        kept.across,
        kept.kernels,
        kept.kernel_statistics,
    )
    assert np.array_equal(given.picture.r, kept.picture.r, equal_nan=True)


def numbers(record):
    """All numbers of a record, flat; -1 for None."""
    fields = [getattr(record, name) for name in record.__dataclass_fields__]
    flat = [x for field in fields for x in (field if isinstance(field, tuple) else (field,))]
    return [-1.0 if x is None else x for x in flat if x is None or isinstance(x, int | float)]


@pytest.mark.parametrize("shape", [(1, 9, 4, 9), (3, 5, 3, 4), (12, 1, 1, 9), (6, 2, 2, 9), (2, 3, 5, 1)])
@pytest.mark.parametrize("chunk", [1, 60, 500])
def test_parts_do_not_show(monkeypatch, shape, chunk):
    filters = np.random.default_rng(4).normal(size=shape)
    filters[0, -1] = 0.0
    filters[-1, 0, 0] *= 1e-8
    options = {"picture": True, "virtual_groups": 3}
    whole = measure_layer(filters, **options)
    matrix = np.concatenate(list(correlation_blocks(filters, "cosine")))
    for module in ("moments", "kernels", "pairs", "partition", "picture", "statistics"):
        monkeypatch.setattr(f"gcx.measures.{module}.CHUNK", chunk)
    parts = measure_layer(filters, **options)
    for name in ("within", "across", "kernels", "kernel_statistics", "virtual"):
        one, other = getattr(whole, name), getattr(parts, name)
        assert (one is None) == (other is None)
        if one is not None:
            assert numbers(other) == pytest.approx(numbers(one), rel=1e-9, abs=1e-12), name
    assert parts.picture.r == pytest.approx(whole.picture.r, abs=1e-6, nan_ok=True)
    assert np.concatenate(list(correlation_blocks(filters, "cosine"))) == pytest.approx(matrix, abs=1e-12, nan_ok=True)
    if whole.delta_state is not None:
        assert delta_pvalue(parts.delta_state, 99, 0, "x") == delta_pvalue(whole.delta_state, 99, 0, "x")


@pytest.mark.parametrize("dead", [0, 1, 3])
def test_delta_of_any_assignment_equals_loops(dead):
    """Groups of equal and unequal size take different routes."""
    filters = np.random.default_rng(5).normal(size=(3, 4, 2, 9))
    filters.reshape(12, 2, 9)[:dead] = 0.0
    state = measure_kernels(kernel_moments(filters)[0])[1]
    n = 12 - dead
    orders = np.stack([np.random.default_rng(seed).permutation(n) for seed in range(5)])
    alive = filters.reshape(12, 2, 9)[dead:]
    cos2 = {pair: reference.kernel_cos2(alive[pair[0]], alive[pair[1]]) for pair in combinations(range(n), 2)}
    label = np.repeat(np.arange(len(state.sizes)), state.sizes)
    for order, found in zip(orders, state.deltas(orders), strict=True):
        part = np.empty(n, dtype=int)
        part[order] = label
        same = [value for (i, j), value in cos2.items() if part[i] == part[j]]
        different = [value for (i, j), value in cos2.items() if part[i] != part[j]]
        assert found == pytest.approx(np.mean(same) - np.mean(different), abs=1e-12)


def test_matrix_of_more_groups_than_pixels_is_the_mean_of_its_tiles(monkeypatch):
    filters = np.random.default_rng(6).normal(size=(11, 3, 2, 9))
    filters[4] = 0.0
    filters[7, 1:] = 0.0
    moments = kernel_moments(filters)[0]
    full = group_matrix(moments)
    assert np.isnan(full[4]).all()
    assert np.isnan(full[7, 7])
    monkeypatch.setattr(limits, "PICTURE", 4)
    small = group_matrix(moments)
    assert small.shape == (4, 4)
    for a in range(4):
        for b in range(4):
            assert small[a, b] == pytest.approx(np.nanmean(full[3 * a : 3 * a + 3, 3 * b : 3 * b + 3]))


def test_pictures_show_where_there_is_no_pair(monkeypatch):
    monkeypatch.setattr(limits, "PICTURE", 4)
    filters = np.random.default_rng(7).normal(size=(1, 7, 2, 9))
    filters[0, 2:4] = 0.0
    r = measure_layer(filters, picture=True).picture.r
    assert np.isnan(r[1]).all()  # filters 2 and 3
    assert np.isnan(r[3, 3])  # filter 6 with itself
    assert np.isfinite(r[0, [0, 2, 3]]).all()


def test_filters_that_share_nothing_still_name_a_largest_pair():
    filters = np.zeros((2, 3, 2, 4))
    for i in range(3):
        filters[1, i, :, i] = 1.0
    filters[0, 0, 0, 0] = 1.0
    within = measure_layer(filters, measure="cosine").within
    assert (within.n_pairs, within.max_abs_r, within.max_abs_pair) == (3, 0.0, (3, 4))
    assert within.mean_r2 == within.mean_abs_r == within.mean_r == 0.0


def test_more_filters_than_one_matrix_may_hold(monkeypatch):
    """Beyond limits.OVERLAPS the tests that need all pairs at once are null, with a note; the means are not."""
    filters = np.random.default_rng(8).normal(size=(1, 12, 2, 81))
    whole = measure_layer(filters, virtual_groups=3)
    monkeypatch.setattr(limits, "OVERLAPS", 11)
    monkeypatch.setattr("gcx.measures.kernels.MOMENTS", 0)
    found = measure_layer(filters, virtual_groups=3)
    assert found.kernels is None
    assert found.virtual.contrast == pytest.approx(whole.virtual.contrast)
    assert found.virtual.contrast_pvalue is None
    assert any("contrast_pvalue is null" in note for note in found.notes)
    assert any(note == "kernels is null: too many kernels of 81 numbers" for note in found.notes)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 3, 2, 1), (4, 1, 1, 9), (1, 1, 2, 9), (2, 2, 1, 25)])
def test_what_is_null_has_its_reason(shape):
    check_reasons(measure_layer(np.random.default_rng(9).normal(size=shape)))
    check_reasons(measure_layer(np.zeros(shape)))


def check_reasons(found):
    notes = " ".join(found.notes)
    statistics = found.kernel_statistics
    for value, word in (
        (found.within, "within"),
        (found.across, "across"),
        (found.kernels, "kernels"),
        (statistics.variance_entropy, "variance_entropy"),
        (statistics.evr1, "evr1"),
        (statistics.sparsity, "sparsity"),
    ):
        assert value is not None or word in notes, word
    if found.kernels is not None and found.kernels.delta is None:
        assert "kernels.delta" in notes
