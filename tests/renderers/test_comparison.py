"""`gcx compare` in every text format: golden files, widths, and hostile names that stay text."""

from pathlib import Path

import numpy as np
import pytest

import gcx
from gcx.renderers.base import by_name
from gcx.renderers.options import RenderOptions
from gcx.results import Report

DIGITS = Path(__file__).parents[2] / "examples" / "checkpoints"
LOOKS = {
    "80": ("terminal", RenderOptions(width=80)),
    "120": ("terminal", RenderOptions(width=120)),
    "pipe": ("terminal", RenderOptions()),
    "ascii": ("terminal", RenderOptions(width=100, unicode=False)),
}
SUFFIXES = {"markdown": ".md", "junit": ".xml", "github": ".github.txt"}
HOSTILE = "</td>|`<script>\x1b[31m\n::error::x ##[error]*b*"


@pytest.fixture
def compared(monkeypatch) -> Report:
    monkeypatch.chdir(DIGITS)  # paths are shown as typed
    return gcx.compare(
        "digits-g1-seed0.pt",
        "digits-g4-seed1.pt",
        fail_if=[
            "change.within.mean_r2 > 10%",
            "within.max_abs_r > 2",
            "across.mean_r2 > 1",
            'layers["stem"].groups > 0',
        ],
    )


@pytest.mark.parametrize("look", LOOKS)
def test_terminal_golden(look, golden, compared):
    name, options = LOOKS[look]
    text = by_name(name).render(compared, options)
    golden(f"comparison-{look}.txt", text)
    assert options.width is None or max(map(len, text.splitlines())) <= options.width


@pytest.mark.parametrize("name", SUFFIXES)
def test_data_golden(name, golden, compared):
    golden(f"comparison{SUFFIXES[name]}", by_name(name).render(compared, RenderOptions()))


def test_notebook_golden(golden, compared):
    golden("comparison-notebook.html", compared._repr_html_())


@pytest.mark.parametrize("name", ["terminal", "markdown", "csv", "json", "junit", "github"])
def test_hostile_names_stay_text(name):
    rng = np.random.default_rng(0)
    nets = [{f"{HOSTILE}.weight": rng.normal(size=(8, 4, 3, 3))} for _ in range(2)]
    text = by_name(name).render(gcx.compare(*nets, fail_if=["within.mean_r2 > 0"]), RenderOptions())
    assert "\x1b" not in text
    assert not any(line.lstrip().startswith("::error::") for line in text.splitlines())
    if name in ("markdown", "junit"):
        assert "<script>" not in text.replace("`<script>", "")
