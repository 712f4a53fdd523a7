"""What all tests share: small checkpoints made on the spot, and the real ones where they lie beside the repository."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
DATA = Path(os.environ.get("GCX_TEST_DATA", REPOSITORY.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def data() -> Path:
    """Real checkpoints and data sets of others; tests that want them skip where they are not."""
    if not DATA.is_dir():
        end = pytest.fail if os.environ.get("GCX_REQUIRE_DATA") == "1" else pytest.skip
        end(f"real data is not there: {DATA} (GCX_TEST_DATA names another folder)")
    return DATA


@pytest.fixture(scope="session")
def grouped_net():
    """A small conv net with a stem, a grouped, a depthwise and a pointwise convolution, batch norms between."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    nn = torch.nn
    net = nn.Sequential()
    for name, conv in {
        "stem": nn.Conv2d(3, 16, 3, bias=False),
        "grouped": nn.Conv2d(16, 32, 3, groups=4, bias=False),
        "depthwise": nn.Conv2d(32, 32, 3, groups=32, bias=False),
        "pointwise": nn.Conv2d(32, 16, 1, bias=False),
    }.items():
        net.add_module(name, nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU()))
    return net


@pytest.fixture(scope="session")
def torch_file(grouped_net, tmp_path_factory) -> Path:
    """`grouped_net` as a state dict, saved by torch."""
    import torch

    path = tmp_path_factory.mktemp("net") / "net.pt"
    torch.save(grouped_net.state_dict(), path)
    return path


def pytest_make_parametrize_id(config, val, argname):
    """Bytes are no name: some hold a clock (gzip, zip), and all workers must collect the same names."""
    return argname if isinstance(val, bytes) else None
