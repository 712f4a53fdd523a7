"""What the measures cost: `python tests/benchmarks/bench_measures.py [WORD…]` prints time and peak memory per case.

Peak memory is what numpy and Python allocate while measuring, beside the float64 weight that is handed in; `of bound`
is all of it, weight included, over what gcx promises: three times the float32 weight, and 300 MB.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys
import time
import tracemalloc
from math import prod

import numpy as np

from gcx.measures import correlation_blocks, delta_pvalue, measure_layer

RESNET50 = [  # (groups, filters per group, channels per group, taps), how often
    ((1, 64, 3, 49), 1),
    *[((1, w, c, 1), times) for w, c, times in [(64, 64, 1), (64, 256, 2), (256, 64, 4), (128, 256, 1), (128, 512, 3)]],
    *[((1, w, c, 1), times) for w, c, times in [(512, 128, 4), (512, 256, 1), (256, 512, 1), (256, 1024, 5)]],
    *[((1, w, c, 1), times) for w, c, times in [(1024, 256, 6), (1024, 512, 1), (512, 1024, 1), (512, 2048, 2)]],
    *[((1, w, c, 1), times) for w, c, times in [(2048, 512, 3), (2048, 1024, 1)]],
    *[((1, w, w, 9), times) for w, times in [(64, 3), (128, 4), (256, 6), (512, 3)]],
]
RESNET56 = [((1, 16, 3, 9), 1), ((1, 16, 16, 9), 18), ((1, 32, 32, 9), 18), ((1, 64, 64, 9), 18)]
RESNEXT50 = [((32, w // 32, w // 32, 9), times) for w, times in [(128, 3), (256, 4), (512, 6), (1024, 3)]]

CASES = {
    "ResNet-56, 55 layers": (RESNET56, {}),
    "ResNet-50, 53 layers": (RESNET50, {}),
    "ResNet-50, pictures": (RESNET50, {"picture": True}),
    "ResNeXt-50, 16 grouped layers": (RESNEXT50, {}),
    "131,072 kernels, 32 groups": ([((32, 16, 256, 9), 1)], {}),
    "20,000 depthwise filters": ([((20_000, 1, 1, 9), 1)], {}),
    "20,000 filters in pairs": ([((10_000, 2, 1, 9), 1)], {}),
    "20,000 depthwise filters, picture": ([((20_000, 1, 1, 9), 1)], {"picture": True}),
    "depthwise 7x7, 1,536 filters": ([((1536, 1, 1, 49), 1)], {}),
    "depthwise 31x31, 1,536 filters": ([((1536, 1, 1, 961), 1)], {}),
    "grouped 1x128, 768 filters": ([((16, 48, 48, 128), 1)], {}),
    "dense 9x9, 256 filters": ([((1, 256, 256, 81), 1)], {}),
    "one dense 2048x1024 3x3": ([((1, 2048, 1024, 9), 1)], {}),
    "virtual groups 8, 512 filters": ([((1, 512, 256, 9), 1)], {"virtual_groups": 8}),
    "virtual groups 8, 2,048 filters": ([((1, 2048, 512, 1), 1)], {"virtual_groups": 8}),
}


def measure(shapes, options, rng):
    """Seconds for all layers, seconds of that in p-values, and the peak of the costliest layer in bytes."""
    seconds = tests = peak = 0.0
    for shape, times in shapes:
        for _ in range(times):
            filters = rng.standard_normal(shape)
            start = time.perf_counter()
            state = measure_layer(filters, overwrite=True, **options).delta_state
            between = time.perf_counter()
            if state is not None:
                delta_pvalue(state, 999, 0, "layer")
            end = time.perf_counter()
            seconds, tests = seconds + end - start, tests + end - between
        filters = rng.standard_normal(shape)
        tracemalloc.start()
        measure_layer(filters, overwrite=True, **options)
        peak = max(peak, tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        del filters
    return seconds, tests, peak


def main(words):
    rng = np.random.default_rng(0)
    measure_layer(rng.standard_normal((1, 4, 4, 9)))
    print(f"{'case':36}{'weights':>12}{'seconds':>9}{'p-value':>9}{'peak MiB':>10}{'of bound':>10}")
    for name, (shapes, options) in CASES.items():
        if words and not any(word in name for word in words):
            continue
        seconds, tests, peak = measure(shapes, options, rng)
        largest = max(prod(shape) for shape, _ in shapes)
        total = sum(prod(shape) * times for shape, times in shapes)
        share = (peak + 8 * largest) / (12 * largest + 300e6)
        print(f"{name:36}{total:12,}{seconds:9.2f}{tests:9.2f}{peak / 2**20:10.0f}{share:10.0%}", flush=True)
    if not words or "stream" in words:
        filters = rng.standard_normal((20_000, 1, 1, 9))
        tracemalloc.start()
        start = time.perf_counter()
        rows = sum(len(block) for block in correlation_blocks(filters, "pearson"))
        seconds, peak = time.perf_counter() - start, tracemalloc.get_traced_memory()[1]
        print(f"{'matrix of 20,000 filters, streamed':36}{filters.size:12,}{seconds:9.2f}{'':9}{peak / 2**20:10.0f}")
        if rows != len(filters):
            raise SystemExit(f"{rows} rows")


if __name__ == "__main__":
    main(sys.argv[1:])
