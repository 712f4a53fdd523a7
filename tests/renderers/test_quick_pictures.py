"""Pictures without a figure: the PNG writer, plates, small distributions, kernels."""

from __future__ import annotations

import io
import re
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from renderers.builders import HOSTILE, layer, model, picture, report

from gcx.filter_bank import FilterBank
from gcx.renderers.canvas import EMPTY, LEVELS, LINE, PAGE, Canvas, diverging_index
from gcx.renderers.distribution import BARS, shares_in_widths, sparkline
from gcx.renderers.kernel_layout import Room, lay_out_kernels
from gcx.renderers.kernel_picture import kernel_png, kernel_text
from gcx.renderers.options import RenderOptions
from gcx.renderers.picture_numbers import color_limit, colored, shrunk
from gcx.renderers.plates import LEAST, layer_plate, layer_plates, matrix_pixels
from gcx.renderers.png import palette_png, rgb_png
from gcx.renderers.theme import PALETTES, lookup_table, rgba
from gcx.results import Distribution

LIGHT = PALETTES["light"]
ROOM = Room(width=600, height=600, least=2, largest=8, comfortable=300, gap=1, apart=4)


def opened(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


# --- the writer, against another reader ---


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    colors=st.integers(1, 256),
    seed=st.integers(0, 9),
    repeated=st.booleans(),
)
def test_a_palette_png_reads_back_as_it_was(height, width, colors, seed, repeated):
    rng = np.random.default_rng(seed)
    index = rng.integers(0, colors, (height, width)).astype(np.uint8)
    index = index.repeat(3, axis=0) if repeated else index
    table = rng.integers(0, 256, (colors, 4)).astype(np.uint8)
    assert (opened(palette_png(index, table)) == table[index][:, :, :3]).all()


def test_an_rgb_png_reads_back_as_it_was():
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 3)).astype(np.uint8)
    assert (opened(rgb_png(pixels)) == pixels).all()


