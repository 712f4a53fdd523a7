"""Settings: everything that changes a number or the exit code. They stand in every report, to make it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal

Measure = Literal["pearson", "cosine"]
Weights = Literal["plain", "ema"]
Order = Literal["name", "mtime", "file"]

BOUNDS: Mapping[str, tuple[int, int | None]] = MappingProxyType(
    {"seed": (0, None), "n_resamples": (99, 1_000_000), "virtual_groups": (2, None), "n_draws": (20, 10_000)}
)
"""Least and largest value of the whole numbers below: those of the command line and of the Python API."""


@dataclass(frozen=True)
class Settings:
    """The effective settings of a run; each field is a command-line option of the same name."""

    measure: Annotated[Measure, "correlation of two filters: centred (pearson) or not (cosine)"] = "pearson"
    groups: Annotated[
        tuple[tuple[str, int], ...], "declared group counts, (glob on layer names, count); last match wins"
    ] = ()
    include: Annotated[tuple[str, ...], "globs on layer names: measure only these; empty means all"] = ()
    exclude: Annotated[tuple[str, ...], "globs on layer names: leave these out"] = ()
    weights: Annotated[Weights, "which copy of the weights is measured where a file holds a moving average too"] = (
        "plain"
    )
    fold_sign: Annotated[bool, "multiply each filter by the sign of the norm scale that follows it"] = False
    fold_scale: Annotated[bool, "multiply each input channel by the magnitude of the norm scale before it"] = False
    virtual_groups: Annotated[
        int | None, "cut dense layers into this many groups in natural order: a negative control"
    ] = None
    induced: Annotated[bool, "cut dense layers by the groups of the layer that reads them"] = False
    strict_groups: Annotated[bool, "exit 3 where the group count of a layer is ambiguous"] = False
    n_resamples: Annotated[
        int | None, "permutations per p-value; null chooses max(999, 20 x tests - 1), at most 9999"
    ] = None
    seed: Annotated[int, "seed of every random draw"] = 0
    map: Annotated[
        tuple[tuple[str, str], ...], "compare: (glob of the reference's layers, the candidate's), * by *"
    ] = ()
    filters: Annotated[bool, "compare: the correlation of each filter with itself, where both are of one lineage"] = (
        False
    )
    n_draws: Annotated[int, "compare: random channel subsets behind a dimension-matched value"] = 20
    order: Annotated[
        Order | None,
        "track: what checkpoints are ordered by; null takes the number in the name, else that in the file",
    ] = None
    fail_if: Annotated[tuple[str, ...], "gates: a layer or model for which one is true is a violation"] = ()
    exit_zero: Annotated[bool, "violations leave the exit code as it is"] = False
