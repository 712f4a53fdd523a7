"""Golden files: what a text output is to look like, byte for byte. `GCX_UPDATE_GOLDEN=1 pytest …` writes them anew."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "golden"


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Hold a text against the golden file of this name."""

    def check(name: str, text: str) -> None:
        path = FOLDER / name
        if os.environ.get("GCX_UPDATE_GOLDEN") == "1":
            path.write_bytes(text.encode())
        assert text == path.read_bytes().decode(), f"{name} differs; if that is meant: GCX_UPDATE_GOLDEN=1"

    return check
