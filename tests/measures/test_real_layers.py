"""Layers of real checkpoints, pair by pair: dead filters, duplicates and tiny kernels, as training leaves them."""

import json
from functools import cache
from itertools import combinations
from math import prod

import numpy as np
import pytest
from measures import reference
from scipy import stats

from gcx.measures import measure_layer

FILES = [
    "carn_m.pth",
    "espnetv2_segmentation_s_1.0.pth",
    "version-RFB-320.pth",
    "mb05_120x120.pth",
    "2.7_80x80_MiniFASNetV2.pth",
    "resnet20-12fca82f.th",
    "resnet56-4bfd9763.th",
]
CLOSE = {"rel": 1e-9, "abs": 1e-12}


@cache
def weights(path):
    """{layer: weight} as torch itself reads them."""
    torch = pytest.importorskip("torch")
    state = torch.load(path, map_location="cpu", weights_only=True)
    state = state.get("state_dict", state)
    return {key.removeprefix("module."): value.double().numpy() for key, value in state.items() if value.ndim == 4}


def layers(data, file):
    """The smallest layer of each kind (dense, grouped, depthwise; pointwise or not) of one file."""
    known = json.loads((data / "checkpoints" / "true-groups.json").read_text())[file]
    tensors, smallest = weights(data / "checkpoints" / file), {}
    for name, layer in known.items():
        shape, groups = layer["weight_shape"], layer["groups"]
        if f"{name}.weight" not in tensors or not 8 <= shape[0] <= 64 or layer["transposed"]:
            continue
        kind = (min(groups, 2) + (groups == layer["in_channels"]), prod(shape[2:]) == 1)
        if kind not in smallest or prod(shape) < smallest[kind][1].size:
            filters = tensors[f"{name}.weight"].reshape(groups, shape[0] // groups, shape[1], -1)
            smallest[kind] = (name, filters)
    return smallest.values()


def permuted_r2(a, b):
    """Hoeffding's mean over channel orders for one pair of filters (c, k), both standardised."""
    a, b = reference.standardised(a, "pearson"), reference.standardised(b, "pearson")
    c = len(a)
    centred_a, centred_b = a - a.mean(axis=0), b - b.mean(axis=0)
    products = (centred_a @ centred_b.T) ** 2
    return float(a.sum(axis=0) @ b.sum(axis=0) / c) ** 2 + float(products.sum()) / (c - 1)


def correlations(filters, same):
    """{(i, j): r} by scipy, over live pairs of one group or of different groups."""
    dead, flat = reference.is_degenerate(filters), [w for _, w in reference.channels(filters)]
    n = filters.shape[1]
    return {
        (i, j): stats.pearsonr(flat[i].ravel(), flat[j].ravel()).statistic
        for i, j in combinations(range(len(flat)), 2)
        if not dead[i] and not dead[j] and (i // n == j // n) == same
    }


def kernel_mean(filters, same):
    """Mean squared cosine of all kernel pairs of two filters, over pairs of one group or of different groups."""
    kernels = [np.array(reference.live_kernels(w)) for _, w in reference.channels(filters)]
    n = filters.shape[1]
    values = [
        float(np.mean((kernels[i] @ kernels[j].T) ** 2))
        for i, j in combinations(range(len(kernels)), 2)
        if len(kernels[i]) and len(kernels[j]) and (i // n == j // n) == same
    ]
    return np.mean(values) if values else None


@pytest.mark.parametrize("file", FILES)
def test_layers_equal_loops_over_pairs(data, file):
    seen = 0
    for name, filters in layers(data, file):
        found = measure_layer(filters)
        flat = [w for _, w in reference.channels(filters)]
        for record, same in ((found.within, True), (found.across, False)):
            if record is None:
                continue
            r = correlations(filters, same)
            values = np.array(list(r.values()))
            assert record.n_pairs == len(values), name
            assert record.mean_r2 == pytest.approx(np.mean(values**2), **CLOSE), name
            assert record.mean_abs_r == pytest.approx(np.mean(np.abs(values)), **CLOSE), name
            assert record.max_abs_r == pytest.approx(np.abs(values).max(), **CLOSE), name
            if filters.shape[2] > 1:
                expected = np.mean([permuted_r2(flat[i], flat[j]) for i, j in r])
                assert record.null_permuted_r2 == pytest.approx(expected, **CLOSE), name
            if same and filters.size < 3000:
                expected = reference.ci95(filters, "pearson")
                assert record.ci95 == (None if expected is None else pytest.approx(expected, rel=1e-6)), name
            seen += 1
        if found.kernels is not None:
            for value, same in ((found.kernels.same_group, True), (found.kernels.different_groups, False)):
                mean = kernel_mean(filters, same)
                assert (value is None) if mean is None else (value == pytest.approx(mean, **CLOSE)), name
            assert found.degenerate_kernels == reference.dead_kernels(filters), name
        assert found.degenerate_filters == sum(reference.is_degenerate(filters)), name
    assert seen >= 1


def test_orthogonality_as_published_is_one_minus_mean_abs_cosine(data):
    """Gavrikov and Keuper's orthogonality of ResNet-56 layers, computed elsewhere."""
    tensors = weights(data / "checkpoints" / "resnet56-4bfd9763.th")
    published = {"conv1": 0.7670, "layer1.0.conv1": 0.8779, "layer3.0.conv2": 0.9472, "layer3.8.conv2": 0.8187}
    for name, value in published.items():
        weight = tensors[f"{name}.weight"]
        found = measure_layer(weight.reshape(1, *weight.shape[:2], -1), measure="cosine").within
        # Theirs also counts the pairs of a filter with a filter of zeros, as 0.
        share = found.n_pairs / (len(weight) * (len(weight) - 1) / 2)
        assert 1 - share * found.mean_abs_r == pytest.approx(value, abs=6e-5), name
