"""What AlexNet and Network-in-Network cost in groups: the published counts, out of tables of their layers.

Arithmetic alone: nothing is trained. The last table asks gcx which layers' outputs fall into groups by their reader.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from recording import Record, parse_options, run_script, versions, write_json

import gcx
from gcx.words import plural


@dataclass(frozen=True)
class Layer:
    """A convolution, or a dense layer as one over a map of one position."""

    name: str
    filters: int
    channels: int
    kernel: int
    side: int
    groups: int = 1

    @property
    def weights(self) -> int:
        return self.filters * (self.channels // self.groups) * self.kernel**2

    @property
    def parameters(self) -> int:
        return self.weights + self.filters

    @property
    def multiply_adds(self) -> int:
        """Of the weights; a bias is added, not multiplied."""
        return self.weights * self.side**2


def alexnet(groups: int) -> tuple[Layer, ...]:
    """Krizhevsky et al. (2012) on 227x227 pixels; two groups were its two GPUs. conv3 read both, and does so here.

    >>> sum(layer.parameters for layer in alexnet(2))
    60965224
    """
    return (
        Layer("conv1", 96, 3, 11, 55),
        Layer("conv2", 256, 96, 5, 27, groups),
        Layer("conv3", 384, 256, 3, 13),
        Layer("conv4", 384, 384, 3, 13, groups),
        Layer("conv5", 256, 384, 3, 13, groups),
        Layer("fc6", 4096, 256, 6, 1),
        Layer("fc7", 4096, 4096, 1, 1),
        Layer("fc8", 1000, 4096, 1, 1),
    )


def network_in_network(groups: int) -> tuple[Layer, ...]:
    """Lin et al. (2014) on CIFAR-10, and the roots of Ioannou et al. (2017): g groups at conv2a, g/2 at conv3a.

    >>> sum(layer.parameters for layer in network_in_network(1))
    966986
    """
    return (
        Layer("conv1a", 192, 3, 5, 32),
        Layer("conv1b", 160, 192, 1, 32),
        Layer("conv1c", 96, 160, 1, 32),
        Layer("conv2a", 192, 96, 5, 16, groups),
        Layer("conv2b", 192, 192, 1, 16),
        Layer("conv2c", 192, 192, 1, 16),
        Layer("conv3a", 192, 192, 3, 8, max(groups // 2, 1)),
        Layer("conv3b", 192, 192, 1, 8),
        Layer("conv3c", 10, 192, 1, 8),
    )


PUBLISHED: dict[str, dict[int, Record]] = {
    # yanii/phd-thesis, rootdata: alexnetma.csv, and nincifar.csv with nincifar_root_s.csv.
    # As printed, the columns of the first are exchanged: what is called Param is multiply-adds and biases.
    "AlexNet": {
        1: {"parameters": 62_378_344, "multiply_adds_and_biases": 1_135_266_664},
        2: {"parameters": 60_965_224, "multiply_adds_and_biases": 724_417_384},
        4: {"parameters": 60_258_664, "multiply_adds_and_biases": 518_992_744},
    },
    "Network-in-Network": {
        1: {"parameters": 966_986, "multiply_adds_and_biases": 222_487_946},
        2: {"parameters": 736_586, "multiply_adds_and_biases": 163_505_546},
        4: {"parameters": 455_498, "multiply_adds_and_biases": 123_397_514},
        8: {"parameters": 314_954, "multiply_adds_and_biases": 103_343_498},
        16: {"parameters": 244_682, "multiply_adds_and_biases": 93_316_490},
    },
}
NETS = {"AlexNet": alexnet, "Network-in-Network": network_in_network}


def cost(net: str, groups: int) -> Record:
    layers = NETS[net](groups)
    convolutions = [layer for layer in layers if not layer.name.startswith("fc")]
    biases = sum(layer.filters for layer in layers)
    multiply_adds = sum(layer.multiply_adds for layer in layers)
    return {
        "net": net,
        "groups": groups,
        "parameters": sum(layer.parameters for layer in layers),
        "convolution_weights": sum(layer.weights for layer in convolutions),
        "multiply_adds": multiply_adds,
        "multiply_adds_and_biases": multiply_adds + biases,
        "published": PUBLISHED[net][groups],
    }


def induced(groups: int) -> list[Record]:
    """How gcx reads AlexNet in groups: own groups of every convolution, and those that its reader makes of its outputs.

    The weights are random; the question is one of shapes.
    """
    draw = np.random.default_rng(0)
    layers = [layer for layer in alexnet(groups) if not layer.name.startswith("fc")]
    state = {
        f"{layer.name}.weight": draw.normal(
            size=(layer.filters, layer.channels // layer.groups, layer.kernel, layer.kernel)
        ).astype(np.float32)
        for layer in layers
    }
    report = gcx.correlate(state, groups={layer.name: layer.groups for layer in layers}, induced=True)
    return [
        {
            "layer": found.name,
            "groups": found.groups,
            "induced_groups": found.induced_groups.groups if found.induced_groups else None,
            "read_by": found.induced_groups.consumer if found.induced_groups else None,
        }
        for found in report.models[0].measured
    ]


def main(arguments: list[str] | None = None) -> int:
    options = parse_options("network_cost", __doc__, quick="the same: it takes a second", seeds=(), arguments=arguments)
    costs = [cost(net, groups) for net, published in PUBLISHED.items() for groups in published]
    record = {"versions": versions("gcx", "numpy"), "costs": costs, "alexnet_in_2_groups": induced(2)}
    write_json(options.out, record)
    for row in costs:
        same = all(row[key] == value for key, value in row["published"].items())
        print(
            f"{row['net']}, {plural(row['groups'], 'group')}: {row['parameters']:,} parameters, "
            f"{row['multiply_adds']:,} multiply-adds; {'as' if same else 'NOT as'} published"
        )
    return 0


if __name__ == "__main__":
    run_script(main)
