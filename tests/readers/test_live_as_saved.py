"""A training checkpoint in memory is read as the file that `torch.save` makes of it: the same layers and notes."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import nn

from gcx.errors import CheckpointError, UsageError
from gcx.limits import NESTING
from gcx.readers import read_checkpoint
from gcx.readers.base import ReadOptions
from gcx.readers.module import from_state_dict


def state(number: float) -> dict[str, torch.Tensor]:
    return {name: torch.full((2, 2, 1, 1), number) for name in ("a.weight", "b.weight")}


MOMENTS = {"state": {0: {"exp_avg": torch.ones(2, 2, 1, 1)}}, "param_groups": [{"lr": 0.1}]}
NET = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.Conv2d(8, 8, 3))
VALUES = {
    "bare": state(1),
    "wrapped": {"epoch": 3, "state_dict": state(1), "optimizer": MOMENTS},
    "two networks": {"generator": state(1), "discriminator": state(2)},
    "two networks in known words": {"generator": {"state_dict": state(1)}, "critic": {"model": state(2)}},
    "a list": {"models": [state(1), state(2)]},
    "copies": {"state_dict": state(1), "best": state(2)},
    "average": {"params_ema": state(2), "params": state(1)},
    "average in a frame": {"model": state(1), "ema": {"decay": 0.9, "shadow": state(2)}},
    "average alone": {"ema": state(2)},
    "words that only look like an optimizer's": {"upscaler": state(1)},
    "another such word": {"momentum_encoder": state(1)},
    "and another": {"scheduled_net": state(1)},
    "what training keeps": {"model": state(1), "lr_scheduler": {"w": torch.ones(2, 2, 3, 3)}, "rng_state": state(3)},
    "momentum": {"model": state(1), "momentum": state(2)},
    "moments without a frame": {"model": state(1), "extra": {"exp_avg": torch.ones(2, 2, 3, 3)}},
    "numbers for names": {0: torch.ones(2, 2, 1, 1), "x": torch.ones(2, 2, 1, 1)},
    "a dict per layer": {"conv": {"weight": torch.ones(2, 2, 3, 3)}, "head": {"weight": torch.ones(2, 2, 3, 3)}},
    "prefixes": {"state_dict": {f"module._orig_mod.{name}": one for name, one in state(1).items()}},
    "a module": {"model": NET, "epoch": 1},
    "two modules": {"student": NET, "teacher": nn.Sequential(nn.Conv2d(4, 4, 1))},
    "a module beside its state": {"model": NET, "state_dict": NET.state_dict()},
    "tensors without a name": {"model": state(1), "banks": [torch.ones(2, 2, 3, 3), [torch.ones(2, 2, 3, 3)]]},
    "one without a name": {"model": state(1), "bank": (torch.ones(2, 2, 3, 3), 1.5)},
    "names that fall together": {
        "a": nn.Sequential(nn.Sequential(nn.Conv2d(4, 4, 1, groups=2))),
        "a.0": nn.Sequential(nn.Conv2d(8, 8, 1, groups=4)),
    },
    "only small ones": {"w": torch.ones(3)},
    "no tensors": {"epoch": 1},
    "an optimizer alone": {"optimizer": MOMENTS},
}


@pytest.mark.parametrize("weights", ["plain", "ema"])
@pytest.mark.parametrize("kind", VALUES)
def test_the_same_is_read(kind, weights, tmp_path):
    path = str(tmp_path / "net.pt")
    torch.save(VALUES[kind], path)
    try:
        saved = read_checkpoint(path, weights=weights)
    except (CheckpointError, UsageError) as error:
        with pytest.raises(type(error)):
            from_state_dict(VALUES[kind], ReadOptions(weights))
        return
    live = from_state_dict(VALUES[kind], ReadOptions(weights))
    assert list(live.tensors) == list(saved.tensors)
    assert live.convs == saved.convs
    assert live.notes == saved.notes
    assert live.epoch == saved.epoch
    for name, ref in live.tensors.items():
        assert np.array_equal(ref.read(), saved.tensors[name].read()), name
    saved.close()


def test_what_lies_too_deep_is_said_of_both(tmp_path):
    value = {"model": state(1)}
    inner = value["log"] = {}
    for _ in range(NESTING + 1):
        inner["x"] = {}
        inner = inner["x"]
    torch.save(value, tmp_path / "net.pt")
    with read_checkpoint(str(tmp_path / "net.pt")) as saved:
        assert from_state_dict(value).notes == saved.notes
        assert "was not looked at" in saved.notes[0]


class Lazy(Mapping):
    """A mapping whose inner mappings are made when they are asked for, as those of HDF5 files are."""

    def __init__(self, depth):
        self.depth = depth

    def __iter__(self):
        return iter("ab" if self.depth else ["weight"])

    def __len__(self):
        return 2 if self.depth else 1

    def __getitem__(self, key):
        return Lazy(self.depth - 1) if self.depth else np.ones((2, 2, 1, 1))


def test_mappings_that_are_made_when_asked_for_are_all_seen():
    assert len(from_state_dict(Lazy(6)).tensors) == 2**6
