"""torch's checkpoints, parsed as data: containers, a pickle interpreter that runs nothing, the rules for tensors."""

from gcx.readers.torch.container import TorchZipReader
from gcx.readers.torch.legacy import TorchLegacyReader
from gcx.readers.torch.plain import PlainPickleReader
from gcx.readers.torch.script import TorchScriptReader
from gcx.readers.torch.tar import TorchTarReader

__all__ = ["PlainPickleReader", "TorchLegacyReader", "TorchScriptReader", "TorchTarReader", "TorchZipReader"]
