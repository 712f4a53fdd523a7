"""The Python API: paths, live modules and state dicts give the same numbers; settings, notes and errors."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gcx
from gcx import limits
from gcx.checkpoint import Checkpoint
from gcx.errors import UsageError
from gcx.settings import Settings
from gcx.summary import chosen_order


def layers_of(report):
    return {layer.name: layer for layer in report.models[0].measured}


def without_origin(layer):
    """The layer's numbers, without where its groups came from."""
    return replace(layer, groups_from="assumed", groups_confidence="certain", groups_evidence="", notes=())


def test_a_path_a_module_and_a_state_dict_give_the_same_numbers(torch_file, grouped_net):
    groups = {"*": 1, "grouped*": 4, "depthwise*": 32}
    of_path = layers_of(gcx.correlate(torch_file, groups=groups))
    of_dict = layers_of(gcx.correlate(grouped_net.state_dict(), groups=groups))
    of_module = layers_of(gcx.correlate(grouped_net))
    assert list(of_path) == list(of_dict) == list(of_module)
    for name, layer in of_path.items():
        assert without_origin(of_dict[name]) == without_origin(layer)
        assert without_origin(of_module[name]) == without_origin(layer)
    assert {layer.groups_from for layer in of_module.values()} == {"recorded"}


def test_a_declared_count_that_contradicts_the_module_is_refused(grouped_net):
    with pytest.raises(UsageError):
        gcx.correlate(grouped_net, groups={"grouped*": 2})


def test_several_models_are_one_report(torch_file, grouped_net):
    report = gcx.correlate(torch_file, grouped_net)
    assert len(report.models) == 2
    assert report.exit_code == 0


def test_the_layer_that_was_meant_is_named_whatever_the_glob_holds():
    net = {"it's.conv.weight": np.ones((4, 2, 3, 3)), "conv.weight": np.ones((4, 2, 3, 3))}
    with pytest.raises(gcx.errors.UsageError, match=r"did you mean \"it's.conv\""):
        gcx.correlate(net, include=["it's.konv"])


def test_a_name_that_holds_brackets_is_a_glob_for_itself():
    net = {"[red]x[/red].weight": np.ones((4, 2, 3, 3)), "blocks[0].weight": np.ones((4, 2, 3, 3))}
    report = gcx.correlate(net, include=["blocks[0]"], groups={"[red]x[/red]": 1, "blocks[0]": 2})
    assert [(layer.name, layer.groups) for layer in report.models[0].measured] == [("blocks[0]", 2)]
    assert [layer.name for layer in gcx.layers(net, exclude=["blocks[0]"]).models[0].layers] == ["[red]x[/red]"]


