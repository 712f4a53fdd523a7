"""A checkpoint in several files, named by an index: `model.safetensors.index.json`, `pytorch_model.bin.index.json`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from gcx.checkpoint import Checkpoint, TensorRef
from gcx.errors import CheckpointError, GcxError, LimitError, printable
from gcx.limits import INDEX_BYTES, SHARDS, TENSORS
from gcx.readers.base import CURE, Reader, ReadOptions, Source, open_beside
from gcx.readers.json_text import Scanner
from gcx.readers.names import check_beside, present, shown_names
from gcx.readers.safetensors import SafetensorsReader, tensors_of
from gcx.words import plural


class ShardIndexReader:
    """`*.index.json` and the shards that it names, in its own folder and nowhere else."""

    name = "shard index"
    suffixes: tuple[str, ...] = (".json",)

    def __init__(self, readers: Sequence[Reader] = ()):
        """Args:
        readers: of the shards, beside safetensors; asked in this order.
        """
        self._readers: tuple[Reader, ...] = (SafetensorsReader(), *readers)

    def recognises(self, source: Source) -> bool:
        """A JSON object with a `weight_map` near its start, or of the usual name."""
        head = source.head.removeprefix(b"\xef\xbb\xbf").lstrip()
        if b'.weights.h5"' in head:
            return False  # Keras's own kind of index, which names groups and not tensors
        return head.startswith(b"{") and (b'"weight_map"' in head or source.path.endswith(".index.json"))

    def read(self, source: Source, options: ReadOptions) -> Checkpoint:
        """Read the index, open every shard, and check that each holds what the index says.

        Raises:
            CheckpointError: a damaged index; a shard that is missing, elsewhere, or of another type; a tensor that is
                in no shard.
        """
        weight_map = read_weight_map(source)
        by_shard: dict[str, list[str]] = {}
        for name, shard in weight_map.items():
            by_shard.setdefault(shard, []).append(name)
        with ExitStack() as stack:
            opened = [self._open(source, shard, names, stack) for shard, names in by_shard.items()]
            formats = [format_ for format_, _ in opened]
            for shard, format_ in zip(by_shard, formats, strict=True):
                if format_ != formats[0]:
                    raise CheckpointError(
                        f"names shards of two kinds: '{printable(shard, 100)}' is {format_}, others are {formats[0]}",
                        path=source.path,
                    )
            found = {name: ref for _, refs in opened for name, ref in refs.items()}
            refs = {name: found[name] for name in weight_map}
            tensors, notes = present(refs, options)
            kept = stack.pop_all()
        kept.callback(source.close)
        count = len(by_shard)
        notes += (plural(count, "shard"),)
        files = tuple(str(Path(source.path).parent / shard) for shard in by_shard)
        return Checkpoint(source.path, formats[0], tensors, notes=notes, close=kept.close, files=files)

    def _open(self, index: Source, shard: str, names: list[str], stack: ExitStack) -> tuple[str, dict[str, TensorRef]]:
        """Open one shard; its format, and the tensors that the index names, by their names in the index."""
        source = open_beside(index.path, shard, "shard", cure="download it into the same folder")
        closer = stack.enter_context(ExitStack())
        closer.callback(source.close)
        reader = next((reader for reader in self._readers if reader.recognises(source)), None)
        if reader is None:
            raise CheckpointError(f"shard '{printable(shard, 100)}' is no checkpoint", path=index.path, cure=CURE)
        try:
            found, format_ = self._tensors(reader, source, names, closer)
        except GcxError as error:
            raise error.located(path=source.path) from error.__cause__
        for name in names:
            if name not in found:
                raise CheckpointError(
                    f"is not in shard '{printable(shard, 100)}', where the index has it",
                    path=index.path,
                    tensor=name,
                    cure=CURE,
                )
        return format_, {name: found[name] for name in names}

    def _tensors(
        self, reader: Reader, source: Source, names: list[str], closer: ExitStack
    ) -> tuple[dict[str, TensorRef], str]:
        if isinstance(reader, SafetensorsReader):
            return tensors_of(source), reader.name
        checkpoint = reader.read(source, ReadOptions())
        closer.pop_all()  # closing the source is the checkpoint's business now
        closer.callback(checkpoint.close)
        # A reader hands out shown names; the index has those of the file.
        shown = shown_names(names)
        found = {name: checkpoint.tensors[shown[name]] for name in names if shown[name] in checkpoint.tensors}
        return {name: replace(ref, name=name) for name, ref in found.items()}, checkpoint.format


def read_weight_map(source: Source) -> dict[str, str]:
    """Tensor name to shard, in the order of the index.

    Raises:
        CheckpointError: not JSON of the expected kind, or a shard that is not a plain file name.
        LimitError: too long, too many tensors or shards.
    """
    if source.size > INDEX_BYTES:
        raise LimitError(f"is an index of {source.size} bytes, limit INDEX_BYTES is {INDEX_BYTES}", path=source.path)
    try:
        text = source.pread(0, source.size).decode()
    except UnicodeDecodeError as error:
        raise CheckpointError(f"shard index is not UTF-8 at byte {error.start}", path=source.path, cure=CURE) from None
    try:
        return _weight_map(Scanner(text, "shard index"))
    except GcxError as error:
        raise error.located(path=source.path) from error.__cause__


def _weight_map(scanner: Scanner) -> dict[str, str]:
    weight_map: dict[str, str] | None = None
    for key in scanner.members():
        if key != "weight_map":
            scanner.skip()
            continue
        weight_map = {}
        shards: set[str] = set()
        for name in scanner.members():
            weight_map[name] = shard = scanner.string()
            if shard not in shards:
                check_beside(shard, "a shard")
                shards.add(shard)
            if len(weight_map) > TENSORS:
                raise LimitError(f"names more than {TENSORS} tensors, limit TENSORS")
            if len(shards) > SHARDS:
                raise LimitError(f"names more than {SHARDS} shards, limit SHARDS")
    scanner.end()
    if weight_map is None:
        raise CheckpointError("is JSON without a weight_map, so no shard index", cure="name a checkpoint")
    if not weight_map:
        raise CheckpointError("is a shard index that names no tensor", cure=CURE)
    return weight_map
