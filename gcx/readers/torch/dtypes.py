"""Torch's words for number formats: dtypes and storage classes, by the name that a pickle uses."""

from __future__ import annotations

from gcx.readers.torch.values import Dtype

_SAME = (
    "float64 float32 float16 bfloat16 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu"
    " int64 int32 int16 int8 uint64 uint32 uint16 uint8 bool complex64 complex128"
)
DTYPES: dict[str, Dtype] = (
    {f"torch.{name}": Dtype(name) for name in _SAME.split()}
    | {
        "torch.double": Dtype("float64"),
        "torch.float": Dtype("float32"),
        "torch.half": Dtype("float16"),
        "torch.long": Dtype("int64"),
        "torch.int": Dtype("int32"),
        "torch.short": Dtype("int16"),
        "torch.cfloat": Dtype("complex64"),
        "torch.cdouble": Dtype("complex128"),
        "torch.complex32": Dtype("complex32"),
        "torch.chalf": Dtype("complex32"),
        "torch.qint8": Dtype("int8", quantised=True),
        "torch.quint8": Dtype("uint8", quantised=True),
        "torch.qint32": Dtype("int32", quantised=True),
        "torch.quint4x2": Dtype("quint4x2", quantised=True),
        "torch.quint2x4": Dtype("quint2x4", quantised=True),
        "torch.float4_e2m1fn_x2": Dtype("float4_e2m1fn_x2"),
        "torch.bits8": Dtype("bits8"),
        "torch.bits16": Dtype("bits16"),
        "torch.bits1x8": Dtype("bits1x8"),
        "torch.bits2x4": Dtype("bits2x4"),
        "torch.bits4x2": Dtype("bits4x2"),
    }
    | {f"torch.{sign}int{bits}": Dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in range(1, 8)}
)

UNUSUAL_BYTES = {"complex32": 4, "bits16": 2}
"""Bytes of what is listed but not measured; one where not named."""

_STORAGES = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
    "QInt8": "qint8",
    "QUInt8": "quint8",
    "QInt32": "qint32",
    "QUInt4x2": "quint4x2",
    "QUInt2x4": "quint2x4",
}
_HOMES = ("torch", "torch.cuda", "torch.storage")
STORAGES: dict[str, Dtype] = {
    f"{home}.{word}Storage": DTYPES[f"torch.{name}"] for word, name in _STORAGES.items() for home in _HOMES
}
"""Typed storage classes."""
UNTYPED = frozenset(
    f"{home}.{word}" for home in _HOMES for word in ("UntypedStorage", "_UntypedStorage", "TypedStorage")
)
"""Storages that count bytes; the tensor says what they hold."""
TENSOR_CLASSES: dict[str, Dtype] = {
    f"{home}.{word}Tensor": DTYPES[f"torch.{name}"] for word, name in _STORAGES.items() for home in _HOMES[:2]
}
"""Tensor classes of torch 0.1 to 0.3."""
