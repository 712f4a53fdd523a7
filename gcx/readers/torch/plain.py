"""A pickle without torch's container: never a checkpoint that gcx reads, but it may be a program, and that is said."""

from __future__ import annotations

from gcx.checkpoint import Checkpoint
from gcx.errors import CheckpointError, LimitError
from gcx.readers.base import ReadOptions, Source
from gcx.readers.foreign import describe
from gcx.readers.torch.legacy import Stream
from gcx.readers.torch.policy import RefusedCallError

_TEXT_STARTS = b"(]}lcdgiSVIL)N"
"""What pickles of protocols 0 and 1 begin with; so do many words."""


class PlainPickleReader:
    """`pickle.dump`, or a file that only looks like a checkpoint; always refused."""

    name = "pickle"
    suffixes: tuple[str, ...] = (".pkl", ".pickle")

    def recognises(self, source: Source) -> bool:
        """The mark of protocols 2 to 5; without one, only what can be interpreted to its end or wants a call."""
        head = source.head
        if len(head) >= 2 and head[0] == 0x80 and 2 <= head[1] <= 5:
            return True
        if head[:1] not in _TEXT_STARTS:
            return False
        try:
            Stream(source).value()
        except (RefusedCallError, LimitError):
            return True
        except CheckpointError:
            return False
        return True

    def read(self, source: Source, options: ReadOptions) -> Checkpoint:  # noqa: ARG002
        """Look through it, and say what it is.

        Raises:
            CheckpointError: always.
        """
        Stream(source).value()
        raise describe(source) or CheckpointError(
            "is a Python pickle that torch did not write", cure="save the state dict with torch.save"
        )
