"""Fuzz the ONNX reader."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

import numpy as np  # noqa: E402
from fuzz.harness import main  # noqa: E402
from fuzz.targets import read_all  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from gcx.readers.onnx import OnnxReader  # noqa: E402

READER = OnnxReader()


def _seeds() -> list[bytes]:
    weight = numpy_helper.from_array(np.arange(8, dtype=np.float32).reshape(4, 2, 1, 1), "a.weight")
    half = helper.make_tensor("b", TensorProto.FLOAT16, [2, 2, 1], [1, 2, 3, 4])
    outside = TensorProto(name="c", data_type=1, dims=[2, 2], data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="fuzz.bin")
    nodes = [
        helper.make_node("Conv", ["x", "a.weight"], ["y"], name="/a/Conv", group=2),
        helper.make_node("Transpose", ["b"], ["t"], perm=[1, 0, 2]),
        helper.make_node("Cast", ["t"], ["u"], to=1),
        helper.make_node("ConvTranspose", ["y", "u"], ["z"]),
        helper.make_node("Constant", [], ["k"], value=weight),
        helper.make_node("QLinearConv", ["x", "s", "z", "q8", "s", "z", "s", "z"], ["o"], group=2),
        helper.make_node("DequantizeLinear", ["q8", "s4", "z"], ["r"], axis=0),
        helper.make_node("QuantizeLinear", ["r", "s4"], ["r8"], axis=0),
        helper.make_node("DequantizeLinear", ["r8", "s"], ["r32"], axis=0, block_size=2),
        helper.make_node("ConvInteger", ["x", "q8", "z", "z"], ["i"]),
        helper.make_node("Conv", ["x", "r32"], ["v"]),
        helper.make_node("Mul", ["a.weight", "s"], ["m"]),
        helper.make_node("Conv", ["x", "m"], ["n"], group=2),
        helper.make_node("Mul", ["c.weight_orig", "c.weight_mask"], ["e"]),
        helper.make_node("Conv", ["x", "e"], ["f"], group=2),
        helper.make_node("If", ["p"], ["q"], then_branch=helper.make_graph([], "inner", [], [], [half])),
    ]
    quantised = [
        numpy_helper.from_array(np.arange(8, dtype=np.int8).reshape(4, 2, 1, 1), "q8"),
        numpy_helper.from_array(np.float32(0.5), "s"),
        numpy_helper.from_array(np.full(4, 0.5, np.float32), "s4"),
        numpy_helper.from_array(np.int8(1), "z"),
        numpy_helper.from_array(np.ones((4, 2, 1, 1), np.float32), "c.weight_orig"),
        numpy_helper.from_array(np.ones((4, 2, 1, 1), np.float32), "c.weight_mask"),
    ]
    models = [
        helper.make_model(helper.make_graph(nodes[:1], "g", [], [], [weight])),
        helper.make_model(helper.make_graph(nodes, "g", [], [], [weight, half, *quantised]), producer_name="fuzz"),
        helper.make_model(helper.make_graph(nodes[:1], "g", [], [], [outside])),
    ]
    return [model.SerializeToString() for model in models]


SEEDS = _seeds()
TOKENS = [
    b"\x0a",
    b"\x12",
    b"\x3a",
    b"\x42\x02",
    b"\x4a",
    b"\x08\x7f",
    b"\x80\x80\x80\x80\x08",
    b"group",
    b"perm",
    b"Conv",
    b"a.weight",
]


def fuzz_onnx(data: bytes) -> None:
    """Only GcxError may come out of the ONNX reader."""
    read_all(READER, data, "/nonexistent/fuzz.onnx")


if __name__ == "__main__":
    main(fuzz_onnx, SEEDS, TOKENS)
