"""What pictures cost against a loop of `imshow` and `savefig`, in paired runs on the layers of a ResNet-50.

usage: python tests/benchmarks/bench_pictures.py [ROUNDS]

Every round draws the same 53 matrices in each way, in turn, so that what else the machine does hits all alike; printed
are the medians over the rounds of the seconds, and of their ratio to the loop. The loop gets the matrices as gcx keeps
them (at most 512 x 512), draws no names and no scale, and writes its files as PNG into memory. All else that gcx
draws is on its pictures too.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import io
import sys
import time
from statistics import median

import numpy as np

from gcx.measuring import Extras
from gcx.pipeline import correlate
from gcx.renderers.base import by_name
from gcx.renderers.options import RenderOptions
from gcx.renderers.plates import layer_plates
from gcx.results import Report

WIDTHS = ((64, 256, 3), (128, 512, 4), (256, 1024, 6), (512, 2048, 3))
"""(channels, channels out, blocks) of each stage."""
BOUNDS = {"one heatmap per layer": 1 / 5, "contact sheet": 1 / 10}


def resnet50() -> dict[str, np.ndarray]:
    """Random weights of a ResNet-50's 53 convolutions."""
    rng = np.random.default_rng(0)
    shapes = {"conv1": (64, 3, 7, 7)}
    entering = 64
    for stage, (width, out, blocks) in enumerate(WIDTHS, 1):
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            shapes[f"{name}.conv1"] = (width, entering, 1, 1)
            shapes[f"{name}.conv2"] = (width, width, 3, 3)
            shapes[f"{name}.conv3"] = (out, width, 1, 1)
            if block == 0:
                shapes[f"{name}.downsample.0"] = (out, entering, 1, 1)
            entering = out
    return {f"{name}.weight": rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}


def loop_with_pyplot(report: Report) -> None:
    """What one writes without gcx."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    for layer in report.models[0].measured:
        figure, ax = plt.subplots()
        ax.imshow(layer.picture.r, cmap="RdBu_r", vmin=-0.5, vmax=0.5)
        figure.savefig(io.BytesIO(), format="png")
        plt.close(figure)


def plates(report: Report) -> None:
    for _ in layer_plates(report, RenderOptions()):
        pass


def contact_sheet(report: Report) -> None:
    by_name("png").render(report, RenderOptions())


def html_report(report: Report) -> None:
    by_name("html").render(report, RenderOptions())


WAYS = {
    "imshow + savefig": loop_with_pyplot,
    "one heatmap per layer": plates,
    "contact sheet": contact_sheet,
    "HTML report": html_report,
}


def measure(report: Report, rounds: int) -> dict[str, tuple[float, float]]:
    """Per way the median seconds, and the median of its ratio to the loop of the same round."""
    for way in WAYS.values():
        way(report)  # imports, fonts
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for number in range(rounds):
        names = list(WAYS) if number % 2 == 0 else list(WAYS)[::-1]
        for name in names:
            start = time.perf_counter()
            WAYS[name](report)
            seconds[name].append(time.perf_counter() - start)
    loop = seconds["imshow + savefig"]
    return {
        name: (median(taken), median(one / other for one, other in zip(taken, loop, strict=True)))
        for name, taken in seconds.items()
    }


def test_pictures_are_quick() -> None:
    found = measure(correlate(resnet50(), extras=Extras(pictures=True)), rounds=3)
    for name, bound in BOUNDS.items():
        assert found[name][1] < bound, (name, found[name])


def main(rounds: int) -> None:
    report = correlate(resnet50(), extras=Extras(pictures=True))
    print(f"{len(report.models[0].measured)} layers, {rounds} rounds")
    for name, (seconds, ratio) in measure(report, rounds).items():
        bound = f"  (bound {BOUNDS[name]:.2f})" if name in BOUNDS else ""
        print(f"{name:24}{seconds:8.3f} s{ratio:8.3f} of the loop{bound}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
