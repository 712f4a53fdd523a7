"""The two kinds of Keras files: an archive with a configuration and an HDF5 file in it, and an HDF5 file alone."""

from __future__ import annotations

from collections.abc import Iterator

from gcx.checkpoint import Checkpoint
from gcx.errors import CheckpointError, GcxError
from gcx.limits import KERAS_CONFIG
from gcx.readers.archives import is_keras_archive
from gcx.readers.base import ReadOptions, Section, Source
from gcx.readers.keras.config import LayerConfig, read_config
from gcx.readers.keras.hdf5 import MAGIC, Hdf5File
from gcx.readers.keras.layers import has_keras_layout, layers_of
from gcx.readers.keras.weights import weights_of
from gcx.readers.keras.window import Held, Window
from gcx.readers.names import no_moving_average
from gcx.readers.torch.archive import Archive

WEIGHTS = "model.weights.h5"
CONFIG = "config.json"
NOT_KERAS = "where you trust it, load it with h5py and give gcx.correlate the mapping of names to arrays"


class KerasArchiveReader:
    """`name.keras`, of Keras 3 and of 2.12 and later."""

    name = "Keras"
    suffixes: tuple[str, ...] = (".keras",)

    def recognises(self, source: Source) -> bool:
        """A zip archive with Keras's weights at its top."""
        return is_keras_archive(source)

    def read(self, source: Source, options: ReadOptions) -> Checkpoint:
        """Read the configuration and the tree of the weights.

        Raises:
            CheckpointError: a damaged archive, configuration or HDF5 file; weights in another format.
        """
        try:
            archive = Archive(source)
            if WEIGHTS not in archive.entries:
                raise CheckpointError(
                    "is a Keras model with weights in NumPy's format, which gcx does not read",
                    cure="save it again with weights in model.weights.h5, as model.save does",
                )
            config = _config(archive)
            return _checkpoint(source, _window(archive), config, "keras", options)
        except GcxError as error:
            raise error.located(path=source.path) from error.__cause__


class KerasHdf5Reader:
    """`name.weights.h5` and `name.h5`."""

    name = "Keras HDF5"
    suffixes: tuple[str, ...] = (".h5", ".hdf5")

    def recognises(self, source: Source) -> bool:
        """Any HDF5 file; whether Keras wrote it shows when it is read."""
        return source.head.startswith(MAGIC)

    def read(self, source: Source, options: ReadOptions) -> Checkpoint:
        """Read the tree of the weights, and the configuration of a whole model.

        Raises:
            CheckpointError: damaged, or not of Keras.
        """
        try:
            return _checkpoint(source, source, None, "keras-hdf5", options)
        except GcxError as error:
            raise error.located(path=source.path) from error.__cause__


def _config(archive: Archive) -> LayerConfig | None:
    if CONFIG not in archive.entries:
        return None
    if archive.entry(CONFIG).size > 4 * KERAS_CONFIG:
        raise CheckpointError(f"has a configuration of {archive.entry(CONFIG).size} bytes, limit KERAS_CONFIG")
    try:
        return read_config(archive.read(CONFIG).decode())
    except UnicodeDecodeError:
        raise CheckpointError("has a configuration that is no text") from None


def _window(archive: Archive) -> Window:
    """Where the HDF5 file lies; its checksum is verified here, since it is read in pieces from now on."""
    entry = archive.entry(WEIGHTS)
    if entry.method:
        return Held(archive.read(WEIGHTS))
    archive.read(WEIGHTS, 0, min(8, entry.size))
    return Section.of(archive.source, entry.data, entry.size)


def _checkpoint(
    source: Source, window: Window, config: LayerConfig | None, kind: str, options: ReadOptions
) -> Checkpoint:
    if options.weights == "ema":
        raise no_moving_average()
    root = Hdf5File(window).root
    if not has_keras_layout(root):
        raise CheckpointError("is an HDF5 file that Keras did not write", cure=NOT_KERAS)
    if config is None and (text := root.text("model_config")) is not None:
        config = read_config(text)
    layers = list(layers_of(root, config))
    weights = list(weights_of(layers))
    return Checkpoint(
        source.path,
        kind,
        {weight.ref.name: weight.ref for weight in weights},
        {weight.module: weight.spec for weight in weights if weight.spec is not None},
        tuple(_notes(config, "optimizer" in root.members or "optimizer_weights" in root.members)),
        close=source.close,
        ordered=len(layers) < 2 or all(layer.placed for layer in layers),
        others={weight.ref.name: weight.other for weight in weights if weight.other is not None},
    )


def _notes(config: LayerConfig | None, trained: bool) -> Iterator[str]:
    if config is None:
        yield "the file holds weights only, without the model's configuration"
    if trained:
        yield "left out the optimizer's state"
    if config is not None and any(part.class_name == "Lambda" for _, part in config.below()):
        yield "the model has Lambda layers: their code was not looked at and not run"
