"""The safetensors reader against the library: same numbers for good files, same verdict on bad ones."""

from __future__ import annotations

import gc
import json
import time
import tracemalloc
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from readers.flat import entry, safetensors_bytes, source_of

from gcx import limits
from gcx.errors import CheckpointError, GcxError, LimitError
from gcx.readers import safetensors as reader_module
from gcx.readers.base import ReadOptions, open_source
from gcx.readers.safetensors import DTYPES, SafetensorsReader

READER = SafetensorsReader()


def read_bytes(data: bytes, weights="plain"):
    """Name to (dtype, shape, array or None), all read while the source is open."""
    with source_of(data) as source, READER.read(source, ReadOptions(weights)) as checkpoint:
        return {
            name: (ref.dtype, ref.shape, None if ref.unreadable else ref.read())
            for name, ref in checkpoint.tensors.items()
        }


def refusal(data: bytes) -> CheckpointError:
    with source_of(data) as source, pytest.raises(CheckpointError) as caught:
        READER.read(source, ReadOptions())
    assert "\n" not in str(caught.value)
    assert caught.value.path == "file"
    assert caught.value.cure is not None or isinstance(caught.value, LimitError)
    return caught.value


# --- good files ---


@pytest.mark.parametrize(
    "dtype",
    [
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
        *(torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e8m0fnu, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz),
        *(torch.int64, torch.int32, torch.int16, torch.int8),
        *(torch.uint64, torch.uint32, torch.uint16, torch.uint8, torch.bool),
    ],
    ids=str,
)
def test_every_number_format_is_read_to_the_bit(dtype):
    raw = torch.randint(0, 2 if dtype == torch.bool else 256, (96,), dtype=torch.uint8)
    tensor = raw.view(dtype) if dtype != torch.bool else raw.bool()
    found_dtype, shape, array = read_bytes(safetensors.torch.save({"a.weight": tensor.reshape(-1, 3)}))["a.weight"]
    assert found_dtype == str(dtype).removeprefix("torch.")
    assert shape == (len(tensor) // 3, 3)
    assert array.dtype.name == found_dtype
    assert array.tobytes() == raw.numpy().tobytes()


def test_every_format_of_the_library_is_known():
    """A dtype that the library writes and gcx has never heard of would be refused as damage."""
    for kind, (_, bits) in DTYPES.items():
        data = bytes(bits)
        file = safetensors_bytes({"a": entry(kind, [8], [0, bits])}, data)
        assert [name for name, _ in safetensors.deserialize(file)] == ["a"]
        assert read_bytes(file)["a"][1] == (8,)


def test_complex_and_packed_numbers_are_listed_with_a_reason():
    with (
        source_of(
            safetensors_bytes({"c": entry("C64", [2], [0, 16]), "f": entry("F4", [4, 4], [16, 24])}, bytes(24))
        ) as source,
        READER.read(source, ReadOptions()) as checkpoint,
    ):
        assert "complex" in checkpoint.tensors["c"].unreadable
        assert "float4" in checkpoint.tensors["f"].unreadable
        with pytest.raises(CheckpointError, match="complex"):
            checkpoint.tensors["c"].read()


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(lambda name: name != "__metadata__")
SHAPES = st.lists(st.integers(0, 4), max_size=6).map(tuple)
FLOATS = [np.float64, np.float32, np.float16, np.int64, np.uint8, np.bool_]


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.dictionaries(NAMES, st.tuples(SHAPES, st.sampled_from(FLOATS), st.integers(0, 2**32)), max_size=6))
def test_reads_what_the_library_writes(spec):
    tensors = {
        name: np.random.default_rng(seed).integers(0, 2, shape).astype(dtype)
        for name, (shape, dtype, seed) in spec.items()
    }
    assume(not any(name.startswith(("module.", "ema.")) for name in tensors))
    found = read_bytes(safetensors.numpy.save(tensors, metadata={"fo\no": '"b{}ar'}))
    assert found.keys() == tensors.keys()
    for name, array in tensors.items():
        dtype, shape, read = found[name]
        assert (dtype, shape) == (array.dtype.name, array.shape)
        assert read.dtype == array.dtype
        assert np.array_equal(read, array)


def test_same_tensors_as_the_plain_state_dict(tmp_path):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(4, 8, 3, groups=2), torch.nn.BatchNorm2d(8), torch.nn.Conv1d(8, 2, 1))
    safetensors.torch.save_file(net.state_dict(), tmp_path / "a.safetensors", metadata={"format": "pt"})
    source = open_source(str(tmp_path / "a.safetensors"))
    assert READER.recognises(source)
    with READER.read(source, ReadOptions()) as checkpoint:
        assert checkpoint.format == "safetensors"
        assert checkpoint.tensors.keys() == net.state_dict().keys()
        for name, tensor in net.state_dict().items():
            assert np.array_equal(checkpoint.tensors[name].read(), tensor.numpy())
            assert checkpoint.tensors[name].name == name


