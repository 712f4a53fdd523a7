"""Which network symmetries leave which number unchanged: yes and *no*, over seeds (the invariance table)."""

import numpy as np
import pytest

from gcx.measures import measure_layer
from gcx.measures.kernels import group_matrix, kernel_moments

GROUPS, N, C, K = 3, 5, 4, 9


def permute_filters(rng, w):
    """P: filters of a group in another order."""
    return np.stack([group[rng.permutation(N)] for group in w])


def permute_channels(rng, w):
    """Q: input channels in another order, in each group its own."""
    return np.stack([group[:, rng.permutation(C)] for group in w])


def permute_groups(rng, w):
    """Gamma: whole groups in another order."""
    return w[rng.permutation(GROUPS)]


def scale_filters(rng, w):
    """S: positive filter scale."""
    return w * np.exp(rng.normal(size=(GROUPS, N, 1, 1)))


def flip_filters(rng, w):
    """sigma: filter sign."""
    return w * rng.choice([-1.0, 1.0], size=(GROUPS, N, 1, 1))


def scale_inputs(rng, w):
    """E: positive input-channel scale."""
    return w * np.exp(rng.normal(size=(GROUPS, 1, C, 1)))


ACTIONS = {
    "P": permute_filters,
    "Q": permute_channels,
    "Gamma": permute_groups,
    "S": scale_filters,
    "sigma": flip_filters,
    "E": scale_inputs,
}


def all_matrix_entries(w):
    return np.sort(group_matrix(kernel_moments(w)[0]).ravel())


MEASURES = {
    "within mean r^2": (lambda w: measure_layer(w).within.mean_r2, "P Q Gamma S sigma"),
    "within signed r": (lambda w: measure_layer(w).within.mean_r, "P Q Gamma S"),
    "within permuted null": (lambda w: measure_layer(w).within.null_permuted_r2, "P Q Gamma S sigma"),
    "within standard error": (lambda w: measure_layer(w).within.se, "P Q Gamma S sigma"),
    "across slot r^2": (lambda w: measure_layer(w).across.mean_r2, "P Gamma S sigma"),
    "across permuted null": (lambda w: measure_layer(w).across.null_permuted_r2, "P Q Gamma S sigma"),
    "kernels, same group": (lambda w: measure_layer(w).kernels.same_group, "P Q Gamma S sigma E"),
    "kernels, different groups": (lambda w: measure_layer(w).kernels.different_groups, "P Q Gamma S sigma E"),
    "kernels, delta": (lambda w: measure_layer(w).kernels.delta, "P Q Gamma S sigma E"),
    "kernels, groups x groups": (all_matrix_entries, "P Q Gamma S sigma E"),
    "evr1": (lambda w: measure_layer(w).kernel_statistics.evr1, "P Q Gamma S sigma"),
}
"""Measure and the symmetries that must leave it alone; all the others must not."""


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("action", ACTIONS)
def test_symmetry(measure, action):
    number, invariant_under = MEASURES[measure]
    invariant = action in invariant_under.split()
    moved = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        w = rng.normal(size=(GROUPS, N, C, K)) + rng.normal(size=(GROUPS, 1, 1, K)) + rng.normal(size=(1, 1, C, K))
        before, after = number(w.copy()), number(ACTIONS[action](rng, w))
        if invariant:
            assert after == pytest.approx(before, rel=1e-10, abs=1e-12)
        else:
            moved += not np.allclose(after, before, rtol=1e-6)
    if not invariant:
        # The delta of a kernel mean may stand still by chance, the numbers here do not.
        assert moved >= 4
