"""What the measures prepare for pictures: order of filters, histograms of all pairs and of a part of them."""

from __future__ import annotations

import numpy as np
import pytest

from gcx import limits
from gcx.measures import measure_layer
from gcx.measures.degenerate import degenerate_filters
from gcx.measures.filters import filter_pairs
from gcx.measures.picture import clustered_order, null_density


def shuffled_templates(groups: int, n: int, seed: int = 0) -> np.ndarray:
    """Filters of three templates each group, in any order and with any sign, and one degenerate filter."""
    rng = np.random.default_rng(seed)
    filters = np.empty((groups, n, 4, 9))
    for group in range(groups):
        templates = rng.normal(size=(3, 4, 9))
        which = rng.permutation(np.arange(n) % 3)
        filters[group] = templates[which] * rng.choice([-1, 1], n)[:, None, None] + 0.2 * rng.normal(size=(n, 4, 9))
    filters[0, 1] = 0
    return filters


def test_alike_filters_stand_together_and_groups_stay_apart():
    filters = shuffled_templates(3, 12)
    pairs = filter_pairs(filters.copy(), degenerate_filters(filters), "pearson")
    order = clustered_order(pairs)
    assert sorted(order) == list(range(36))
    assert (order // 12 == np.repeat([0, 1, 2], 12)).all()
    assert order[11] == 1  # the degenerate one, last in its group
    r = np.abs(np.corrcoef(filters.reshape(36, -1)[order[12:24]]))
    alike = r > 0.5
    assert np.count_nonzero(np.diff(alike.astype(int), axis=1)) <= 2 * 12  # each row one run, so three blocks
    plain = np.abs(np.corrcoef(filters.reshape(36, -1)[12:24])) > 0.5
    assert np.count_nonzero(np.diff(plain.astype(int), axis=1)) > 2 * 12


def test_the_order_is_that_of_average_linkage():
    from scipy.cluster.hierarchy import average, leaves_list
    from scipy.spatial.distance import squareform

    filters = np.random.default_rng(3).normal(size=(1, 9, 3, 9))
    pairs = filter_pairs(filters.copy(), degenerate_filters(filters), "pearson")
    distance = 1 - np.abs(np.corrcoef(filters.reshape(9, -1)))
    expected = leaves_list(average(squareform(distance, checks=False)))
    assert clustered_order(pairs).tolist() == expected.tolist()


def test_a_clustered_picture_is_the_plain_one_in_another_order():
    filters = shuffled_templates(2, 12)
    plain = measure_layer(filters, picture=True)
    clustered = measure_layer(filters, picture=True, cluster=True)
    assert (plain.picture.clustered, clustered.picture.clustered) == (False, True)
    assert clustered.within == plain.within
    both = [np.sort(made.picture.r[np.isfinite(made.picture.r)]) for made in (plain, clustered)]
    assert both[0] == pytest.approx(both[1], abs=1e-6)
    assert (clustered.picture.within_counts == plain.picture.within_counts).all()


def test_depthwise_layers_and_groups_too_large_keep_their_order(monkeypatch):
    rng = np.random.default_rng(0)
    assert not measure_layer(rng.normal(size=(30, 1, 1, 9)), picture=True, cluster=True).picture.clustered
    monkeypatch.setattr(limits, "OVERLAPS", 16)
    assert not measure_layer(rng.normal(size=(1, 17, 2, 9)), picture=True, cluster=True).picture.clustered


def test_a_picture_counts_every_pair():
    filters = shuffled_templates(2, 12)
    found = measure_layer(filters, picture=True, distribution=True)
    assert found.picture.within_counts.sum() == found.within.n_pairs
    assert found.picture.across_counts.sum() == found.across.n_pairs
    assert (found.distribution.within_counts == found.picture.within_counts).all()


def test_a_distribution_alone_counts_all_pairs_of_small_layers_and_a_fair_part_of_large_ones():
    small = measure_layer(shuffled_templates(2, 12), distribution=True)
    assert small.picture is None
    assert small.distribution.within_counts.sum() == small.within.n_pairs
    large = np.random.default_rng(0).normal(size=(1, 1500, 2, 9))
    part, whole = measure_layer(large, distribution=True), measure_layer(large, picture=True)
    counted = part.distribution.within_counts.sum()
    assert 0.02 * whole.within.n_pairs < counted < 0.5 * whole.within.n_pairs
    shares = [c.cumsum() / c.sum() for c in (part.distribution.within_counts, whole.picture.within_counts)]
    assert np.abs(shares[0] - shares[1]).max() < 0.01
    assert part.within == whole.within


@pytest.mark.parametrize("dimension", [2, 3, 8, 143, 4607])
def test_the_density_of_chance_is_the_beta_law(dimension):
    from scipy.stats import beta

    edges = np.linspace(-1, 1, 402)
    law = beta((dimension - 1) / 2, (dimension - 1) / 2, loc=-1, scale=2)
    assert null_density(edges, dimension) == pytest.approx(np.diff(law.cdf(edges)), abs=1e-12)
