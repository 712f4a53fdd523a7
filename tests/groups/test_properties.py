"""Invariances, and networks drawn at random."""

import re

from groups.drawn import NETWORKS, Drawn
from hypothesis import given, settings
from hypothesis import strategies as st

from gcx.groups import resolve_groups

makers = st.sampled_from(sorted(NETWORKS))
QUICK = settings(max_examples=40, deadline=None, derandomize=True)


def counts(shapes):
    return [found.groups for found in resolve_groups(shapes).values()]


@QUICK
@given(makers, st.randoms(use_true_random=False))
def test_renaming_path_components_changes_no_count(maker, random):
    shapes = NETWORKS[maker]().shapes
    components = sorted({part for name in shapes for part in name.split(".")[:-1]})
    words = [f"w{number}" for number in range(len(components))]
    random.shuffle(words)
    other = dict(zip(components, words, strict=True))
    renamed = {}
    for name, shape in shapes.items():
        *path, parameter = name.split(".")
        renamed[".".join([*(other[part] for part in path), parameter])] = shape
    assert counts(renamed) == counts(shapes)


@QUICK
@given(makers, st.sampled_from(["module.", "_orig_mod.", "model.backbone.", "0."]))
def test_a_prefix_changes_nothing_but_names(maker, prefix):
    shapes = NETWORKS[maker]().shapes
    before, after = resolve_groups(shapes), resolve_groups({prefix + name: shape for name, shape in shapes.items()})
    assert [prefix + name for name in before] == list(after)
    assert [(a.groups, a.confidence) for a in before.values()] == [(b.groups, b.confidence) for b in after.values()]


@QUICK
@given(makers, st.randoms(use_true_random=False))
def test_the_order_of_tensors_within_a_module_does_not_matter(maker, random):
    shapes = NETWORKS[maker]().shapes
    modules: dict[str, list[str]] = {}
    for name in shapes:
        modules.setdefault(name.rpartition(".")[0], []).append(name)
    shuffled = {}
    for names in modules.values():
        random.shuffle(names)
        shuffled |= {name: shapes[name] for name in names}
    assert counts(shuffled) == counts(shapes)


@st.composite
def networks(draw) -> Drawn:
    """Stages of equal blocks: plain, bottleneck, or inverted with a depthwise middle; groups of one kind."""
    net = Drawn().both("stem", draw(st.sampled_from([1, 3])), 2 * draw(st.integers(8, 24)))
    inward = net.shapes["stem.conv.weight"][0]
    kind = draw(st.sampled_from(["plain", "bottleneck", "inverted"]))
    groups = draw(st.sampled_from([1, 2, 4, 8]))
    for stage in range(draw(st.integers(1, 3))):
        out = groups * draw(st.integers(9, 40))
        for block in range(draw(st.integers(1, 3))):
            path = f"stages.{stage}.{block}"
            if kind == "plain":
                net.both(f"{path}.a", inward, out).both(f"{path}.b", out, out, 3, groups)
            elif kind == "bottleneck":
                net.both(f"{path}.a", inward, out, 1).both(f"{path}.b", out, out, 3, groups).both(
                    f"{path}.c", out, out, 1
                )
            else:
                wide = 4 * inward
                net.both(f"{path}.a", inward, wide, 1).both(f"{path}.b", wide, wide, 3, wide)
                net.both(f"{path}.c", wide, out, 1)
            inward = out
    return net


@settings(max_examples=150, deadline=None, derandomize=True)
@given(networks())
def test_a_drawn_network_is_known_or_doubted(net):
    found = resolve_groups(net.shapes)
    certain = {name: one.groups for name, one in found.items() if one.confidence == "certain"}
    assert certain == {name: net.true[name] for name in certain}
    assert len(certain) >= 0.5 * len(found)
    assert all(one.groups == net.true[name] or net.true[name] in one.alternatives for name, one in found.items())


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.dictionaries(
        st.from_regex(
            re.compile(r"[a-c](\.[a-d0-2]){0,4}\.(weight|bias|weight_g|weight_v|mask)", re.ASCII), fullmatch=True
        ),
        st.lists(st.integers(0, 12), max_size=6).map(tuple),
        max_size=25,
    )
)
def test_any_shapes_are_answered(shapes):
    for found in resolve_groups(shapes).values():
        assert found.groups >= 1
        assert found.out_channels % found.groups == 0
        assert found.in_channels % found.groups == 0
