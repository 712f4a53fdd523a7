"""What whole commands cost: `python tests/benchmarks/bench_commands.py [WORD…]` prints seconds and peak memory of each.

Each runs in a process of its own, in turn with `import torch`, five times; medians, and the median of the ratios.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RUNS = 5
WRITE = "--write-weights"
GCX = [sys.executable, "-P", "-m", "gcx"]
TORCH = [sys.executable, "-c", "import torch"]
EXAMPLES = Path(__file__).parents[2] / "examples"
ENVIRONMENT = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def bottlenecks(width: int, groups: int) -> dict[str, np.ndarray]:
    """The convolutions of a ResNet-50 (64, 1 group) or a ResNeXt-50 (128, 32 groups), with random weights."""
    rng = np.random.default_rng(groups)
    shapes = {"conv1": (64, 3, 7, 7)}
    into = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        inner, out = width * 2**stage, 256 * 2**stage
        for block in range(blocks):
            name = f"layer{stage + 1}.{block}"
            shapes[f"{name}.conv1"] = (inner, into, 1, 1)
            shapes[f"{name}.conv2"] = (inner, inner // groups, 3, 3)
            shapes[f"{name}.conv3"] = (out, inner, 1, 1)
            if block == 0:
                shapes[f"{name}.downsample.0"] = (out, into, 1, 1)
            into = out
    return {f"{name}.weight": rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def measured(command: list[str]) -> tuple[float, float]:
    """Seconds, and peak memory in MiB."""
    start = time.perf_counter()
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, cwd=EXAMPLES.parent)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: {status}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def write_weights(folder: Path) -> tuple[Path, Path]:
    """In a process of its own: what this one has held would count as the memory of all that it starts."""
    subprocess.run([sys.executable, __file__, WRITE, str(folder)], check=True)
    return folder / "resnet50.safetensors", folder / "resnext50.safetensors"


def write_here(folder: Path) -> None:
    from safetensors.numpy import save_file

    save_file(bottlenecks(64, 1), folder / "resnet50.safetensors")
    save_file(bottlenecks(128, 32), folder / "resnext50.safetensors")


def cases(folder: Path) -> dict[str, list[str]]:
    dense, grouped = write_weights(folder)
    declared = ["--groups", "candidate:*conv2=32", "--groups", "*conv1=1"]
    digits = str(EXAMPLES / "checkpoints" / "digits-g4-seed0.pt")
    runs = [str(EXAMPLES / "checkpoints" / f"digits-g{groups}-*.pt") for groups in (1, 4)]
    return {
        "--help": ["--help"],
        "correlate, digits": ["correlate", digits],
        "layers, ResNet-50": ["layers", str(dense)],
        "track, 6 epochs of digits": ["track", str(EXAMPLES / "run")],
        "compare, 4 + 4 runs of digits": ["compare", *runs],
        "correlate, ResNet-50": ["correlate", str(dense)],
        "compare, ResNet-50 with ResNeXt-50": ["compare", str(dense), str(grouped), *declared],
    }


def main(words):
    with tempfile.TemporaryDirectory() as folder:
        print(f"{'command':40}{'seconds':>9}{'of torch':>10}{'peak MiB':>10}")
        for name, arguments in cases(Path(folder)).items():
            if words and not any(word in name for word in words):
                continue
            pairs = []
            for _ in range(RUNS):
                seconds, peak = measured([*GCX, *arguments])
                pairs.append((seconds, peak, seconds / measured(TORCH)[0]))
            seconds, peak, ratio = (statistics.median(column) for column in zip(*pairs, strict=True))
            print(f"{name:40}{seconds:9.2f}{ratio:9.2f}x{peak:10.0f}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == [WRITE]:
        write_here(Path(sys.argv[2]))
    else:
        main(sys.argv[1:])