def test_the_alphabet_of_the_writer_is_undone_and_another_order_is_kept():
    names = [f"layer.{i}.weight" for i in (0, 1, 10, 11, 2)]
    header = {name: entry(offsets=[4 * i, 4 * i + 4]) for i, name in enumerate(names)}
    assert list(read_bytes(safetensors_bytes(header, bytes(20)))) == [f"layer.{i}.weight" for i in (0, 1, 2, 10, 11)]
    reverse = dict(reversed(header.items()))
    assert list(read_bytes(safetensors_bytes(reverse, bytes(20)))) == list(reversed(names))


def test_offsets_need_not_follow_the_order_of_names():
    header = {"b": entry(offsets=[4, 8]), "a": entry(offsets=[0, 4]), "z": entry("I8", [0], [8, 8])}
    data = np.array([1, 2], np.float32).tobytes()
    assert {k: v[2].tolist() for k, v in read_bytes(safetensors_bytes(header, data)).items()} == {
        "b": 2.0,
        "a": 1.0,
        "z": [],
    }


def test_wrapper_prefixes_are_dropped_and_the_moving_average_is_a_twin():
    names = ["module.a.weight", "module.b.weight"]
    header = {name: entry(offsets=[4 * i, 4 * i + 4]) for i, name in enumerate(names)}
    assert list(read_bytes(safetensors_bytes(header, bytes(8)))) == ["a.weight", "b.weight"]
    header = {name: entry(shape=[1, 1], offsets=[4 * i, 4 * i + 4]) for i, name in enumerate(["ema.a", "model.a"])}
    data = safetensors_bytes(header, np.array([1, 2], np.float32).tobytes())
    assert {k: v[2].item() for k, v in read_bytes(data).items()} == {"model.a": 2.0}
    assert {k: v[2].item() for k, v in read_bytes(data, "ema").items()} == {"model.a": 1.0}
    with source_of(data) as source, READER.read(source, ReadOptions()) as checkpoint:
        assert "ema." in checkpoint.notes[0]


def test_a_wanted_moving_average_that_is_not_there_is_refused():
    with pytest.raises(GcxError, match="no moving average"):
        read_bytes(safetensors_bytes({"a": entry()}, bytes(4)), "ema")


# --- bad files ---

ONE = {"a": entry(shape=[1])}