def test_every_chunk_has_its_checksum_and_few_colours_take_half_a_byte():
    made = palette_png(np.zeros((4, 4), np.uint8), np.zeros((16, 3), np.uint8))
    at, kinds = 8, []
    while at < len(made):
        (length,) = struct.unpack_from(">I", made, at)
        kind, data = made[at + 4 : at + 8], made[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", made, at + 8 + length)[0] == zlib.crc32(kind + data)
        kinds.append(kind)
        at += 12 + length
    assert kinds == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    assert made[24] == 4


# --- plates ---


def test_a_plate_shows_every_filter_as_a_square_and_covers_none_by_a_boundary():
    shown = picture(64, 4)
    limit = color_limit(shown)
    pixels = matrix_pixels(shown, limit)
    scale = -(-LEAST // 64)
    assert pixels.shape == (64 * scale + 3 * 2,) * 2
    lines = np.flatnonzero((pixels == LINE).all(axis=0))
    assert lines.tolist() == [k * 16 * scale + 2 * (k - 1) + gap for k in (1, 2, 3) for gap in (0, 1)]
    squares = np.delete(np.delete(pixels, lines, axis=0), lines, axis=1)[::scale, ::scale]
    exact = np.rint(np.clip(shown.r / limit, -1, 1) * (LEVELS // 2) + LEVELS // 2)
    assert (np.abs(squares - exact)[np.isfinite(shown.r)] <= 1).all()
    assert (squares.diagonal() == EMPTY).all()


def test_a_plate_of_a_thousand_groups_has_no_boundaries():
    assert not (matrix_pixels(picture(999, 999, 9, excess=0), 1.0) == LINE).any()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_plate_has_the_colours_of_the_figures(theme):
    shown, palette = picture(32, 2), PALETTES[theme]
    one = layer("conv", (32, 16, 3, 3), 2, picture=shown)
    image = opened(layer_plate(one, shown, palette))
    assert (image[0, 0] == rgba(palette.page)[:3]).all()
    limit = color_limit(shown)
    exact = colored(shown.r, limit, palette)[:, :, :3].astype(int)
    top, left = np.argwhere((image == rgba(palette.empty)[:3]).all(axis=2))[0]
    scale = -(-LEAST // 32)
    first_group = image[top : top + 16 * scale : scale, left : left + 16 * scale : scale].astype(int)
    assert np.abs(first_group - exact[:16, :16]).max() <= 12  # 161 levels here, 255 there


def test_plates_come_in_order_with_hostile_names_and_equal_bytes():
    layers = tuple(layer(name, (8, 2, 3, 3), 4, picture=picture(8, 4, 18)) for name in HOSTILE)
    made = list(layer_plates(report(model(layers)), RenderOptions()))
    assert [name for name, _ in made] == list(HOSTILE)
    assert made == list(layer_plates(report(model(layers)), RenderOptions()))
    assert all(opened(plate).shape[1] > LEAST for _, plate in made)


def test_a_clustered_picture_is_said_to_be_one():
    shown = replace(picture(16, 2), clustered=True)
    one = layer("conv", (16, 8, 3, 3), 2, picture=shown)
    assert layer_plate(one, shown, LIGHT) != layer_plate(one, replace(shown, clustered=False), LIGHT)


def test_a_reduced_picture_keeps_the_largest_of_each_tile():
    shown = picture(100, 4)
    small = shrunk(shown, 30)
    assert (small.r.shape, small.step) == ((25, 25), 4)
    tile = shown.r[4:8, 12:16]
    assert small.r[1, 3] == tile.flat[np.abs(tile).argmax()]
    assert shrunk(shown, 100) is shown
    dead = replace(shown, r=np.full((100, 100), np.nan, np.float32))
    with np.errstate(invalid="raise"):
        assert np.isnan(shrunk(dead, 30).r).all()


def test_text_on_a_canvas_is_cut_at_its_edge():
    canvas = Canvas(30, 20, LIGHT)
    canvas.text(5, 15, "a name that is far too long $x^$", 12)
    assert canvas.pixels.shape == (20, 30)
    assert (canvas.pixels != PAGE).any()
    canvas.text(28, 2, "x", 12)


def test_colours_of_a_canvas_are_symmetric_about_0():
    values = np.array([-2.0, -0.25, 0.0, 0.25, 2.0, np.nan])
    index = diverging_index(values, 1.0)
    assert index[2] == LEVELS // 2
    assert index[1] + index[3] == LEVELS - 1
    assert (index[0], index[4], index[5]) == (0, LEVELS - 1, EMPTY)


# --- small distributions ---


def test_shares_are_those_of_the_pairs_whatever_the_width():
    r = np.random.default_rng(0).normal(0, 0.05, 200_000)
    counts, edges = np.histogram(r, np.linspace(-1, 1, 402))
    shares = shares_in_widths(edges, counts, 0.05, 8)
    exact = np.histogram(np.clip(r / 0.05, -4, 4), np.linspace(-4, 4, 9))[0] / len(r)
    assert shares.sum() == pytest.approx(1)
    assert np.abs(shares - exact).max() < 0.01


def test_a_sparkline_rises_where_chance_ends():
    edges, nothing = np.linspace(-1, 1, 402), np.zeros(401)
    chance = np.histogram(np.random.default_rng(0).normal(0, 0.05, 100_000), edges)[0]
    far = np.histogram(np.random.default_rng(0).normal(0, 0.5, 100_000), edges)[0]
    middle, ends = (sparkline(Distribution(edges, counts, nothing, 0.05)) for counts in (chance, far))
    assert (middle[5], middle[0]) == (BARS[-1], BARS[0])
    assert (ends[0], ends[-1]) == (BARS[-1], BARS[-1])
    assert sparkline(Distribution(edges, nothing, chance, 0.05)) == middle  # across, where there is none within
    assert sparkline(Distribution(edges, nothing, nothing, 0.05)) == ""


# --- kernels ---


def bank(*shape: int, groups: int = 1, kernels: np.ndarray | None = None, **changes) -> FilterBank:
    if kernels is None:
        kernels = np.random.default_rng(0).uniform(-1, 1, shape)
    kernels = kernels.reshape(groups, shape[0] // groups, *shape[1:])
    known = {"path": "model.pt", "name": "conv", "groups_from": "declared", "groups_confidence": "certain"}
    return FilterBank(**{**known, **changes}, weight_shape=shape, groups=groups, transposed=False, kernels=kernels)


def tiles_of(block: np.ndarray) -> list[np.ndarray]:
    """The tiles of a block, told apart by the gaps between them."""
    blank = np.isnan(block if block.ndim == 2 else block[:, :, 0])
    rows, columns = (np.flatnonzero(~blank.all(axis=axis)) for axis in (1, 0))

    def runs(places):
        return np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)

    return [block[np.ix_(down, across)] for down in runs(rows) for across in runs(columns)]


def test_filters_stand_below_each_other_and_channels_beside_each_other():
    layout = lay_out_kernels(bank(8, 4, 3, 3, groups=2), ROOM)
    assert len(layout.blocks) == 2
    tiles = tiles_of(layout.blocks[1])
    assert len(tiles) == 4 * 4
    scale = len(tiles[0]) // 3
    assert (tiles[6][::scale, ::scale] == bank(8, 4, 3, 3, groups=2).kernels[1, 1, 2]).all()
    assert layout.shown is None


def test_three_channels_are_colours_and_grey_stays_grey():
    weights = np.random.default_rng(0).uniform(-1, 1, (8, 3, 5, 5))
    weights[4:] = weights[4:, :1]
    layout = lay_out_kernels(bank(8, 3, 5, 5, kernels=weights), ROOM)
    tiles = tiles_of(layout.blocks[0])
    spread = [float(np.nanmax(np.ptp(tile, axis=2))) for tile in tiles if np.isfinite(tile).all()]
    assert len(spread) == 8
    assert min(spread[:4]) > 0.3
    assert max(spread[4:]) < 1e-12
    assert "red, green and blue" in layout.what


@pytest.mark.parametrize(
    ("shape", "groups", "blocks", "tile", "said"),
    [
        ((32, 1, 3, 3), 32, 1, (3, 3), "a filter of one channel"),
        ((32, 1, 3, 3), 8, 8, (3, 3), "a filter of one channel"),
        ((16, 8, 1, 1), 2, 2, None, "one cell: a weight"),
        ((8, 6, 5), 2, 2, (6, 5), "taps across"),
        ((8, 2, 3, 4, 5), 2, 2, (4, 15), "3 slices side by side"),
    ],
)
def test_every_kind_of_kernel_has_a_layout(shape, groups, blocks, tile, said):
    made = bank(*shape, groups=groups)
    layout = lay_out_kernels(made, ROOM)
    assert len(layout.blocks) == blocks
    assert said in layout.what
    if tile is not None:
        found = tiles_of(layout.blocks[0])[0].shape
        assert found[0] * tile[1] == found[1] * tile[0]
    assert opened(kernel_png(made, RenderOptions())).size


def test_slices_of_depth_stand_in_order():
    made = bank(1, 1, 2, 3, 3)
    block = lay_out_kernels(made, replace(ROOM, largest=2)).blocks[0][::2, ::2]
    assert (block == np.concatenate([made.kernels[0, 0, 0, 0], made.kernels[0, 0, 0, 1]], axis=1)).all()


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    groups=st.sampled_from([1, 2, 7, 32, 600]),
    n=st.sampled_from([1, 3, 64, 400]),
    c=st.sampled_from([1, 2, 3, 48, 300]),
    kernel=st.sampled_from([(1, 1), (3, 3), (7, 7), (9,), (3, 3, 3)]),
)
def test_what_does_not_fit_is_thinned_and_said(groups, n, c, kernel):
    made = bank(groups * n, c, *kernel, groups=groups, kernels=np.ones((groups * n, c, *kernel), np.float32))
    layout = lay_out_kernels(made, ROOM)
    high, wide = layout.blocks[0].shape[:2]
    # One filter of many channels or axes may be larger than the room by itself; it is never cut.
    alone = len(layout.blocks) == 1 and len(tiles_of(layout.blocks[0])) == 1
    if not alone:
        assert layout.across * wide <= ROOM.width
        assert layout.down * high <= ROOM.height
    weights = sum(int(np.isfinite(block).sum()) for block in layout.blocks)
    if layout.shown is None:
        assert weights % made.kernels.size == 0
    else:
        assert re.search(r"\d+ of \d+ (group|filter|input channel)", layout.shown)
        assert weights < made.kernels.size * ROOM.least**2


def test_weights_without_a_number_have_the_colour_of_nothing():
    weights = np.ones((4, 2, 3, 3))
    weights[1, 1, 0, 0] = np.nan
    weights[2] = np.inf
    image = opened(kernel_png(bank(4, 2, 3, 3, kernels=weights), RenderOptions()))
    assert (image == rgba(LIGHT.empty)[:3]).all(axis=2).any()
    strongest = lookup_table(LIGHT.diverging, LEVELS)[-1][:3]
    assert (image == strongest).all(axis=2).any()


def test_the_terminal_shows_kernels_in_colour_and_a_pipe_only_words():
    made = bank(16, 4, 3, 3, groups=4, notes=("a note",))
    seen = kernel_text(made, RenderOptions(width=60, color=True))
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in seen.splitlines()]
    drawn = [line for line in lines if "▀" in line]
    assert drawn
    assert max(map(len, drawn)) <= 60
    for options in (RenderOptions(), RenderOptions(width=60), RenderOptions(width=60, color=True, unicode=False)):
        plain = kernel_text(made, options)
        assert "\x1b" not in plain
        assert "▀" not in plain
        assert "--export FILE.png" in plain
        assert "a note" in plain


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text_on_pictures_of_kernels(name):
    made = bank(4, 2, 3, 3, name=name, path=name, reader=name, notes=(name,))
    assert kernel_png(made, RenderOptions()) == kernel_png(made, RenderOptions())
    text = kernel_text(made, RenderOptions(width=60, color=True))
    assert set(re.findall(r"\x1b.", text)) <= {"\x1b["}
    assert all(re.fullmatch(r"\x1b\[[0-9;]*m", code) for code in re.findall(r"\x1b[^m]*m?", text))
