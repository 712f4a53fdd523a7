"""Shown names: prefixes of wrappers go, nothing collides; the moving average is found where it is a twin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcx.checkpoint import TensorRef
from gcx.readers.base import ReadOptions
from gcx.readers.names import present, shown_names


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["module.a.w", "module.b"], ["a.w", "b"]),
        (["module.module.a", "module.module.b"], ["a", "b"]),
        (["_orig_mod.a", "_orig_mod.b"], ["a", "b"]),
        (["module._orig_mod.a", "module._orig_mod.b"], ["a", "b"]),
        (["_orig_mod.module.a", "_orig_mod.module.b"], ["a", "b"]),
        (["body._orig_mod.0.w", "head.w"], ["body.0.w", "head.w"]),
        (["module.a", "n_averaged"], ["a", "n_averaged"]),
        (["module.a", "head.b"], ["module.a", "head.b"]),
        (["modules.a", "modules.b"], ["modules.a", "modules.b"]),
        (["a", "_orig_mod.a"], ["a", "_orig_mod.a"]),
        (["module."], ["module."]),
        (["module.", "module.a"], ["module.", "module.a"]),
        ([], []),
        (["n_averaged"], ["n_averaged"]),
    ],
)
def test_prefixes(names, shown):
    assert list(shown_names(names).items()) == list(zip(names, shown, strict=True))


PARTS = st.lists(st.sampled_from(["module", "_orig_mod", "a", "b", "", "n_averaged"]), min_size=1, max_size=4)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.lists(PARTS.map(".".join), unique=True, max_size=8))
def test_no_two_names_are_shown_alike(names):
    shown = shown_names(names)
    assert list(shown) == names
    assert len(set(shown.values())) == len(names)


def refs(**shapes):
    return {
        name: TensorRef(name, "float32", shape, lambda shape=shape: np.zeros(shape, np.float32))
        for name, shape in ((name.replace("__", "."), shape) for name, shape in shapes.items())
    }


@pytest.mark.parametrize(
    ("tensors", "plain", "ema"),
    [
        (refs(a__w=(2, 2), ema__a__w=(2, 2)), {"a.w": "a.w"}, {"a.w": "ema.a.w"}),
        (refs(model__a__w=(2, 2), model_ema__aw=(2, 2)), {"model.a.w": "model.a.w"}, {"model.a.w": "model_ema.aw"}),
        (refs(a__w=(2, 2), a__n=(), ema__module__a__w=(2, 2)), {"a.w": "a.w", "a.n": "a.n"}, {"a.w": "ema.module.a.w"}),
        (refs(a__w=(2, 2), ema__a__w=(2, 2), ema__decay=()), {"a.w": "a.w"}, {"a.w": "ema.a.w"}),
    ],
)
def test_twins(tensors, plain, ema):
    chosen, notes = present(tensors, ReadOptions())
    assert list(chosen) == list(plain)
    assert all(chosen[name] is tensors[source] for name, source in plain.items())
    assert "left out the moving average" in notes[0]
    chosen, notes = present(tensors, ReadOptions("ema"))
    assert all(chosen[name].load is tensors[source].load for name, source in ema.items())
    assert chosen.keys() == plain.keys()
    assert "measured the moving average" in notes[0]


@pytest.mark.parametrize(
    "tensors",
    [
        refs(ema__conv__w=(2, 2)),
        refs(ema__conv__w=(2, 2), conv__w=(3, 3)),
        refs(ema__conv__w=(2, 2), conv__w=(2, 2), ema__other=(4, 4)),
        refs(ema__step=(), a=(2, 2)),
    ],
)
def test_a_module_that_is_only_called_ema_is_a_module(tensors):
    assert present(tensors, ReadOptions()) == (tensors, ())


def test_many_wrappers_are_dropped_at_once():
    """One pass for each of them would cost the square of a name's length."""
    deep = "module." * 20_000
    assert shown_names([f"{deep}a.weight", f"{deep}module.b"]) == {
        f"{deep}a.weight": "a.weight",
        f"{deep}module.b": "module.b",
    }
    assert shown_names(["n_averaged", "module.module.a"])["module.module.a"] == "a"
    assert shown_names(["module.", "module.a"])["module.a"] == "module.a"
