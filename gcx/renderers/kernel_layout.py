"""Where every kernel of a layer stands in a picture: tiles in blocks, a block per group, fewer where room is short."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log, sqrt
from typing import TYPE_CHECKING, Any

from gcx.filter_bank import FilterBank
from gcx.words import plural

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Room:
    """What a picture of kernels may take, in pixels."""

    width: int
    height: int
    least: int
    """Pixels that a weight has at least; where that does not fit, some kernels are left out."""
    largest: int
    """Pixels that a weight has at most."""
    comfortable: int
    """The longer side that a small layer is enlarged to, about."""
    gap: int
    """Between tiles, at least."""
    apart: int
    """Between blocks, with what is written over them."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Blocks of tiles, all of one size."""

    blocks: tuple[NDArray[Any], ...]
    """Per block (height, width) numbers, or (height, width, 3) colours in [0, 1]; NaN where nothing stands."""
    across: int
    """Blocks beside each other."""
    what: str
    """What one tile and one block are."""
    shown: str | None
    """What was left out, where not everything has room."""

    @property
    def down(self) -> int:
        """Blocks beneath each other."""
        return ceil(len(self.blocks) / self.across)


def lay_out_kernels(bank: FilterBank, room: Room) -> Layout:
    """Arrange the kernels so that they fit a room.

    Rows of a block are filters and its columns input channels; where a filter is one tile (colours, one channel,
    one axis) the tiles of a block stand in a square. Of what has no room, every n-th is shown.
    """
    tiles, what, single = _tiles(bank)
    noun = "group"
    if single and tiles.shape[1] == 1:  # depthwise: a block per filter would be nothing but frames
        tiles, noun = tiles.swapaxes(0, 1), ""
    grid = _Grid(tiles.shape[3], tiles.shape[4], single, room)
    steps = _steps(tiles.shape[:3], grid)
    said = [
        f"{ceil(number / step)} of {plural(number, kind)}"
        for number, step, kind in zip(tiles.shape, steps, (noun, "filter", "input channel"), strict=False)
        if step > 1
    ]
    tiles = tiles[:: steps[0], :: steps[1], :: steps[2]]
    scale = grid.scale(tiles.shape[:3])
    return Layout(
        blocks=tuple(_block(part, single, grid, scale) for part in tiles),
        across=grid.arranged(tiles.shape[:3], scale)[0],
        what=what,
        shown=f"{' and '.join(said)}{' of each group' if noun and len(tiles) > 1 else ''}, evenly spaced"
        if said
        else None,
    )


