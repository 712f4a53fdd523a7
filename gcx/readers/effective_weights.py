"""Weights that a live module's forward uses and its state dict does not hold: parametrised, pruned, fake-quantised.

torch's own functions compute them from what the module holds. The module is not run, so no observer and no power
iteration takes a step: a look changes nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from gcx.checkpoint import TensorRef
from gcx.readers.live_tensors import live_reference, numbers_of
from gcx.weight_parts import TORCH_PARTS

_OLDER_PARTS = tuple(dict.fromkeys(part for parts in TORCH_PARTS for part in parts if "." not in part))
"""What the older parametrisations of torch (weight norm, spectral norm, pruning) keep instead of a weight."""
_FAKE_QUANTISERS = frozenset(
    {"FakeQuantize", "FusedMovingAvgObsFakeQuantize", "FixedQParamsFakeQuantize", "_LearnableFakeQuantize"}
)
"""Those of torch; another one's rounding is not known here."""


@dataclass(frozen=True)
class EffectiveWeight:
    """How to compute the weight that a module's forward uses."""

    compute: Callable[[], Any]
    parts: tuple[str, ...]
    """What it is made of beside the weight: names within the module, or beginnings of names if they end in a dot."""
    made_by: str = "parametrisation"

    def put_into(self, refs: dict[str, TensorRef], prefix: str, module: Any) -> dict[str, TensorRef]:
        """Put it where the first of the tensors that make it up stood, and leave those out.

        >>> import torch
        >>> doubled = EffectiveWeight(lambda: torch.full((2,), 2.0), ("weight_g",))
        >>> doubled.put_into({"c.weight_g": TensorRef("c.weight_g", "float32", (2,), lambda: None)}, "c.", None).keys()
        dict_keys(['c.weight'])
        """
        ref = live_reference(f"{prefix}weight", self._without_gradient())
        if ref is None:
            return refs
        ref = replace(
            ref,
            load=lambda: numbers_of(self._without_gradient()),
            storage=("module", id(module)),
            notes=(*ref.notes, f"the effective weight, after its {self.made_by}"),
        )
        names = {ref.name, *(f"{prefix}{part}" for part in self.parts)}
        beginnings = tuple(name for name in names if name.endswith("."))
        changed: dict[str, TensorRef] = {}
        for name, old in refs.items():
            if name in names or name.startswith(beginnings):
                changed.setdefault(ref.name, ref)
            else:
                changed[name] = old
        return changed

    def _without_gradient(self) -> Any:
        with sys.modules["torch"].no_grad():
            return self.compute()


def effective_weight(module: Any) -> EffectiveWeight | None:
    """How to compute the weight of a module, where that is not a tensor of its state dict.

    >>> import torch
    >>> effective_weight(torch.nn.Conv2d(2, 2, 3)) is None
    True
    """
    children = dict(module.named_children())
    parametrized = children.get("parametrizations")
    if parametrized is not None and hasattr(parametrized, "keys") and "weight" in parametrized:
        return EffectiveWeight(partial(_parametrised, module), ("parametrizations.weight.",))
    makers = dict(_makers(module))
    if makers:
        # Of several, one makes what another needs, and the module holds that as it was at its last run: the parts in
        # the state dict are put together instead.
        known = makers.keys() == {"weight"}
        return EffectiveWeight(makers["weight"], _OLDER_PARTS) if known else None
    fake = children.get("weight_fake_quant")
    weight = dict(module.named_parameters(recurse=False)).get("weight") if fake is not None else None
    if weight is not None and _is_settled(fake, weight):
        compute = partial(_fake_quantised, module, fake)
        return EffectiveWeight(compute, ("weight_fake_quant.",), "fake quantisation")
    return None


def _parametrised(module: Any) -> Any:
    """The weight as evaluation sees it: in training mode, spectral norm would take a step when it is looked at."""
    parts = [part for part in module.parametrizations["weight"].modules() if part.training]
    try:
        for part in parts:
            part.training = False
        return module.weight
    finally:
        for part in parts:
            part.training = True


def _makers(module: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The hooks of older parametrisations that make the weight, or one of its parts, before the module runs."""
    for hook in getattr(module, "_forward_pre_hooks", {}).values():
        name = getattr(hook, "_tensor_name", None) if hasattr(hook, "apply_mask") else getattr(hook, "name", None)
        if name != "weight" and name not in _OLDER_PARTS:
            continue
        if hasattr(hook, "apply_mask"):
            yield name, partial(hook.apply_mask, module)
        elif type(hook).__name__ == "SpectralNorm":  # its power iteration would change the module
            yield name, partial(hook.compute_weight, module, do_power_iteration=False)
        elif hasattr(hook, "compute_weight"):
            yield name, partial(hook.compute_weight, module)


def _is_settled(fake: Any, weight: Any) -> bool:
    """Whether a fake quantiser is one of torch that rounds, and has its scales already."""
    kind = type(fake)
    known = kind.__name__ in _FAKE_QUANTISERS and kind.__module__.startswith("torch.ao.quantization.")
    if not known or weight.is_meta or fake.scale.is_meta or not fake.fake_quant_enabled[0]:
        return False
    flag = fake.static_enabled if hasattr(fake, "static_enabled") else fake.observer_enabled
    seen = getattr(fake.activation_post_process, "min_val", None)
    if seen is not None and flag[0] and not (seen.numel() and seen.isfinite().all()):
        return False  # it would observe first
    return bool(fake.scale.numel() == (weight.shape[fake.ch_axis] if _per_channel(fake) else 1))


def _fake_quantised(module: Any, fake: Any) -> Any:
    """As the module's forward does it; with its batch norm in it, the product of the two is what is rounded."""
    torch = sys.modules["torch"]
    norm = module._modules.get("bn")  # noqa: SLF001
    if norm is None:
        return _rounded(module.weight, fake)
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    gain = gain.reshape(-1, *[1] * (module.weight.ndim - 1))
    return _rounded(module.weight * gain, fake) / gain


def _rounded(weight: Any, fake: Any) -> Any:
    torch = sys.modules["torch"]
    scale, zero, levels = fake.scale, fake.zero_point, (fake.quant_min, fake.quant_max)
    if hasattr(fake, "learning_enabled"):  # learned zero points are no whole numbers, unless they stay 0
        scale = scale.clamp(min=fake.eps.item())
        zero = torch.zeros_like(zero) if "symmetric" in str(fake.qscheme) else zero.round().clamp(*levels)
        zero = zero.to(torch.int32)
    if _per_channel(fake):
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, fake.ch_axis, *levels)
    return torch.fake_quantize_per_tensor_affine(weight, scale, zero, *levels)


def _per_channel(fake: Any) -> bool:
    return "per_channel" in str(fake.qscheme)
