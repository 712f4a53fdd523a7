"""torch's checkpoints, parsed as data: containers, a pickle interpreter that runs nothing, and the rules for tensors."""

from gcx.readers.torch.container import TorchZipReader
from gcx.readers.torch.legacy import TorchLegacyReader

__all__ = ["TorchLegacyReader", "TorchZipReader"]
