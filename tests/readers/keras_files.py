"""Builders of Keras files in Keras's own layouts, by h5py and JSON: no Keras is needed to write them."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np


@dataclass(frozen=True)
class Made:
    """One layer: its class, its settings, its variables by Keras's names in Keras's order, and the layers within."""

    class_name: str
    name: str
    variables: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    layers: tuple[Made, ...] = ()
    parts: dict[str, Made] = field(default_factory=dict)
    """Within a wrapper, by the attribute that holds them."""

    def configuration(self) -> dict[str, Any]:
        config = {"name": self.name, **self.config}
        if self.layers:
            config["layers"] = [layer.configuration() for layer in self.layers]
        config |= {key: part.configuration() for key, part in self.parts.items()}
        return {"module": "keras.layers", "class_name": self.class_name, "config": config, "registered_name": None}


def model(*layers: Made, name: str = "net", class_name: str = "Functional") -> Made:
    return Made(class_name, name, layers=layers)


def conv(name: str, kernel: Any, bias: Any = None, class_name: str = "Conv2D", **config: Any) -> Made:
    variables = {"kernel": kernel} | ({} if bias is None else {"bias": bias})
    settings = {"filters": np.shape(kernel)[-1], "kernel_size": list(np.shape(kernel)[:-2]), "groups": 1}
    return Made(class_name, name, variables, settings | config)


def snake(name: str) -> str:
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def hdf5(write: Callable[[h5py.File], None], **options: Any) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w", **options) as opened:
        write(opened)
    return file.getvalue()


def new_layout(made: Made, *, names: bool = True, top: str = "layers") -> bytes:
    """`model.weights.h5` as Keras 3 writes it; without the layers' names, and with the older list, as Keras 2 did."""

    def write(group: h5py.Group, layer: Made) -> None:
        own = group.create_group("vars")
        if names:
            own.attrs["name"] = layer.name
        for number, value in enumerate(layer.variables.values()):
            own[str(number)] = value
        counts: Counter[str] = Counter()
        inside = group.create_group(top) if layer.layers else group
        for child in layer.layers:
            key = snake(child.class_name)
            counts[key] += 1
            write(inside.create_group(f"{key}_{counts[key] - 1}" if counts[key] > 1 else key), child)
        for key, part in layer.parts.items():
            write(group.create_group(key), part)

    return hdf5(lambda file: write(file, made))


def old_layout(made: Made, *, whole: bool = True, suffix: str = ":0") -> bytes:
    """`.h5` as Keras 2 writes it: of a whole model, or of its weights alone."""

    def variables(layer: Made) -> list[tuple[str, Any]]:
        own = [(f"{layer.name}/{name}{suffix}", value) for name, value in layer.variables.items()]
        return own + [pair for inner in (*layer.layers, *layer.parts.values()) for pair in variables(inner)]

    def write(file: h5py.File) -> None:
        top = file
        if whole:
            file.attrs["model_config"] = json.dumps(made.configuration())
            top = file.create_group("model_weights")
        top.attrs["layer_names"] = [layer.name.encode() for layer in made.layers]
        top.attrs["backend"] = b"tensorflow"
        top.attrs["keras_version"] = b"2.15.0"
        for layer in made.layers:
            group = top.create_group(layer.name)
            found = variables(layer)
            group.attrs["weight_names"] = [name.encode() for name, _ in found]
            for name, value in found:
                group[name] = value

    return hdf5(write)


def archive(made: Made, weights: bytes | None = None, *, config: str | None = None, method: int = 0) -> bytes:
    """A `.keras` file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as zipped:
        zipped.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
        zipped.writestr("config.json", json.dumps(made.configuration()) if config is None else config)
        zipped.writestr("model.weights.h5", new_layout(made) if weights is None else weights)
    return file.getvalue()


def forms(made: Made) -> dict[str, bytes]:
    """One model in every layout that has a configuration."""
    return {
        "net.keras": archive(made),
        "packed.keras": archive(made, method=zipfile.ZIP_DEFLATED),
        "second.keras": archive(made, new_layout(made, names=False, top="_layer_checkpoint_dependencies")),
        "net.h5": old_layout(made),
        "three.h5": old_layout(made, suffix=""),
    }


def numbers(shape: Sequence[int], seed: int = 0, dtype: str = "float32") -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)
