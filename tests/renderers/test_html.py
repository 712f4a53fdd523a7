"""The HTML report as text: nothing foreign in it, nothing vanishes; what a browser makes of it is in tests/browser."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import fields, replace
from html.parser import HTMLParser

import numpy as np
import pytest
from renderers.builders import HOSTILE, hostile_report, layer, model, picture, report, sample_layers

import gcx
from gcx import limits
from gcx.contract import meanings
from gcx.errors import printable
from gcx.renderers.html import Html
from gcx.renderers.options import RenderOptions
from gcx.results import LayerResult
from gcx.settings import Settings

VOID = {"meta", "input", "img", "br", "link"}


class Reader(HTMLParser):
    """Elements with their attributes, the text, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID and tag != "path":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def page(made=None) -> str:
    return Html().render(made or report(), RenderOptions())


def test_nothing_foreign_is_in_it():
    read = Reader(page(hostile_report()))
    assert {tag for tag, _ in read.elements} <= set(
        "html head meta title style body a header div h1 h2 h3 h4 p label span input select option output button main "
        "section ul li b small dl dt dd table thead tbody tr th td details summary figure figcaption svg path text img "
        "nav em bdi footer script".split()
    )
    for tag, attributes in read.elements:
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "action", "srcset"):
            value = attributes.get(name) or "#"
            assert value.startswith("#" if tag == "a" else "data:image/png;base64,") or value == "#"


def test_the_policy_allows_its_own_style_and_script_and_nothing_else():
    text = page()
    policy = next(a["content"] for t, a in Reader(text).elements if a.get("http-equiv") == "Content-Security-Policy")
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    for kind in ("style", "script"):
        (inside,) = re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_ids_are_unique_and_links_lead_somewhere():
    layers = tuple(
        replace(one, picture=picture(one.out_channels, one.groups)) if isinstance(one, LayerResult) else one
        for one in sample_layers()
    )
    read = Reader(page(report(model(layers), model(layers))))
    ids = [a["id"] for _, a in read.elements if a.get("id")]
    assert len(ids) == len(set(ids))
    wanted = {a["href"][1:] for t, a in read.elements if t == "a"}
    assert wanted <= set(ids)


def test_nothing_vanishes():
    layers = (*sample_layers(), layer("noted", (8, 2, 3, 3), 4, notes=("a note of its own",), tied=("twin",)))
    made = report(replace(model(layers), notes=tuple(f"note {k}" for k in range(9))))
    words = "".join(Reader(page(made)).text)
    for text in (
        "quantised.conv", "packed int4 weights", "8 of 9 convolutions",
        "pos_embed", "position table", "1×196×384",
        "note 0", "note 8", "a note of its own", "the same weight as twin, measured once",
        "2 filters and 37 kernels", "negative control", "b1.b1.body.0", "contrast_pvalue", "b1.*=4",
        "nothing says otherwise", "2, 8", "random directions", "random channel order",
    ):  # fmt: skip
        assert text in words, text
    for name in [field.name for field in fields(Settings)]:
        assert name in words
    for key in meanings(LayerResult):
        assert key in words


def test_every_number_of_a_layer_is_in_its_panel():
    (one,) = (
        gcx.correlate({"conv.weight": np.random.default_rng(0).normal(size=(16, 4, 3, 3))}, groups={"conv": 4})
        .models[0]
        .measured
    )
    text = page(report(model((one,))))
    for record, prefix in ((one.within, "within"), (one.across, "across"), (one.kernels, "kernels")):
        for field in fields(record):
            assert field.name == "per_group" or f'href="#k-{prefix}.{field.name}"' in text
    assert f"{one.within.mean_r2:.4g}".removeprefix("0") in text


def test_hostile_names_are_text():
    read = Reader(page(hostile_report()))
    names = ["".join(read.text)]
    for name in HOSTILE:
        assert printable(name) in names[0]
    assert "\x1b" not in names[0]


def test_several_models_and_no_layer_at_all():
    words = "".join(Reader(page(report(model(path="a.pt"), model((), path="b.pt")))).text)
    assert "2 models" in words
    assert "a.pt" in words
    assert "b.pt" in words
    assert "0 of 0 convolutions" in words


def test_a_comparison_has_its_table_its_verdict_and_its_models():
    rng = np.random.default_rng(0)
    nets = [{"conv.weight": rng.normal(size=(16, 4, 3, 3))} for _ in range(2)]
    made = gcx.compare(*nets, fail_if=["within.mean_r2 > 0"])
    words = "".join(Reader(page(made)).text)
    for text in ("Comparison", made.comparison.verdict, "Gates", "violated", "2 models"):
        assert text in words


def test_many_layers_share_the_room_for_pictures():
    shown = picture(512, 1, 144)
    few = page(report(model((layer("a", (512, 16, 3, 3), picture=shown),))))
    assert 'width="512"' in few
    many = tuple(layer(f"l{k}", (512, 16, 3, 3), picture=shown) for k in range(1000))
    text = page(report(model(many)))
    assert 'width="512"' not in text
    assert len(text) < 25e6


def test_more_layers_than_a_page_has_room_for_are_counted(monkeypatch):
    monkeypatch.setattr(limits, "PAGE_LAYERS", 5)
    monkeypatch.setattr(limits, "PAGE_PICTURES", 2)
    models = (
        model(tuple(layer(f"l{k}", (8, 4, 3, 3), picture=picture(8, 1)) for k in range(4)), path=path)
        for path in ("a.pt", "b.pt")
    )
    text = page(report(*models))
    words = "".join(Reader(text).text)
    assert "shown: 1 of 4 layers" in words
    assert "4 of 4 convolutions" in words
    assert text.count('<figure class="matrix">') == 2
    assert "2 of these have no pictures here" in words


@pytest.mark.parametrize("places", [{}, {"measure": "cosine"}])
def test_cosine_is_said(places):
    made = replace(report(model((layer("a", (8, 16, 3, 3), picture=picture(8, 1)),))), settings=Settings(**places))
    assert ("cosine of every pair of filters" in page(made)) is bool(places)


def test_what_order_the_filters_stand_in_is_said():
    one = layer("a", (64, 16, 3, 3), 4, picture=replace(picture(64, 4), clustered=True))
    assert "64 filters; clustered within groups" in page(report(model((one,))))
    assert "64 filters; in file order" in page(report(model((replace(one, picture=picture(64, 4)),))))