@dataclass(frozen=True, slots=True)
class _Grid:
    """How large so many tiles become."""

    high: int
    wide: int
    single: bool
    room: Room

    def gap(self, scale: int) -> int:
        """Pixels between tiles; single weights touch each other."""
        return 0 if (self.high, self.wide) == (1, 1) else max(self.room.gap, scale // 2)

    def columns(self, rows: int, columns: int) -> int:
        """Tiles beside each other in a block: a filter that is one tile stands in a square of its like."""
        if not self.single:
            return columns
        return max(1, min(rows, round(sqrt(rows * (self.high + 1) / (self.wide + 1)))))

    def block(self, rows: int, columns: int, scale: int) -> tuple[int, int]:
        """Height and width of a block in pixels."""
        beside = self.columns(rows, columns)
        beneath = ceil(rows / beside) if self.single else rows
        return beneath * (self.high * scale + self.gap(scale)), beside * (self.wide * scale + self.gap(scale))

    def arranged(self, shape: tuple[int, ...], scale: int) -> tuple[int, int, int]:
        """Blocks beside each other, and the height and width that all take: near 4:3, with few empty places."""
        parts, rows, columns = shape
        high, wide = (side + self.room.apart for side in self.block(rows, columns, scale))

        def cost(across: int) -> float:
            down = ceil(parts / across)
            ratio = across * wide / (down * high)
            return (
                abs(log(ratio / 1.33)) + 3.0 * (across * down - parts) / parts + (across * wide > self.room.width) * 99
            )

        across = min(range(1, min(parts, 128) + 1), key=cost)
        return across, ceil(parts / across) * high, across * wide

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether all fits where a weight is as small as it may be."""
        _, high, wide = self.arranged(shape, self.room.least)
        return wide <= self.room.width and high <= self.room.height

    def scale(self, shape: tuple[int, ...]) -> int:
        """Pixels of a weight."""
        scale = self.room.least
        while scale < self.room.largest and max(self.arranged(shape, scale + 1)[1:]) <= self.room.comfortable:
            scale += 1
        return scale


def _steps(shape: tuple[int, ...], grid: _Grid) -> tuple[int, int, int]:
    """Every how many-th part, filter and input channel is shown so that all fits; the longest is thinned first."""
    steps = [1, 1, 1]
    while True:
        parts, rows, columns = (ceil(number / step) for number, step in zip(shape, steps, strict=False))
        if max(parts, rows, columns) == 1 or grid.fits((parts, rows, columns)):
            return steps[0], steps[1], steps[2]
        longest = 0 if parts > 2 * max(rows, columns) else 1 if rows >= columns else 2
        steps[longest] += 1 if steps[longest] < 8 else steps[longest] // 4


def _tiles(bank: FilterBank) -> tuple[NDArray[Any], str, bool]:
    """(parts, rows, columns, height, width[, 3]), what a tile is, and whether a filter is one tile."""
    import numpy as np

    kernels = bank.kernels
    parts, n, c, *size = kernels.shape
    if bank.reads_colors:
        with np.errstate(invalid="ignore"):
            largest = np.abs(kernels).max(axis=(2, 3, 4), keepdims=True)
            colors = 0.5 + 0.5 * kernels / np.where(largest > 0, largest, 1.0)
        text = "one tile: a filter, its three input channels as red, green and blue, grey where a weight is 0"
        return colors.transpose(0, 1, 3, 4, 2)[:, :, None], text, True
    if len(size) == 1 and size[0] > 1:
        return kernels[:, :, None], "one tile: a filter, input channels down, taps across", True
    if len(size) == 3:
        depth, high, wide = size
        flat = np.moveaxis(kernels, 3, 4).reshape(parts, n, c, high, depth * wide)
        text = f"one tile: a kernel, its {depth} slices side by side"
        return flat, text if c == 1 else f"{text}; filters down, input channels across", c == 1
    flat = kernels.reshape(parts, n, c, *(size if len(size) == 2 else (1, 1)))
    if flat.shape[3:] == (1, 1):
        return flat, "one cell: a weight; filters down, input channels across", False
    if c == 1:
        return flat, "one tile: a filter of one channel", True
    return flat, "one tile: a kernel; filters down, input channels across", False


def _block(part: NDArray[Any], single: bool, grid: _Grid, scale: int) -> NDArray[Any]:
    """One part's tiles beside and beneath each other, each weight `scale` pixels wide, gaps of NaN between them."""
    import numpy as np

    rows, columns, high, wide, *colors = part.shape
    if single:
        columns = grid.columns(rows, columns)
        filled = ceil(rows / columns) * columns
        blank = np.full((filled - rows, *part.shape[1:]), np.nan)
        part = np.concatenate([part, blank]).reshape(-1, columns, high, wide, *colors)
        rows = len(part)
    part = part.repeat(scale, axis=2).repeat(scale, axis=3)
    high, wide, gap = high * scale, wide * scale, grid.gap(scale)
    room = np.full((rows, columns, high + gap, wide + gap, *colors), np.nan)
    room[:, :, :high, :wide] = part
    block = room.swapaxes(1, 2).reshape(rows * (high + gap), columns * (wide + gap), *colors)
    return block[: len(block) - gap, : block.shape[1] - gap]