def test_a_glob_may_match_in_one_model_of_two():
    weights = np.random.default_rng(0).normal(size=(2, 8, 4, 3, 3))
    report = gcx.correlate({"a.weight": weights[0]}, {"b.weight": weights[1]}, groups={"b": 2}, exclude=("a",))
    assert [len(model.measured) for model in report.models] == [0, 1]
    assert report.exit_code == 3
    with pytest.raises(UsageError, match="matches no layer"):
        gcx.correlate({"a.weight": weights[0]}, {"b.weight": weights[1]}, include="c")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: gcx.correlate(), "no model given"),
        (lambda: gcx.correlate(42), "cannot read what is of type int"),
        (lambda: gcx.correlate({"w": np.ones((2, 2, 3, 3))}, mesure="cosine"), "did you mean 'measure'"),
        (lambda: gcx.layers("no such file.pt"), "no such file"),
        (lambda: chosen_order(gcx.correlate({"a.weight": np.eye(81).reshape(81, 9, 3, 3)}), "size", None), "sort"),
    ],
)
def test_what_cannot_be_meant_says_so(call, says):
    with pytest.raises(gcx.errors.GcxError, match=says):
        call()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"measure": "spearman"}, "option measure is 'spearman', not 'pearson' or 'cosine'"),
        ({"measure": "Pearson"}, "not 'pearson' or 'cosine'"),
        ({"weights": "EMA"}, "not 'plain' or 'ema'"),
        ({"order": "age"}, "not 'name' or 'mtime' or 'file'"),
        ({"groups": {"c": 2.0}}, "option groups.0..1. is 2.0, not a whole number"),
        ({"groups": {"c": True}}, "not a whole number"),
        ({"groups": {"c": 0}}, "count below 1"),
        ({"groups": "c=4"}, "option groups is no list"),
        ({"groups": 4}, "option groups is no list"),
        ({"include": 4}, "option include is no list"),
        ({"include": [4]}, "option include.0. is 4, not text"),
        ({"fold_sign": 1}, "option fold_sign is 1, not true or false"),
        ({"seed": -1}, "option seed is -1; give at least 0"),
        ({"seed": 1.5}, "option seed is 1.5, not a whole number"),
        ({"n_resamples": 0}, "option n_resamples is 0; give 99 to 1000000"),
        ({"n_resamples": -5}, "n_resamples is -5"),
        ({"virtual_groups": 1}, "virtual_groups is 1; give at least 2"),
        ({"map": {"a*": "b"}}, "each . on the left needs one on the right"),
        ({"map": [("a", 1)]}, "option map.0..1. is 1, not text"),
        ({"n_draws": 1}, "n_draws is 1; give 20 to 10000"),
        ({"exit_zero": None}, "option exit_zero is None, not true or false"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_as_on_the_command_line(options, says):
    net = {"c.weight": np.random.default_rng(0).normal(size=(8, 4, 3, 3))}
    for call in (gcx.correlate, gcx.layers, lambda one, **given: gcx.compare(one, one, **given)):
        with pytest.raises(gcx.errors.UsageError, match=says):
            call(net, **options)


def test_values_may_be_written_in_several_ways():
    net = {"c.weight": np.random.default_rng(0).normal(size=(8, 4, 3, 3))}
    ways = [{"c": 2}, [("c", 2)], [["c", 2]], (("c", 2),)]
    assert len({gcx.correlate(net, groups=groups, include="c") for groups in ways}) == 1
    assert gcx.correlate(net, include=["c"]) == gcx.correlate(net, include="c")
    numpys = gcx.correlate(net, groups={"c": np.int64(2)}, seed=np.int64(3))
    assert numpys == gcx.correlate(net, groups={"c": 2}, seed=3)
    assert type(numpys.settings.seed) is int
    with pytest.raises(gcx.errors.UsageError, match="settings is a dict"):
        gcx.correlate(net, settings={"seed": 1})


def test_a_tied_layer_is_chosen_by_either_name():
    weight = np.random.default_rng(0).normal(size=(8, 4, 3, 3))
    net = {"a.weight": weight, "b.weight": weight, "c.weight": weight[:, :2].copy()}
    assert [layer.name for layer in gcx.layers(net, include="b").models[0].layers] == ["a"]
    assert [layer.name for layer in gcx.layers(net, exclude="b").models[0].layers] == ["c"]


def grouped_layers(count):
    rng = np.random.default_rng(0)
    return {f"l{i}.weight": rng.normal(size=(4, 2, 3, 3)) for i in range(count)}


def test_draws_grow_with_the_number_of_tests_and_are_bounded(monkeypatch):
    def draws(count, **options):
        report = gcx.correlate(grouped_layers(count), groups={"*": 2}, **options)
        return {layer.kernels.n_resamples for layer in report.models[0].measured}

    assert draws(3) == {999}
    assert draws(60) == {1199}
    assert draws(3, n_resamples=199) == {199}
    monkeypatch.setattr(limits, "RESAMPLES", 1100)
    assert draws(60) == {1100}


def test_the_summary_weights_by_pairs():
    rng = np.random.default_rng(1)
    small, large = rng.normal(size=(4, 2, 3, 3)), rng.normal(size=(32, 2, 3, 3))
    report = gcx.correlate({"a.weight": small, "b.weight": large}, groups={"*": 1})
    a, b = (layer.within for layer in report.models[0].measured)
    expected = (a.mean_r2 * 6 + b.mean_r2 * 496) / 502
    assert report.models[0].summary.mean_r2_within == pytest.approx(expected, rel=1e-12)
    assert report.models[0].summary.parameters == 36 * 18


def test_top_keeps_the_layers_most_above_their_null_in_file_order():
    rng = np.random.default_rng(2)
    shared = rng.normal(size=(1, 4, 3, 3))
    weights = {f"l{i}.weight": rng.normal(size=(8, 4, 3, 3)) + i % 3 * shared for i in range(9)}
    report = gcx.correlate(weights, groups={"*": 1})
    top = chosen_order(report, None, 3)
    assert [layer.name for layer in top.models[0].measured] == ["l2", "l5", "l8"]
    assert "--top shows 3 of 9 measured layers" in top.models[0].notes[-1]
    assert top.models[0].summary == report.models[0].summary
    by_size = chosen_order(report, "excess", None).models[0].measured
    values = [layer.within.excess for layer in by_size]
    assert values == sorted(values, reverse=True)


def test_a_report_shows_itself_in_a_notebook(torch_file):
    html = gcx.correlate(torch_file)._repr_html_()
    assert "<table" in html
    assert "grouped.0" in html


def test_settings_stand_in_the_report(torch_file):
    report = gcx.correlate(torch_file, settings=Settings(seed=5), measure="cosine", include=["*"])
    assert (report.settings.seed, report.settings.measure) == (5, "cosine")


def test_transposed_weights_are_seen_as_filters(grouped_net):
    import torch

    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.ConvTranspose2d(8, 12, 3, groups=4))
    layer = gcx.correlate(net).models[0].measured[0]
    assert (layer.weight_shape, layer.stored_shape) == ((12, 2, 3, 3), (8, 3, 3, 3))
    weight = net[0].weight.detach().double().numpy()
    filters = np.stack([weight[2 * g : 2 * g + 2, f].ravel() for g in range(4) for f in range(3)])
    r2 = np.corrcoef(filters) ** 2
    within = [r2[3 * g + i, 3 * g + j] for g in range(4) for i in range(3) for j in range(i)]
    assert layer.within.mean_r2 == pytest.approx(np.mean(within), rel=1e-9)


