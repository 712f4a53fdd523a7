"""gcx: weight correlation in convolutional networks, within and across filter groups, against chance.

Everything is lazy, so that `import gcx` costs nothing: no torch, no numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gcx.version import __version__

if TYPE_CHECKING:
    from gcx.comparing import compare
    from gcx.groups import resolve_groups
    from gcx.pipeline import correlate, layers
    from gcx.tracking import track
    from gcx.tracking.tracker import Tracker

__all__ = ["Tracker", "__version__", "compare", "correlate", "layers", "resolve_groups", "track"]

_HOMES = {
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
