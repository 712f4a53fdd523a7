"""The same numbers while a network trains: a flat dict of scalars for any logger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import index
from typing import TYPE_CHECKING, Any

from gcx.assembly import Assembly, assemble, check_globs
from gcx.conv_layer import ConvLayer
from gcx.errors import UsageError
from gcx.measuring import Extras, measure_model
from gcx.outcome import exit_code, with_reasons
from gcx.pipeline import effective_settings, open_model, shown_path
from gcx.results import LayerResult, ModelResult, Report
from gcx.settings import Settings
from gcx.summary import mean_known
from gcx.tracking import tracked
from gcx.tracking.series import Kind, Step

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LIVE = Extras(pvalues=False)


class Tracker:
    """Follows a live network through its training loop; it reads the weights and changes nothing.

    Args:
        model: a `torch.nn.Module`, whose weights are read at each step, wherever they are.
        prefix: what the scalars' names begin with.
        settings: the effective settings; `options` change them, e.g. `include=("features.*",)`.
        options: fields of `gcx.settings.Settings`.

    Raises:
        UsageError: an option cannot be meant.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(8, 16, 3, groups=2))
    >>> tracker = Tracker(net)
    >>> sorted(tracker.step(0))[:3]
    ['gcx/0/across.mean_r2', 'gcx/0/excess', 'gcx/0/kernels.delta']
    >>> tracker.step(1)["gcx/0/filter_r"]
    1.0
    """

    def __init__(self, model: Any, *, prefix: str = "gcx", settings: Settings | None = None, **options: Any) -> None:
        if not hasattr(model, "named_modules"):
            raise UsageError(f"cannot follow a {type(model).__name__}", cure="give the torch.nn.Module that is trained")
        self._model = model
        self._prefix = prefix
        self._settings = effective_settings(settings, options)
        self._steps: list[Step] = []
        self._epochs: list[int | None] = []
        self._architectures: dict[frozenset[Kind], int] = {}
        self._filters: dict[str, NDArray[Any]] = {}

    def step(self, epoch: int | None = None) -> dict[str, float]:
        """Measure the network as it is now.

        Args:
            epoch: its number, for `report`; None counts.

        Returns:
            `gcx/mean_r2_within`, `gcx/excess_within`, … of the whole model, and per layer `gcx/LAYER/mean_r2`,
            `rms_r`, `excess`, `across.mean_r2`, `kernels.delta`, and `filter_r` (how its filters correlate with
            themselves at the last step). What cannot be measured is left out.

        Raises:
            UsageError: a glob matches no layer, or the epoch is no whole number.
        """
        number = len(self._epochs) if epoch is None else epoch
        if not hasattr(number, "__index__") or index(number) < 0:
            raise UsageError(f"epoch is {epoch!r}", cure="give a whole number from 0, or none")
        with open_model(self._model, self._settings) as checkpoint:
            assembly = assemble(checkpoint, self._settings)
            check_globs([assembly])
            result = measure_model(shown_path(checkpoint.path), checkpoint.format, assembly, self._settings, _LIVE)
            filter_r = self._moved(assembly, result)
        kinds = frozenset((layer.name, layer.weight_shape, layer.groups) for layer in result.measured)
        architecture = self._architectures.setdefault(kinds, len(self._architectures))
        self._steps.append(Step(result, architecture, 0, None, filter_r))
        self._epochs.append(index(number))
        return dict(_scalars(self._prefix, result, filter_r))

    def report(self) -> Report:
        """All steps so far as a report, the same as `gcx.track` makes of checkpoints; a notebook shows it.

        Raises:
            UsageError: there was no step yet.
        """
        if not self._steps:
            raise UsageError("nothing was measured yet", cure="call step() in the training loop")
        found = tracked(self._steps, self._epochs, None)
        models = tuple(with_reasons(step.result, self._settings) for step in self._steps)
        return Report(settings=self._settings, models=models, track=found, exit_code=exit_code(models))

    def _moved(self, assembly: Assembly, result: ModelResult) -> Mapping[str, float | None]:
        """Per layer, how its filters correlate with those of the last step, which are kept until the next."""
        from gcx.measures import measure_lineage

        measured = {layer.name for layer in result.measured}
        chosen: list[ConvLayer] = [layer for layer in assembly.chosen if layer.name in measured]
        now = {layer.name: layer.filters() for layer in chosen}
        moved = {
            name: mean_known(measure_lineage(self._filters[name], filters, self._settings.measure)[1])
            for name, filters in now.items()
            if name in self._filters and self._filters[name].shape == filters.shape
        }
        self._filters = now
        return moved


def _scalars(prefix: str, result: ModelResult, filter_r: Mapping[str, float | None]) -> Iterator[tuple[str, float]]:
    start = f"{prefix}/" if prefix else ""
    summary = result.summary
    for key in ("mean_r2_within", "excess_within", "mean_r2_across", "excess_across"):
        value = getattr(summary, key)
        if value is not None:
            yield f"{start}{key}", value
    for layer in result.measured:
        for key, value in _of_layer(layer, filter_r.get(layer.name)):
            if value is not None:
                yield f"{start}{layer.name}/{key}", value


def _of_layer(layer: LayerResult, filter_r: float | None) -> Iterator[tuple[str, float | None]]:
    if layer.within is not None:
        yield "mean_r2", layer.within.mean_r2
        yield "rms_r", layer.within.rms_r
        yield "excess", layer.within.excess
    if layer.across is not None:
        yield "across.mean_r2", layer.across.mean_r2
    if layer.kernels is not None:
        yield "kernels.delta", layer.kernels.delta
    yield "filter_r", filter_r
