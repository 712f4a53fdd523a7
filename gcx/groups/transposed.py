"""Transposed convolutions store (in, out/groups, *kernel): recognised by the lengths of what belongs to them.

A bias or a norm right after it has as many values as a convolution hands on channels. Where these agree with the second
axis and not with the first, the weight is a transposed one. A word in the name is looked at only where both axes are of
one length, so that it decides about the layout and never about a count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gcx.conv_layer import Confidence
from gcx.groups.levels import handed_on
from gcx.groups.network import Emitter, Network

WORDS = frozenset(
    {"transpose", "transposed", "deconv", "deconvs", "upconv", "upconvs", "convtranspose", "tconv", "convt"}
)
UP_WORDS = frozenset({"up", "ups", "upsample", "upsampling", "upsampler", "upscale"})
"""Words that say so only together with an even kernel."""


@dataclass(frozen=True)
class Transposed:
    """A convolution that stores (in, out/groups, *kernel), and why that is so."""

    groups: int
    confidence: Confidence
    evidence: str


def recognise(network: Network, conv: Emitter) -> Transposed | None:
    """Say whether a weight is that of a transposed convolution; None where nothing shows it."""
    first, second, *_kernel = conv.shape
    if min(first, second) == 0:
        return None
    bias = conv.node.shapes.get("bias", ())
    if len(bias) == 1 and bias[0] not in (0, first):
        groups = _groups(first, second, bias[0])
        why = f"its bias has {bias[0]} values where the first axis has {first}, so it is stored transposed"
        return None if groups is None else Transposed(groups, "certain", why)
    if first == second:
        return _by_name(conv)
    if network.order == "unknown" or bias or second == 1:
        return None
    if conv.index > 0 and handed_on(network, conv.index - 1) != first:
        return None
    return _by_next(network, conv)


def _groups(first: int, second: int, out: int) -> int | None:
    groups, rest = divmod(out, second)
    return groups if groups and not rest and first % groups == 0 else None


def _by_name(conv: Emitter) -> Transposed | None:
    words = set(re.split(r"[^a-z]+", conv.name.lower()))
    kernel = conv.shape[2:]
    even = all(length % 2 == 0 for length in kernel)
    if max(kernel) > 1 and (words & WORDS or (even and words & UP_WORDS)):
        return Transposed(1, "likely", "its name says that it is transposed; both axes have one length")
    return None


def _by_next(network: Network, conv: Emitter) -> Transposed | None:
    """What comes after reads the second axis, and what comes before hands on the first."""
    first, second, *kernel = conv.shape
    if conv.index + 1 >= len(network.emitters):
        return None
    following = network.emitters[conv.index + 1]
    fed = "" if conv.index == 0 else f" and what comes before hands on {first}"
    if following.kind == "norm" and following.channels != first:
        groups = _groups(first, second, following.channels)
        why = f"`{following.name}` after it has {following.channels} channels{fed}, so it is stored transposed"
        return None if groups is None or max(kernel) == 1 else Transposed(groups, "likely", why)
    even = all(length % 2 == 0 for length in kernel)
    if following.kind == "conv" and even and following.shape[1] == second and conv.index > 0:
        return Transposed(1, "likely", f"`{following.name}` after it reads {second} channels{fed}: stored transposed")
    return None
