"""The sentences around a table, the same for every format: what was covered, how groups are known, what marks mean.

Nothing vanishes: what was skipped, assumed, degenerate or left out is said here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from gcx.conv_layer import Confidence, GroupsFrom
from gcx.renderers.cells import decimal, shape_text
from gcx.results import SIGNIFICANT, Coverage, LayerResult, LeftOut, ListedLayer, ModelResult, Partition, SkippedLayer
from gcx.settings import Settings
from gcx.words import plural

_NAMED = 6
"""Layers named in one sentence; the table and the JSON have the others."""

Kind = Literal["fact", "unsure", "legend"]


@dataclass(frozen=True, slots=True)
class Line:
    """One sentence: a `fact` about the model, something `unsure` that a reader must not miss, or a `legend`."""

    label: str
    text: str
    kind: Kind = "fact"
    verbatim: bool = False
    """To be copied, so never wrapped."""


@dataclass(frozen=True, slots=True)
class Footnote:
    """One distinct note, under the number that marks its layers."""

    number: int
    text: str
    layers: int


def footnotes(layers: Sequence[LayerResult]) -> tuple[tuple[Footnote, ...], tuple[tuple[int, ...], ...]]:
    """Every distinct note once, numbered in order of appearance, and per layer the numbers that apply to it."""
    count = Counter(note for layer in layers for note in _notes(layer))
    number = {note: k for k, note in enumerate(count, 1)}
    marks = tuple(tuple(number[note] for note in _notes(layer)) for layer in layers)
    return tuple(Footnote(number[note], note, n) for note, n in count.items()), marks


def _notes(layer: LayerResult) -> tuple[str, ...]:
    tied = (f"the same weight as {', '.join(layer.tied)}, measured once",) if layer.tied else ()
    return tuple(dict.fromkeys(layer.notes + tied))


def percent(share: float) -> str:
    """A share in percent; 100 and 0 are only said where they are meant.

    >>> percent(0.987), percent(1.0), percent(0.99999), percent(0.00001)
    ('98.7 %', '100 %', 'over 99.9 %', 'under 0.1 %')
    """
    if share >= 1 or share <= 0:
        return f"{100 * share:.0f} %"
    return "over 99.9 %" if share > 0.999 else "under 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"


def coverage_text(coverage: Coverage) -> str:
    """How much of a model was measured.

    >>> coverage_text(Coverage(convolutions=53, measured=52, not_chosen=0, weight_share=0.987))
    '52 of 53 convolutions, 98.7 % of convolution weights'
    """
    text = f"{coverage.measured} of {plural(coverage.convolutions, 'convolution')}"
    if coverage.weight_share is not None:
        text += f", {percent(coverage.weight_share)} of convolution weights"
    return text if not coverage.not_chosen else f"{text}; {coverage.not_chosen} left out by --include or --exclude"


def groups_line(layers: Sequence[LayerResult | ListedLayer], of: int | None = None) -> Line:
    """How the group counts are known, and how many are not certain; `of` how many layers, where not all are shown."""
    order: tuple[GroupsFrom, ...] = ("recorded", "declared", "inferred", "assumed")
    parts = []
    for source in order:
        chosen = [layer for layer in layers if layer.groups_from == source]
        unsure: Counter[Confidence] = Counter(c.groups_confidence for c in chosen if c.groups_confidence != "certain")
        if not chosen:
            continue
        dense = source == "assumed" and all(layer.groups == 1 for layer in chosen)
        doubts = ", ".join(f"{n} {word}" for word, n in unsure.items() if n != len(chosen))
        doubts = f" ({doubts})" if doubts else "?" if unsure else ""
        parts.append(f"{len(chosen)} {source}{' dense' if dense else ''}{doubts}")
    certain = all(layer.groups_confidence == "certain" for layer in layers)
    shown = f" of the {len(layers)} shown" if of is not None and len(layers) < of else ""
    return Line("groups", ", ".join(parts) + shown, "fact" if certain else "unsure")


def model_lines(model: ModelResult, settings: Settings) -> Iterator[Line]:
    """What is to be said of one model beside its table."""
    for note in model.notes:
        yield Line("note", note)
    changes = [text for changed, text in _changes(settings) if changed]
    if changes:
        yield Line("r is", ", ".join(changes))
    for reason in model.inconclusive:
        yield Line("inconclusive", reason, "unsure")
    yield Line("measured", coverage_text(model.coverage), "fact" if model.measured else "unsure")
    if model.measured:
        yield groups_line(model.measured, of=model.coverage.measured)
    for layer in model.skipped:
        yield Line("skipped", skipped_text(layer), "unsure")
    if model.left_out:
        yield Line("left out", left_out_text(model.left_out))
    yield from _degenerate_line(model.measured)
    yield from _summary_lines(model)


def _changes(settings: Settings) -> Iterator[tuple[bool, str]]:
    """What else than the plain Pearson correlation was asked for."""
    yield settings.measure == "cosine", "the cosine of filters, not centred"
    yield settings.fold_sign, "with the signs of the norms that follow (--fold-sign)"
    yield settings.fold_scale, "with the scales of the norms before (--fold-scale)"
    yield settings.weights == "ema", "of the moving average of the weights"


def skipped_text(layer: SkippedLayer) -> str:
    """A skipped layer with its shape and the reason."""
    shape = f" {shape_text(layer.weight_shape)}" if layer.weight_shape else ""
    return f"{layer.name}{shape}: {layer.reason}"


def left_out_text(left_out: Sequence[LeftOut]) -> str:
    """How many tensors look like weights and are none, by reason."""
    reasons = Counter(tensor.reason for tensor in left_out)
    return "tensors that are no convolution: " + ", ".join(f"{n} {reason}" for reason, n in reasons.items())


def named(names: Sequence[str]) -> str:
    """Names in a sentence, the first few of many."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _degenerate_line(layers: Sequence[LayerResult]) -> Iterator[Line]:
    filters = sum(layer.degenerate_filters for layer in layers)
    kernels = sum(layer.degenerate_kernels or 0 for layer in layers)
    if not filters and not kernels:
        return
    where = [layer.name for layer in layers if layer.degenerate_filters or layer.degenerate_kernels]
    counts = [plural(n, noun) for n, noun in ((filters, "filter"), (kernels, "kernel")) if n]
    yield Line("degenerate", f"{' and '.join(counts)}, left out of the pairs: {named(where)}", "unsure")


