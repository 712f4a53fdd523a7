"""ONNX: models as graphs with their groups, also quantised; parsed by a bounded reader of protobuf, nothing is run."""

from gcx.readers.onnx.reader import OnnxReader

__all__ = ["OnnxReader"]
