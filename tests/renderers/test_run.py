"""`gcx track` in every format: golden files, lines that stop where a run breaks, hostile names that stay text."""

import csv
import io
import math

import numpy as np
import pytest
from matplotlib.figure import Figure

import gcx
from gcx.renderers.base import by_name
from gcx.renderers.curves import SPARK, evenly, layer_curve, series_rows, trend_bars, whole_curves
from gcx.renderers.figures import report_figure
from gcx.renderers.options import RenderOptions
from gcx.renderers.run_figure import MOST, draw_curve
from gcx.renderers.theme import PALETTES

LOOKS = {
    "80": RenderOptions(width=80),
    "120": RenderOptions(width=120),
    "pipe": RenderOptions(),
    "ascii": RenderOptions(width=100, unicode=False),
    "colour": RenderOptions(width=100, color=True),
}
HOSTILE = "</td>|`<script>\x1b[31m\n::error::x $\\frac{*b*"


def run(*epochs, stray=None, name="body", layers=1):
    """Checkpoints of one run; the one of the epoch `stray` is of another."""
    rng = np.random.default_rng(0)
    start = {f"{name}{k or ''}.weight": rng.normal(size=(16, 4, 3, 3)) for k in range(layers)}
    start |= {"depthwise.weight": rng.normal(size=(8, 1, 3, 3))}
    shared = rng.normal(size=(4, 3, 3))
    states = []
    for epoch in epochs:
        state = {key: weight + 0.2 * epoch * (shared if weight.shape[1] == 4 else 1.0) for key, weight in start.items()}
        if epoch == stray:
            state = {key: rng.normal(size=weight.shape) for key, weight in start.items()}
        states.append(state | {"epoch": epoch})
    return gcx.track(*states, groups={"body*": 2, "depthwise": 8} if name == "body" else {"depthwise": 8})


@pytest.fixture(scope="module")
def broken():
    return run(0, 1, 2, 3, 5, stray=2)


@pytest.mark.parametrize("look", LOOKS)
def test_terminal_golden(look, golden, broken):
    options = LOOKS[look]
    text = by_name("terminal").render(broken, options)
    golden(f"track-{look}.txt", text)
    if options.width is not None and not options.color:
        assert max(map(len, text.splitlines())) <= options.width


def test_markdown_and_notebook_golden(golden, broken):
    golden("track.md", by_name("markdown").render(broken, RenderOptions()))
    golden("track-notebook.html", broken._repr_html_())


def test_csv_has_one_row_per_layer_and_checkpoint_with_its_place(broken):
    rows = list(csv.DictReader(io.StringIO(by_name("csv").render(broken, RenderOptions()))))
    assert len(rows) == sum(len(model.layers) for model in broken.models)
    assert [(row["epoch"], row["lineage"]) for row in rows[::2]] == [
        ("0", "0"),
        ("1", "0"),
        ("2", "1"),
        ("3", "0"),
        ("5", "0"),
    ]
    assert float(rows[0]["within.mean_r2"]) == broken.track.series[0].mean_r2[0]


def test_bars_break_between_lineages_and_keep_first_and_last(broken):
    row = series_rows(broken.track)[0]
    assert trend_bars(row.series.mean_r2, [[0, 1], [2], [3, 4]]).count("|") == 2
    many = tuple(k / 100 for k in range(100))
    bars = trend_bars(many, [list(range(100))])
    assert (len(bars), bars[0], bars[-1]) == (SPARK, "▁", "█")
    assert evenly(100, 40)[0] == 0
    assert evenly(100, 40)[-1] == 99


# --- figures ---


def test_a_line_is_never_drawn_between_lineages(broken):
    axes = Figure().add_subplot()
    draw_curve(axes, whole_curves(broken.track)[0], PALETTES["light"])
    measured = [line for line in axes.get_lines() if line.get_color() == PALETTES["light"].within]
    assert [list(line.get_xdata()) for line in measured] == [[0, 1], [2], [3, 5]]
    assert [list(line.get_ydata()) for line in measured] == [
        list(broken.track.model.mean_r2_within[a:b]) for a, b in ((0, 2), (2, 3), (3, 5))
    ]
    values = [*broken.track.model.mean_r2_within, *broken.track.model.null_within]
    assert axes.get_ylim() == (0, pytest.approx(1.08 * max(values)))
    draw_curve(small := Figure().add_subplot(), whole_curves(broken.track)[0], PALETTES["light"], small=True)
    low, high = small.get_ylim()
    assert 0 < low < min(values) < max(values) < high


def test_the_figure_has_the_model_and_every_layer_over_its_chance(broken):
    figure = report_figure(broken, PALETTES["dark"])
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["mean r² within groups, all layers", "mean r² across groups, all layers", "body", "depthwise"]
    layer = layer_curve(series_rows(broken.track)[1])
    assert not layer.within  # depthwise: no group has a pair
    small = figure.axes[3].get_lines()
    assert {line.get_color() for line in small} == {PALETTES["dark"].chance, PALETTES["dark"].across}
    first = next(line for line in small if line.get_color() == PALETTES["dark"].chance)
    assert first.get_ydata()[0] == pytest.approx(math.sqrt(1 / 8))


def test_one_layer_is_drawn_once_and_named():
    state = {"body.weight": np.random.default_rng(0).normal(size=(8, 2, 3, 3))}
    figure = report_figure(gcx.track(state, state, groups={"body": 2}), PALETTES["light"])
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["mean r² within groups, body", "mean r² across groups, body"]


def test_of_very_many_layers_those_that_move_most_are_drawn():
    report = run(0, 1, layers=MOST + 4)
    figure = report_figure(report, PALETTES["light"])
    assert len(figure.axes) == 2 + MOST
    said = " ".join(text.get_text() for text in figure.texts)
    assert f"the {MOST} that move most, 5 layers not shown" in said


def test_epochs_that_are_not_known_become_places():
    states = [{"body.weight": np.random.default_rng(0).normal(size=(8, 4, 3, 3)) + k} for k in range(3)]
    report = gcx.track(*states)
    assert whole_curves(report.track)[0].x == (1, 2, 3)


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_equal_runs_give_equal_pictures(kind, broken):
    first, second = (by_name(kind).render(broken, RenderOptions()) for _ in range(2))
    assert first == second
    assert len(first) > 5000


@pytest.mark.parametrize("name", ["terminal", "markdown", "csv", "json", "junit", "github", "html", "svg"])
def test_hostile_names_stay_text(name):
    text = by_name(name).render(run(0, 1, name=HOSTILE), RenderOptions())
    text = text.decode() if isinstance(text, bytes) else text
    assert "\x1b" not in text
    assert not any(line.lstrip().startswith("::error::") for line in text.splitlines())
    if name in ("markdown", "junit", "html", "svg"):
        assert "<script>\\x1b" not in text.replace("`<script>", "").replace("&lt;script&gt;", "")


# --- the page ---


def test_the_page_shows_the_run_and_the_last_checkpoint(broken):
    page = by_name("html").render(broken, RenderOptions())
    assert page.count('<section class="model"') == 1
    assert page.count('class="trend"') == 2
    assert "not of the lineage of epoch 1" in page
    # Three stretches: each begins with a move of the pen.
    line = page.partition('<path class="within" d="')[2].partition('"')[0]
    assert line.count("M") == 3
