"""Quantised tensors of a file: dequantised as torch does, their scales from bytes of the file, or refused."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import torch
from evil import Call, Ref, storage, tensor, zip_file
from readers.opening import opened, refused

DATA = {
    "q": bytes([0, 10, 20, 30, 40, 50]),
    "s": struct.pack("<3d", 0.5, 1.0, 2.0),
    "z": struct.pack("<3q", 0, 10, 20),
    "c": struct.pack("<6f", 1, 0, 1, 0, 1, 0),
    "h": struct.pack("<d", 1e300),
}


def scales(**fields):
    return tensor(**{"of": storage(3, "s", "DoubleStorage"), "size": (3,)} | fields)


def zeros(**fields):
    return tensor(**{"of": storage(3, "z", "LongStorage"), "size": (3,)} | fields)


def per_tensor(scale=0.5, zero=10):
    return (Ref("torch", "per_tensor_affine"), scale, zero)


def per_channel(scale=None, zero=None, axis=0, scheme="per_channel_affine"):
    return (Ref("torch", scheme), scales() if scale is None else scale, zeros() if zero is None else zero, axis)


def file(how, of=None, size=(3, 2), stride=(2, 1)):
    of = storage(6, "q", "QUInt8Storage") if of is None else of
    return zip_file(
        {"w": Call(Ref("torch._utils", "_rebuild_qtensor"), of, 0, size, stride, how, False, {})}, data=DATA
    )


def test_per_tensor(watched):
    arrays, checkpoint = opened(file(per_tensor()), watched)
    assert arrays["w"].tolist() == [[-5, 0], [5, 10], [15, 20]]
    ref = checkpoint.tensors["w"]
    assert (ref.dtype, arrays["w"].dtype.name, ref.notes) == ("float32", "float32", ("dequantised from quint8",))


def test_per_channel(watched):
    arrays, _ = opened(file(per_channel()), watched)
    assert arrays["w"].tolist() == [[0, 5], [10, 20], [40, 60]]
    first = {"size": (2,)}
    arrays, _ = opened(file(per_channel(scales(**first), zeros(**first), axis=1)), watched)
    assert arrays["w"].tolist() == [[0, 0], [10, 20], [20, 40]]
    with_float_points = per_channel(zero=scales(), scheme="per_channel_affine_float_qparams")
    assert opened(file(with_float_points), watched)[0]["w"].tolist()[0] == [-0.25, 4.75]


@pytest.mark.parametrize("scale", [1e300, float("inf"), float("nan")])
def test_a_scale_beyond_float32_gives_what_is_not_finite(scale, watched):
    assert not np.isfinite(opened(file(per_tensor(scale)), watched)[0]["w"]).all()


def test_a_channel_scale_beyond_float32_gives_what_is_not_finite(watched):
    one = {"of": storage(1, "h", "DoubleStorage"), "size": (3,), "stride": (0,)}
    assert not np.isfinite(opened(file(per_channel(scales(**one))), watched)[0]["w"]).all()


@pytest.mark.parametrize(
    "how", [(Ref("torch", "per_group"), 1), (), None, (3,), (Ref("torch", "per_tensor_affine"), 0.5)]
)
def test_a_scheme_that_is_not_known_is_not_measured(how, watched):
    arrays, checkpoint = opened(file(how), watched)
    assert arrays["w"] is None
    assert checkpoint.tensors["w"].unreadable == "is quantised in a way that is not understood"


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_numbers_that_share_a_byte_are_left_out_and_the_rest_is_read(watched):
    stream, weight = io.BytesIO(), torch.randn(4, 3, 3, 3)
    table = torch.quantize_per_channel(torch.randn(5, 8), torch.ones(5), torch.zeros(5), 0, torch.quint4x2)
    torch.save({"table": table, "conv.weight": weight}, stream)
    arrays, checkpoint = opened(stream.getvalue(), watched)
    assert np.array_equal(arrays["conv.weight"], weight.numpy())
    ref = checkpoint.tensors["table"]
    assert (ref.dtype, ref.shape) == ("quint4x2", (5, 8))
    assert ref.unreadable == "holds quint4x2 numbers, several to a byte, which are not measured"


@pytest.mark.parametrize("dtype", ["QUInt4x2Storage", "QUInt2x4Storage"])
def test_sizes_of_what_shares_a_byte_may_not_lie_either(dtype, watched):
    of = storage(6, "q", dtype)
    assert opened(file(per_tensor(), of, (3, 4), (4, 1)), watched)[0]["w"] is None
    assert "negative size" in refused(file(per_tensor(), of, (-1,), (1,)), watched)


META = Call(Ref("torch._utils", "_rebuild_meta_tensor_no_storage"), Ref("torch", "float64"), (3,), (1,), False)
SPARSE = Call(
    Ref("torch._utils", "_rebuild_sparse_tensor"), Ref("torch", "sparse_coo"), (scales(), scales(), (3,), True)
)
COMPLEX = tensor(storage(3, "c", "ComplexFloatStorage"), size=(3,))
QUANTISED = Call(
    Ref("torch._utils", "_rebuild_qtensor"), storage(6, "q", "QUInt8Storage"), 0, (3,), (1,), per_tensor(), False, {}
)
LIES = {
    "scale of text": (per_tensor("1"), "no number"),
    "scale of a whole number": (per_tensor(1), "no number"),
    "zero of a float": (per_tensor(0.5, 1.0), "no number"),
    "zero beyond": (per_tensor(0.5, 2**31), "no number"),
    "zero far beyond": (per_tensor(0.5, -(10**400)), "no number"),
    "axis": (per_channel(axis=2), "none of its axes"),
    "negative axis": (per_channel(axis=-1), "none of its axes"),
    "axis of text": (per_channel(axis="0"), "none of its axes"),
    "scales of another length": (per_channel(scales(size=(2,))), "do not fit"),
    "zeros of another length": (per_channel(zero=zeros(size=(2,))), "do not fit"),
    "scales that are no tensor": (per_channel((1.0, 2.0, 3.0)), "do not fit"),
    "meta scales": (per_channel(META), "no numbers"),
    "sparse scales": (per_channel(SPARSE), "no numbers"),
    "complex scales": (per_channel(COMPLEX), "no numbers"),
    "quantised scales": (per_channel(QUANTISED), "no numbers"),
    "quantised zeros": (per_channel(zero=QUANTISED), "no numbers"),
}


@pytest.mark.parametrize("kind", LIES)
def test_lies(kind, watched):
    how, says = LIES[kind]
    assert says in refused(file(how), watched)


@pytest.mark.parametrize("of", [storage(3, "s", "DoubleStorage"), storage(3, "c", "ComplexFloatStorage"), 7])
def test_numbers_that_are_not_quantised(of, watched):
    assert "without its storage" in refused(file(per_tensor(), of, (3,), (1,)), watched)


@pytest.mark.parametrize("parts", [3, None, {}, [1]])
def test_a_sparse_tensor_without_its_parts(parts, watched):
    sparse = Call(Ref("torch._utils", "_rebuild_sparse_tensor"), Ref("torch", "sparse_coo"), parts)
    assert "without its parts" in refused(zip_file({"w": sparse}, data=DATA), watched)


def test_a_sparse_tensor_keeps_its_shape_and_says_why(watched):
    _, checkpoint = opened(zip_file({"w": SPARSE}, data=DATA), watched)
    ref = checkpoint.tensors["w"]
    assert (ref.shape, ref.dtype, ref.unreadable) == ((3,), "float64", "is a sparse tensor")


@pytest.mark.parametrize("dtype", [Ref("torch", "float99"), "float32", None, 5])
def test_a_dtype_that_is_none(dtype, watched):
    made = Call(
        Ref("torch._utils", "_rebuild_tensor_v3"), storage(6, "q", "UntypedStorage"), 0, (6,), (1,), False, {}, dtype
    )
    assert "dtype is none" in refused(zip_file({"w": made}, data=DATA), watched)


@pytest.mark.parametrize("size", [7, None, "12", {}])
def test_sizes_that_are_no_list(size, watched):
    made = tensor(storage(6, "q", "ByteStorage"), size=size)
    assert "no list of whole numbers" in refused(zip_file({"w": made}, data=DATA), watched)
