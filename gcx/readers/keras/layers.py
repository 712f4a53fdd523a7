"""The layers that a Keras file holds weights of, in both of its layouts, under the names that Keras shows.

Since Keras 3 (and in `.keras` files since 2.12) weights lie under `layers/<class in snake case>_<count>/vars/<number>`,
before that under `<layer name>/<variable name>`. The configuration says which layer that is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from gcx.errors import CheckpointError, printable
from gcx.limits import NAME
from gcx.readers.base import CURE
from gcx.readers.keras.config import WRAPPERS, LayerConfig, class_of_path, snake_case
from gcx.readers.keras.hdf5 import Node
from gcx.readers.keras.hdf5_data import Dataset
from gcx.readers.keras.names import second_names

_LISTS = ("layers", "_layer_checkpoint_dependencies")
"""Where a model's own layers lie: Keras's list of them, and what it was called up to 2.15."""
_NO_WEIGHTS = ("optimizer", "optimizer_weights", "metrics", "compile_metrics")
"""At the root: the state of training."""


@dataclass(frozen=True)
class Layer:
    """One layer with variables of its own."""

    name: str
    """Its name, behind those of the models and wrappers around it; untrusted text."""
    about: LayerConfig | None
    """Its class, and its configuration where the file has one."""
    configured: bool = False
    """`about` comes from a configuration, and not from a path."""
    variables: list[tuple[str, Dataset]] = field(default_factory=list)
    """By name; by number where the layout has no names."""
    placed: bool = True
    """Its place among the layers is the model's; else the attributes' or the classes' names sort it."""

    def setting(self, name: str, default: Any = None) -> Any:
        """One of its configuration's settings; untrusted."""
        return self.about.config.get(name, default) if self.about is not None else default


def has_keras_layout(root: Node) -> bool:
    """Whether the groups are those of Keras, new or old."""
    if "model_weights" in root.members or root.texts("layer_names") or root.texts("layer_names0"):
        return True
    return any(name in root.members for name in ("vars", *_LISTS)) or any(
        "vars" in node.members for node in root.members.values()
    )


def layers_of(root: Node, config: LayerConfig | None) -> Iterator[Layer]:
    """The layers of a file, in the model's order where it is known.

    Args:
        root: of the HDF5 file.
        config: of the model.

    Raises:
        CheckpointError: names without weights.
    """
    top = root.members.get("model_weights", root)
    if "model_weights" in root.members or top.texts("layer_names") or top.texts("layer_names0"):
        yield from _old_layers(top, config)
        return
    yield from _new_layers(root, config, config is not None, "", root=True)


def _numbered(name: str) -> tuple[str | int, ...]:
    """Sorts `conv2d_10` behind `conv2d_9`."""
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"([0-9]{1,18})", name))


def _new_layers(
    node: Node, about: LayerConfig | None, configured: bool, name: str, root: bool = False
) -> Iterator[Layer]:
    """A layer's own variables, then the layers within it; no deeper than HDF5 groups may be."""
    own = node.members.get("vars")
    if own is not None and own.dataset is None:
        variables = [(key, one.dataset) for key, one in own.members.items() if one.dataset is not None]
        if variables:
            variables.sort(key=lambda pair: _numbered(pair[0]))
            yield Layer(name, about, configured, variables, placed=configured)
    # A model's own list first: it has an order, attributes have none.
    for key in sorted(node.members, key=lambda key: (key not in _LISTS, _numbered(key))):
        child = node.members[key]
        if child.dataset is not None or key == "vars" or (root and key in _NO_WEIGHTS):
            continue
        if "vars" in child.members:
            part = about.part(key) if about is not None else None
            inner = part or _hinted(key, child, listed=False) or _of_attention(about)
            yield from _new_layers(child, inner, part is not None and configured, _name_of(name, key, child, part))
        else:
            listed = about.layers() if about is not None and key in _LISTS else []
            yield from _listed(child, listed, name if key in _LISTS else _joined(name, key))


def _listed(node: Node, configs: list[LayerConfig], name: str) -> Iterator[Layer]:
    """The members of a list of layers, each called by its class and its count; first those that are configured."""
    counts: Counter[str] = Counter()
    rest = dict(node.members)
    for config in configs:
        snake = snake_case(config.class_name)
        count = counts[snake]
        counts[snake] += 1
        key = f"{snake}_{count}" if count else snake
        child = rest.pop(key, None)
        if child is not None and child.dataset is None:
            yield from _new_layers(child, config, True, _name_of(name, key, child, config))
    for key in sorted(rest, key=_numbered):
        child = rest[key]
        if child.dataset is not None:
            continue
        if "vars" in child.members:
            yield from _new_layers(child, _hinted(key, child, listed=True), False, _name_of(name, key, child, None))
        else:  # a list in a list
            yield from _listed(child, [], name)