def test_one_and_three_dimensional_convolutions():
    import torch

    net = torch.nn.Sequential(torch.nn.Conv1d(4, 8, 5, groups=2), torch.nn.Conv3d(8, 8, 3, groups=8))
    layers = gcx.correlate(net).models[0].measured
    assert [layer.weight_shape for layer in layers] == [(8, 2, 5), (8, 1, 3, 3, 3)]
    assert layers[1].within is None
    assert layers[1].across.order_free


def test_no_module_takes_the_place_of_a_public_function():
    """`import gcx.layers` would replace the function `gcx.layers` by a module."""
    from pathlib import Path

    package = Path(gcx.__file__).parent
    assert not [name for name in gcx.__all__ if (package / f"{name}.py").exists() or (package / name).is_dir()]


def test_a_nan_that_signals_is_a_nan_without_a_warning():
    """Processors say "invalid" where such a number is cast; the report says it in words."""
    weight = np.random.default_rng(0).normal(size=(4, 2, 3, 3)).astype(np.float32)
    weight.view(np.uint32)[0, 0, 0, 0] = 0x7FA00000
    assert "NaN" in gcx.correlate({"c.weight": weight}).models[0].skipped[0].reason


def test_a_layer_that_is_read_in_groups_is_no_negative_control():
    from gcx.renderers.prose import partition_line, partitions

    rng = np.random.default_rng(0)
    net = {
        "stem.weight": rng.normal(size=(16, 3, 3, 3)),
        "body.weight": rng.normal(size=(32, 8, 3, 3)),
        "head.weight": rng.normal(size=(32, 32, 3, 3)),
    }
    options = {"groups": {"stem": 1, "body": 2, "head": 1}, "virtual_groups": 2}
    stem, body, head = gcx.correlate(net, **options).models[0].measured
    assert (stem.virtual_groups.consumer, body.virtual_groups, head.virtual_groups.consumer) == ("body", None, None)
    assert stem.induced_groups is None
    ((source, rows),) = partitions(gcx.correlate(net, **options).models[0])
    text = partition_line(source, rows).text
    assert "not counted, since a layer reads it in groups: 1" in text
    assert "of 1, chance gives 0.05" in text


