"""Keras: `.keras` archives, `.weights.h5`, whole models in `.h5`; read as data, no layer is made and no lambda run."""

from gcx.readers.keras.reader import KerasArchiveReader, KerasHdf5Reader

__all__ = ["KerasArchiveReader", "KerasHdf5Reader"]
