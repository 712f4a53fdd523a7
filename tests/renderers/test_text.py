"""The text formats: golden files, widths, ASCII, colour, what must be said, and hostile names."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from dataclasses import replace
from fnmatch import fnmatchcase
from html.parser import HTMLParser

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from renderers.builders import HOSTILE, hostile_listing, hostile_report, layer, listing, model, report

from gcx.contract import json_schema, to_mapping
from gcx.errors import UsageError, printable
from gcx.renderers.base import (
    PRINTED_COLUMNS,
    RENDERERS,
    ListingRenderer,
    RenderOptions,
    by_name,
    by_suffix,
    listing_by_name,
)
from gcx.renderers.listing import LISTING_COLUMNS, SUGGESTIONS, declarations
from gcx.renderers.notebook import notebook_html
from gcx.renderers.tables import COLUMNS
from gcx.results import Listing, SkippedLayer

TEXT = [renderer for renderer in RENDERERS if not renderer.binary]
LAID_OUT = {
    "80": RenderOptions(width=80),
    "120": RenderOptions(width=120),
    "pipe": RenderOptions(),
    "ascii": RenderOptions(width=80, unicode=False),
    "color": RenderOptions(width=100, color=True),
}


def render(name: str, *models: object, **options: object) -> str:
    text = by_name(name).render(report(*models), RenderOptions(**options))  # type: ignore[arg-type]
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("look", LAID_OUT)
def test_terminal_golden(look: str, golden: object) -> None:
    golden(f"report-{look}.txt", by_name("terminal").render(report(), LAID_OUT[look]))  # type: ignore[operator]


@pytest.mark.parametrize("name", ["csv", "json", "markdown"])
def test_data_golden(name: str, golden: object) -> None:
    suffix = by_name(name).suffixes[0]
    golden(f"report{suffix}", render(name))  # type: ignore[operator]
    golden(f"listing{suffix}", listing_by_name(name).render_listing(listing(), RenderOptions()))  # type: ignore[operator]


@pytest.mark.parametrize("look", ["80", "120", "pipe"])
def test_listing_golden(look: str, golden: object) -> None:
    text = listing_by_name("terminal").render_listing(listing(), LAID_OUT[look])
    golden(f"listing-{look}.txt", text)  # type: ignore[operator]


def test_notebook_golden(golden: object) -> None:
    golden("report-notebook.html", report()._repr_html_())  # type: ignore[operator]


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_the_table_fits_the_terminal(width: int) -> None:
    names = ["a", "layer1.0.conv1", "backbone.features.stage_2.block_1.depthwise.conv.weight_holder.inner"]
    for name in names:
        text = render("terminal", model((layer(name, (512, 256, 3, 3), 2), layer("b", (8, 1, 3, 3), 8))), width=width)
        assert max(map(len, text.splitlines())) <= width
        table = text.split("\n\n")[1]
        assert "within groups" in table
        assert "across groups" in table
        assert table.count("chance") == 2
        assert "2 declared" in table


def test_long_names_fold_on_a_terminal_and_are_whole_in_a_pipe() -> None:
    name = "encoder." * 20 + "conv"
    cut = model((layer(name, (8, 8, 3, 3)),))
    assert name in render("terminal", cut)
    rows = re.split(r"\n─+\n", render("terminal", cut, width=80))[1].split("\n\n")[0].splitlines()
    assert len(rows) > 1
    assert "".join(re.split(r" {2,}", row)[0] for row in rows) == name


@pytest.mark.parametrize("width", [1, 2, 10, 40, None])
@pytest.mark.parametrize("unicode", [False, True])
def test_any_width_and_encoding(width: int | None, unicode: bool) -> None:
    options = RenderOptions(width=width, unicode=unicode)
    for text in (
        by_name("terminal").render(report(), options),
        listing_by_name("terminal").render_listing(listing(), options),
        by_name("terminal").render(hostile_report(), options),
    ):
        assert isinstance(text, str)
        assert text.isascii() or unicode
        assert text.endswith("\n")


def test_no_colour_means_no_escape_sequence_at_all() -> None:
    plain = render("terminal", width=80)
    assert "\x1b" not in plain
    colored = render("terminal", width=80, color=True)
    assert "\x1b[1m" in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == plain


@pytest.mark.parametrize("name", ["terminal", "markdown"])
def test_nothing_vanishes(name: str) -> None:
    text = render(name)
    for said in (
        "7 of 8 convolutions, 98.3 % of convolution weights",
        "quantised.conv 8×8×3×3: packed int4 weights",
        "1 recorded, 2 declared, 2 inferred (1 likely), 2 assumed dense?",
        "4 inferred?",
        "1 assumed?",
        "2 filters and 37 kernels",
        "channel order is arbitrary",
        "position table",
        "there is also 'params_ema'",
        "the same weight as upsample.1.body.0",
        "negative control",
    ):
        assert said in text


def cells(text: str, name: str) -> list[str]:
    return next(line for line in text.splitlines() if line.startswith(f"{name} ")).split()


def test_stars_only_where_a_claim_is_allowed() -> None:
    high = layer("high", (64, 16, 3, 3), 4, rms=0.5)
    assert cells(render("terminal", model((high,))), "high")[4:11] == [
        ".500*", ".092", ".084", "1.000", ".316", ".092", ".084",
    ]  # fmt: skip
    assert high.within is not None
    assert high.kernels is not None
    touching = replace(high, within=replace(high.within, ci95=(high.within.null_permuted_r2, 1.0)))
    assert cells(render("terminal", model((touching,))), "high")[4] == ".500"
    unknown = replace(high, within=replace(high.within, ci95=None))
    assert cells(render("terminal", model((unknown,))), "high")[4] == ".500"
    weak = replace(high, kernels=replace(high.kernels, pvalue_adjusted=0.051))
    assert cells(render("terminal", model((weak,))), "high")[11:13] == ["+.0123", ".051"]
    just = replace(high, kernels=replace(high.kernels, pvalue_adjusted=0.05))
    assert cells(render("terminal", model((just,))), "high")[11:13] == ["+.0123*", ".050"]


def test_a_model_without_a_measured_layer() -> None:
    none = model((SkippedLayer(name="only", reason="it is empty"),))
    for name in ("terminal", "markdown"):
        text = render(name, none)
        assert "0 of 1 convolution" in text
        assert "only: it is empty" in text
    assert "0 of 0 convolutions" in render("terminal", model(()))
    assert "it is empty" in notebook_html(report(none))


def test_several_models_stand_apart() -> None:
    text = render("terminal", model(path="a.pt"), model(path="b.pt"))
    first, second = (
        next(k for k, line in enumerate(text.splitlines()) if line.startswith(p)) for p in ("a.pt", "b.pt")
    )
    assert first == 0
    assert text.splitlines()[second - 1] == ""
    assert text.count("channel order is arbitrary") == 1  # the legend is for all of them


# --- data formats read back ---


def test_json_is_the_mapping_and_keeps_the_schema() -> None:
    for made, text in (
        (hostile_report(), by_name("json").render(hostile_report(), RenderOptions())),
        (hostile_listing(), listing_by_name("json").render_listing(hostile_listing(), RenderOptions())),
    ):
        assert isinstance(text, str)
        assert re.fullmatch(r"[\x20-\x7e\n]*", text)
        read = json.loads(text)
        assert read == to_mapping(made)
        jsonschema.validate(read, json_schema(type(made)))
        names = [one["name"] for one in read["models"][0]["layers"]]
        assert set(names) == set(HOSTILE)


def test_json_refuses_what_is_not_json() -> None:
    broken = replace(report(), models=(replace(model(), summary=replace(model().summary, excess_within=float("nan"))),))
    with pytest.raises(ValueError, match="not JSON compliant"):
        by_name("json").render(broken, RenderOptions())


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_csv_holds_every_number_in_full() -> None:
    rows = read_csv(render("csv"))
    want = to_mapping(report())["models"][0]["layers"]
    assert [row["name"] for row in rows] == [one["name"] for one in want]
    row = rows[1]
    for part in ("within", "across", "kernels"):
        for key, value in want[1][part].items():
            if isinstance(value, float):
                assert float(row[f"{part}.{key}"]) == value, key
    assert [float(row["within.ci95.low"]), float(row["within.ci95.high"])] == want[1]["within"]["ci95"]
    assert row["weight_shape"] == "64x16x3x3"
    assert row["across.order_free"] == "false"
    assert rows[0]["across.mean_r2"] == ""
    assert rows[-1]["status"] == "skipped"
    assert rows[-1]["reason"] == "packed int4 weights"
    assert float(rows[0]["induced_groups.contrast_pvalue"]) == 0.0004


@pytest.mark.parametrize("kind", ["report", "listing"])
def test_hostile_names_in_csv(kind: str) -> None:
    if kind == "report":
        text = by_name("csv").render(hostile_report(), RenderOptions())
        names = [name for name in HOSTILE for _ in range(2)] * 2
    else:
        text = listing_by_name("csv").render_listing(hostile_listing(), RenderOptions())
        names = list(HOSTILE)
    assert isinstance(text, str)
    rows = read_csv(text)
    assert [row["name"].removeprefix("'") for row in rows] == [printable(name) for name in names]
    for row in rows:
        for key, value in row.items():
            assert key is not None
            assert value is not None
            assert not value.startswith(("=", "@", "\t", "\r"))
            assert not value.startswith(("+", "-")) or re.fullmatch(r"[-+][\d.e-]+", value), (key, value)
            assert value.isprintable()


class Tags(HTMLParser):
    """Every tag and every text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_comment(self, data: str) -> None:
        self.tags.add("!--")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_hostile_names_in_html() -> None:
    parser = Tags()
    parser.feed(notebook_html(hostile_report()))
    assert parser.tags <= {"h4", "small", "table", "thead", "tbody", "tr", "th", "td", "code", "div", "b", "em"}
    for name in HOSTILE:
        assert not name or printable(name).strip(" ") in parser.texts


