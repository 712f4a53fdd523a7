"""Fuzz the readers of TorchScript and of exported programs: pickles, code as text, JSON graphs."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]

from evil import Call, Record, Ref, pickled, records, storage, tensor, zip_bytes, zip_file  # noqa: E402
from fuzz.harness import main  # noqa: E402
from fuzz.targets import read_all  # noqa: E402
from fuzz.torch_values import TOKENS as WORDS  # noqa: E402

from gcx.readers.torch import TorchZipReader  # noqa: E402

READER = TorchZipReader()
CODE = b"""class Net(Module):
  __parameters__ = ["weight", ]
  __buffers__ = []
  weight : Tensor
  c : __torch__.C
  def forward(self: __torch__.Net,
    x: Tensor) -> Tensor:
    w = torch.mul(torch.to(self.weight, 5), getattr(self.c, "weight"))
    g, h = torch.split((w), -1)
    _0 = torch.conv2d(x, w, None, [1, 1], [0, 0], [1, 1], (torch.size(self.weight))[0])
    _1 = torch.conv2d(x, (self.c).forward(g, dtype=[1, 2]), None, [1, 1], [0, 0], [1, 1], 2)
    return torch.conv_transpose2d(_0, CONSTANTS.c0, None, [1, 1], [0, 0], [0, 0], 2)
class C(Module):
  groups : Final[int] = 4
  kernel_size : Final[Tuple[int, int]] = (1, 1)
"""
WEIGHT = tensor(storage(4), size=(4, 1, 1, 1), stride=(1, 1, 1, 1))
NODE = {
    "target": "torch.ops.aten.conv2d.default",
    "inputs": [
        {"name": "weight", "arg": {"as_tensor": {"name": "p"}}},
        {"name": "groups", "arg": {"as_int": 2}},
    ],
    "outputs": [{"as_tensor": {"name": "y"}}],
}
MADE = {
    "target": "torch.ops.aten.mul.Tensor",
    "inputs": [
        {"name": "self", "arg": {"as_tensor": {"name": "p"}}},
        {"name": "other", "arg": {"as_tensors": [{"name": "p"}]}},
    ],
    "outputs": [{"as_tensor": {"name": "p"}}],
}
WITHIN = {
    "target": "torch.ops.higher_order.wrap_with_autocast",
    "inputs": [
        {
            "name": "",
            "arg": {
                "as_graph": {
                    "graph": {
                        "inputs": [{"as_tensor": {"name": "p"}}],
                        "nodes": [NODE, MADE],
                        "outputs": [{"as_tensor": {"name": "p"}}],
                    }
                }
            },
        },
        {"name": "", "arg": {"as_tensor": {"name": "p"}}},
    ],
    "outputs": [{"as_tensor": {"name": "p"}}],
}
SPEC = {"parameter": {"arg": {"name": "p"}, "parameter_name": "c.weight"}}
GRAPH = {"graph_module": {"graph": {"nodes": [NODE, WITHIN, MADE, NODE]}, "signature": {"input_specs": [SPEC]}}}
META = {
    "dtype": 7,
    "sizes": [{"as_int": size} for size in (4, 1, 1, 1)],
    "strides": [{"as_int": 1}] * 4,
    "storage_offset": {"as_int": 0},
}
LIST = {"config": {"c.weight": {"path_name": "weight_0", "use_pickle": False, "tensor_meta": META}}}


def script() -> bytes:
    child = Call(Ref("__torch__", "C"), state={"weight": WEIGHT, "transposed": False})
    found = records(pickled(Call(Ref("__torch__", "Net"), state={"weight": WEIGHT, "c": child})))
    constants = Record("archive/constants.pkl", pickled((5, "text")))
    return zip_bytes([*found, constants, Record("archive/code/__torch__.py", CODE)])


def program() -> bytes:
    return zip_bytes(
        [
            Record("net/data/weights/weight_0", struct.pack("<4f", 1, 2, 3, 4)),
            Record("net/data/weights/model_weights_config.json", json.dumps(LIST).encode()),
            Record("net/models/model.json", json.dumps(GRAPH).encode()),
            Record("net/byteorder", b"little"),
        ]
    )


def old_program() -> bytes:
    """Checkpoints lie in this one; the harness repairs the outer archive only."""
    return zip_bytes(
        [
            Record("serialized_exported_program.json", json.dumps(GRAPH).encode()),
            Record("serialized_state_dict.pt", zip_file({"c.weight": WEIGHT})),
            Record("serialized_constants.pt", zip_file({})),
        ]
    )


SEEDS = [script(), program(), old_program()]
TOKENS = [
    *WORDS,
    *(b"torch.conv2d(", b"CONSTANTS.c0", b"self.weight", b"Final[int] = ", b"class ", b"  def f(s,\n", b"    w = "),
    *(b'{"as_int": 3}', b'"groups"', b'"nodes"', b"torch.ops.aten.convolution.default", b"[[[[", b"null", b"1e999"),
    *(b"torch.ops.aten.view.default", b'"as_graph"', b'"as_sym_int"', b"getattr(", b"(self).", b"torch.mul(", b")["),
]


def repair(data: bytes) -> bytes:
    """Pack the records anew, with lengths, places and checksums that are right."""
    found = []
    for part in data[: data.rfind(b"PK\1\2") if b"PK\1\2" in data else len(data)].split(b"PK\3\4")[1:]:
        length = int.from_bytes(part[22:24], "little")
        found.append(Record(part[26 : 26 + length], part[26 + length :].split(b"PK\1\2")[0]))
    return zip_bytes(found)


def fuzz_torch_programs(data: bytes) -> None:
    """Only GcxError may come out of the readers of programs."""
    read_all(READER, data, "fuzz.pt2", held=2**27)


if __name__ == "__main__":
    main(fuzz_torch_programs, SEEDS, TOKENS, repair)
