"""Every budget of gcx, in one place: what a file may cost before it is refused.

An exhausted one raises `errors.LimitError`, whose message names the constant.
"""

MIB = 2**20

# --- pickles (torch containers) ---
PICKLE_BYTES = 256 * MIB
"""Length of one pickle stream: names and structure, not weights."""
PICKLE_OPS = 10_000_000
"""Operations of one pickle; 100,000 tensors take about 3,000,000. Bounds memory too: none takes over 200 bytes."""
PICKLE_MEMO = 10_000_000
"""Highest memo index; a larger one is a memory bomb, since real picklers count up."""
PICKLE_DEPTH = 10_000
"""Nesting of marks on the stack."""
PICKLE_TEXT = 64 * 2**10
"""Bytes of a text that is decoded; a longer one is no name and is kept as it is."""

PICKLE_CONTAINERS = 3_000_000
"""Lists, tuples, dicts and objects of all pickles of a file; 100,000 tensors take about 900,000."""
PICKLE_GLOBALS = 10_000
"""Different names of functions and classes that one pickle refers to; a large module has some hundred."""

SCRIPT_CODE = 32 * MIB
"""Characters of code in a TorchScript archive; a network of 10,000 layers, unrolled, has about 5 MiB."""
SCRIPT_STATEMENTS = 1_000_000
"""Classes, names, assignments and calls of that code that are looked at."""
EXPORT_JSON = 64 * MIB
"""Length of the graph of an exported program, and of the list of its weights; a node has some 1,500 characters."""
EXPORT_VALUES = 2_000_000
"""Values in such a graph; a node has some 60."""
EXPORT_DEPTH = 32
"""Graphs within graphs: what runs without gradients, or on a condition."""

MODULES = 1_000_000
"""Modules in the tree of a pickled one; each place where a shared one stands counts."""
LOOKS = 30_000_000
"""Values looked at in search of the weights; each place where a shared one stands counts."""
NESTING = 64
"""Dicts and lists within each other; what lies deeper is not looked at, and that is said."""
WEIGHT_SETS = 10_000
"""Dicts and modules with tensors in one file."""
NAME = 4096
"""Characters of a name that is put together from the names of modules or nested dicts."""
NAMES = 64 * MIB
"""Characters of all such names of a file."""

# --- tensors ---
VIEW_ELEMENTS = 2**26
"""An expanded view (stride 0, overlap) may have this many elements, or as many as its storage, whichever is more."""
RANK = 64
"""Axes of a tensor (numpy's own bound)."""
TENSORS = 1_000_000
"""Tensors in one checkpoint, over all shards."""

# --- containers ---
ZIP_ENTRIES = 1_000_000
ZIP_DIRECTORY = 256 * MIB
"""Length of a zip's directory; 100,000 entries of torch take about 6 MiB."""
INFLATE_RATIO = 20
INFLATE_SLACK = 64 * MIB
"""A zip may inflate to INFLATE_RATIO x its size + INFLATE_SLACK in all (torch itself never compresses)."""
INFLATE_TIMES = 16
INFLATE_AGAIN = 4096 * MIB
"""Records that are packed may be inflated over and over, one being held at a time, to INFLATE_TIMES x what they inflate
to + INFLATE_AGAIN bytes; a hundred weights that lie in two of 32 MB in turn take some 3,000 MiB."""
SAFETENSORS_HEADER = 100_000_000
"""Length of a safetensors header, the format's own bound."""
INDEX_BYTES = 100 * MIB
"""Length of a shard index."""
SHARDS = 10_000
ONNX_GRAPH = 2048 * MIB
"""Length of an ONNX protobuf, the format's own bound."""
ONNX_FIELDS = 4_000_000
"""Protobuf fields looked at in one file; a graph of 100,000 nodes has about 1,500,000."""
ONNX_NODES = 200_000
ONNX_DEPTH = 32
"""Graphs inside nodes of graphs."""
ONNX_NAME = 65_536
"""Bytes of one name."""

HDF5_METADATA = 128 * MIB
"""Bytes of an HDF5 file that are not numbers (headers, names, texts), each time they are read."""
HDF5_OBJECTS = 200_000
"""Groups and datasets of one HDF5 file, each time one is linked."""
HDF5_CHUNKS = 100_000
"""Chunks of one dataset."""
KERAS_CONFIG = 32 * MIB
"""Length of a Keras model's configuration; one of a thousand layers has about 1 MiB."""
KERAS_LAYERS = 20_000
"""Layers in it, each time a wrapper uses one."""
KERAS_VALUES = 1_000_000
"""Values in it, since each takes up to a hundred bytes."""

# --- groups ---
MODULE_DEPTH = 64
"""Modules within modules that are told apart; all that lies deeper hangs at the top, since a name may hold any number
of dots and each would cost another copy of it."""

# --- measuring ---
BLOCK = 1024
"""Filters in one block of the pairwise products: bounds memory at BLOCK x out_channels numbers, not out_channels^2."""
RESAMPLES = 9_999
"""Permutations per p-value at most, unless asked for: 20 per test up to 500 tests, or time goes with their square."""
PICTURE = 512
"""Longest side of the correlation matrix that a picture keeps."""
PAGE_LAYERS = 10_000
"""Layers with a row and a panel in one HTML report: about 6 kB each, and a browser holds them all."""
PAGE_PICTURES = 2000
"""Layers with pictures in one HTML report."""
OVERLAPS = 4096
"""Filters of a layer whose pairs may stand in one matrix (128 MiB), where a number has no way around it."""

# --- comparing and gates ---
REPORT_BYTES = 256 * MIB
"""Length of a saved report that stands in for a checkpoint."""
RUNS = 1000
"""Runs of one arm."""
ROLE_LAYERS = 2000
"""Layers of each arm that are matched by their role: time goes with the product."""
RULE = 1000
"""Characters of one rule."""
RULES = 10_000
"""Rules of one run."""
CHECKS = 1_000_000
"""Rules times layers."""
