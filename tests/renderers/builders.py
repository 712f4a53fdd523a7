"""Reports made by hand, with every kind of layer that a renderer must show."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from gcx.results import (
    Across,
    Coverage,
    Kernels,
    LayerResult,
    LeftOut,
    ListedLayer,
    Listing,
    ModelListing,
    ModelResult,
    Partition,
    Picture,
    Report,
    SkippedLayer,
    Summary,
    Within,
)
from gcx.settings import Settings

HOSTILE = (
    "evil\x1b[31m\x9b2J\u202e[red][/]$x^$|`a`\n<script>alert('1')</script>\"&amp; --> ]]>{{7}}",
    "=cmd|' /C calc'!A0",
    "+1",
    "@SUM(A1)",
    "\tlead",
    "[/]",
    "$x^$",
    "a|b\\|c",
    "**bold** _i_ https://x.y www.a.b @me #1",
    "\ud800lone",
    "\u2028line\u2029",
    "层.卷积",
    "-->",
    "é\u0301" * 3,
    "",
    "x" * 300,
)
"""Names that mean something in one output language or another."""


def layer(name: str, shape: tuple[int, ...], groups: int = 1, *, rms: float = 0.159, **changes: Any) -> LayerResult:
    """A measured layer with plausible numbers that are all derived from `rms` and the shape."""
    out, c = shape[:2]
    k = prod(shape[2:])
    n = out // groups
    d = c * k
    iso, perm = 1 / (d - 1), (None if c == 1 else 1.2 / (d - 1) if k > 1 else 1 / (d - 1))
    q = rms * rms
    notes: tuple[str, ...] = ()
    within = across = kernels = None
    if n > 1:
        null = iso if perm is None else perm
        within = Within(
            n_pairs=groups * n * (n - 1) // 2,
            mean_r=0.01,
            mean_r2=q,
            rms_r=rms,
            mean_abs_r=0.8 * rms,
            max_abs_r=min(1.0, 4 * rms),
            max_abs_pair=(0, 1),
            null_isotropic_r2=iso,
            null_isotropic_mean_abs_r=0.8 * iso**0.5,
            null_isotropic_max_abs_r=min(1.0, 4 * iso**0.5),
            max_abs_pvalue=0.25,
            null_permuted_r2=perm,
            excess=q - null,
            excess_over="isotropic" if perm is None else "permuted",
            ci95=(q - 0.004, q + 0.004),
            se=0.002,
            z_isotropic=(q - iso) * 1000,
        )
    else:
        notes += ("one filter per group: no pairs within a group",)
    if groups > 1:
        q2 = 0.4 * q
        across = Across(
            n_pairs=n * n * groups * (groups - 1) // 2,
            mean_r2=q2,
            rms_r=q2**0.5,
            mean_abs_r=0.8 * q2**0.5,
            max_abs_r=min(1.0, 3 * rms),
            null_isotropic_r2=iso,
            null_isotropic_mean_abs_r=0.8 * iso**0.5,
            null_permuted_r2=perm,
            order_free=c == 1,
        )
    else:
        notes += ("one group: nothing is across groups",)
    if k > 1:
        same, different = (0.18 if n > 1 else None), (0.17 if groups > 1 else None)
        delta = None if same is None or different is None else 0.0123
        p = None if delta is None else 0.001
        kernels = Kernels(
            same_group=same,
            different_groups=different,
            delta=delta,
            pvalue=p,
            pvalue_adjusted=None if p is None else 0.004,
            n_resamples=None if p is None else 999,
        )
    else:
        notes += ("kernel size 1: no kernels to compare",)
    made = LayerResult(
        name=name,
        weight_shape=shape,
        out_channels=out,
        in_channels=c * groups,
        groups=groups,
        filters_per_group=n,
        transposed=False,
        parameters=prod(shape),
        groups_from="declared" if groups > 1 else "assumed",
        groups_confidence="certain" if groups > 1 else "ambiguous",
        groups_evidence="said by --groups" if groups > 1 else "nothing says otherwise",
        degenerate_filters=0,
        degenerate_kernels=0 if k > 1 else None,
        notes=notes,
        within=within,
        across=across,
        kernels=kernels,
    )
    return replace(made, **changes)


def sample_layers() -> tuple[LayerResult | SkippedLayer, ...]:
    """Dense, grouped, depthwise, pointwise, transposed, degenerate and skipped layers."""
    dense = layer("entry", (64, 3, 3, 3), rms=0.214)
    cut = Partition(
        groups=4,
        source="virtual",
        consumer=None,
        within_mean_r2=0.0457,
        across_mean_r2=0.0459,
        contrast=-0.0002,
        contrast_pvalue=0.51,
        kernels=None,
    )
    read = replace(cut, source="induced", consumer="b1.b1.body.0", contrast=0.0041, contrast_pvalue=0.0004)
    return (
        replace(dense, virtual_groups=cut, induced_groups=read),
        layer("b1.b1.body.0", (64, 16, 3, 3), 4, rms=0.171),
        layer("b1.b1.body.2", (64, 16, 3, 3), 4, rms=0.094, degenerate_filters=2, degenerate_kernels=37),
        layer("features.stage2.depthwise", (96, 1, 5, 5), 96, rms=0.31, groups_from="inferred"),
        layer("features.stage2.project", (24, 96, 1, 1), rms=0.12),
        layer(
            "upsample.0.body.0",
            (64, 16, 3, 3),
            4,
            rms=0.12,
            groups_from="inferred",
            groups_confidence="likely",
            groups_alternatives=(2, 8),
            transposed=True,
            stored_shape=(64, 16, 3, 3),
            tied=("upsample.1.body.0",),
        ),
        layer("pair", (2, 1, 3, 3), 1, rms=0.02, groups_from="recorded", groups_confidence="certain"),
        SkippedLayer(name="quantised.conv", reason="packed int4 weights", weight_shape=(8, 8, 3, 3), parameters=576),
    )


def model(layers: tuple[LayerResult | SkippedLayer, ...] | None = None, path: str = "model.pt") -> ModelResult:
    layers = sample_layers() if layers is None else layers
    measured = [one for one in layers if isinstance(one, LayerResult)]
    total = sum(one.parameters for one in layers)
    return ModelResult(
        path=path,
        format="torch-state-dict",
        coverage=Coverage(
            convolutions=len(layers),
            measured=len(measured),
            not_chosen=0,
            weight_share=sum(one.parameters for one in measured) / total if total else None,
        ),
        summary=Summary(
            mean_r2_within=0.0253,
            excess_within=0.0123,
            mean_r2_across=0.0096,
            excess_across=0.0012,
            layers_above_null=4,
            layers_tested=6,
            layers_with_delta=3,
            pvalues=3,
            parameters=sum(one.parameters for one in measured),
        )
        if measured
        else Summary(
            mean_r2_within=None,
            excess_within=None,
            mean_r2_across=None,
            excess_across=None,
            layers_above_null=0,
            layers_tested=0,
            layers_with_delta=0,
            pvalues=0,
            parameters=0,
        ),
        notes=("weights from 'params'; there is also 'params_ema'",),
        layers=layers,
        left_out=(LeftOut(name="pos_embed", shape=(1, 196, 384), reason="position table"),),
    )


def report(*models: ModelResult) -> Report:
    return Report(settings=Settings(groups=(("b1.*", 4),)), models=models or (model(),))


def hostile_report() -> Report:
    """Every hostile name as path, layer, tied name, note, evidence and reason."""
    layers: list[LayerResult | SkippedLayer] = []
    for name in HOSTILE:
        layers.append(layer(name, (8, 2, 3, 3), 4, tied=(name,), groups_evidence=name, notes=(f"about {name}",)))
        layers.append(SkippedLayer(name=name, reason=name, weight_shape=(1, 2, 3, 3)))
    return report(*(replace(model(tuple(layers), path=name), notes=(name,), format=name) for name in HOSTILE[:2]))


def listed(source: LayerResult, **changes: Any) -> ListedLayer:
    shared = {key: getattr(source, key) for key in ListedLayer.__dataclass_fields__ if hasattr(source, key)}
    return ListedLayer(**{**shared, **changes})


def listing() -> Listing:
    layers = tuple(listed(one) for one in sample_layers() if isinstance(one, LayerResult))
    broken = listed(layer("broken", (4, 4, 3, 3)), problem="its bytes are not in the file")
    model = ModelListing(
        path="model.pt",
        format="torch-state-dict",
        notes=("weights from 'params'",),
        layers=(*layers, broken),
        left_out=(LeftOut(name="pos_embed", shape=(1, 196, 384), reason="position table"),),
    )
    return Listing(settings=Settings(), models=(model,))


def hostile_listing() -> Listing:
    layers = tuple(
        listed(
            layer(name, (8, 2, 3, 3), 1),
            groups_evidence=name,
            groups_alternatives=(2, 4),
            problem=name if k % 2 else None,
        )
        for k, name in enumerate(HOSTILE)
    )
    left_out = tuple(LeftOut(name=name, shape=(1, 2, 3), reason=name) for name in HOSTILE)
    return Listing(
        settings=Settings(),
        models=(ModelListing(path=HOSTILE[0], format="x", notes=HOSTILE, layers=layers, left_out=left_out),),
    )


def picture(
    out: int = 64, groups: int = 4, d: int = 144, *, excess: float = 0.1, seed: int = 0, pointwise: bool = False
) -> Picture:
    """A picture of random filters that share a template within their group."""
    rng = np.random.default_rng(seed)
    n = out // groups
    filters = rng.standard_normal((out, d)) + excess**0.5 * np.repeat(rng.standard_normal((groups, d)), n, axis=0)
    r = np.corrcoef(filters)
    labels = np.arange(out) // n
    upper = np.triu_indices(out, 1)
    same = labels[upper[0]] == labels[upper[1]]
    bins = np.linspace(-1, 1, 201)
    if out <= 512:
        np.fill_diagonal(r, np.nan)
    step = -(-out // 512)
    null = rng.standard_normal(200_000) / (d - 1) ** 0.5
    return Picture(
        r=r[::step, ::step].astype(np.float32),
        step=step,
        edges=tuple(range(0, out + 1, n)),
        bins=bins,
        within_counts=np.histogram(r[upper][same], bins)[0],
        across_counts=np.histogram(r[upper][~same], bins)[0],
        null_density=np.histogram(null, bins)[0] / len(null),
        null_rms=(d - 1) ** -0.5,
        kernels=None
        if pointwise or groups == 1
        else 0.15 + 0.02 * rng.random((min(groups, 512),) * 2) + 0.03 * np.eye(min(groups, 512)),
    )
