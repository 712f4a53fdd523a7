"""torch's checkpoints, parsed as data: containers, a pickle interpreter that runs nothing, the rules for tensors."""

from gcx.readers.torch.legacy import TorchLegacyReader
from gcx.readers.torch.plain import PlainPickleReader
from gcx.readers.torch.tar import TorchTarReader
from gcx.readers.torch.zip_reader import TorchZipReader

__all__ = ["PlainPickleReader", "TorchLegacyReader", "TorchTarReader", "TorchZipReader"]
