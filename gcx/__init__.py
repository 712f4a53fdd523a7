"""gcx: weight correlation in convolutional networks, within and across filter groups, against chance.

How the house is built. Data flows one way, and imports only go down (`tests/test_floors.py` holds both):

    path -readers-> Checkpoint -extract, groups-> ConvLayer* -measures-> LayerResult* -> ModelResult
    [ModelResult...] -comparing | tracking-> Report -gate-> Report -renderers-> text | bytes -cli-> stdout | file

    front door   cli, __main__: commands are thin; only they write
    spine        pipeline, measuring, assembly, summary, outcome, inputs, saved_report, comparing, tracking, gate,
                 filters: the flow, and what is derived from it
    joints       extract, groups, parametrizations: which tensors are weights, in how many groups, put together how
    wings        readers, measures, renderers: file -> Checkpoint; arrays -> numbers; Report -> text. None knows another
    ground       results, comparison, training_run, filter_bank (records), contract (their JSON), settings, checkpoint,
                 conv_layer, weight_parts, globs, words, errors, limits, version

Where does a change go? A checkpoint format: one file in `readers/` and a line in `READERS`. A measure: a function in
`measures/` and its field in `results`. An output: one file in `renderers/` and a line in `RENDERERS`. A column:
`renderers/tables`; a sentence: `renderers/prose`; what stands where: `renderers/document`. A way to find groups:
`groups/sources`. An option: `cli/options`, and `settings` if it changes a number. A budget: `limits`.

Everything here is lazy, so that `import gcx` costs nothing: no torch, no numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gcx.version import __version__

if TYPE_CHECKING:
    from gcx.comparing import compare
    from gcx.errors import CheckpointError, GcxError, UsageError
    from gcx.groups import resolve_groups
    from gcx.pipeline import correlate, layers
    from gcx.tracking import track
    from gcx.tracking.tracker import Tracker

__all__ = [
    "CheckpointError",
    "GcxError",
    "Tracker",
    "UsageError",
    "__version__",
    "compare",
    "correlate",
    "layers",
    "resolve_groups",
    "track",
]

_HOMES = {
    "CheckpointError": "gcx.errors",
    "GcxError": "gcx.errors",
    "UsageError": "gcx.errors",
    "Tracker": "gcx.tracking.tracker",
    "compare": "gcx.comparing",
    "correlate": "gcx.pipeline",
    "layers": "gcx.pipeline",
    "resolve_groups": "gcx.groups",
    "track": "gcx.tracking",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