def test_hostile_names_in_markdown() -> None:
    text = by_name("markdown").render(hostile_report(), RenderOptions())
    listed = listing_by_name("markdown").render_listing(hostile_listing(), RenderOptions())
    assert isinstance(text, str)
    for line in (text + listed).splitlines():
        assert line.isprintable()
        outside = re.sub(r"`[^`]*`", "", line.replace("\\`", ""))  # what is not inline code
        assert not re.search(r"<(?!/?code>)", outside)
        assert not re.search(r"(?<!\\)[*\[@$]", outside)
        assert "https://" not in outside
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in tables}) == 1


@pytest.mark.parametrize("renderer", TEXT, ids=lambda renderer: renderer.name)
def test_hostile_names_never_reach_the_terminal_raw(renderer: object) -> None:
    texts = [renderer.render(hostile_report(), RenderOptions(width=80))]  # type: ignore[attr-defined]
    if isinstance(renderer, ListingRenderer):
        texts.append(renderer.render_listing(hostile_listing(), RenderOptions(width=80)))
    for text in texts:
        for line in text.split("\n"):
            assert line.isprintable()
            assert not set(line) & set("\u202e\u2066\u2028")


def test_hostile_names_keep_a_coloured_terminal_safe() -> None:
    text = by_name("terminal").render(hostile_report(), RenderOptions(color=True))
    assert isinstance(text, str)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert "\x1b" not in plain
    for name in HOSTILE:
        assert printable(name) in plain  # nothing was taken for rich's markup


