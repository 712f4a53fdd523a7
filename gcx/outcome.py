"""Why a model gives no answer: decided once, for the exit code and for every format that says it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from gcx.results import LayerResult, ListedLayer, ModelListing, ModelResult
from gcx.settings import Settings
from gcx.words import plural

_NAMED = 3
"""Layers named in one sentence."""


def with_reasons(model: ModelResult, settings: Settings) -> ModelResult:
    """The model with the reasons, if any, why nothing can be concluded from it: finding nothing is never a success.

    >>> from gcx.results import Coverage
    >>> from gcx.summary import summarise
    >>> nothing = Coverage(convolutions=0, measured=0, not_chosen=0, weight_share=None)
    >>> model = ModelResult(path="a.pt", format="x", coverage=nothing, summary=summarise([]), layers=())
    >>> with_reasons(model, Settings()).inconclusive
    ('no convolution found',)
    """
    return replace(model, inconclusive=tuple(_of_model(model, settings)))


def listing_with_reasons(model: ModelListing, settings: Settings) -> ModelListing:
    """The same of `gcx layers`."""
    return replace(model, inconclusive=tuple(_of_listing(model, settings)))


def exit_code(models: Sequence[ModelResult | ModelListing]) -> int:
    """3 where a model is inconclusive, else 0."""
    return 3 if any(model.inconclusive for model in models) else 0


def _of_model(model: ModelResult, settings: Settings) -> Iterator[str]:
    coverage = model.coverage
    if not any(layer.has_numbers for layer in model.measured):
        if not coverage.convolutions:
            yield "no convolution found"
        elif coverage.not_chosen == coverage.convolutions:
            yield _none_chosen(coverage.convolutions)
        elif model.measured:
            yield f"none of {plural(coverage.convolutions, 'convolution')} has a number: the notes say why"
        else:
            yield f"none of {plural(coverage.convolutions, 'convolution')} could be measured"
    yield from _unsure(model.measured, settings)


def _of_listing(model: ModelListing, settings: Settings) -> Iterator[str]:
    if not model.layers:
        yield _none_chosen(model.not_chosen) if model.not_chosen else "no convolution found"
    yield from _unsure(model.layers, settings)


def _unsure(layers: Sequence[LayerResult | ListedLayer], settings: Settings) -> Iterator[str]:
    names = [layer.name for layer in layers if layer.groups_confidence == "ambiguous"] if settings.strict_groups else []
    if names:
        some = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
        what = f"the group count of {plural(len(names), 'layer')} is ambiguous ({some})"
        yield f"{what}; declare it with --groups GLOB=N"


def _none_chosen(count: int) -> str:
    return f"--include and --exclude leave none of {plural(count, 'convolution')}"