@pytest.mark.parametrize(
    ("data", "message"),
    {
        "nothing": (b"\x02\0\0\0\0\0\0\0", "shorter than any"),
        "header past the end": (safetensors_bytes(ONE, bytes(4), length=2**20), "truncated: its header"),
        "header one too long": (safetensors_bytes("{}", length=3), "truncated: its header"),
        "header above the cap": (safetensors_bytes(ONE, length=10**8 + 1), "SAFETENSORS_HEADER"),
        "header of 2**64 - 1": (safetensors_bytes(ONE, length=2**64 - 1), "SAFETENSORS_HEADER"),
        "header too short": (safetensors_bytes(ONE, bytes(4), length=20), "does not end"),
        "not UTF-8": (safetensors_bytes(b'{"\xff": 1}'), "UTF-8 at byte 10"),
        "UTF-8 surrogate": (safetensors_bytes(b'{"\xed\xa0\x80": 1}'), "UTF-8"),
        "byte order mark": (safetensors_bytes(b"\xef\xbb\xbf{}"), "not begin with '{'"),
        "space first": (safetensors_bytes(" {}"), "not begin with '{'"),
        "list": (safetensors_bytes("[]"), "not begin with '{'"),
        "second value": (safetensors_bytes("{}{}"), "more after its end"),
        "comma at the end": (safetensors_bytes('{"__metadata__":{},}'), "no text where"),
        "no colon": (safetensors_bytes('{"a" 1}'), "no ':'"),
        "no comma": (safetensors_bytes('{"__metadata__":{} "a":1}'), "no ','"),
        "endless text": (safetensors_bytes('{"aaaa'), "damaged text"),
        "control character in a name": (safetensors_bytes('{"a\nb":{}}'), "damaged text"),
        "lone surrogate in a name": (safetensors_bytes('{"\\ud800":{}}'), "damaged text"),
        "single quotes": (safetensors_bytes("{'a':{}}"), "no text where"),
        "key twice": (
            safetensors_bytes('{"a":%s,"a":%s}' % ((json.dumps(ONE["a"]),) * 2), bytes(4)),
            "stands in it twice",
        ),
        "field twice": (
            safetensors_bytes('{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
            "field twice",
        ),
        "further field": (safetensors_bytes({"a": ONE["a"] | {"x": 1}}, bytes(4)), "exactly the fields"),
        "no offsets": (safetensors_bytes({"a": {"dtype": "F32", "shape": [1]}}, bytes(4)), "exactly the fields"),
        "entry is a number": (safetensors_bytes({"a": 1}), "not an object"),
        "entry is a list": (safetensors_bytes({"a": [{}]}), "not an object"),
        "entry does not end": (safetensors_bytes('{"a":{"dtype":'), "does not end"),
        "entry too long": (safetensors_bytes('{"a":{%s"dtype":1}}' % (" " * 4096)), "does not end"),
        "entry is not JSON": (safetensors_bytes('{"a":{"dtype"}}'), "not valid JSON"),
        "deep entry": (safetensors_bytes('{"a":{"shape":%s}}' % ("[" * 4000)), "not valid JSON"),
        "deep header": (safetensors_bytes('{"a":' * 100_000), "does not end"),
        "deep lists": (safetensors_bytes('{"a":' + "[" * 100_000), "not an object"),
        "NaN": (safetensors_bytes('{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}', bytes(4)), "NaN"),
        "Infinity": (safetensors_bytes('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,Infinity]}}'), "Infinity"),
        "float size": (safetensors_bytes('{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}', bytes(4)), "1.0"),
        "exponent": (safetensors_bytes('{"a":{"dtype":"F32","shape":[1e0],"data_offsets":[0,4]}}', bytes(4)), "1e0"),
        "minus zero": (safetensors_bytes('{"a":{"dtype":"F32","shape":[1],"data_offsets":[-0,4]}}', bytes(4)), "-0"),
        "negative": (safetensors_bytes({"a": entry(shape=[-1, -1])}, bytes(4)), "-1"),
        "text size": (safetensors_bytes({"a": entry(shape=["1"])}, bytes(4)), "no list of whole"),
        "true size": (safetensors_bytes({"a": entry(shape=[True])}, bytes(4)), "no list of whole"),
        "null size": (safetensors_bytes({"a": entry(shape=[None])}, bytes(4)), "no list of whole"),
        "shape is a number": (safetensors_bytes({"a": ONE["a"] | {"shape": 1}}, bytes(4)), "no list of whole"),
        "three offsets": (safetensors_bytes({"a": entry(offsets=[0, 4, 4])}, bytes(4)), "no two whole"),
        "one offset": (safetensors_bytes({"a": entry(offsets=[4])}, bytes(4)), "no two whole"),
        "offsets are a text": (safetensors_bytes({"a": ONE["a"] | {"data_offsets": "04"}}, bytes(4)), "no two whole"),
        "true offset": (safetensors_bytes({"a": entry("U8", [], [False, True])}, bytes(1)), "no two whole"),
        "unknown dtype": (safetensors_bytes({"a": entry("F33")}, bytes(4)), "unknown dtype: F33"),
        "dtype is a list": (safetensors_bytes({"a": ONE["a"] | {"dtype": ["F32"]}}, bytes(4)), "unknown dtype"),
        "shape needs more": (safetensors_bytes({"a": entry(shape=[64, 3, 3, 3])}, bytes(4)), "1728 float32 numbers"),
        "shape needs less": (safetensors_bytes({"a": entry(shape=[0])}, bytes(4)), "4 bytes"),
        "offsets backwards": (safetensors_bytes({"a": entry(offsets=[4, 0])}, bytes(4)), "-4 bytes"),
        "half a byte": (safetensors_bytes({"a": entry("F4", [3], [0, 1])}, bytes(1)), "3 float4"),
        "product wraps to 0": (safetensors_bytes({"a": entry(shape=[2**32, 2**32], offsets=[0, 0])}), "beyond any"),
        "product wraps to 4": (
            safetensors_bytes({"a": entry("U8", [2**33 + 1, 2**63 + 2**31], [0, 4])}, bytes(4)),
            "beyond any",
        ),
        "nothing of a huge shape": (
            safetensors_bytes({"a": entry(shape=[2**40, 2**40, 0], offsets=[0, 0])}),
            "beyond any",
        ),
        "size of 21 digits": (safetensors_bytes({"a": entry(shape=[10**20])}, bytes(4)), "cannot be"),
        "hole at the start": (safetensors_bytes({"a": entry(offsets=[4, 8])}, bytes(8)), "hole of 4 bytes"),
        "hole between": (
            safetensors_bytes({"a": entry(offsets=[0, 4]), "b": entry(offsets=[8, 12])}, bytes(12)),
            "tensor 'b': safetensors entry leaves a hole of 4",
        ),
        "overlap": (
            safetensors_bytes({"a": entry(shape=[2], offsets=[0, 8]), "b": entry(offsets=[4, 8])}, bytes(8)),
            "overlaps",
        ),
        "same bytes twice": (safetensors_bytes({"a": entry(), "b": entry()}, bytes(4)), "overlaps"),
        "bytes left over": (safetensors_bytes(ONE, bytes(5)), "1 bytes after its last"),
        "a zip behind": (safetensors_bytes(ONE, bytes(4) + b"PK\5\6" + bytes(18)), "22 bytes after"),
        "bytes missing": (safetensors_bytes(ONE, bytes(3)), "truncated: its tensors"),
        "metadata number": (safetensors_bytes({"__metadata__": {"a": 1}}), "no text where"),
        "metadata nested": (safetensors_bytes({"__metadata__": {"a": {}}}), "no text where"),
        "metadata null": (safetensors_bytes({"__metadata__": None}), "no '{'"),
        "metadata key twice": (safetensors_bytes('{"__metadata__":{"a":"","a":""}}'), "twice"),
        "metadata twice": (safetensors_bytes('{"__metadata__":{},"__metadata__":{}}'), "stands in it twice"),
        "65 axes": (safetensors_bytes({"a": entry(shape=[1] * 65)}, bytes(4)), "limit RANK"),
    }.values(),
    ids=lambda value: "" if isinstance(value, bytes) else value,
)
def test_refuses(data, message):
    assert message in str(refusal(data))


def test_64_axes_are_read():
    assert read_bytes(safetensors_bytes({"a": entry(shape=[1] * 64)}, bytes(4)))["a"][2].ndim == 64


def test_truncated_anywhere_is_refused():
    data = safetensors.numpy.save({"a": np.ones((2, 3), np.float32), "b": np.ones(2, np.int8)}, metadata={"x": "y"})
    for length in range(len(data)):
        refusal(data[:length])


def test_tensor_budget_at_and_over(monkeypatch):
    monkeypatch.setattr(reader_module, "TENSORS", 3)
    at, over = (
        safetensors_bytes({str(i): entry("U8", [], [i, i + 1]) for i in range(count)}, bytes(count)) for count in (3, 4)
    )
    assert len(read_bytes(at)) == 3
    assert "limit TENSORS" in str(refusal(over))


def test_header_budget_at_and_over(monkeypatch):
    text = json.dumps(ONE)
    monkeypatch.setattr(reader_module, "SAFETENSORS_HEADER", len(text))
    assert read_bytes(safetensors_bytes(text, bytes(4)))
    assert "limit SAFETENSORS_HEADER" in str(refusal(safetensors_bytes(text + " ", bytes(4))))
    assert limits.SAFETENSORS_HEADER == 100_000_000


TOKENS = [
    *('{"a":{', '"dtype":', '"F32"', ",", '"shape":', "[", "1", ",", "2", "]", ",", '"data_offsets":', "[", "0"),
    *(",", "8", "]", "}", ",", '"b.é":', "{", '"shape":', "[]", ",", '"dtype":', '"I8"', ",", '"data_offsets":'),
    *("[8,9]", "}", ",", '"__metadata__":', "{", '"k"', ":", '"v"', "}", "}"),
]
ODD = [
    *(
        '""',
        '"F64"',
        '"F16"',
        '"U8"',
        '"BOOL"',
        '"C64"',
        '"F4"',
        '"f32"',
        "0",
        "1",
        "2",
        "4",
        "8",
        "9",
        "10",
        "-1",
        "-0",
    ),
    *("1.0", "1e0", "01", "+1", "0x1", "NaN", "Infinity", "-Infinity", "null", "true", "false", "[]", "{}", "[", "]"),
    *(
        "{",
        "}",
        ",",
        ":",
        '"',
        "\\",
        "'",
        "\t",
        "\n",
        "\r",
        " ",
        "\v",
        "\u00a0",
        "\ufeff",
        "\0",
        '"\\ud800"',
        '"\\ud83d\\ude00"',
    ),
    *(
        '"a"',
        '"\\u0061"',
        '"\\x"',
        "18446744073709551615",
        "18446744073709551616",
        "9223372036854775808",
        "//",
        "[8,8]",
    ),
]
STRICTER = ("stands in it twice", "a field twice", "exactly the fields", "not begin with '{'")
"""What the library takes and we refuse."""


@settings(deadline=None, derandomize=True, max_examples=1500)
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(TOKENS) - 1),
            st.sampled_from(["replace", "insert", "delete", "double"]),
            st.sampled_from(ODD),
        ),
        min_size=1,
        max_size=2,
    ),
    st.sampled_from([0, 8, 9, 9, 9, 10, 17]),
)
def test_same_verdict_as_the_library_on_a_header_with_a_changed_token(edits, size):
    tokens = list(TOKENS)
    for place, how, odd in edits:
        old = tokens[place]
        tokens[place] = {"replace": odd, "insert": odd + old, "delete": "", "double": old + old}[how]
    data = safetensors_bytes("".join(tokens), bytes(range(size)))
    try:
        expected = {name: (tuple(spec["shape"]), bytes(spec["data"])) for name, spec in safetensors.deserialize(data)}
    except safetensors.SafetensorError:
        expected = None
    try:
        found = read_bytes(data)
    except CheckpointError as error:
        assert expected is None or any(reason in str(error) for reason in STRICTER), str(error)
    else:
        assert expected is not None
        assert {name: shape for name, (_, shape, _) in found.items()} == {k: v[0] for k, v in expected.items()}
        for name, (_, _, array) in found.items():
            assert array is None or array.tobytes() == expected[name][1]


