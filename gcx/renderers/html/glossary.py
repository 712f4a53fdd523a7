"""What chance means, and what every key of a layer means: said once, where every number of a panel links to."""

from __future__ import annotations

from collections.abc import Iterator

from gcx.contract import meanings
from gcx.renderers.escape import html_text
from gcx.results import LayerResult

NULLS = """<div class="nulls">
<p><b>r</b> is the correlation of two filters: the weights of one output channel as one long row, against another's.
Short rows correlate more by chance alone, so every number stands beside what chance gives, of two kinds:</p>
<dl><dt>isotropic null</dt><dd>Filters point in random directions: mean r² is 1/(d−1) for d weights per filter. Above it
there is <em>some</em> structure, be it only that kernels are smooth.</dd>
<dt>permuted null</dt><dd>Each filter keeps its kernels, but they stand in random channel order (exact, no sampling).
Above it, filters agree on <em>which channel</em> holds what. This is <b>chance</b> in the tables; layers of one channel
per group have no order to permute, and are held against the isotropic null.</dd></dl>
<p><b>Within a group</b> filters read the same channels: r compares like with like. <b>Across groups</b> channel order
is arbitrary: read r beside its chance, never alone. <b>delta</b> compares kernels without any order: above 0, groups
hold different kinds of kernels.</p></div>"""

WITHIN = "Pairs of filters of one group. Chance: each filter's kernels in random channel order (permuted null)."
ACROSS = "Pairs of filters of different groups, slot by slot: channel order is arbitrary, so read r beside its chance."
KERNELS = "Kernels compared without channel order. Chance of delta: filters dealt to groups at random."
STATISTICS = "Published statistics, each beside what as many random kernels give."


def glossary() -> Iterator[str]:
    """Every key of a layer with its meaning, each under an id that panels link to."""
    yield '<details class="glossary" id="glossary"><summary>every key and its meaning</summary><dl class="facts keys">'
    for key, meaning in meanings(LayerResult).items():
        yield f'<dt id="{key_id(key)}">{html_text(key)}</dt><dd>{html_text(meaning)}</dd>'
    yield "</dl></details>"


def key_id(key: str) -> str:
    """The id of a key's meaning."""
    return f"k-{key}"
