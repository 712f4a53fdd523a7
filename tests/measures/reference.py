"""Every number of a layer by plain loops over pairs, written from the definitions alone: slow, and independent.

`filters` is (groups, filters_per_group, c, k) throughout, as the measures take it.
"""

from itertools import combinations, permutations
from math import isnan, sqrt

import numpy as np
from scipy import stats


def channels(filters):
    """(group, filter as (c, k) matrix) of every output channel, in order."""
    return [(g, filters[g, i]) for g in range(filters.shape[0]) for i in range(filters.shape[1])]


def is_degenerate(filters):
    largest = [float(np.abs(w).max()) for _, w in channels(filters)]
    median = float(np.median(largest))
    return [
        size == 0 or float(np.std(w / size)) <= 1e-12 or size <= 1e-12 * median
        for (_, w), size in zip(channels(filters), largest, strict=True)
    ]


def r_of(a, b, measure):
    a, b = a.ravel() / np.abs(a).max(), b.ravel() / np.abs(b).max()
    if measure == "pearson":
        a, b = a - sum(a) / len(a), b - sum(b) / len(b)
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return max(-1.0, min(1.0, dot / sqrt(sum(x * x for x in a)) / sqrt(sum(y * y for y in b))))


def pairs(filters, measure, same):
    """{(i, j): r} over live pairs of the same group, or of different groups."""
    dead, all_channels = is_degenerate(filters), channels(filters)
    return {
        (i, j): r_of(all_channels[i][1], all_channels[j][1], measure)
        for i, j in combinations(range(len(all_channels)), 2)
        if not dead[i] and not dead[j] and (all_channels[i][0] == all_channels[j][0]) == same
    }


def standardised(w, measure):
    w = w / np.abs(w).max()
    if measure == "pearson":
        w = w - w.mean()
    return w / sqrt((w**2).sum())


def permuted_r2(a, b, measure):
    """E r^2 with the channels of b in random order: the mean over all c! orders."""
    a, b = standardised(a, measure), standardised(b, measure)
    orders = list(permutations(range(len(b))))
    return sum(float((a * b[list(order)]).sum()) ** 2 for order in orders) / len(orders)


def mean_permuted_r2(filters, measure, same):
    all_channels = channels(filters)
    values = [permuted_r2(all_channels[i][1], all_channels[j][1], measure) for i, j in pairs(filters, measure, same)]
    return sum(values) / len(values)


def jackknife_se(filters, measure):
    """By really deleting each live filter; None if a deletion leaves no pair."""
    r2 = {pair: r * r for pair, r in pairs(filters, measure, True).items()}
    alive = [i for i, dead in enumerate(is_degenerate(filters)) if not dead]
    thetas = []
    for gone in alive:
        left = [value for pair, value in r2.items() if gone not in pair]
        if not left:
            return None
        thetas.append(sum(left) / len(left))
    mean = sum(thetas) / len(thetas)
    return sqrt((len(thetas) - 1) / len(thetas) * sum((t - mean) ** 2 for t in thetas))


def ci95(filters, measure):
    se = jackknife_se(filters, measure)
    values = [r * r for r in pairs(filters, measure, True).values()]
    if se is None:
        return None
    half = stats.t.ppf(0.975, sum(not dead for dead in is_degenerate(filters)) - 1) * se
    return sum(values) / len(values) - half, sum(values) / len(values) + half


def live_kernels(w):
    norms = [sqrt(float(((kernel / (np.abs(w).max() or 1.0)) ** 2).sum())) for kernel in w]
    kept = [kernel / np.abs(kernel).max() for kernel, norm in zip(w, norms, strict=True) if norm > 1e-6 * max(norms)]
    return [kernel / sqrt(float((kernel**2).sum())) for kernel in kept]


def kernel_cos2(a, b):
    values = [float(u @ v) ** 2 for u in live_kernels(a) for v in live_kernels(b)]
    return sum(values) / len(values) if values else float("nan")


def kernel_means(filters):
    """(same_group, different_groups), None where there is no pair."""
    all_channels = channels(filters)
    same, different = [], []
    for (g, a), (h, b) in combinations(all_channels, 2):
        value = kernel_cos2(a, b)
        if not isnan(value):
            (same if g == h else different).append(value)
    return tuple(sum(values) / len(values) if values else None for values in (same, different))


def dead_kernels(filters):
    return sum(len(w) - len(live_kernels(w)) for _, w in channels(filters))


def first_share(filters):
    shares = []
    for _, w in channels(filters):
        if np.abs(w).max() > 0:
            s = np.linalg.svd(w / np.abs(w).max(), compute_uv=False)
            shares.append(float(s[0] ** 2 / (s**2).sum()))
    return sum(shares) / len(shares)


def entropy(filters):
    kernels = filters.reshape(-1, filters.shape[-1])
    s2 = np.linalg.svd(kernels - kernels.mean(axis=0), compute_uv=False) ** 2
    shares = s2 / s2.sum()
    return -sum(float(p) * np.log10(p) for p in shares if p > 0)


def sparse_share(filters):
    kernels = filters.reshape(-1, filters.shape[-1])
    return float(np.mean([np.abs(kernel).max() < 0.01 * np.abs(filters).max() for kernel in kernels]))