# --- the registry ---


@pytest.mark.parametrize("renderer", RENDERERS, ids=lambda renderer: renderer.name)
def test_every_renderer_keeps_the_contract(renderer: object) -> None:
    name, suffixes = renderer.name, renderer.suffixes  # type: ignore[attr-defined]
    assert by_name(name) is renderer
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in suffixes)
    assert all(by_suffix(suffix.upper()) is renderer for suffix in suffixes)
    assert isinstance(renderer, ListingRenderer) == (name in {"terminal", "json", "csv", "markdown"})
    first = renderer.render(report(), RenderOptions())  # type: ignore[attr-defined]
    assert isinstance(first, bytes if renderer.binary else str)  # type: ignore[attr-defined]
    assert first == renderer.render(report(), RenderOptions())  # type: ignore[attr-defined]


def test_unknown_formats_are_answered_with_what_is_known() -> None:
    with pytest.raises(UsageError, match="no format 'yaml'; choose one of terminal, json"):
        by_name("yaml")
    with pytest.raises(UsageError, match=r"suffix '\.xlsx'; use one of \.txt, \.json"):
        by_suffix(".xlsx")


def test_records_of_listings_have_a_schema() -> None:
    assert json_schema(Listing)["$defs"]["ListedLayer"]["required"]


def test_other_correlations_than_pearson_are_said() -> None:
    plain = report()
    assert "- r is:" not in by_name("markdown").render(plain, RenderOptions())
    for changes, words in (
        ({"measure": "cosine"}, "the cosine of filters"),
        ({"fold_sign": True, "fold_scale": True}, "--fold-scale"),
        ({"weights": "ema"}, "moving average"),
    ):
        changed = replace(plain, settings=replace(plain.settings, **changes))
        for name in ("terminal", "markdown"):
            assert words in by_name(name).render(changed, RenderOptions())
        assert words in notebook_html(changed)


