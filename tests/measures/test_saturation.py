"""Colour of first-layer filters: against loops and scipy, invariances, a planted split, and a level null."""

import numpy as np
import pytest
from scipy import stats

import gcx
from gcx.measures import measure_layer
from gcx.measures.saturation import measure_saturation, saturation


def test_saturation_is_the_energy_off_the_grey_axis():
    filters = np.random.default_rng(0).normal(size=(20, 3, 25))
    for found, one in zip(saturation(filters), filters, strict=True):
        grey = np.repeat(one.mean(axis=0, keepdims=True), 3, axis=0)
        assert found == pytest.approx(((one - grey) ** 2).sum() / (one**2).sum())


@pytest.mark.parametrize("seed", range(5))
def test_it_does_not_move_with_scale_sign_or_order_of_the_colours(seed):
    rng = np.random.default_rng(seed)
    filters = rng.normal(size=(12, 3, 9))
    changed = filters[:, rng.permutation(3)] * rng.normal(size=(12, 1, 1))
    assert saturation(changed) == pytest.approx(saturation(filters), abs=1e-12)


def test_random_filters_are_two_thirds_colour_and_filters_for_grey_images_none():
    rng = np.random.default_rng(1)
    assert saturation(rng.normal(size=(4000, 3, 9))).mean() == pytest.approx(2 / 3, abs=0.005)
    assert saturation(np.repeat(rng.normal(size=(5, 1, 9)), 3, axis=1)).max() < 1e-12


def test_between_is_the_share_of_the_analysis_of_variance():
    rng = np.random.default_rng(2)
    shares, part = rng.random(24), np.repeat([0, 1, 2], [6, 8, 10])
    found = measure_saturation(shares, part, 999, [0])
    groups = [shares[part == one] for one in range(3)]
    within = sum(((group - group.mean()) ** 2).sum() for group in groups)
    assert found.between == pytest.approx(1 - within / ((shares - shares.mean()) ** 2).sum())
    assert (found.least, found.most) == (min(g.mean() for g in groups), max(g.mean() for g in groups))
    permuted = [measure_saturation(rng.permutation(shares), part, 99, [0]).between for _ in range(4000)]
    assert np.mean(permuted) == pytest.approx(found.null_between, abs=0.005)


def test_the_pvalue_is_that_of_all_permutations():
    rng = np.random.default_rng(3)
    shares = np.concatenate([rng.normal(0.3, 0.1, 5), rng.normal(0.45, 0.1, 5)])
    found = measure_saturation(shares, np.repeat([0, 1], 5), 99_999, [0])
    exact = stats.permutation_test(
        (shares[:5], shares[5:]), lambda a, b: abs(a.mean() - b.mean()), n_resamples=np.inf, alternative="greater"
    )
    assert found.pvalue == pytest.approx(exact.pvalue, abs=0.005)


def test_nothing_to_compare_is_none():
    assert measure_saturation(np.full(8, 0.5), np.repeat([0, 1], 4), 99, [0]) is None
    assert measure_saturation(np.arange(4.0), np.zeros(4, dtype=int), 99, [0]) is None


def tower_net(rng, split):
    """A stem of 16 filters that a layer in two groups reads; `split` is how grey the first half is."""
    stem = rng.normal(size=(16, 3, 5, 5))
    stem[:8] = (1 - split) * stem[:8] + split * stem[:8].mean(axis=1, keepdims=True)
    return {"stem.weight": stem, "body.weight": rng.normal(size=(16, 8, 3, 3))}


def test_towers_that_share_out_colour_are_found_and_others_are_not():
    rng = np.random.default_rng(4)
    planted = gcx.correlate(tower_net(rng, 0.9), groups={"body": 2}, induced=True).models[0].measured[0]
    assert planted.induced_groups.consumer == "body"
    found = planted.induced_groups.saturation
    assert (found.pvalue, found.between > 0.8, found.least < 0.2) == (0.001, True, True)
    pvalues = []
    for _ in range(200):
        layer = gcx.correlate(tower_net(rng, 0), groups={"body": 2}, virtual_groups=2).models[0].measured[0]
        pvalues.append(layer.virtual_groups.saturation.pvalue)
    assert stats.kstest(pvalues, "uniform").pvalue > 0.01


def test_layers_that_read_other_than_three_channels_have_no_colour():
    rng = np.random.default_rng(5)
    assert measure_layer(rng.normal(size=(1, 8, 4, 9)), virtual_groups=2).virtual.saturation is None
    assert measure_layer(rng.normal(size=(2, 4, 3, 9)), virtual_groups=2).virtual is None
    dead = rng.normal(size=(1, 8, 3, 9))
    dead[0, 2] = 0
    assert measure_layer(dead, virtual_groups=2).virtual.saturation.null_between == pytest.approx(1 / 6)
