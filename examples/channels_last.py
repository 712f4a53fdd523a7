"""The thread's layers in Keras, channels last as it writes them, saved as a `.keras` file for gcx to read.

[100,100,32] through 64 filters; two times [100,100,16] through 32 filters and concatenated; and those two as one layer
with groups=2. Nothing is trained: shapes, cost and groups are the point.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"  # read when Keras is imported

import keras
import numpy as np
from recording import HERE, Record, parse_options, run_script, versions, write_json, write_whole

SIDE, CHANNELS, FILTERS = 100, 32, 64
KERNEL, SEED = 3, 0


def conv(name: str, filters: int, groups: int = 1) -> keras.layers.Conv2D:
    return keras.layers.Conv2D(filters, KERNEL, padding="same", groups=groups, use_bias=False, name=name)


def thread_net() -> keras.Model:
    """Three ways through one input; the layer with two groups has the weights of the two layers that stand apart."""
    keras.utils.set_random_seed(SEED)
    image = keras.Input((SIDE, SIDE, CHANNELS), name="image")
    left, right = image[..., : CHANNELS // 2], image[..., CHANNELS // 2 :]
    apart = [conv("left", FILTERS // 2)(left), conv("right", FILTERS // 2)(right)]
    outputs = {
        "whole": conv("whole", FILTERS)(image),
        "apart": keras.layers.Concatenate(name="apart")(apart),
        "grouped": conv("grouped", FILTERS, groups=2)(image),
    }
    net = keras.Model(image, outputs, name="thread")
    kernels = [net.get_layer(name).get_weights()[0] for name in ("left", "right")]
    net.get_layer("grouped").set_weights([np.concatenate(kernels, axis=-1)])
    return net


def measure(net: keras.Model) -> Record:
    """Shapes and cost of the three ways, and how far the two layers' outputs are from those of the one with groups."""
    images = np.random.default_rng(SEED).standard_normal((1, SIDE, SIDE, CHANNELS), dtype=np.float32)
    outputs = {way: keras.ops.convert_to_numpy(one)[0] for way, one in net(images).items()}
    ways = []
    for way, names in (("whole", ["whole"]), ("apart", ["left", "right"]), ("grouped", ["grouped"])):
        layers = [net.get_layer(name) for name in names]
        weights = sum(layer.count_params() for layer in layers)
        ways.append(
            {
                "way": way,
                "kernels": [list(layer.kernel.shape) for layer in layers],
                "output": list(outputs[way].shape),
                "parameters": weights,
                "multiply_adds": weights * SIDE**2,
            }
        )
    difference = np.abs(outputs["apart"] - outputs["grouped"]).max() / np.abs(outputs["grouped"]).max()
    return {"input": list(images.shape[1:]), "ways": ways, "apart_against_grouped": float(f"{difference:.1e}")}


def saved(net: keras.Model) -> bytes:
    """What `net.save` writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "thread.keras"
        net.save(path)
        return path.read_bytes()


def main(arguments: list[str] | None = None) -> int:
    options = parse_options("channels_last", __doc__, quick="the same, kept apart", seeds=(), arguments=arguments)
    net = thread_net()
    found = measure(net)
    model = HERE / "checkpoints" / "thread.keras" if options.published else options.out.with_name("thread.keras")
    write_whole(model, saved(net))
    settings = {"side": SIDE, "channels": CHANNELS, "filters": FILTERS, "kernel": KERNEL, "seed": SEED}
    write_json(options.out, {"settings": settings, "versions": versions("keras", "torch"), **found})
    for way in found["ways"]:
        print(", ".join(f"{key} {value}" for key, value in way.items()))
    print(f"apart against grouped: largest difference {found['apart_against_grouped']:g}")
    print(f"gcx layers {os.path.relpath(model)}")
    return 0


if __name__ == "__main__":
    run_script(main)