def test_every_column_has_a_meaning_and_a_heading_of_its_own() -> None:
    assert PRINTED_COLUMNS[: len(COLUMNS)] == COLUMNS
    headings = {column.heading for column in PRINTED_COLUMNS}
    assert len(headings) == len({column.key for column in PRINTED_COLUMNS}) == len(PRINTED_COLUMNS)
    assert all(column.meaning and column.title == column.title.strip() for column in PRINTED_COLUMNS)
    assert {column.heading for column in LISTING_COLUMNS} <= headings


def test_sidelines_go_before_a_name_folds() -> None:
    name = "backbone.stage2.block10.conv"
    cut = model((layer(name, (64, 16, 3, 3), 4),))
    assert name in render("terminal", cut, width=120)
    assert "isotropic" in render("terminal", cut, width=120)
    assert "max |r|" not in render("terminal", cut, width=120)


def test_small_pvalues_of_the_negative_control_are_counted() -> None:
    assert "p at most .05 in 0 of 1, chance gives 0.05" in render("terminal")  # virtual, .51
    assert "p at most .05 in 1 of 1, chance gives 0.05" in render("terminal")  # induced, .0004


def test_what_to_type_for_uncertain_groups_can_be_copied_into_a_shell() -> None:
    layers = listing().models[0].layers
    names = ["a.b", "has space", "it's", "star*[0]?", "=x", "$(rm -rf .)", "\x1b[2Jx", "层"]
    unsure = replace(layers[0], groups=2, groups_confidence="ambiguous", groups_alternatives=(4, 8))
    model = replace(listing().models[0], layers=tuple(replace(unsure, name=name) for name in names))
    for name, line in zip(names, declarations(model), strict=True):
        assert line.isprintable()
        assert line.isascii()
        option, value = shlex.split(line.removesuffix("   (or 4, 8)"))
        assert option == "--groups"
        glob, _, count = value.rpartition("=")
        assert count == "2"
        assert fnmatchcase(name, glob)
        assert sum(fnmatchcase(other, glob) for other in names) == 1
    many = replace(model, layers=tuple(replace(unsure, name=f"l{k}") for k in range(SUGGESTIONS + 5)))
    assert list(declarations(many))[-1] == "and 5 more"
    sure = replace(unsure, groups_confidence="certain")
    assert list(declarations(replace(model, layers=(sure, replace(unsure, problem="empty"))))) == []


ANY_TEXT = st.text(st.characters(), max_size=12)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(ANY_TEXT)
def test_any_name_is_safe_in_any_text(name: str) -> None:
    made = report(model((layer(name, (8, 2, 3, 3), 4, notes=(name,)), SkippedLayer(name=name, reason=name)), path=name))
    for renderer in TEXT:
        text = renderer.render(made, RenderOptions())
        assert isinstance(text, str)
        assert all(line.isprintable() for line in text.split("\n"))
    assert str(by_name("terminal").render(made, RenderOptions(width=60, unicode=False))).isascii()
    assert json.loads(by_name("json").render(made, RenderOptions()))["models"][0]["layers"][0]["name"] == name
    rows = read_csv(by_name("csv").render(made, RenderOptions()))  # type: ignore[arg-type]
    assert {row["name"].removeprefix("'") for row in rows} == {printable(name).removeprefix("'")}
    table = [row for row in str(by_name("markdown").render(made, RenderOptions())).split("\n") if row.startswith("|")]
    assert len({row.count("|") for row in table}) == 1
