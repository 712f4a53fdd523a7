"""The pickle interpreter: what Python pickles comes out the same, and no stream gets anything else out of it."""

from __future__ import annotations

import collections
import pickle
import pickletools
import struct
import tracemalloc

import pytest
from evil import Raw, ops, pickled, tensor, text
from hypothesis import given, settings
from hypothesis import strategies as st

from gcx.errors import CheckpointError, GcxError
from gcx.readers.torch.dtypes import DTYPES
from gcx.readers.torch.machine import Budget, Machine, TruncatedPickleError
from gcx.readers.torch.opcodes import HANDLERS, unknown
from gcx.readers.torch.values import Global, Pairs, Placeholder, Storage


def run(stream: bytes, persistent=None):
    return Machine(stream, persistent, Budget()).run()


def plain(value):
    """An inert value as the Python value that it stands for."""
    if type(value) is Pairs:
        return {plain(key): plain(item) for key, item in value.items}
    if type(value) is Placeholder and value.cls.name in ("set", "frozenset"):
        items = list(value.elements or []) + [item for arg in value.args for item in arg]
        made = {plain(item) for item in items}
        return made if value.cls.name == "set" else frozenset(made)
    if type(value) is Placeholder and value.cls.full == "_codecs.encode":
        return value.args[0].encode(value.args[1])
    if type(value) is Placeholder and value.cls.name in ("bytes", "bytearray"):
        return bytes(plain(value.args[0])) if value.args else b""
    if type(value) in (list, tuple):
        return type(value)(map(plain, value))
    return value


SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False) | st.text() | st.binary()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
        | st.sets(st.integers() | st.text(max_size=3), max_size=4)
        | st.frozensets(st.integers(), max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None, derandomize=True, max_examples=400)
@given(VALUES, st.integers(0, 5))
def test_what_python_pickles_comes_out_the_same(value, protocol):
    if protocol == 0:
        value = without_bytes(value)  # as text with escapes of Latin-1, read as such
    stream = pickle.dumps(value, protocol)
    assert plain(run(stream)) == value
    assert plain(run(pickletools.optimize(stream))) == value


def without_bytes(value):
    if isinstance(value, bytes):
        return None
    if isinstance(value, dict):
        return {key: without_bytes(item) for key, item in value.items()}
    return type(value)(map(without_bytes, value)) if isinstance(value, (list, tuple)) else value


def test_every_text_of_old_python():
    assert run(b"S'it\\\\s'\n.") == "it\\s"
    assert run(b'S"a"\n.') == "a"
    assert run(b"U\x02\xc3\xa9.") == "é"
    assert run(b"U\x01\xe9.") == "é"
    assert run(b"T\x01\x00\x00\x00a.") == "a"
    assert run(b"T" + struct.pack("<I", 70_000) + b"a" * 70_000 + b".") == b"a" * 70_000
    assert run(b"Va\\u00e9\xe9\n.") == "aéé"


def test_shared_values_stay_shared():
    found = run(b"(]q\x00h\x00K\x01at.")
    assert found[0] is found[1] == [1]
    found = run(b"\x80\x04(]\x94j\x00\x00\x00\x00g0\n2t.")
    assert all(one is found[0] for one in found)
    cycle = run(b"]p0\ng0\na.")
    assert cycle[0] is cycle


def test_objects_keep_what_they_are_given():
    made = run(b"ccollections\nCounter\n}" + text("a") + b"K\x01s\x85R.")
    assert (made.cls.full, plain(made.args)) == ("collections.Counter", ({"a": 1},))
    made = run(b"cmine\nList\n)\x81(K\x01K\x02eK\x03a}b.")
    assert (made.elements, plain(made.state)) == ([1, 2, 3], {})
    made = run(b"cmine\nDict\n)\x81(K\x01K\x02uK\x03K\x04s.")
    assert made.items == [(1, 2), (3, 4)]
    assert type(run(b"cmine\nNet\n.")) is Global
    assert plain(run(b"\x8f(K\x01K\x02\x90.")) == {1, 2}


def test_persistent_ids():
    assert run(b"K\x05Q.", lambda pid: pid + 1) == 6
    assert run(b"Pabc\n.", lambda pid: pid) == "abc"


def test_out_of_the_ordered_dict_come_its_pairs():
    value = collections.OrderedDict([("b", 1), ("a", 2)])
    for protocol in range(6):
        assert list(plain(run(pickle.dumps(value, protocol))).items()) == list(value.items())
    assert plain(run(b"ccollections\nOrderedDict\n(](K\x01K\x02eK\x03K\x04\x86l\x85R.")) == {1: 2, 3: 4}


