"""Files that are no checkpoint, or one that gcx does not read: what they really are, and what to do about it."""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterable
from itertools import islice
from posixpath import basename

from gcx.errors import MESSAGE_LIMIT, CheckpointError, GcxError, printable
from gcx.readers.archives import gunzipped_head, is_tar, tar_names, zip_names
from gcx.readers.base import Source
from gcx.readers.protobuf import BYTES, VARINT, Wire

AGAIN = "download it again"
UNPACK = "unpack it and name the checkpoint in it"
TO_ONNX = "convert it to ONNX, which gcx reads"
TF_TO_ONNX = "convert it to ONNX with tf2onnx, which gcx reads"
ORIGINAL = "name the checkpoint that it was made from"
STATE_DICT = "where you trust it, load it and save its weights with torch.save(model.state_dict(), 'weights.pt')"
ARRAYS = "where you trust it, load it with numpy and give gcx.correlate the mapping of names to arrays"

MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (4, b"TFL3", "is a TFLite model", "convert it to ONNX with tf2onnx --tflite, which gcx reads"),
    (4, b"ET12", "is an ExecuTorch program", ORIGINAL),
    (512, b"\x89HDF\r\n\x1a\n", "is an HDF5 file (MATLAB?), which gcx does not read", ARRAYS),
    (0, b"GGUF", "is a GGUF model", ORIGINAL),
    *((0, magic, "is a GGML model", ORIGINAL) for magic in (b"lmgg", b"tjgg", b"fmgg")),
    (0, b"\x93NUMPY", "is a NumPy .npy file, one array without a name", ARRAYS),
    (0, b"\x12\x01\0\0\0\0\0\0", "is an MXNet parameter file", TO_ONNX),
    (0, b"ftrt", "is a TensorRT engine", ORIGINAL),
    (0, b"MATLAB 5.0", "is a MATLAB file", ARRAYS),
    (0, b"\xfd7zXZ\0", "is compressed with xz", UNPACK),
    (0, b"BZh", "is compressed with bzip2", UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "is compressed with zstd", UNPACK),
    (0, b"\x04\x22\x4d\x18", "is compressed with lz4", UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "is a 7z archive", UNPACK),
    (0, b"Rar!\x1a\x07", "is a rar archive", UNPACK),
    (0, b"%PDF-", "is a PDF document", "name a checkpoint"),
    (0, b"\x89PNG\r\n", "is a PNG picture", "name a checkpoint"),
    (0, b"\xff\xd8\xff", "is a JPEG picture", "name a checkpoint"),
    (0, b"GIF8", "is a GIF picture", "name a checkpoint"),
    (0, b"\x7fELF", "is a program or library (ELF)", "name a checkpoint"),
    (0, b"MZ\x90\0", "is a Windows program or library", "name a checkpoint"),
    (0, b"SQLite format 3\0", "is an SQLite database", "name a checkpoint"),
    (0, b"PAR1", "is a Parquet file", "name a checkpoint"),
    (0, b"ARROW1", "is an Arrow file", "name a checkpoint"),
)
"""(position, bytes, what it is, cure)."""

CHECKPOINT_SUFFIXES = (
    ".pt",
    ".pth",
    ".ckpt",
    ".bin",
    ".th",
    ".safetensors",
    ".onnx",
    ".h5",
    ".keras",
    ".tflite",
    ".pkl",
)
ARCHIVE_SUFFIXES = (".tar", ".zip", ".gz", ".tgz", ".7z", ".rar", ".xz", ".bz2")


def describe(source: Source) -> CheckpointError | None:
    """Say what a file is that no reader recognises.

    Returns:
        An error to raise, with the kind of file and a cure; None for bytes that tell nothing.
    """
    for look in _LOOKS:
        found = look(source)
        if found is not None:
            return CheckpointError(found[0], cure=found[1], path=source.path)
    return None


def _magic(source: Source) -> tuple[str, str] | None:
    head = source.head
    return next(((what, cure) for at, magic, what, cure in MAGIC if head.startswith(magic, at)), None)


