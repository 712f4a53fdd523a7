"""gcx filters: the weights of one layer, by name, against the arrays they came from."""

from __future__ import annotations

import numpy as np
import pytest

from gcx.errors import CheckpointError, UsageError
from gcx.filters import filter_bank
from gcx.settings import Settings

RNG = np.random.default_rng(0)
NET = {
    "stem.weight": RNG.normal(size=(8, 3, 5, 5)),
    "grouped.weight": RNG.normal(size=(16, 4, 3, 3)),
    "block.conv1.weight": RNG.normal(size=(4, 16, 1, 1)),
    "block.conv2.weight": RNG.normal(size=(4, 4, 3, 3)),
}
TWO = Settings(groups=(("grouped", 2),))


def test_kernels_are_the_weights_over_the_largest():
    bank = filter_bank(NET, "grouped", TWO)
    weight = NET["grouped.weight"]
    assert bank.kernels == pytest.approx((weight / np.abs(weight).max()).reshape(2, 8, 4, 3, 3))
    assert (bank.groups, bank.groups_from, bank.reader, bank.color_shares) == (2, "declared", None, ())


def test_a_glob_that_matches_one_layer_will_do():
    assert filter_bank(NET, "gr*", TWO).name == "grouped"
    with pytest.raises(UsageError, match=r"'block\.\*' matches 2 layers: block\.conv1, block\.conv2"):
        filter_bank(NET, "block.*", TWO)
    with pytest.raises(UsageError, match="did you mean 'stem'"):
        filter_bank(NET, "stam", TWO)
    with pytest.raises(UsageError, match=r"--groups 'x\*=2' matches no layer"):
        filter_bank(NET, "stem", Settings(groups=(("x*", 2),)))


def test_the_groups_of_the_reading_layer_arrange_the_one_it_reads():
    plain = filter_bank(NET, "stem", TWO)
    assert plain.kernels.shape == (1, 8, 3, 5, 5)
    assert "grouped reads it in 2 groups: --induced arranges it by them" in plain.notes
    arranged = filter_bank(NET, "stem", Settings(groups=TWO.groups, induced=True))
    assert arranged.kernels.shape == (2, 4, 3, 5, 5)
    assert arranged.reader == "grouped"


def test_a_grey_group_has_no_share_of_colour():
    weight = NET["stem.weight"].copy()
    weight[4:] = weight[4:, :1]
    net = {**NET, "stem.weight": weight}
    color, grey = filter_bank(net, "stem", Settings(groups=TWO.groups, induced=True)).color_shares
    assert color == pytest.approx(2 / 3, abs=0.1)  # of independent channels two of three degrees are colour
    assert grey == pytest.approx(0, abs=1e-12)


def test_what_is_no_number_is_said_and_kept():
    weight = NET["grouped.weight"].copy()
    weight[0, 0, 0, 0], weight[1, 0, 0, 0] = np.nan, np.inf
    bank = filter_bank({**NET, "grouped.weight": weight}, "grouped", TWO)
    assert any("2 weights are NaN or infinity" in note for note in bank.notes)
    assert np.nanmax(np.abs(bank.kernels[np.isfinite(bank.kernels)])) == 1


def test_transposed_layers_show_the_filters_of_their_outputs():
    torch = pytest.importorskip("torch")
    layer = torch.nn.ConvTranspose2d(6, 8, 3, groups=2, bias=False)
    bank = filter_bank(torch.nn.Sequential(layer), "0")
    weight = layer.weight.detach().numpy().astype(np.float64)
    expected = weight.reshape(2, 3, 4, 3, 3).swapaxes(1, 2) / np.abs(weight).max()
    assert bank.kernels == pytest.approx(expected)


def test_a_part_of_a_weight_is_refused_with_the_reason():
    net = {"conv.weight_v": RNG.normal(size=(8, 4, 3, 3)), "conv.weight_g": RNG.normal(size=(7, 1, 1, 1))}
    with pytest.raises(CheckpointError, match="weight norm"):
        filter_bank(net, "conv*")


def test_no_convolution_is_one_clear_line():
    with pytest.raises(UsageError, match="has no convolution"):
        filter_bank({"linear.weight": np.zeros((4, 4))}, "conv")
