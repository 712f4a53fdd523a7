"""What the fuzz targets of the torch readers begin with: values as their builders make them, and words of pickles."""

from __future__ import annotations

from evil import Call, Ref, tensor

TOKENS = [
    *(bytes([code]) for code in range(256)),
    *(
        f"c{module}\n{name}\n".encode()
        for module, name in [
            ("torch._utils", "_rebuild_tensor_v2"),
            ("torch._utils", "_rebuild_parameter"),
            ("torch._utils", "_rebuild_qtensor"),
            ("torch._utils", "_rebuild_sparse_tensor"),
            ("torch._tensor", "_rebuild_from_type_v2"),
            ("collections", "OrderedDict"),
            ("copyreg", "_reconstructor"),
            ("builtins", "getattr"),
            ("functools", "partial"),
            ("torch", "FloatStorage"),
            ("torch", "HalfStorage"),
            ("torch", "FloatTensor"),
            ("torch", "Size"),
            ("mine", "Net"),
            ("os", "system"),
        ]
    ),
    *(b"X\7\0\0\0storage", b"_parameters", b"_modules", b"_buffers", b"groups", b"state_dict", b"module."),
]


def values(storage) -> list[object]:
    """Checkpoints of every shape; `storage(numel, key, kind)` is a persistent id of the container at hand."""
    weight = tensor(storage(4, "0", "FloatStorage"), size=(2, 2, 1, 1), stride=(2, 1, 1, 1))
    module = {"_parameters": {"weight": weight}, "_buffers": {}, "_modules": {}, "groups": 1, "kernel_size": (1, 1)}
    quantiser = (Ref("torch", "per_tensor_affine"), 0.5, 3)
    bytes_ = storage(4, "0", "FloatStorage")
    return [
        {"w": weight},
        {"state_dict": {"module.w": weight}, "optimizer": {"state": {0: {"exp_avg": weight}}, "param_groups": []}},
        {"model": {"a.w": weight}, "model_ema": {"a.w": weight}, "epoch": 3, "best": 0.5},
        Call(Ref("mine", "Net"), state=module),
        {"net": Call(Ref("mine", "Net"), state=module | {"_modules": {"0": Call(Ref("mine", "Net"), state=module)}})},
        {"p": Call(Ref("torch._utils", "_rebuild_parameter"), weight, True, {})},
        {"q": Call(Ref("torch._utils", "_rebuild_qtensor"), bytes_, 0, (4,), (1,), quantiser, False, {})},
        {"s": Call(Ref("torch._tensor", "_rebuild_from_type_v2"), Ref("torch._utils", "_rebuild_tensor_v2"),
                   Ref("mine", "T"), (bytes_, 0, (4,), (1,), False, {}), {})},
        {"x": [1, 2.5, "x", None, True, (1, 2)], "e": tensor(bytes_, size=(0, 3), stride=(3, 1))},
    ]  # fmt: skip