def _zeros(source: Source) -> tuple[str, str] | None:
    if source.head.strip(b"\0"):
        return None
    return f"begins with {len(source.head)} zero bytes: its download or copy did not finish", AGAIN


def _zip(source: Source) -> tuple[str, str] | None:
    names = zip_names(source)
    if not names:
        return ("is an empty zip archive", AGAIN) if source.head.startswith(b"PK\x05\x06") else None
    inside = {name.partition("/")[2] for name in names}
    bases = {basename(name) for name in names}
    if "model.weights.h5" in bases:
        return "is a zip archive with a Keras model in a folder", "unpack it and name the model.weights.h5 in it"
    if ".data/extern_modules" in inside or ".data/version" in inside:
        return "is a torch.package archive, which is a program", STATE_DICT
    if bases and all(name.endswith(".npy") for name in bases):
        return "is a NumPy .npz archive", ARRAYS
    if any("mlmodel" in name for name in names):
        return "is a Core ML package", ORIGINAL
    return _packed("a zip archive", names)


def _tar(source: Source) -> tuple[str, str] | None:
    names = tar_names(source)
    return _packed("a tar archive", names) if names else None


def _packed(kind: str, names: Iterable[str]) -> tuple[str, str]:
    """An archive, with the checkpoint in it that the user will have meant."""
    files = [name for name in names if name and not name.endswith("/")]
    for suffixes in (CHECKPOINT_SUFFIXES, ARCHIVE_SUFFIXES):
        meant = [name for name in files if name.lower().endswith(suffixes)]
        if meant:
            more = f" and {len(meant) - 1} more" if len(meant) > 1 else ""
            return f"is {kind} that holds {_shown(meant[0])}{more}", "unpack it and name that file"
    return f"is {kind} without a checkpoint: {_shown(files[0]) if files else 'no file'}", "name a checkpoint"


def _gzip(source: Source) -> tuple[str, str] | None:
    if not source.head.startswith(b"\x1f\x8b\x08"):
        return None
    inner = gunzipped_head(source)
    if is_tar(inner):
        return f"is a gzip-compressed tar archive that holds {_shown(inner[:100].split(bytes(1))[0])}", UNPACK
    return "is compressed with gzip", "gunzip it and name the checkpoint in it"


def _pickle(source: Source) -> tuple[str, str] | None:
    head = source.head
    old = re.match(rb"(\(|\]|\})?([dl]p?[0-9]*\n|[ci][A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n)", head)
    if not old and not (head[0] == 0x80 and 2 <= head[1:2].ljust(1)[0] <= 5):
        return None
    if b"numpy" in head:
        return "is a pickle of numpy arrays", ARRAYS
    return "is a Python pickle that torch did not write", STATE_DICT


def _text(source: Source) -> tuple[str, str] | None:
    head = source.head.removeprefix(b"\xef\xbb\xbf")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "is a text file (UTF-16)", "name a checkpoint"
    try:
        text = getincrementaldecoder("utf-8")().decode(head)  # not final: the head may end within a character
    except UnicodeDecodeError:
        return None
    if any(char < " " and char not in "\t\n\r\f\x1b" for char in text):
        return None
    return _known_text(text.strip())


