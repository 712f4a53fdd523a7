"""Nets that torch saves as programs: every kind of convolution, and what its state dict says of it."""

from __future__ import annotations

import io
import warnings
import zipfile

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import prune  # noqa: F401 - nn.utils does not bring it along

from gcx.checkpoint import ConvSpec


class Block(nn.Module):
    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, images: Tensor) -> Tensor:
        return functional.relu(self.norm(self.conv(images)))


class Net(nn.Module):
    """Dense, grouped, depthwise, transposed and one-dimensional convolutions, tied and functional ones."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding="same")
        self.round = nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular", groups=4)
        self.blocks = nn.ModuleList([Block(8, 2), Block(8, 8)])
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2, groups=2)
        self.line = nn.Conv1d(6, 6, 3, groups=3)
        self.again = self.line
        self.free = nn.Parameter(torch.randn(4, 3, 3))
        self.cube = nn.Conv3d(1, 2, (1, 1, 3))

    def forward(self, images: Tensor) -> Tensor:
        images = self.round(self.stem(images))
        for block in self.blocks:
            images = block(images)
        images = self.up(images).flatten(2)
        images = self.again(self.line(images))
        images = functional.conv1d(images, self.free, groups=2)
        return self.cube(images.unsqueeze(1).unsqueeze(1))


SPECS = {
    "stem": ConvSpec(1, False),
    "round": ConvSpec(4, False),
    "blocks.0.conv": ConvSpec(2, False),
    "blocks.1.conv": ConvSpec(8, False),
    "up": ConvSpec(2, True),
    "line": ConvSpec(3, False),
    "again": ConvSpec(3, False),
    "free": ConvSpec(2, False),
    "cube": ConvSpec(1, False),
}
INPUT = (1, 3, 8, 8)


def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


def scripted(module: nn.Module, how: str = "script", images: Tensor | None = None) -> bytes:
    """As `torch.jit.save` writes it; torch says that it is deprecated."""
    images = torch.randn(INPUT) if images is None else images
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.jit.trace(module, images) if how == "trace" else torch.jit.script(module)
        if how == "freeze":
            made = torch.jit.freeze(made)
        torch.jit.save(made, file := io.BytesIO())
    return file.getvalue()


def exported(module: nn.Module, images: Tensor | None = None, *, decomposed: bool = False, **options: object) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module, (torch.randn(INPUT) if images is None else images,), **options)
        program = program.run_decompositions() if decomposed else program
        torch.export.save(program, file := io.BytesIO())
    return file.getvalue()


def exported_of_old(module: nn.Module, images: Tensor | None = None) -> bytes:
    """As `torch.export.save` wrote it up to torch 2.7."""
    from torch._export.serde.serialize import serialize

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module, (torch.randn(INPUT) if images is None else images,))
        made = serialize(program)
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        archive.writestr("serialized_exported_program.json", made.exported_program)
        archive.writestr("serialized_state_dict.pt", made.state_dict)
        archive.writestr("serialized_constants.pt", made.constants)
        archive.writestr("serialized_example_inputs.pt", made.example_inputs)
        archive.writestr("version", "8.0")
    return file.getvalue()


def parametrised(kind: str) -> nn.Module:
    """Two convolutions, the second in four groups, whose weights are computed from parts."""
    torch.manual_seed(1)
    made = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=4)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for conv in made:
            {
                "weight_norm": nn.utils.weight_norm,
                "spectral_norm": nn.utils.spectral_norm,
                "pruned": lambda conv: nn.utils.prune.l1_unstructured(conv, "weight", amount=0.3),
                "parametrized weight_norm": nn.utils.parametrizations.weight_norm,
                "parametrized spectral_norm": nn.utils.parametrizations.spectral_norm,
            }[kind](conv)
        made(torch.randn(INPUT))  # the older kinds compute the weight when the module runs
    return made


PARAMETRISED = ("weight_norm", "spectral_norm", "pruned", "parametrized weight_norm", "parametrized spectral_norm")
