"""`gcx.Tracker`: the same numbers in a training loop, which goes on as if nobody had looked."""

import copy

import numpy as np
import pytest

import gcx
from gcx.errors import UsageError

torch = pytest.importorskip("torch")
nn = torch.nn


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, groups=4))


def test_scalars_are_the_numbers_of_correlate(net):
    scalars = gcx.Tracker(net).step(0)
    model = gcx.correlate(net).models[0]
    assert scalars["gcx/mean_r2_within"] == model.summary.mean_r2_within
    assert scalars["gcx/excess_across"] == model.summary.excess_across
    for layer in model.measured:
        assert scalars[f"gcx/{layer.name}/rms_r"] == layer.within.rms_r
        assert scalars[f"gcx/{layer.name}/excess"] == layer.within.excess
    assert scalars["gcx/3/kernels.delta"] == model.measured[1].kernels.delta
    assert all(type(value) is float for value in scalars.values())
    assert "gcx/0/kernels.delta" not in scalars  # a dense layer has none


def test_training_goes_on_as_if_nobody_had_looked(net):
    other = copy.deepcopy(net)
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    tracker = gcx.Tracker(other)
    for one, look in ((net, False), (other, True)):
        torch.manual_seed(3)
        optimizer = torch.optim.SGD(one.parameters(), lr=0.1)
        for epoch in range(3):
            optimizer.zero_grad()
            (one(images) * torch.randn(1)).pow(2).mean().backward()
            optimizer.step()
            if look:
                tracker.step(epoch)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), other.state_dict().values(), strict=True))
    assert other.training


def test_filters_that_move_are_seen_to_move(net):
    tracker = gcx.Tracker(net)
    assert "gcx/0/filter_r" not in tracker.step(0)
    assert tracker.step(1)["gcx/0/filter_r"] == 1.0
    with torch.no_grad():
        net[0].weight += 0.5 * torch.randn_like(net[0].weight)
    scalars = tracker.step(2)
    assert scalars["gcx/0/filter_r"] < 0.9
    assert scalars["gcx/3/filter_r"] == 1.0


def test_the_report_is_that_of_track(net):
    tracker, states = gcx.Tracker(net), []
    for epoch in (0, 5, 10):
        with torch.no_grad():
            net[3].weight += 0.05 * torch.ones(())
        tracker.step(epoch)
        states.append(copy.deepcopy(net))
    report, expected = tracker.report(), gcx.track(*states)
    assert [one.epoch for one in report.track.checkpoints] == [0, 5, 10]
    for ours, theirs in zip(report.track.series, expected.track.series, strict=True):
        assert ours.mean_r2 == theirs.mean_r2
        assert ours.filter_r == pytest.approx(theirs.filter_r, abs=1e-6)
        assert ours.change == theirs.change
    assert report.track.events == ()
    assert "<table>" in report._repr_html_()


def test_options_choose_layers(net):
    scalars = gcx.Tracker(net, include=("3",), prefix="").step()
    assert {name.partition("/")[0] for name in scalars if "/" in name} == {"3"}


def test_what_cannot_be_followed_is_refused_in_one_line(net):
    with pytest.raises(UsageError, match="cannot follow a dict"):
        gcx.Tracker({})
    with pytest.raises(UsageError, match="nothing was measured yet"):
        gcx.Tracker(net).report()
    with pytest.raises(UsageError, match="include"):
        gcx.Tracker(net, include=("nothing*",)).step(0)


@pytest.mark.parametrize("epoch", ["x", 1.5, -5])
def test_an_epoch_is_a_whole_number(epoch):
    tracker = gcx.Tracker(nn.Conv2d(4, 4, 3))
    with pytest.raises(gcx.UsageError, match="epoch is"):
        tracker.step(epoch)
    assert tracker.step(np.int64(3))


def test_a_net_without_a_convolution_is_inconclusive():
    tracker = gcx.Tracker(nn.Linear(2, 2))
    tracker.step()
    report = tracker.report()
    assert (report.exit_code, report.models[0].inconclusive) == (3, ("no convolution found",))
