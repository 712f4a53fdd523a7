"""Values computed elsewhere, on a real checkpoint of others (ResNet-56, CIFAR-10)."""

import numpy as np
import pytest

import gcx

ROWS = {  # mean_r2, 1/D, permuted null
    "conv1": (0.0866, 0.0385, 0.0847),
    "layer1.0.conv1": (0.02475, 0.0070, 0.0104),
    "layer2.3.conv1": (0.0131, 0.0035, 0.0047),
    "layer3.0.conv2": (0.0045, 0.0017, 0.0025),
    "layer3.8.conv2": (0.0506, 0.0017, 0.0109),
}
STATISTICS = {  # sparsity, variance entropy
    "conv1": (0.0625, 0.6750),
    "layer1.0.conv1": (0.2930, 0.7905),
    "layer3.0.conv2": (0.1211, 0.8538),
    "layer3.8.conv2": (0.0010, 0.2817),
}


@pytest.fixture(scope="module")
def resnet56(data):
    report = gcx.correlate(str(data / "checkpoints" / "resnet56-4bfd9763.th"))
    return {layer.name: layer for layer in report.models[0].measured}


@pytest.mark.parametrize("name", ROWS)
def test_mean_r2_and_its_nulls(resnet56, name):
    within = resnet56[name].within
    found = (within.mean_r2, within.null_isotropic_r2, within.null_permuted_r2)
    assert found == pytest.approx(ROWS[name], abs=6e-5)


@pytest.mark.parametrize("name", STATISTICS)
def test_sparsity_and_variance_entropy(resnet56, name):
    statistics = resnet56[name].kernel_statistics
    assert (statistics.sparsity, statistics.variance_entropy) == pytest.approx(STATISTICS[name], abs=6e-5)


@pytest.mark.parametrize("measure", ["pearson", "cosine"])
def test_cosine_row(data, measure):
    report = gcx.correlate(str(data / "checkpoints" / "resnet56-4bfd9763.th"), measure=measure, include="conv1")
    expected = {"pearson": 0.0866, "cosine": 0.0859}[measure]
    assert report.models[0].measured[0].within.mean_r2 == pytest.approx(expected, abs=6e-5)


def test_zero_padding_makes_pearson_nonzero_between_disjoint_filters():
    """Grouped filters written into a dense block-diagonal weight: r = -m_i m_j / sqrt((1-m_i^2)(1-m_j^2)), not 0."""
    a, b = np.zeros(36), np.zeros(36)
    rng = np.random.default_rng(0)
    a[:18], b[18:] = rng.normal(size=18) + 0.5, rng.normal(size=18) + 0.5
    weight = np.stack([a, b]).reshape(2, 4, 3, 3)
    m = [np.sqrt(36) * w.mean() / np.linalg.norm(w) for w in (a, b)]
    expected = -m[0] * m[1] / np.sqrt((1 - m[0] ** 2) * (1 - m[1] ** 2))
    assert gcx.correlate({"c.weight": weight}).models[0].measured[0].within.mean_r == pytest.approx(expected, rel=1e-9)
    cosine = gcx.correlate({"c.weight": weight}, measure="cosine").models[0].measured[0].within
    assert cosine.mean_r == 0.0
