"""Nets that torch saves as programs: every kind of convolution, and what its state dict says of it."""

from __future__ import annotations

import io
import warnings
import zipfile

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize, prune  # noqa: F401 - nn.utils does not bring them along

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
    "stem.weight": ConvSpec(1, False),
    "round.weight": ConvSpec(4, False),
    "blocks.0.conv.weight": ConvSpec(2, False),
    "blocks.1.conv.weight": ConvSpec(8, False),
    "up.weight": ConvSpec(2, True),
    "line.weight": ConvSpec(3, False),
    "again.weight": ConvSpec(3, False),
    "free": ConvSpec(2, False),
    "cube.weight": ConvSpec(1, False),
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


class Gained(nn.Module):
    """A convolution whose module keeps other tensors of four axes before the weight, or two weights."""

    def __init__(self, first: str, second: bool):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(8, 1, 1, 1)) if first == "gain" else None
        self.pos = nn.Parameter(torch.ones(1, 4, 8, 8)) if first == "pos" else None
        self.kernel = nn.Parameter(torch.randn(4, 2, 3, 3)) if second else None
        self.weight = nn.Parameter(torch.randn(8, 2, 3, 3))
        self.bias = nn.Parameter(torch.zeros(8))

    def forward(self, images: Tensor) -> Tensor:
        if self.pos is not None:
            images = images + self.pos
        if self.kernel is not None:
            images = functional.conv2d(images, self.kernel, padding=1, groups=2)
        made = functional.conv2d(images, self.weight, self.bias, groups=2)
        if self.gain is not None:
            made = made * self.gain.view(1, -1, 1, 1)
        return made


def gained(first: str, *, second: bool = False) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), Gained(first, second)).eval()


class Unchanged(nn.Module):
    """Weights in another precision, or seen in another way that leaves them as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.whole = nn.Parameter(torch.randn(4, 3, 3, 3))
        self.short = nn.Parameter(torch.randn(8, 2, 3, 3).bfloat16())

    def forward(self, images: Tensor) -> Tensor:
        images = functional.conv2d(images, self.whole.detach().clone().contiguous().type_as(images))
        return functional.conv2d(images, self.short.to(torch.float32), groups=2)


class Aliased(nn.Module):
    """A convolution under a second name, a level above."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Block(8, 4)
        self.alias = self.block.conv

    def forward(self, images: Tensor) -> Tensor:
        return self.block(images)


class Tied(nn.Module):
    """An autoencoder that decodes with the weight that it encodes with."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, 8, 3)

    def forward(self, images: Tensor) -> Tensor:
        return functional.conv_transpose2d(self.encoder(images), self.encoder.weight)


def trained_quantised() -> nn.Module:
    """Two convolutions, the first in two groups, made ready for quantisation-aware training by FX."""
    from torch.ao.quantization import get_default_qat_qconfig_mapping, quantize_fx

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.Conv2d(8, 8, 3)).train()
        images = torch.randn(2, 4, 12, 12)
        made = quantize_fx.prepare_qat_fx(net, get_default_qat_qconfig_mapping("fbgemm"), (images,))
        made(images)
    return made.eval()


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


def stacked(first: str) -> nn.Module:
    """Two convolutions, the weight of the second made by one parametrization of another's."""
    made = parametrised(first)
    nn.utils.parametrize.register_parametrization(made[1], "weight", Symmetric())
    return made


class Symmetric(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight + weight.flip(2)


PARAMETRISED = ("weight_norm", "spectral_norm", "pruned", "parametrized weight_norm", "parametrized spectral_norm")
