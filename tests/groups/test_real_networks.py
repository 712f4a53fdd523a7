"""Architectures and checkpoints made by others, whose groups are known; skipped where they are not there."""

import json

import pytest
from benchmarks.bench_groups import Score, real_checkpoints, score_shapes


@pytest.mark.parametrize("pattern", ["torchvision-*", "timm-*[!h].json.gz", "timm-*-1ch*"])
def test_a_sample_of_architectures(data, pattern):
    files = sorted((data / "shapes").glob(pattern))
    if not files:
        pytest.skip(f"no shapes like {pattern} there")
    for score in score_shapes(files[0], every=20).values():
        assert score.right >= 0.99 * score.layers
        assert score.grouped_right >= 0.98 * score.grouped
        assert score.called["certain"] >= 0.9 * score.layers
        assert score.wrong["certain"] <= 0.002 * score.called["certain"]


def test_real_checkpoints(data):
    folder = data / "checkpoints"
    if not (folder / "true-groups.json").is_file():
        pytest.skip("no real checkpoints there")
    score = Score()
    for _, shapes, true in real_checkpoints(folder):
        score.add(shapes, true)
    assert score.layers == score.called["certain"] + score.called["likely"] + score.called["ambiguous"]
    assert score.right >= 0.995 * score.layers
    assert score.grouped_right >= 0.99 * score.grouped
    assert score.wrong["certain"] == 0


def test_real_shapes_agree_with_the_weights_that_were_seen(data):
    folder = data / "checkpoints"
    if not (folder / "true-groups.json").is_file():
        pytest.skip("no real checkpoints there")
    known = json.loads((folder / "true-groups.json").read_text())
    for name, shapes, true in real_checkpoints(folder):
        for layer in true:
            recorded = known[name].get(layer) or known[name][f"module.{layer}"]
            assert list(shapes[f"{layer}.weight"]) == recorded["weight_shape"]
