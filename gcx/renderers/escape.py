r"""One escaping function per output language: layer names and paths are untrusted text.

Every name goes through one of these on its way out, whatever it holds: escape sequences, markup, formulas, newlines.
"""

from __future__ import annotations

import html
import re

from gcx.errors import printable

_ASCII = str.maketrans(
    {
        "×": "x",
        "±": "+/-",
        "…": "...",
        "–": "-",
        "−": "-",
        "·": "-",
        "²": "^2",
        "°": "^",
        "Δ": "delta",
        "≤": "<=",
        "─": "-",
        "\N{NO-BREAK SPACE}": " ",
    }
)


def terminal_text(text: str, *, unicode: bool = True) -> str:
    r"""One printable line for a terminal; pure ASCII where `unicode` is False.

    >>> terminal_text("a\x1b[2Jb")
    'a\\x1b[2Jb'
    >>> terminal_text("64×16 ±.1 ü", unicode=False)
    '64x16 +/-.1 \\xfc'
    """
    text = printable(text)
    return text if unicode else text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")


def csv_text(text: str) -> str:
    """A text cell that no spreadsheet takes for a formula (an apostrophe before = + - @) and no terminal for a command.

    >>> csv_text("=1+2"), csv_text("conv1")
    ("'=1+2", 'conv1')
    """
    text = f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
    return printable(text)


def markdown_code(text: str) -> str:
    """A name as inline code, inert in GitHub's Markdown also within a table: no markup, mention, link or cell break.

    >>> markdown_code("layer1.0.conv1")
    '`layer1.0.conv1`'
    >>> markdown_code("a|b")
    '<code>a&#124;b</code>'
    """
    text = printable(text)
    if text.strip(" ") == text != "" and not any(mark in text for mark in "|\\`"):
        return f"`{text}`"
    entities = (c if c.isalnum() else f"&#{ord(c)};" for c in text)
    return f"<code>{''.join(entities)}</code>"


_MARKDOWN = re.compile(r"[<>&|\\`*{}\[\]~@#$!]|(?<![^\W_])_|_(?![^\W_])|(?<=www)\.|:(?=//)", re.IGNORECASE)


def markdown_text(text: str) -> str:
    r"""A sentence that may quote untrusted names, as Markdown without any markup of its own.

    >>> print(markdown_text("its *layer* <b> | null_permuted_r2"))
    its \*layer\* &#60;b&#62; &#124; null_permuted_r2
    """
    return _MARKDOWN.sub(_inert, printable(text))


def _inert(match: re.Match[str]) -> str:
    """A reference where a backslash would not do: HTML, and what tables split and unescape themselves."""
    mark = match.group()
    return f"&#{ord(mark)};" if mark in "<>&|\\" else f"\\{mark}"


def html_text(text: str) -> str:
    """Text for HTML, in an element or in a quoted attribute.

    >>> html_text("<img onerror='x'>")
    '&lt;img onerror=&#x27;x&#x27;&gt;'
    """
    return html.escape(printable(text), quote=True)


def github_text(text: str) -> str:
    r"""The message of a GitHub workflow command: one line, in which a name can start no command of its own.

    >>> github_text("100 %\n::error::x ##[error]y")
    '100 %25\\x0a::error::x ##%5Berror]y'
    """
    return printable(text).replace("%", "%25").replace("##[", "##%5B")


def github_property(text: str) -> str:
    """A property of a GitHub workflow command, where colons and commas part one from the next.

    >>> github_property("a, b: c")
    'a%2C b%3A c'
    """
    return github_text(text).replace(":", "%3A").replace(",", "%2C")


def figure_text(text: str, limit: int | None = None) -> str:
    """Text for a figure (XML allows few control characters), shortened in the middle: ends of names tell them apart.

    >>> figure_text("encoder.level3.2.conv_1x1", limit=16)
    'encod…2.conv_1x1'
    """
    text = printable(text)
    if limit is None or len(text) <= limit:
        return text
    head = (limit - 1) // 3
    return f"{text[:head]}…{text[len(text) - (limit - 1 - head) :]}"
