"""The HTML report in a real Chromium, opened from disk as a person does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser.chromium import Page, browser
from renderers.builders import HOSTILE, hostile_report, layer, model, picture, report, sample_layers

import gcx
from gcx.errors import printable
from gcx.measuring import Extras
from gcx.renderers.html import Html
from gcx.renderers.options import RenderOptions
from gcx.results import LayerResult, Report

DIGITS = Path(__file__).parents[2] / "examples" / "checkpoints"
WIDTHS = {"phone": 390, "desktop": 1280}


@pytest.fixture(scope="module")
def chromium():
    with browser() as running:
        if running is None:
            pytest.skip("no Chromium on this machine (apt-get install chromium, or GCX_CHROMIUM)")
        yield running


def drawn(made: Report) -> Report:
    """The report with a picture of every layer."""

    def with_picture(one):
        if not isinstance(one, LayerResult):
            return one
        out, c = one.weight_shape[:2]
        return replace(one, picture=picture(out, one.groups, c * 9, pointwise=one.weight_shape[2:] == (1, 1)))

    return replace(made, models=tuple(replace(m, layers=tuple(map(with_picture, m.layers))) for m in made.models))


@pytest.fixture(scope="module")
def paper(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(Html().render(drawn(report()), RenderOptions()), "utf-8")
    return path


@pytest.fixture
def opened(chromium, paper):
    page = Page(chromium)
    page.open(paper)
    yield page
    assert page.complaints == []
    assert page.requests == []
    page.close()


NAMES = "Array.from(document.querySelectorAll('table.layers tbody tr:not([hidden])')).map(r => r.cells[0].textContent)"
SORT = "document.querySelector('table.layers th[aria-sort]')?.getAttribute('aria-sort') ?? null"
MEASURED = [one.name for one in sample_layers() if isinstance(one, LayerResult)]
SKIPPED = "quantised.conv"


def heading(title: str, nth: int = 0) -> str:
    """Mark the n-th heading of a title, and the selector of its button."""
    return (
        "(() => { const found = Array.from(document.querySelectorAll('table.layers th'))"
        f".filter(th => th.textContent === {title!r})[{nth}]; found.id = 'sorted'; return '#sorted button'; }})()"
    )


def sorted_by(key: str, *, reverse: bool) -> list[str]:
    """Names as Python sorts them; what has no number comes last, skipped layers after all."""
    layers = [one for one in sample_layers() if isinstance(one, LayerResult)]

    def value(one):
        found = one
        for part in key.split("."):
            found = None if found is None else getattr(found, part)
        return found

    known = [one for one in layers if value(one) is not None]
    known.sort(key=value, reverse=reverse)
    return [one.name for one in known] + [one.name for one in layers if value(one) is None] + [SKIPPED]


def test_a_heading_sorts_by_exact_numbers_both_ways_and_back(opened):
    button = opened.run(heading("rms r"))
    for reverse, direction in ((True, "descending"), (False, "ascending")):
        opened.click(button)
        assert opened.run(SORT) == direction
        assert opened.run(NAMES) == sorted_by("within.rms_r", reverse=reverse)
    opened.click(button)
    assert opened.run(SORT) is None
    assert opened.run(NAMES) == [*MEASURED, SKIPPED]


def test_the_keyboard_alone_sorts_filters_and_opens(opened):
    opened.run(f"document.querySelector({heading('delta')}).focus()")
    opened.press("Enter")
    assert opened.run(NAMES) == sorted_by("kernels.delta", reverse=True)
    opened.press("/")
    assert opened.run("document.activeElement.id") == "search"
    opened.write("body.2")
    assert opened.run(NAMES) == ["b1.b1.body.2"]
    opened.press("Escape")
    assert len(opened.run(NAMES)) == len(MEASURED) + 1
    opened.run("document.querySelector('details.layer summary').focus()")
    opened.press("Enter")
    assert opened.run("document.querySelector('details.layer').open")


def test_filtering_by_words_and_by_kind_hides_rows_panels_and_thumbnails(opened):
    opened.click("#search")
    opened.write("STAGE2 features")
    assert opened.run(NAMES) == ["features.stage2.depthwise", "features.stage2.project"]
    shown = "Array.from(document.querySelectorAll('details.layer, .thumbs a')).filter(e => !e.hidden).length"
    assert opened.run(shown) == 4
    assert opened.run("document.getElementById('count').textContent") == "2 of 8 layers"
    which = "(k => { const s = document.getElementById('which'); s.value = k; s.dispatchEvent(new Event('change')); })"
    opened.run(f"{which}('depthwise')")
    assert opened.run(NAMES) == ["features.stage2.depthwise"]
    opened.run("document.getElementById('search').value = ''")
    opened.run(f"{which}('skipped')")
    assert opened.run(NAMES) == [SKIPPED]
    opened.run(f"{which}('unsure')")
    assert "upsample.0.body.0" in opened.run(NAMES)


def test_a_row_leads_to_its_panel_with_pictures_and_numbers(opened):
    opened.click("tr[data-of='m0-l1'] a")
    opened.run("new Promise(done => setTimeout(done, 100))")
    assert opened.run("document.getElementById('m0-l1').open")
    assert opened.run("document.activeElement.closest('details').id") == "m0-l1"
    images = "Array.from(document.querySelectorAll('#m0-l1 img'))"
    assert opened.run(f"Promise.all({images}.map(i => i.decode().then(() => i.naturalWidth)))") == [64, 4]
    panel = opened.run("document.getElementById('m0-l1').innerText")
    assert "null_permuted_r2" in panel
    assert "random channel order" in panel  # the null, said where it is used
    title = opened.run("document.querySelector('#m0-l1 a[href=\"#k-within.excess\"]').title")
    assert title.startswith("mean_r2 minus null_permuted_r2")
    opened.click("#m0-l1 a[href='#k-within.excess']")
    opened.run("new Promise(done => setTimeout(done, 100))")
    assert opened.run("document.getElementById('glossary').open")


def test_a_link_to_a_panel_opens_it(chromium, paper):
    page = Page(chromium)
    page.open(paper, "#m0-l3-in")
    assert page.run("document.getElementById('m0-l3').open")
    page.close()


def test_open_all_and_close_all_leave_what_is_filtered_out(opened):
    opened.click("#search")
    opened.write("b1.b1")
    opened.click("#open")
    assert opened.run("document.querySelectorAll('details.layer[open]').length") == 2
    opened.click("#close")
    assert opened.run("document.querySelectorAll('details.layer[open]').length") == 0


def test_light_and_dark_follow_the_system_until_one_is_chosen(chromium, paper):
    page = Page(chromium, scheme="dark")
    page.open(paper)
    color = "getComputedStyle(document.body).backgroundColor"
    dark, light = "rgb(13, 17, 23)", "rgb(255, 255, 255)"
    assert page.run(color) == dark
    page.scheme("light")
    assert page.run(color) == light
    page.click("#theme")  # light
    page.click("#theme")  # dark
    assert page.run(color) == dark
    page.call("Page.reload")
    page._browser.wait("Page.loadEventFired", page._session)
    page.click("#theme")  # what was chosen is remembered, so the next is auto
    assert page.run("document.getElementById('theme').textContent") == "theme: auto"
    page.print_look()
    assert page.run(color) == light
    assert page.run("getComputedStyle(document.getElementById('bar')).display") == "none"
    assert page.complaints == []
    page.close()


def test_the_theme_that_was_asked_for_stands(chromium, tmp_path):
    path = tmp_path / "dark.html"
    path.write_text(Html().render(report(), RenderOptions(theme="dark")), "utf-8")
    page = Page(chromium)
    page.open(path)
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"
    page.close()


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_nothing_is_wider_than_the_page(chromium, tmp_path, width):
    path = tmp_path / "wide.html"
    path.write_text(Html().render(drawn(hostile_report()), RenderOptions()), "utf-8")
    page = Page(chromium, width=width)
    page.open(path)
    page.run("document.getElementById('open').click()")
    assert page.run("document.documentElement.scrollWidth") <= width
    page.close()


def test_hostile_names_stay_text(chromium, tmp_path):
    path = tmp_path / "hostile.html"
    path.write_text(Html().render(drawn(hostile_report()), RenderOptions()), "utf-8")
    page = Page(chromium)
    page.open(path)
    page.run("document.getElementById('open').click()")
    assert page.complaints == []
    assert page.requests == []
    assert page.run("document.scripts.length") == 1
    assert (
        page.run(
            "document.querySelectorAll('img:not([src^=\"data:image/png;base64,\"]), iframe, object, b > b').length"
        )
        == 0
    )
    names = page.run("Array.from(document.querySelectorAll('table.layers td.name a')).map(a => a.textContent)")
    assert names == [printable(name) or "(no name)" for name in HOSTILE] * 2
    assert page.run("Array.from(document.querySelectorAll('.thumbs bdi')).length") == 2 * len(HOSTILE)
    page.close()


def test_nothing_runs_but_the_page_s_own_script(chromium, tmp_path):
    """The policy holds: what an attacker would add is refused, even where an escape were forgotten."""
    path = tmp_path / "attacked.html"
    added = (
        "<script>document.title = 'owned'</script>"
        "<img src='https://example.org/x.png' onerror=\"document.title = 'owned'\">"
        "<style>body { display: none }</style></main>"
    )
    path.write_text(Html().render(report(), RenderOptions()).replace("</main>", added), "utf-8")
    page = Page(chromium)
    page.open(path)
    assert page.run("document.title") == "gcx: model.pt"
    assert page.run("getComputedStyle(document.body).display") == "block"
    assert len(page.complaints) >= 3
    page.close()


def test_without_its_script_the_page_still_reads(chromium, paper):
    page = Page(chromium)
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.open(paper)
    page.call("Emulation.setScriptExecutionDisabled", value=False)
    assert page.run("document.getElementById('bar').hidden")
    assert page.run("document.querySelectorAll('details.layer summary').length") == len(MEASURED)
    page.click("details.layer summary")
    assert page.run("document.querySelector('details.layer').open")
    page.close()


def test_five_hundred_layers_are_quick(chromium, tmp_path):
    pictures = [picture(n, g, 576 // g, seed=k) for k, (n, g) in enumerate(((64, 1), (128, 4), (512, 32), (256, 1)))]
    layers = tuple(
        layer(
            f"stage{k // 50}.block{k}.conv",
            (len(pictures[k % 4].r), 16, 3, 3),
            (1, 4, 32, 1)[k % 4],
            picture=pictures[k % 4],
        )
        for k in range(500)
    )
    text = Html().render(report(model(layers)), RenderOptions())
    assert len(text.encode()) < 15e6
    path = tmp_path / "large.html"
    path.write_text(text, "utf-8")
    page = Page(chromium)
    page.open(path)
    assert page.run("document.querySelectorAll('.thumbs a').length") == 500
    page.run("(s => { s.value = 'block49'; s.dispatchEvent(new Event('input')); })(document.getElementById('search'))")
    assert len(page.run(NAMES)) == 11
    page.close()


def test_a_comparison_is_a_page_too(chromium, tmp_path):
    compared = gcx.compare(str(DIGITS / "digits-g1-seed0.pt"), str(DIGITS / "digits-g4-seed1.pt"))
    path = tmp_path / "comparison.html"
    path.write_text(Html().render(compared, RenderOptions()), "utf-8")
    page = Page(chromium)
    page.open(path)
    assert "Comparison" in page.run("document.querySelector('main h2').textContent")
    assert page.complaints == []
    page.close()


def test_a_training_run_on_the_page(chromium, tmp_path):
    rng = np.random.default_rng(0)
    start = {name: rng.normal(size=(16, 4, 3, 3)) for name in ("a.weight", "<b>.weight")}
    run = [{name: weight + 0.2 * k for name, weight in start.items()} | {"epoch": k} for k in range(4)]
    path = tmp_path / "run.html"
    made = gcx.track(*run, groups={"*": 2}, extras=Extras(pictures=True))
    path.write_text(Html().render(made, RenderOptions()), "utf-8")
    page = Page(chromium)
    page.open(path)
    series = (
        "Array.from(document.querySelectorAll('table.series tbody tr:not([hidden])')).map(r => r.cells[0].innerText)"
    )
    assert page.run(series) == ["a", "<b>"]
    page.run("const s = document.getElementById('search'); s.value = '<b'; s.dispatchEvent(new Event('input'))")
    assert page.run(series) == ["<b>"]
    assert page.run("document.querySelectorAll('details.layer .matrix img').length") == 2
    for width in WIDTHS.values():
        page.resize(width)
        assert page.run("document.documentElement.scrollWidth <= window.innerWidth")
    assert (page.complaints, page.requests) == ([], [])
    page.close()
