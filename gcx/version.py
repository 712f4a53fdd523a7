"""The version of gcx and of its JSON contract."""

__version__ = "0.1.0"

SCHEMA = 1
"""Bumped when a key of the JSON report changes its meaning; new keys alone do not bump it."""
