"""Figures: artists, limits and labels, never pixels of text; equal bytes; hostile names stay text."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from renderers.builders import HOSTILE, layer, model, picture, report

from gcx.renderers.base import RenderOptions, by_name
from gcx.renderers.contact import DPI, MOST, caption, compose, draw_contact, lay_out, tile_image
from gcx.renderers.figures import FIGURES, quiet_matplotlib, report_figure
from gcx.renderers.heatmap import draw_heatmap, draw_histogram, draw_kernels, draw_scale
from gcx.renderers.labels import fitted, name_lines
from gcx.renderers.picture_numbers import chance_width, color_limit, colored
from gcx.renderers.theme import PALETTES, lookup_table, rgba

LIGHT = PALETTES["light"]
GROUPED = layer("b1.body.0", (64, 16, 3, 3), 4, rms=0.171, picture=picture(64, 4, 144, excess=0.3))


def axes() -> object:
    return Figure().add_subplot()


def lines(ax: object) -> list[float]:
    return [
        line.get_xdata()[0]
        for line in ax.lines
        if line.get_gid() == "boundary" and line.get_xdata()[0] == line.get_xdata()[1]
    ]  # type: ignore[attr-defined]


def test_group_boundaries_stand_where_groups_meet() -> None:
    ax = axes()
    draw_heatmap(ax, picture(64, 4), LIGHT, 0.5)
    assert lines(ax) == [16, 32, 48]
    assert ax.get_xlim() == (0, 64)
    assert ax.get_ylim() == (64, 0)


def test_a_thousand_groups_draw_no_boundaries() -> None:
    ax = axes()
    draw_heatmap(ax, picture(999, 999, 9, excess=0), LIGHT, 1.0)
    assert tuple(ax.images[0].get_extent()) == (0, 1000, 1000, 0)
    assert lines(ax) == []
    assert ax.get_xlim() == (0, 999)
    assert "largest |r| of 2×2 pairs" in ax.get_xlabel()


def test_colours_are_symmetric_about_0() -> None:
    r = np.array([[np.nan, 0.3, -0.3], [0.3, np.nan, 0.0], [-0.3, 0.0, np.nan]])
    image = colored(r, 0.3, LIGHT)
    table = lookup_table(LIGHT.diverging, 255)
    assert image[0, 1].tolist() == table[-1].tolist()
    assert image[0, 2].tolist() == table[0].tolist()
    assert image[1, 2].tolist() == table[127].tolist() == list(rgba(LIGHT.diverging[5]))
    assert image[0, 0].tolist() == list(rgba(LIGHT.empty))
    beyond = colored(r * 3, 0.3, LIGHT)
    assert (beyond[0, 1] == image[0, 1]).all()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_scale_grows_evenly_to_both_sides(theme: str) -> None:
    table = lookup_table(PALETTES[theme].diverging, 255).astype(float)  # type: ignore[index]
    luminance = table[:, :3] @ [0.2126, 0.7152, 0.0722]
    sign = 1 if theme == "dark" else -1
    assert (np.diff(sign * luminance[127:]) >= -0.5).all()
    assert (np.diff(sign * luminance[127::-1]) >= -0.5).all()


def test_degenerate_filters_have_the_colour_of_no_r() -> None:
    r = np.full((3, 3), 0.2)
    r[1] = r[:, 1] = np.nan
    assert (colored(r, 1.0, LIGHT)[1] == rgba(LIGHT.empty)).all()


def test_chance_looks_like_chance_whatever_the_dimension_and_the_reduction() -> None:
    shares = []
    for out, d in ((64, 576), (64, 36), (96, 9), (1024, 144)):
        rng = np.random.default_rng(out + d)
        r = np.corrcoef(rng.standard_normal((out, d))) - np.eye(out)
        step = -(-out // 512)
        tiles = r.reshape(out // step, step, out // step, step).swapaxes(1, 2).reshape(out // step, out // step, -1)
        reduced = np.take_along_axis(tiles, abs(tiles).argmax(-1)[..., None], -1)[..., 0]
        made = replace(picture(out, 1, d, excess=0), r=reduced)
        shares.append(np.median(abs(reduced)) / chance_width(made))
        assert color_limit(made) >= min(1.0, 4.99 * made.null_rms)
    assert max(shares) < 1.15 * min(shares)


def test_the_colour_limit_follows_what_the_layer_has() -> None:
    assert color_limit(picture(64, 4, 576, excess=0)) == pytest.approx(5 / 575**0.5)
    assert 0.6 < color_limit(picture(64, 4, 576, excess=3.0)) <= 1
    assert color_limit(picture(8, 8, 2, excess=0)) == 1


def test_the_colour_bar_shows_the_width_of_chance() -> None:
    ax = axes()
    draw_scale(ax, GROUPED.picture, LIGHT, 0.4)
    (strip,) = ax.collections
    assert strip.get_paths()[0].vertices[:, 1].max() == pytest.approx(1 / 143**0.5)
    assert strip.get_paths()[0].vertices[:, 1].min() == pytest.approx(-1 / 143**0.5)
    assert ax.get_ylim() == (-0.4, 0.4)
    assert ".084" in ax.get_xlabel()


def test_the_histogram_has_three_densities() -> None:
    ax = axes()
    draw_histogram(ax, GROUPED.picture, LIGHT)
    labels = [patch.get_label() for patch in ax.patches]
    assert labels == ["isotropic null", "across (1536 pairs)", "within (480 pairs)"]
    for patch in ax.patches:
        values, edges, _ = patch.get_data()
        assert (values * np.diff(edges)).sum() == pytest.approx(1, abs=1e-3)
    low, high = ax.get_xlim()
    assert low == -high
    assert 0.3 < high < 0.7


def test_the_histogram_of_depthwise_and_dense_layers() -> None:
    ax = axes()
    draw_histogram(ax, picture(96, 96, 9, excess=0), LIGHT)
    assert [patch.get_label() for patch in ax.patches] == ["isotropic null", "across (4560 pairs)"]
    ax = axes()
    draw_histogram(
        ax, replace(picture(2, 1, 9), within_counts=np.zeros(200, int), across_counts=np.zeros(200, int)), LIGHT
    )
    assert [patch.get_label() for patch in ax.patches] == ["isotropic null"]


def test_kernels_between_groups() -> None:
    figure = Figure()
    ax, bar = figure.add_subplot(121), figure.add_subplot(122)
    kernels = np.array([[0.3, 0.1], [0.1, np.nan]])
    draw_kernels(ax, bar, kernels, LIGHT)
    image = ax.images[0].get_array()
    assert image[0, 0].tolist() == list(rgba(LIGHT.sequential[-1]))
    assert image[0, 1].tolist() == list(rgba(LIGHT.sequential[0]))
    assert image[1, 1].tolist() == list(rgba(LIGHT.empty))
    assert [label.get_text() for label in bar.get_yticklabels()] == [".100", ".300"]


def test_one_layer_is_a_heatmap_with_its_facts() -> None:
    figure = report_figure(report(model((GROUPED,))), LIGHT)
    texts = [text.get_text() for text in figure.texts]
    assert texts[0] == "b1.body.0"
    assert texts[1].startswith("64×16×3×3  ·  4 groups (declared)  ·  rms r within .171 (chance .092)  ·  rms r across")
    assert len(figure.axes) == 5
    dense = layer("fc", (24, 96, 1, 1), picture=picture(24, 1, 96, pointwise=True))
    assert len(report_figure(report(model((dense,))), LIGHT).axes) == 3


def test_figures_say_when_r_is_the_cosine() -> None:
    for layers in ((GROUPED,), (GROUPED, GROUPED)):
        plain = report(model(layers))
        cosine = replace(plain, settings=replace(plain.settings, measure="cosine"))
        said = []
        for made in (plain, cosine):
            figure = report_figure(made, LIGHT)
            texts = [*figure.texts, *(text for ax in figure.axes for text in ax.texts)]
            said.append(any("cosine" in text.get_text() for text in texts))
        assert said == [False, True]


def sheet_of(count: int, models: int = 1) -> object:
    layers = tuple(layer(f"layer{k}.conv", (16, 4, 3, 3), 4, picture=picture(16, 4, 36, seed=k)) for k in range(count))
    return lay_out([model(layers, path=f"{k}.pt") for k in range(models)])


@pytest.mark.parametrize(("count", "models"), [(2, 1), (29, 1), (100, 1), (5, 3), (170, 1)])
def test_tiles_keep_order_and_never_overlap(count: int, models: int) -> None:
    sheet = sheet_of(count, models)
    assert [tile.layer.name for tile in sheet.tiles] == [f"layer{k}.conv" for k in range(count)] * models
    places = [(tile.top, tile.left) for tile in sheet.tiles]
    assert places == sorted(places)
    covered = np.zeros((sheet.height, sheet.width), dtype=int)
    for tile in sheet.tiles:
        covered[tile.top - 40 : tile.top + tile.size, tile.left : tile.left + tile.size] += 1  # with its label
    for _, top in sheet.headings:
        covered[top : top + 32, 50:400] += 1
    assert covered.max() == 1
    assert sheet.width <= 2400
    assert len(sheet.headings) == models


def test_a_tile_samples_so_that_chance_keeps_its_width() -> None:
    made = picture(512, 1, 144, excess=0)
    assert tile_image(made, 130, 4.0, LIGHT).shape == (130, 130, 4)
    small = picture(8, 2, 36)
    image = tile_image(small, 160, 4.0, LIGHT)
    block = image[2:18, 22:38].reshape(-1, 4)
    assert (block == block[0]).all()  # filters 0 and 1: 20 pixels each
    ink = (0.55 * image[81, 5] + 0.45 * np.array(rgba(LIGHT.line))).round()
    assert np.abs(image[80, 5] - ink).max() <= 1  # the boundary between the two groups


def test_tiles_of_many_groups_have_no_boundaries() -> None:
    with_groups = tile_image(picture(96, 96, 9, excess=0), 156, 4.0, LIGHT)
    without = tile_image(replace(picture(96, 96, 9, excess=0), edges=(0, 96)), 156, 4.0, LIGHT)
    assert (with_groups == without).all()


def test_the_contact_sheet_shows_every_layer_with_its_numbers() -> None:
    sheet = sheet_of(29)
    ax = Figure().add_subplot()
    draw_contact(ax, sheet, LIGHT)
    texts = [text.get_text() for text in ax.texts]
    assert texts[0] == "0.pt"
    assert texts[1:3] == ["layer0.conv", "g4  .159 / .169"]
    assert len(texts) == 1 + 2 * 29
    assert len(ax.artists) == 1
    image = compose(sheet, LIGHT)
    assert image.shape == (sheet.height, sheet.width, 4)
    assert image[0, 0].tolist() == [0, 0, 0, 0]


def test_long_names_take_two_lines_on_the_whole_sheet() -> None:
    name = "net.level3_0.spp_dw.0.conv"
    layers = tuple(layer(one, (16, 4, 3, 3), 4, picture=picture(16, 4, 36)) for one in (name, *("ab" * 40)))
    sheet = lay_out([model(layers)])
    ax = Figure().add_subplot()
    draw_contact(ax, sheet, LIGHT)
    texts = [text.get_text() for text in ax.texts]
    assert "".join(reversed(texts[1:3])) == name
    assert sheet.tiles[0].top - sheet.headings[0][1] > sheet_of(81).tiles[0].top - sheet_of(81).headings[0][1]


def test_kernels_that_hardly_differ_show_no_contrast() -> None:
    figure = Figure()
    ax, bar = figure.add_subplot(121), figure.add_subplot(122)
    draw_kernels(ax, bar, np.array([[0.1201, 0.12], [0.12, 0.1201]]), LIGHT)
    image = ax.images[0].get_array().astype(int)
    assert np.abs(image - list(rgba(LIGHT.sequential[0]))).max() <= 3
    assert [label.get_text() for label in bar.get_yticklabels()] == [".120", ".132"]


def test_a_sheet_of_too_many_layers_says_how_many_it_leaves_out() -> None:
    made = picture(16, 4, 36)
    layers = tuple(layer(f"l{k}", (16, 4, 3, 3), 4, picture=made) for k in range(700))
    sheet = lay_out([model(layers, path="a.pt"), model(layers, path="b.pt")])
    assert len(sheet.tiles) == MOST
    assert sheet.left_over == 1400 - MOST
    assert sheet.tiles[699].layer is layers[699]
    assert sheet.tiles[-1].layer is layers[MOST - 701]
    assert sheet.height < 2**16
    assert lay_out([model(layers[:5])]).left_over == 0


def test_layers_without_a_pair_can_be_drawn() -> None:
    empty = np.zeros(200, int)
    lonely = replace(picture(2, 1, 9), r=np.full((1, 1), np.nan, np.float32), edges=(0, 1), within_counts=empty)
    one = layer("lonely", (1, 8, 3, 3), picture=lonely)
    dead = layer("dead", (8, 8, 3, 3), picture=replace(picture(8, 2, 36), r=np.full((8, 8), np.nan, np.float32)))
    for layers in ((one,), (dead,), (one, dead)):
        assert by_name("png").render(report(model(layers)), RenderOptions())


def test_long_titles_fit_their_figure() -> None:
    for name in ("W" * 300, "backbone.stage_2.block_10.depthwise_conv." * 5):
        figure = report_figure(report(model((replace(GROUPED, name=name),))), LIGHT)
        box = figure.texts[0].get_window_extent(FigureCanvasAgg(figure).get_renderer())
        assert box.x1 <= figure.bbox.width
        assert "…" in figure.texts[0].get_text()


def test_the_tiles_stand_pixel_by_pixel_where_they_were_laid_out() -> None:
    layers = tuple(layer(f"l{k}", (16, 4, 3, 3), 4, picture=picture(16, 4, 36, seed=k)) for k in range(5))
    drawn = report(model(layers))
    sheet = lay_out(drawn.models)
    image = Image.open(io.BytesIO(by_name("png").render(drawn, RenderOptions())))  # type: ignore[arg-type]
    assert image.info["dpi"] == pytest.approx((DPI, DPI), abs=0.1)
    shown = np.asarray(image.convert("RGBA"))
    assert shown.shape[:2] == (sheet.height, sheet.width)
    for tile in sheet.tiles:
        place = np.s_[tile.top : tile.top + tile.size, tile.left : tile.left + tile.size]
        assert (shown[place] == tile_image(tile.picture, tile.size, sheet.limit, LIGHT)).all()
    svg = ET.fromstring(by_name("svg").render(drawn, RenderOptions()))  # type: ignore[arg-type]
    (image, *_) = svg.iter("{http://www.w3.org/2000/svg}image")
    assert float(image.get("width", 0)) == pytest.approx(sheet.width * 72 / 200, abs=0.1)
    data = image.get("{http://www.w3.org/1999/xlink}href", "").split(",", 1)[1]
    inside = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert image.get("transform", "").startswith("scale(1 -1)")
    assert (inside[::-1] == compose(sheet, LIGHT)).all()


def test_captions() -> None:
    assert caption(layer("dw", (96, 1, 3, 3), 96, rms=0.3)) == "g96  .190° / .354"
    assert caption(layer("d", (8, 8, 3, 3), 1, rms=0.3)) == "g1?  .300 / .119"
    assert caption(layer("one", (1, 8, 3, 3), 1, groups_confidence="certain")) == "g1"


def test_long_names_fit_their_tile() -> None:
    ems = 156 / (5.8 / 72 * 200)
    names = ("backbone.stage_2.block_10.depthwise_conv.weight", "W" * 40, "MobileNetV2_classification.model.0")
    with quiet_matplotlib():
        figure = Figure(figsize=(10, 10), dpi=200)
        canvas, ax = FigureCanvasAgg(figure), figure.add_axes((0, 0, 1, 1))
        for name in names:
            assert "…" in fitted(name, ems)
            for piece in (fitted(name, ems), *name_lines(name, ems, 2)):
                text = ax.text(0, 0, piece, fontsize=5.8)
                assert text.get_window_extent(canvas.get_renderer()).width <= 160


@pytest.mark.parametrize("figure_format", FIGURES, ids=lambda one: one.name)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_equal_reports_give_equal_bytes(figure_format: object, theme: str) -> None:
    many = tuple(layer(f"l{k}", (16, 4, 3, 3), 4, picture=picture(16, 4, 36, seed=k)) for k in range(3))
    for drawn in (report(model((GROUPED,))), report(model(many)), report(model(()))):
        first = figure_format.render(drawn, RenderOptions(theme=theme))  # type: ignore[attr-defined]
        assert first == figure_format.render(drawn, RenderOptions(theme=theme))  # type: ignore[attr-defined]
        magic = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[figure_format.name]  # type: ignore[attr-defined]
        assert first.startswith(magic)
        assert b"matplotlib v" not in first.lower()


def test_the_png_has_the_page_colour_and_a_size_people_use() -> None:
    for theme, corner in (("light", (255, 255, 255)), ("dark", (13, 17, 23))):
        data = by_name("png").render(report(model((GROUPED,))), RenderOptions(theme=theme))  # type: ignore[arg-type]
        image = Image.open(io.BytesIO(data)).convert("RGB")  # type: ignore[arg-type]
        assert image.size == (1920, 1120)
        assert image.getpixel((2, 2)) == corner


def test_a_report_without_pictures_says_so() -> None:
    figure = report_figure(report(), LIGHT)
    assert [text.get_text() for text in figure.texts] == ["no layer was measured"]


def svg_texts(data: bytes) -> set[str]:
    return {"".join(element.itertext()) for element in ET.fromstring(data).iter("{http://www.w3.org/2000/svg}text")}


def test_hostile_names_stay_text_in_every_figure() -> None:
    layers = tuple(layer(name, (8, 2, 3, 3), 4, picture=picture(8, 4, 18)) for name in HOSTILE)
    sheet = report(model(layers, path=HOSTILE[0]))
    texts = svg_texts(by_name("svg").render(sheet, RenderOptions()))  # type: ignore[arg-type]
    for name in HOSTILE:
        assert not name or set(name_lines(name, 200 / (5.8 / 72 * 200), 2)) <= texts
    for name in HOSTILE:
        one = report(model((layer(name, (8, 2, 3, 3), 4, picture=picture(8, 4, 18)),)))
        texts = svg_texts(by_name("svg").render(one, RenderOptions()))  # type: ignore[arg-type]
        assert not name or fitted(name, 42.0) in texts
    for kind in ("png", "pdf"):
        assert by_name(kind).render(sheet, RenderOptions())


def test_a_users_matplotlibrc_and_a_read_only_home_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.size: 40\naxes.facecolor: red\n")
    code = (
        "import sys; sys.path.insert(0, 'TESTS')\n"
        "from renderers.builders import *; from gcx.renderers.base import *\n"
        "made = layer('a', (8, 2, 3, 3), 4, picture=picture(8, 4, 18))\n"
        "sys.stdout.buffer.write(by_name('svg').render(report(model((made,))), RenderOptions()))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    ).replace("TESTS", str(Path(__file__).resolve().parents[1]))
    outputs = []
    for extra in (
        {},
        {"HOME": "/proc", "MPLCONFIGDIR": "/proc/nowhere", "XDG_CACHE_HOME": "/proc", "XDG_CONFIG_HOME": "/proc"},
    ):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), **extra},
            capture_output=True,
            check=True,
        )
        assert done.stderr == b""
        outputs.append(done.stdout)
    here = by_name("svg").render(
        report(model((layer("a", (8, 2, 3, 3), 4, picture=picture(8, 4, 18)),))), RenderOptions()
    )
    assert outputs == [here, here]


def test_drawing_leaves_matplotlib_as_it_was() -> None:
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 33.0}):
        by_name("png").render(report(), RenderOptions())
        assert mpl.rcParams["font.size"] == 33.0