def _hinted(key: str, node: Node, listed: bool) -> LayerConfig | None:
    """The class that a list's own numbering tells, else the name that Keras gave to a layer without one."""
    own = node.members.get("vars")
    name = own.text("name") if own is not None else None
    return class_of_path(key) if listed else class_of_path(name) if name else None


def _of_attention(about: LayerConfig | None) -> LayerConfig | None:
    """What lies within Keras's attention are its projections."""
    return LayerConfig("EinsumDense") if about is not None and about.class_name.endswith("Attention") else None


def _name_of(around: str, key: str, node: Node, config: LayerConfig | None) -> str:
    own = node.members.get("vars")
    name = own.text("name") if own is not None else None
    return _joined(around, name or (config.name if config is not None else "") or key)


def _joined(around: str, name: str) -> str:
    found = f"{around}/{name}" if around else name
    if len(found) > NAME:
        raise CheckpointError(f"has a layer name of {len(found)} characters, limit NAME is {NAME}")
    return found


def _texts(node: Node, name: str) -> list[str]:
    """A list of names, which Keras cuts into several attributes where it is long."""
    whole = node.texts(name)
    if whole is not None:
        return whole
    parts: list[str] = []
    number = 0
    while (part := node.texts(f"{name}{number}")) is not None:
        parts += part
        number += 1
    return parts


def _old_layers(top: Node, config: LayerConfig | None) -> Iterator[Layer]:
    configs = {layer.name: layer for layer in config.layers()} if config is not None else {}
    names = _texts(top, "layer_names")
    first = (top.text("keras_version") or "1").startswith("1")  # as Keras itself tells them apart
    seen: set[int] = set()
    for name in [*names, "top_level_model_weights"]:
        group = top.child(name)
        if group is None or group.dataset is not None:
            if name in names:
                raise CheckpointError(f"names a layer '{printable(name, 100)}' without a group", cure=CURE)
            continue
        if id(group) in seen:
            raise CheckpointError(f"names layer '{printable(name, 100)}' twice", cure=CURE)
        seen.add(id(group))
        found: dict[str, Layer] = {}
        weights = _texts(group, "weight_names")
        inside = _below(configs[name]) if name in configs else {}
        owners = {_owner(weight) for weight in weights}
        for weight in weights:
            node = group.child(weight)
            if node is None or node.dataset is None:
                raise CheckpointError(f"names a weight '{printable(weight, 100)}' that is not there", cure=CURE)
            layer = _old_owner(name, weight, configs.get(name), inside, len(owners) > 1)
            kept = found.setdefault(layer.name, layer)
            kept.variables.append((weight.rpartition("/")[2], node.dataset))
        for layer in found.values():
            yield replace(layer, variables=second_names(layer.variables)) if first else layer


def _owner(weight: str) -> str:
    return weight.rpartition("/")[0]


def _below(config: LayerConfig) -> dict[str, tuple[str, LayerConfig]]:
    """All layers within a model or wrapper, by name, with the path from it; names that are there twice are left out."""
    found: dict[str, tuple[str, LayerConfig]] = {}
    counts: Counter[str] = Counter()
    for path, part in config.below():
        counts[part.name] += 1
        found[part.name] = (path, part)
    return {name: pair for name, pair in found.items() if counts[name] == 1}


def _old_owner(
    group: str, weight: str, config: LayerConfig | None, inside: dict[str, tuple[str, LayerConfig]], several: bool
) -> Layer:
    """Whose weight that is: of the group's layer, or of one within it."""
    parts = [part for part in _owner(weight).split("/") if part]
    if config is not None and inside:
        for part in reversed(parts):
            if part in inside:
                path, about = inside[part]
                return Layer(_joined(group, path), _cell(about), True)
        leaves = [pair for pair in inside.values() if not pair[1].parts()]
        if len(leaves) == 1:  # a wrapper that hands its own name on
            return Layer(_joined(group, leaves[0][0]), _cell(leaves[0][1]), True)
    if config is not None and not (several and config.kind in (None, "other")):
        return Layer(group, _cell(config), True)
    below = parts[parts.index(group) + 1 :] if group in parts else parts
    if several and below:
        known = class_of_path(below[-1]) or _of_attention(config or class_of_path(group))
        return Layer(_joined(group, "/".join(below)), known)
    hinted = class_of_path(group)
    return Layer(group, None if hinted is not None and hinted.class_name in WRAPPERS else hinted)


def _cell(about: LayerConfig) -> LayerConfig:
    return about.part("cell") or about