# --- cost ---


def test_a_hundred_thousand_tensors_take_linear_time():
    count = 100_000
    header = json.dumps({f"l.{i}.weight": entry(offsets=[4 * i, 4 * i + 4]) for i in range(count)})
    with source_of(safetensors_bytes(header, bytes(4 * count))) as source:
        gc.collect()
        start = time.process_time()
        with READER.read(source, ReadOptions()) as checkpoint:
            taken = time.process_time() - start
            assert len(checkpoint.tensors) == count
    assert taken < 4  # 1.3 s alone on the machine


@pytest.mark.parametrize(
    "text", ['{"a":{"shape":[' + "[]," * 3_000_000, '{"a":' + "[" * 9_000_000, '{"a":{"b":"' + "x" * 9_000_000]
)
def test_a_bomb_of_brackets_costs_its_text_only(text):
    data = safetensors_bytes(text)
    tracemalloc.start()
    try:
        refusal(data)
        assert tracemalloc.get_traced_memory()[1] < 3.5 * len(data)
    finally:
        tracemalloc.stop()


def test_reads_nothing_but_the_header_and_the_tensor_that_is_asked_for(monkeypatch):
    data = safetensors.numpy.save({"big": np.zeros((1000, 1000), np.float32), "small": np.ones(3, np.float32)})
    with source_of(data) as source:
        ranges = []
        pread = type(source).pread
        monkeypatch.setattr(type(source), "pread", lambda s, o, n: ranges.append(n) or pread(s, o, n))
        assert READER.recognises(source)
        with READER.read(source, ReadOptions()) as checkpoint:
            checkpoint.tensors["small"].read()
    assert sum(ranges) < 10_000


