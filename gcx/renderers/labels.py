"""Names on figures: shortened in the middle, or broken in two, to the room there is, without asking a font."""

from __future__ import annotations

from gcx.renderers.escape import figure_text


def fitted(name: str, ems: float) -> str:
    """A name shortened in the middle to at most `ems` times the font size, by the widths of DejaVu Sans.

    >>> fitted("layer1.0.conv1", 9.0), fitted("encoder.level3.2.conv_1x1", 9.0)
    ('layer1.0.conv1', 'enco….conv_1x1')
    """
    shown = figure_text(name)
    limit = len(shown)
    while limit > 1 and width_in_ems(shown) > ems:
        limit -= 1
        shown = figure_text(name, limit)
    return shown


def name_lines(name: str, ems: float, most: int) -> list[str]:
    """A name on one line, or where `most` is 2 and it must, on two: broken after a dot, slash or underscore.

    >>> name_lines("net.level3_0.spp_dw.0.conv", 9.5, 2)
    ['net.level3_0.spp_', 'dw.0.conv']
    """
    shown = figure_text(name)
    if most == 1 or width_in_ems(shown) <= ems:
        return [fitted(name, ems)]
    breaks = [k for k in range(1, len(shown)) if shown[k - 1] in "./_" and width_in_ems(shown[:k]) <= ems]
    whole = [k for k in breaks if width_in_ems(shown[k:]) <= ems]
    at = (whole or breaks or [len(shown) // 3])[-1]
    return [fitted(shown[:at], ems), fitted(shown[at:], ems)]


def width_in_ems(text: str) -> float:
    """About how wide DejaVu Sans sets a text, in multiples of the font size; rather too much than too little."""
    return sum(_WIDTHS.get(char, 0.65 if char.isascii() else 1.0) for char in text)


_WIDTHS = {
    **dict.fromkeys("ABCDEFGHIKNOPQRSTUVXYZ&", 0.79),
    **dict.fromkeys("ijl|'", 0.28),
    **dict.fromkeys(".,:; frt()[]-/", 0.4),
    **dict.fromkeys("mwMW@%…", 1.0),
    **dict.fromkeys("ckszvxyJL_", 0.58),
}
