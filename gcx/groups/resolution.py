"""Resolution: how many groups one convolution has, and how that is known."""

from __future__ import annotations

from dataclasses import dataclass

from gcx.conv_layer import Confidence, GroupsFrom


@dataclass(frozen=True)
class Resolution:
    """How many groups one convolution has, how sure that is, and why."""

    groups: int
    confidence: Confidence
    """certain: no other count fits what is around it; likely: one fits clearly best; ambiguous: it could be another."""
    evidence: str
    """One sentence for a person."""
    alternatives: tuple[int, ...]
    """Other counts that stay possible, the more plausible first; empty where certain."""
    source: GroupsFrom
    transposed: bool
    """Stored as (in, out/groups, *kernel)."""
    in_channels: int
    out_channels: int
    notes: tuple[str, ...] = ()
    """Short sentences, e.g. that a declared count differs from what the shapes say."""
