"""Networks drawn as shapes with their true groups: what torch would leave in a state dict, without torch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Drawn:
    """A state dict in the making; `true` holds the groups of every convolution."""

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    true: dict[str, int] = field(default_factory=dict)

    def conv(self, name, inward, out, kernel=3, groups=1, *, bias=False, transposed=False, axes=2):
        kernels = (kernel,) * axes
        stored = (inward, out // groups) if transposed else (out, inward // groups)
        self.shapes[f"{name}.weight"] = (*stored, *kernels)
        if bias:
            self.shapes[f"{name}.bias"] = (out,)
        self.true[name] = groups
        return self

    def norm(self, name, channels):
        for parameter in ("weight", "bias", "running_mean", "running_var"):
            self.shapes[f"{name}.{parameter}"] = (channels,)
        self.shapes[f"{name}.num_batches_tracked"] = ()
        return self

    def linear(self, name, inward, out):
        self.shapes[f"{name}.weight"] = (out, inward)
        self.shapes[f"{name}.bias"] = (out,)
        return self

    def both(self, name, inward, out, kernel=3, groups=1, **more):
        return self.conv(f"{name}.conv", inward, out, kernel, groups, **more).norm(f"{name}.bn", out)


def plain(planes: int = 3) -> Drawn:
    """A stem and two dense convolutions."""
    net = Drawn().both("stem", planes, 16)
    return net.both("body.0", 16, 32).both("body.1", 32, 32).linear("head", 32, 10)


def mobile(planes: int = 3) -> Drawn:
    """Depthwise and pointwise in turn, plainly numbered, with squeeze and excitation."""
    net = Drawn().conv("0.0", planes, 32).norm("0.1", 32)
    inward = 32
    for block, out in enumerate((64, 128, 128, 256), start=1):
        net.conv(f"{block}.0", inward, inward, 3, inward).norm(f"{block}.1", inward)
        net.conv(f"{block}.2.0", inward, inward // 4, 1, bias=True).conv(
            f"{block}.2.1", inward // 4, inward, 1, bias=True
        )
        net.conv(f"{block}.3", inward, out, 1).norm(f"{block}.4", out)
        inward = out
    return net


def cardinal(groups: int = 32) -> Drawn:
    """Bottlenecks with grouped convolutions and shortcuts, in stages that double their width."""
    net = Drawn().conv("conv1", 3, 64, 7).norm("bn1", 64)
    inward = 64
    for stage, width in enumerate((128, 256, 512), start=1):
        for block in range(2):
            path = f"layer{stage}.{block}"
            net.conv(f"{path}.conv1", inward, width, 1).norm(f"{path}.bn1", width)
            net.conv(f"{path}.conv2", width, width, 3, groups).norm(f"{path}.bn2", width)
            net.conv(f"{path}.conv3", width, 2 * width, 1).norm(f"{path}.bn3", 2 * width)
            if block == 0:
                net.conv(f"{path}.downsample.0", inward, 2 * width, 1).norm(f"{path}.downsample.1", 2 * width)
            inward = 2 * width
    return net


def constant_width(width: int = 24) -> Drawn:
    """Grouped convolutions whose groups have one width, however many there are."""
    net = Drawn().both("stem", 3, 32)
    inward = 32
    for stage, out in enumerate((72, 168, 408)):
        for block in range(2):
            path = f"trunk.{stage}.{block}"
            if inward != out:
                net.both(f"{path}.proj", inward, out, 1)
            net.both(f"{path}.f.a", inward, out, 1).both(f"{path}.f.b", out, out, 3, out // width)
            net.both(f"{path}.f.c", out, out, 1)
            inward = out
    return net


def pre_activated() -> Drawn:
    """Norms before the convolutions, and concatenation of everything before."""
    net = Drawn().conv("conv0", 3, 24, 3)
    channels = 24
    for layer in range(5):
        path = f"dense.{layer}"
        net.norm(f"{path}.norm1", channels).conv(f"{path}.conv1", channels, 48, 1)
        net.norm(f"{path}.norm2", 48).conv(f"{path}.conv2", 48, 12, 3)
        channels += 12
    return net.norm("norm", channels)


def half_split() -> Drawn:
    """Blocks that split their channels in two and process one half."""
    net = Drawn().conv("conv1.0", 3, 24).norm("conv1.1", 24)
    inward = 24
    for stage, out in enumerate((116, 232), start=2):
        for block in range(3):
            path, half = f"stage{stage}.{block}", out // 2
            if block == 0:
                net.conv(f"{path}.branch1.0", inward, inward, 3, inward).norm(f"{path}.branch1.1", inward)
                net.conv(f"{path}.branch1.2", inward, half, 1).norm(f"{path}.branch1.3", half)
            first = inward if block == 0 else half
            net.conv(f"{path}.branch2.0", first, half, 1).norm(f"{path}.branch2.1", half)
            net.conv(f"{path}.branch2.3", half, half, 3, half).norm(f"{path}.branch2.4", half)
            net.conv(f"{path}.branch2.5", half, half, 1).norm(f"{path}.branch2.6", half)
        inward = out
    return net


def equal_splits() -> Drawn:
    """Bottlenecks whose middle convolutions each read one equal part."""
    net = Drawn().both("stem", 3, 64)
    inward = 64
    for stage, width in enumerate((26, 52)):
        for block in range(2):
            path = f"layer.{stage}.{block}"
            net.conv(f"{path}.conv1", inward, 4 * width, 1).norm(f"{path}.bn1", 4 * width)
            for part in range(3):
                net.conv(f"{path}.convs.{part}", width, width)
            for part in range(3):
                net.norm(f"{path}.bns.{part}", width)
            net.conv(f"{path}.conv3", 4 * width, 256 << stage, 1).norm(f"{path}.bn3", 256 << stage)
            if block == 0:
                net.both(f"{path}.downsample", inward, 256 << stage, 1)
            inward = 256 << stage
    return net


def shuffled(groups: int = 3) -> Drawn:
    """Grouped pointwise convolutions, with a shuffle that leaves no trace in the shapes."""
    net = Drawn().both("stem", 3, 60)
    for block in range(6):
        path = f"stage.{block}"
        net.conv(f"{path}.compress", 60 if block == 0 else 240, 60, 1, groups).norm(f"{path}.bn1", 60)
        net.conv(f"{path}.depthwise", 60, 60, 3, 60).norm(f"{path}.bn2", 60)
        net.conv(f"{path}.expand", 60, 240, 1, groups).norm(f"{path}.bn3", 240)
    return net


def autoencoder() -> Drawn:
    """Strided convolutions down, transposed ones up, with concatenated skips."""
    net, inward = Drawn(), 3
    for level, out in enumerate((32, 64, 128)):
        net.both(f"down.{level}.0", inward, out).both(f"down.{level}.1", out, out)
        inward = out
    net.both("bottom.0", 128, 256).both("bottom.1", 256, 256)
    for level, out in enumerate((128, 64, 32)):
        net.conv(f"up.{2 * level}", 2 * out, out, 2, bias=True, transposed=True)
        net.both(f"up.{2 * level + 1}.0", 2 * out, out).both(f"up.{2 * level + 1}.1", out, out)
    return net.conv("final", 32, 1, 1, bias=True)


def generator() -> Drawn:
    """Transposed convolutions without bias, each with a norm, from noise to an image."""
    net, inward = Drawn(), 100
    for place, out in enumerate((256, 128, 64)):
        net.conv(f"main.{3 * place}", inward, out, 4, transposed=True).norm(f"main.{3 * place + 1}", out)
        inward = out
    return net


def branches() -> Drawn:
    """Parallel branches that read the same, of unequal widths, concatenated."""
    net = Drawn().both("stem", 3, 192)
    inward = 192
    for block, (a, b, c) in enumerate(((64, 128, 32), (128, 192, 96))):
        path = f"mixed.{block}"
        net.both(f"{path}.branch1", inward, a, 1)
        net.both(f"{path}.branch2.0", inward, b // 2, 1).both(f"{path}.branch2.1", b // 2, b)
        net.both(f"{path}.branch3.0", inward, c // 2, 1).both(f"{path}.branch3.1", c // 2, c, 5)
        net.both(f"{path}.branch4.1", inward, c, 1)
        inward = a + b + 2 * c
    return net


def squeezing() -> Drawn:
    """A narrow convolution read by two wide ones side by side."""
    net, inward = Drawn().conv("features.0", 3, 64, bias=True), 64
    for place, (narrow, wide) in enumerate(((16, 64), (16, 64), (32, 128)), start=3):
        net.conv(f"features.{place}.squeeze", inward, narrow, 1, bias=True)
        net.conv(f"features.{place}.expand1x1", narrow, wide, 1, bias=True)
        net.conv(f"features.{place}.expand3x3", narrow, wide, 3, bias=True)
        inward = 2 * wide
    return net


def reparameterised() -> Drawn:
    """Branches of several kernel sizes that are summed; a gate registered before what it gates."""
    net = Drawn().both("stem.wide", 3, 48).both("stem.point", 3, 48, 1)
    for block, groups in enumerate((1, 4, 1, 4)):
        path = f"stage.{block}"
        net.norm(f"{path}.identity", 48).both(f"{path}.wide", 48, 48, 3, groups).both(
            f"{path}.point", 48, 48, 1, groups
        )
    net.both("down.large", 48, 96, 7, 48).both("down.small", 48, 96, 3, 48)
    net.both("after", 96, 96, 1)
    net.conv("last.gate.0", 192, 12, 1, bias=True).conv("last.gate.1", 12, 192, 1, bias=True)
    return net.both("last.wide", 96, 192, 3, 96).both("last.point", 96, 192, 1, 96)


def positional() -> Drawn:
    """A raw signal, a stack of Conv1d and a weight-normalised positional convolution before a transformer."""
    net, inward = Drawn(), 1
    for place, kernel in enumerate((10, 3, 3, 2)):
        net.conv(f"extractor.{place}.conv", inward, 64, kernel, axes=1)
        inward = 64
    net.norm("projection.norm", 64).linear("projection.linear", 64, 96)
    net.shapes |= {"encoder.pos_conv.bias": (96,), "encoder.pos_conv.weight_g": (1, 1, 128)}
    net.shapes["encoder.pos_conv.weight_v"] = (96, 6, 128)
    net.true["encoder.pos_conv"] = 16
    return net


NETWORKS = {
    maker.__name__: maker
    for maker in (
        plain,
        mobile,
        cardinal,
        constant_width,
        pre_activated,
        half_split,
        equal_splits,
        shuffled,
        autoencoder,
        generator,
        branches,
        squeezing,
        reparameterised,
        positional,
    )
}