def _summary_lines(model: ModelResult) -> Iterator[Line]:
    summary = model.summary
    if summary.mean_r2_within is not None:
        text = f"mean r² {decimal(summary.mean_r2_within, 4)}"
        if summary.excess_within is not None:
            text += f", {decimal(summary.excess_within, 4, sign=True)} over chance"
        if summary.layers_tested:
            text += f"; {summary.layers_above_null} of {plural(summary.layers_tested, 'layer')} above it"
        yield Line("within groups", text)
    if summary.mean_r2_across is not None:
        text = f"mean r² {decimal(summary.mean_r2_across, 4)}"
        if summary.excess_across is not None:
            text += f", {decimal(summary.excess_across, 4, sign=True)} over chance"
        yield Line("across groups", text)
    if summary.pvalues:
        counted = f"{summary.layers_with_delta} of {plural(summary.pvalues, 'layer')}"
        yield Line("kernels", f"the groups of {counted} hold different kernels (adjusted p at most .05)")


def legend_lines(models: Iterable[ModelResult]) -> Iterator[Line]:
    """What the marks mean, once for all models; only those that stand in a table."""
    layers = [layer for model in models for layer in model.measured]
    if not layers:
        return
    chance = "rms r when each filter's kernels stand in random channel order"
    if any(layer.weight_shape[1] == 1 for layer in layers):
        chance += " (of one channel: when filters have random directions)"
    yield Line("chance", chance, "legend")
    if any(layer.across is not None for layer in layers):
        text = "channel order is arbitrary across groups: read rms r beside its chance, never alone"
        if any(layer.across.order_free for layer in layers if layer.across):
            text += "; ° one channel per group, so there is no order to choose"
        yield Line("across", text, "legend")
    starred = []
    if any(layer.is_above_null for layer in layers):
        starred.append("within: the 95 % interval lies above chance")
    if any(layer.has_delta for layer in layers):
        starred.append("delta: adjusted p at most .05")
    if starred:
        yield Line("*", "; ".join(starred), "legend")
    if any(layer.groups_confidence != "certain" for layer in layers):
        yield Line("?", "groups not certain: `gcx layers` says why, --groups 'NAME=N' settles it", "legend")


def footnote_lines(notes: Iterable[Footnote]) -> Iterator[Line]:
    """The notes beneath a table, each with how many layers it is about."""
    for note in notes:
        yield Line(f"[{note.number}]", f"{note.text} ({plural(note.layers, 'layer')})", "legend")


def partitions(model: ModelResult) -> Iterator[tuple[str, tuple[tuple[LayerResult, Partition], ...]]]:
    """The dense layers that were cut into groups they do not have, by the source of the cut."""
    virtual = tuple((layer, layer.virtual_groups) for layer in model.measured if layer.virtual_groups)
    induced = tuple((layer, layer.induced_groups) for layer in model.measured if layer.induced_groups)
    if virtual:
        yield "virtual", virtual
    if induced:
        yield "induced", induced


def partition_line(source: str, rows: Sequence[tuple[LayerResult, Partition]]) -> Line:
    """What stands over the table of such layers; p-values are counted, since some are small by chance."""
    read = sum(source == "virtual" and part.consumer is not None for _, part in rows)
    counting = [part for _, part in rows if source == "induced" or part.consumer is None]
    pvalues = [part.contrast_pvalue for part in counting if part.contrast_pvalue is not None]
    text = "dense layers cut by the groups of the layer that reads them"
    if source == "virtual":
        text = "dense layers cut into groups that mean nothing, so the contrast should be about 0"
    if read:
        text += f"; not counted, since a layer reads it in groups: {read}"
    if pvalues:
        small = sum(pvalue <= SIGNIFICANT for pvalue in pvalues)
        by_chance = SIGNIFICANT * len(pvalues)
        chance = f"{by_chance:.1f}" if by_chance >= 1 else f"{by_chance:.2f}"
        text += f"; p at most .05 in {small} of {len(pvalues)}, chance gives {chance}"
    return Line("negative control" if source == "virtual" else "induced groups", text)


def join_marks(marks: Iterable[int]) -> str:
    """Footnote numbers of one layer."""
    return ",".join(map(str, sorted(marks)))
