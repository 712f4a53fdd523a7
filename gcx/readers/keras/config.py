"""A Keras model's configuration as data: which layer is of which class; nothing in it is made, looked up or run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gcx.errors import CheckpointError, LimitError
from gcx.limits import KERAS_CONFIG, KERAS_LAYERS, KERAS_VALUES, NAME
from gcx.readers.base import CURE

Kind = Literal["conv", "transposed", "depthwise", "separable", "gates", "dense", "other"]
"""How a layer of Keras uses its kernel; "gates" is a ConvLSTM, whose kernels hold four gates; "other" has none."""

_CONV = re.compile(r"(Separable|Depthwise)?Conv(?:olution)?[123]D(Transpose)?|(ConvLSTM[123]D(?:Cell)?)")
_OTHERS = (
    "Activation AdditiveAttention Attention BatchNormalization CategoryEncoding EinsumDense Embedding GRU GRUCell"
    " GroupedQueryAttention GroupQueryAttention GroupNormalization InputLayer LSTM LSTMCell LayerNormalization"
    " MultiHeadAttention Normalization PReLU RMSNormalization SimpleRNN SimpleRNNCell SpectralNormalization"
    " TimeDistributed Bidirectional UnitNormalization"
)
_OTHER = frozenset(_OTHERS.split())
WRAPPERS = frozenset({"Bidirectional", "SpectralNormalization", "TimeDistributed"})
"""Classes whose weights are those of the layer within, which older files store under the wrapper's name."""
_CLASSES = (
    *(f"{how}Conv{rank}D" for how in ("", "Separable", "Depthwise") for rank in (1, 2, 3)),
    *(f"Conv{rank}DTranspose" for rank in (1, 2, 3)),
    *(f"ConvLSTM{rank}D{cell}" for rank in (1, 2, 3) for cell in ("", "Cell")),
    "Dense",
    *sorted(_OTHER),
)


@dataclass(frozen=True)
class LayerConfig:
    """What a configuration says about one layer."""

    class_name: str
    """Without the package of a registered class; untrusted text."""
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        found = self.config.get("name")
        return found if isinstance(found, str) else ""

    @property
    def kind(self) -> Kind | None:
        """None for a class that is not Keras's own."""
        return kind_of(self.class_name)

    def layers(self) -> list[LayerConfig]:
        """The layers of a model, in its order; empty for a layer."""
        listed = self.config.get("layers")
        return [found for item in listed if (found := layer_config(item))] if isinstance(listed, list) else []

    def part(self, key: str) -> LayerConfig | None:
        """The layer that a wrapper holds under an attribute of its own."""
        if key == "cell" and self.kind == "gates" and not self.class_name.endswith("Cell"):
            own = {key: value for key, value in self.config.items() if key != "cell"}
            return LayerConfig(f"{self.class_name}Cell", {**own, "name": "cell"})
        found = layer_config(self.config.get(key))
        if found is None and key in ("forward_layer", "backward_layer") and self.class_name == "Bidirectional":
            inner = layer_config(self.config.get("layer"))
            if inner is not None:
                bare = inner.name.removeprefix("forward_")
                found = LayerConfig(inner.class_name, {**inner.config, "name": f"{key.partition('_')[0]}_{bare}"})
        return found

    def parts(self) -> list[LayerConfig]:
        """Everything right below, in order."""
        keys = [key for key in ("layer", "forward_layer", "backward_layer", "cell") if self.part(key) is not None]
        if "forward_layer" in keys:
            keys.remove("layer")
        return [*self.layers(), *(found for key in keys if (found := self.part(key)))]

    def below(self) -> Iterator[tuple[str, LayerConfig]]:
        """Everything below with its path of names, however deep.

        Raises:
            LimitError: more than gcx allows; each Bidirectional has what it wraps twice.
        """
        waiting = [(part.name, part) for part in self.parts()]
        for count, (path, part) in enumerate(waiting):  # grows
            if count >= KERAS_LAYERS or len(path) > NAME:
                raise LimitError(f"has a configuration of more than {KERAS_LAYERS} layers, limit KERAS_LAYERS")
            yield path, part
            waiting += [(f"{path}/{inner.name}", inner) for inner in part.parts()]


def kind_of(class_name: str) -> Kind | None:
    """The kind of a class of Keras's own, by its name.

    >>> kind_of("SeparableConv1D"), kind_of("Conv2DTranspose"), kind_of("Flatten"), kind_of("MyConv2D")
    ('separable', 'transposed', None, None)
    """
    match = _CONV.fullmatch(class_name)
    if match:
        if match[3]:
            return "gates"
        kinds: dict[str | None, Kind] = {"Separable": "separable", "Depthwise": "depthwise"}
        return "transposed" if match[2] else kinds.get(match[1], "conv")
    return "dense" if class_name == "Dense" else "other" if class_name in _OTHER else None


def snake_case(name: str) -> str:
    """As Keras makes a variable's path from a class's name.

    >>> snake_case("SeparableConv2D"), snake_case("BatchNormalization")
    ('separable_conv2d', 'batch_normalization')
    """
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


_BY_SNAKE = {snake_case(name): name for name in _CLASSES}


def class_of_path(part: str) -> LayerConfig | None:
    """The class that a name counted by Keras tells: `depthwise_conv2d_3` is the fourth DepthwiseConv2D of its list.

    >>> class_of_path("depthwise_conv2d_3").class_name
    'DepthwiseConv2D'
    """
    found = _BY_SNAKE.get(re.sub(r"_\d+$", "", part))
    return None if found is None else LayerConfig(found)


def read_config(text: str) -> LayerConfig | None:
    """Read a configuration; None where it is none of a model.

    Raises:
        CheckpointError: no JSON.
        LimitError: longer, or with more values, than gcx allows.
    """
    if len(text) > KERAS_CONFIG:
        raise LimitError(f"has a configuration of {len(text)} characters, limit KERAS_CONFIG is {KERAS_CONFIG}")
    values = sum(text.count(mark) for mark in ",[{")
    if values > KERAS_VALUES:
        raise LimitError(f"has a configuration of {values} values, limit KERAS_VALUES is {KERAS_VALUES}")
    try:
        return layer_config(json.loads(text))
    except (ValueError, RecursionError):
        raise CheckpointError("has a configuration that is no JSON, or is nested too deeply", cure=CURE) from None


def layer_config(value: Any) -> LayerConfig | None:
    """A layer's entry in a configuration: its class and its own settings."""
    if not isinstance(value, dict) or not isinstance(value.get("class_name"), str):
        return None
    config = value.get("config")
    if isinstance(config, list):  # Sequential of Keras before 2.2.3
        config = {"layers": config}
    config = dict(config) if isinstance(config, dict) else {}
    if isinstance(value.get("name"), str):
        config.setdefault("name", value["name"])
    return LayerConfig(value["class_name"].rpartition(">")[2], config)