def test_a_file_that_shrinks_is_an_error_with_the_name_of_the_tensor(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors.numpy.save({"w": np.ones(100, np.float32)}))
    with READER.read(open_source(str(path)), ReadOptions()) as checkpoint:
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(CheckpointError, match="tensor 'w': changed while it was read"):
            checkpoint.tensors["w"].read()


# --- recognition ---


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (safetensors_bytes("{}"), True),
        (safetensors_bytes(ONE, bytes(4)), True),
        (safetensors_bytes(ONE, b""), True),
        (safetensors_bytes(ONE, length=2**64 - 1), True),
        (safetensors_bytes(ONE, bytes(4))[:20], True),
        (safetensors_bytes("\ufeff{}"), True),
        (safetensors_bytes("  {}"), True),
        (b"", False),
        (b"{", False),
        (b'        {"a": 1}', False),
        (b'{"a": 1,{"b": 2}}', False),
        (b"PK\3\4" + bytes(60), False),
        (b"\x80\x02}q\0(X\x06\0{\0", False),
        (b"<!DOCTYPE html>{", False),
        (b"version https://git-lfs.github.com/spec/v1\n", False),
    ],
)
def test_recognises_by_content(data, answer):
    with source_of(data) as source:
        assert READER.recognises(source) is answer


def test_agreement_with_the_library_on_real_bytes_of_bfloat16(tmp_path):
    array = np.random.default_rng(0).standard_normal((4, 4)).astype(ml_dtypes.bfloat16)
    path = Path(tmp_path / "b.safetensors")
    safetensors.torch.save_file({"b": torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)}, path)
    assert np.array_equal(read_bytes(path.read_bytes())["b"][2], array)
