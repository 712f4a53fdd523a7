"""How many groups each convolution has, and how that is known: recorded > declared > inferred > assumed."""

from gcx.groups.resolution import Resolution
from gcx.groups.solver import resolve_groups

__all__ = ["Resolution", "resolve_groups"]