DAMAGED = {
    "nothing under POP": b"0.",
    "nothing to take": b"\x85.",
    "no mark": b"t.",
    "no mark for a list": b"K\x01l.",
    "no mark for items": b"}u.",
    "odd dict": b"(K\x01d.",
    "odd items": b"}(K\x01u.",
    "append to a dict": b"}K\x01a.",
    "append to a number": b"K\x01K\x02a.",
    "append to nothing": b"K\x01a.",
    "item of a list": b"]K\x01K\x02s.",
    "memo never set": b"h\x07.",
    "memo never set, long": b"j\x07\x00\x00\x00.",
    "memo never set, line": b"g7\n.",
    "put nothing": b"q\x00.",
    "call of a number": b"K\x01)R.",
    "arguments that are none": b"cmine\nNet\nK\x01R.",
    "arguments in a list": b"cmine\nNet\n]\x81.",
    "names that are no dict": b"cmine\nNet\n)]\x92.",
    "no class": b"(o.",
    "state of a number": b"K\x01}b.",
    "state of a class": b"cmine\nNet\n}b.",
    "global of numbers": b"K\x01K\x02\x93.",
    "module of bytes": b"C\x02os" + text("Net") + b"\x93.",
    "text that is none": b"X\x01\x00\x00\x00\xff.",
    "global that is no text": b"c\xff\nNet\n.",
    "text without quotes": b"Sabc\n.",
    "text of one quote": b"S'\n.",
    "text of two quotes": b"S'abc\"\n.",
    "escape": b"V\\u12\n.",
    "whole number": b"Iabc\n.",
    "empty number": b"I\n.",
    "number of words": b"I1_000\n.",
    "long number": b"Labc\n.",
    "float": b"Fabc\n.",
    "float too long": b"F" + b"9" * 9000 + b"\n.",
    "line without an end": b"I" + b"9" * 9000,
    "too many digits": b"I" + b"9" * 4301 + b"\n.",
    "long of too many bytes": b"\x8b" + struct.pack("<I", 4097) + bytes(4097) + b".",
    "negative length": b"\x8b\xff\xff\xff\xff.",
    "protocol": b"\x80\x06N.",
    "buffer": b"\x97.",
    "read-only buffer": b"N\x98.",
    "unknown operation": b"\x01.",
    "zero": b"\x00.",
    "persistent id": b"K\x01Q.",
    "persistent line": b"P1\n.",
    "dict of no pairs": b"ccollections\nOrderedDict\n]K\x01a\x85R.",
    "dict of threes": b"ccollections\nOrderedDict\n](NNNta\x85R.",
    "size of text": b"ctorch\nSize\n" + text("a") + b"\x85R.",
    "function without arguments": b"ctorch._utils\n_rebuild_tensor_v2\n)R.",
    "parameter of nothing": b"ctorch._utils\n_rebuild_parameter\n)R.",
    "getattr of one": b"cbuiltins\ngetattr\nK\x01\x85R.",
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_streams(kind):
    with pytest.raises(CheckpointError) as caught:
        run(DAMAGED[kind])
    assert not isinstance(caught.value, TruncatedPickleError) or kind == "line without an end"
    assert caught.value.what.startswith(("has a damaged pickle: ", "asks to "))


@pytest.mark.parametrize(
    ("stream", "says"),
    [
        (b"ctorch._utils\n_rebuild_parameter\nK\x05\x85R.", "a parameter without a tensor"),
        (b"ctorch._utils\n_rebuild_nested_tensor\nK\x05\x85R.", "a nested tensor without its buffer"),
        (b"cmine\nNet\n}b.", "asks to change mine.Net"),
        (b"ctorch\nFloatTensor\nK\x05\x85R.", "a tensor without numbers"),
        (b"ccollections\nOrderedDict\nK\x05\x85R.", "an OrderedDict of what are no pairs"),
    ],
)
def test_what_the_damage_is(stream, says):
    with pytest.raises(CheckpointError, match=says):
        run(stream)


@pytest.mark.parametrize("kind", ["memo never set", "put nothing", "no mark"])
def test_the_place_of_the_damage_is_said(kind):
    with pytest.raises(CheckpointError, match=r"byte [12]"):
        run(DAMAGED[kind])


def all_operations() -> bytes:
    return pickle.dumps([1, 300, -70_000, 2**70, 1.5, "a", b"b", (), (1,), {1: 2}, {3}, frozenset([4]), None], 5)


@pytest.mark.parametrize(
    "stream", [all_operations(), pickled({"w": tensor()}), pickle.dumps([1, 2**70, 1.5, "a\n", {"b": ()}], 0)]
)
def test_truncated_anywhere(stream):
    def persistent(_):
        return Storage("0", DTYPES["torch.float32"], 4, 4)

    for end in range(len(stream)):
        with pytest.raises(TruncatedPickleError):
            run(stream[:end], persistent)


def test_frames_that_do_not_end():
    assert run(b"\x80\x04\x95\x02\0\0\0\0\0\0\0N.") is None
    with pytest.raises(TruncatedPickleError):
        run(b"\x80\x04\x95\x03\0\0\0\0\0\0\0N.")


def test_python_s_operations_are_all_known():
    stopping = {"STOP"}
    missing = [one.name for one in pickletools.opcodes if HANDLERS[ord(one.code)] is unknown]
    assert set(missing) == stopping


PIECES = st.sampled_from(
    [bytes([code]) for code in range(256)]
    + [one.code.encode("latin-1") for one in pickletools.opcodes] * 2
    + [b"(", b")", b"N", b"K\x01", b"]", b"}", text("a"), b"q\x00", b"h\x00", b"0", b"\x94", b"cmine\nNet\n"] * 4
    + [
        b"ccollections\nOrderedDict\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ctorch\nSize\n",
        b"cbuiltins\ngetattr\n",
    ]
    + [
        ops(Raw(b"K\x01\x85")),
        ops((1, 2)),
        ops({"a": 1}),
        b"\x85",
        b"\x86",
        b"R",
        b"\x81",
        b"b",
        b"s",
        b"a",
        b"t",
        b"u",
    ]
)


@settings(deadline=None, derandomize=True, max_examples=1500)
@given(st.lists(PIECES, max_size=40).map(b"".join))
def test_any_operations_give_a_value_or_an_error_of_ours(stream):
    tracemalloc.start()
    try:
        run(stream + b".", lambda pid: pid)
    except GcxError as error:
        assert str(error).isprintable()
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 2**20