def _known_text(text: str) -> tuple[str, str]:
    start = text[:1000].lower()
    if start.startswith("version https://git-lfs"):
        size = re.search(r"^size ([0-9]{1,15})$", text, re.MULTILINE)
        of = f" to a file of {size[1]} bytes" if size else ""
        return f"is a git-lfs pointer{of}, not the file itself", "run 'git lfs pull'"
    if "<html" in start or start.startswith("<!doctype html"):
        title = re.search(r"<title>\s*([^<]{1,80})", text, re.IGNORECASE)
        of = f" ({printable(title[1].strip(), 80)})" if title else ""
        return f"is an HTML page{of}: the download brought a web page", "download the file behind it"
    if "<net " in start and "<layer" in text:
        return "is an OpenVINO model description", TO_ONNX
    if start.startswith("<"):
        code = re.search(r"<Code>([A-Za-z]{1,40})</Code>", text)
        return f"is an XML page{f' ({code[1]})' if code else ''}", AGAIN
    if text.startswith(("{", "[")):
        if '"weight_map"' in text and '.weights.h5"' in text:
            return "is the index of Keras weights in several files", "name one of its .weights.h5 files"
        if '"architectures"' in text or '"model_type"' in text or '"class_name"' in text:
            return "is a model's configuration (JSON) without weights", "name the checkpoint beside it"
        return f"is JSON, not a checkpoint: {_shown(text)}", "name a checkpoint"
    if start.startswith("7767517"):
        return "is an ncnn model description", ORIGINAL
    if re.search(r"^\s*layers? \{", text, re.MULTILINE):
        return "is a Caffe model description (prototxt) without weights", TO_ONNX
    if text.startswith("#!") or re.search(r"^(import|from) \w+", text, re.MULTILINE):
        return "is a script, not a checkpoint", "run it where you trust it, and name the checkpoint that it saves"
    return f"is a text file: {_shown(text)}", "name a checkpoint"


def _by_name(source: Source) -> tuple[str, str] | None:
    """Formats without a mark of their own, by their mark and their name together."""
    name, head = source.path.lower(), source.head
    if source.size >= 48 and source.pread(source.size - 8, 8) == b"\x57\xfb\x80\x8b\x24\x75\x47\xdb":
        return "is the index of a TensorFlow checkpoint", TF_TO_ONNX
    if re.search(r"\.data-\d{5}-of-\d{5}$", name):
        return "is a part of a TensorFlow checkpoint", TF_TO_ONNX
    version = [int.from_bytes(head[at : at + 4], "little") for at in (0, 4)]
    if name.endswith(".weights") and version[0] == 0 and version[1] in (1, 2):
        return "is a Darknet weight file: numbers without names or shapes", "convert it to PyTorch or ONNX"
    if name.endswith(".msgpack"):
        return "is a Flax msgpack file", "save it as safetensors"
    return None


def _protobuf(source: Source) -> tuple[str, str] | None:
    """Messages of other frameworks, told apart by the numbers of their fields."""
    try:
        seen = list(islice(Wire(source).fields(0, source.size), 1000))
    except GcxError:
        return None
    if seen[0].number > 2:
        return None
    kinds = {(field.number, field.wire) for field in seen}
    numbers = {number for number, _ in kinds}
    if (1, BYTES) in kinds and (100, BYTES) in kinds:
        return "is a Caffe model", "convert it to ONNX with caffe2onnx or mmdnn, which gcx reads"
    if (1, VARINT) in kinds and kinds <= {(1, VARINT), (2, BYTES)} and (2, BYTES) in kinds:
        return "is a TensorFlow SavedModel", TF_TO_ONNX
    if (1, VARINT) in kinds and (2, BYTES) in kinds and any(number >= 200 for number in numbers):
        return "is a Core ML model", ORIGINAL
    if kinds <= {(1, BYTES), (2, BYTES), (3, VARINT), (4, BYTES), (5, BYTES)} and (1, BYTES) in kinds:
        if (4, BYTES) in kinds:
            return "is a TensorFlow frozen graph", TF_TO_ONNX
        if (2, BYTES) in kinds:
            return (
                "is a Caffe model of the first version",
                "upgrade it with Caffe's upgrade_net_proto_binary, then convert it to ONNX",
            )
    return None


def _shown(name: str | bytes) -> str:
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    return f"'{printable(text.split(chr(10), 1)[0].strip(), MESSAGE_LIMIT // 3)}'"


_LOOKS: tuple[Callable[[Source], tuple[str, str] | None], ...] = (
    _magic,
    _zip,
    _gzip,
    _tar,
    _zeros,
    _by_name,
    _pickle,
    _text,
    _protobuf,
)
