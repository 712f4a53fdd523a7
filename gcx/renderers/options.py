"""How a report is to look: what every renderer is given beside the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Theme = Literal["light", "dark"]


@dataclass(frozen=True)
class RenderOptions:
    """How a report is to look; no field changes a number."""

    width: int | None = None
    """Columns of the terminal; None (a pipe, a file) lets a table be as wide as it needs."""
    color: bool = False
    """Colour and bold; False where NO_COLOR is set or nobody is looking."""
    unicode: bool = True
    """The output's encoding can show ×, ± and …; else ASCII stands for them."""
    theme: Theme = "light"
    """Background of figures."""