def test_what_top_leaves_out_is_not_counted_as_known():
    from gcx.renderers.prose import model_lines

    rng = np.random.default_rng(0)
    report = gcx.correlate({f"l{i}.weight": rng.normal(size=(8, 4, 3, 3)) for i in range(3)}, groups={"*": 1})
    (model,) = chosen_order(report, None, 1).models
    lines = {line.label: line.text for line in model_lines(model, report.settings)}
    assert lines["groups"] == "1 declared of the 1 shown"


@pytest.mark.parametrize(
    ("call", "options"),
    [
        (gcx.correlate, {"filters": True}),
        (gcx.correlate, {"n_draws": 30}),
        (gcx.compare, {"induced": True}),
        (gcx.track, {"virtual_groups": 4}),
        (gcx.track, {"map": {"a": "a"}}),
    ],
)
def test_an_option_without_effect_is_refused(call, options):
    net = {"a.weight": np.random.default_rng(0).normal(size=(8, 4, 3, 3))}
    nets = [net] if call is gcx.correlate else [net, net]
    with pytest.raises(gcx.UsageError, match=f"option {next(iter(options))} has no effect here"):
        call(*nets, **options)


def gan(rng):
    """Two networks; the second reads in groups what its own first layer gives, and not what the first network does."""
    generator = {"0.weight": (16, 3, 3, 3), "1.weight": (16,), "1.bias": (16,), "3.weight": (8, 16, 1, 1)}
    critic = {"0.weight": (16, 3, 3, 3), "1.weight": (16,), "1.bias": (16,), "3.weight": (16, 8, 3, 3)}
    nets = {"generator": generator, "discriminator": critic}
    return {key: {name: rng.normal(size=shape) for name, shape in net.items()} for key, net in nets.items()}


def test_networks_of_one_file_are_read_each_by_itself(tmp_path):
    value = gan(np.random.default_rng(0))
    torch.save({key: {n: torch.tensor(w) for n, w in net.items()} for key, net in value.items()}, tmp_path / "gan.pt")
    alone = {layer.name: layer.groups for layer in gcx.layers(value["discriminator"]).models[0].layers}
    assert alone == {"0": 1, "3": 2}
    for both in (value, str(tmp_path / "gan.pt")):
        found = {layer.name: layer.groups for layer in gcx.layers(both).models[0].layers}
        assert {name: found[f"discriminator.{name}"] for name in alone} == alone
    declared = gcx.layers(value, groups={"discriminator.3": 1}).models[0].layers[-1]
    assert (declared.groups, declared.groups_from) == (1, "declared")


@given(prefixes=st.sets(st.text("ab.", min_size=1, max_size=4), min_size=2), names=st.sets(st.text("ab.c", max_size=6)))
def test_each_name_goes_to_the_network_that_it_begins_with(prefixes, names):
    apart = [one for one in prefixes if not any(one != other and one.startswith(other) for other in prefixes)]
    parts = Checkpoint("a.pt", "x", {}, networks=tuple(apart)).by_network(dict.fromkeys(sorted(names)))
    expected = [[name for name in sorted(names) if name.startswith(prefix)] for prefix in sorted(apart)]
    assert list(map(list, parts)) == expected


def test_a_mask_that_only_code_could_use_is_said():
    weight = np.random.default_rng(0).normal(size=(8, 4, 3, 3))
    layer = gcx.correlate({"c.weight": weight, "c.mask": np.ones_like(weight)}).models[0].measured[0]
    assert "c.mask has its shape" in layer.notes[0]
