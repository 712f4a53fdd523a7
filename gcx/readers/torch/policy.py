"""Which names a file may refer to, and which of them it may ask to call; everything else is refused by name.

Nothing is called either way: a refusal says that the file is not a checkpoint but a program.
"""

from __future__ import annotations

from gcx.errors import CheckpointError
from gcx.readers.torch.values import Global

CURE = "do not open it with anything that unpickles"

_PROGRAMS = frozenset(
    "os posix nt ntpath posixpath sys subprocess builtins __builtin__ __builtins__ __main__.os importlib imp runpy pickle"
    " _pickle cPickle cpickle dill cloudpickle joblib marshal shelve shutil socket socketserver ctypes _ctypes types"
    " operator _operator"
    " code codeop pty pdb bdb timeit webbrowser asyncio multiprocessing threading _thread thread concurrent pkgutil pip"
    " idlelib lib2to3 cProfile profile trace doctest urllib urllib2 http httplib ftplib smtplib poplib imaplib telnetlib"
    " nntplib xmlrpc ssl requests httpx aiohttp urllib3 distutils setuptools cffi tempfile glob signal resource site"
    " venv zipimport zipapp zipfile tarfile unittest commands popen2 pydoc inspect gc atexit antigravity this ensurepip"
    " linecache fileinput io _io codecs mmap fcntl select selectors termios tty py_compile compileall ast dis symtable"
    " platform test sqlite3 dbm _xxsubinterpreters _interpreters xxsubtype getpass hooks nose pytest _pytest"
    " _posixsubprocess _winapi winreg _winreg msvcrt curses turtle tkinter sched weakref faulthandler tracemalloc"
    " sysconfig _osx_support _aix_support _pyrepl _testcapi bz2 gzip lzma".split()
)
"""Packages that no checkpoint needs and programs do."""
_PROGRAM_PREFIXES = (
    "logging.config",
    "numpy.f2py",
    "numpy.testing",
    "numpy.load",
    "numpy.lib.npyio",
    "numpy.lib._npyio_impl",
    "numpy.distutils",
    "numpy.ctypeslib",
    "numpy.save",
    "numpy.loadtxt",
    "numpy.genfromtxt",
    "numpy.fromfile",
    "numpy.memmap",
    "pandas.io",
    "pandas.eval",
    "pandas.read_",
    "torch.load",
    "torch.save",
    "torch.hub",
    "torch.jit",
    "torch.package",
    "torch.storage._load_from_bytes",
    "torch.serialization.load",
    "torch.serialization.save",
    "torch.serialization._load",
    "torch.serialization._legacy_load",
    "torch.serialization.os",
    "torch.serialization.pickle",
    "torch.utils.cpp_extension",
    "torch.utils.model_zoo",
    "torch.utils.collect_env",
    "torch.utils.bottleneck",
    "torch.utils._config_module",
    "torch.utils.data.datapipes.utils",
    "torch.utils.hipify",
    "torch._dynamo",
    "torch._inductor",
    "torch._export",
    "torch.export",
    "torch.fx.graph_module",
    "torch.fx.experimental",
    "torch.fx.Interpreter",
    "torch.distributed.rpc",
    "torch.distributed.run",
    "torch.distributed.launch",
    "torch.distributed.elastic",
    "torch.multiprocessing",
    "torch.testing",
    "torch.ops.load_library",
    "torch.classes.load_library",
    "torch._ops",
    "torch._C._",
    "torch.cuda.memory",
    "torch.utils.checkpoint",
    "torch.autograd.profiler",
)
_HARMLESS = frozenset(
    f"{home}.{name}"
    for home in ("builtins", "__builtin__")
    for name in (
        "set frozenset dict list tuple bytearray complex slice range xrange object int long float str unicode bytes bool"
        " type NoneType Ellipsis NotImplemented basestring"
    ).split()
) | {"types.SimpleNamespace", "types.NoneType", "types.GenericAlias", "codecs.encode", "io.BytesIO", "weakref.ref"}
_EXCEPTIONS = ("Error", "Exception", "Warning", "Interrupt", "Exit", "Iteration")

INERT_FUNCTIONS = frozenset(
    "numpy.core.multiarray.scalar numpy._core.multiarray.scalar numpy.core.multiarray._reconstruct"
    " numpy._core.multiarray._reconstruct numpy.core.numeric._frombuffer numpy._core.numeric._frombuffer"
    " numpy.dtype numpy.ndarray numpy.random.__randomstate_ctor"
    " numpy.random._pickle.__randomstate_ctor numpy.random._pickle.__generator_ctor"
    " numpy.random._pickle.__bit_generator_ctor numpy.ma.core._mareconstruct numpy.core.records.recarray"
    " numpy.rec.recarray datetime.datetime datetime.date datetime.time datetime.timedelta datetime.timezone"
    " collections.defaultdict collections.deque copyreg._reconstructor copy_reg._reconstructor copyreg.__newobj__"
    " copy_reg.__newobj__ copyreg.__newobj_ex__ copy_reg.__newobj_ex__ functools.partial re._compile _codecs.encode"
    " codecs.encode array._array_reconstructor array.array random.Random decimal.Decimal fractions.Fraction"
    " pytz._UTC pytz._p dateutil.tz.tz.tzutc pandas._libs.internals._unpickle_block"
    " pandas.core.indexes.base._new_Index pandas.core.internals.blocks.new_block torch.device torch.dtype torch.finfo"
    " torch.iinfo torch.default_generator torch._utils._rebuild_qtensor torch._utils._rebuild_xla_tensor"
    " time.struct_time omegaconf.base.Box itertools.count itertools.cycle itertools.repeat itertools.chain"
    " enum.property builtins.set".split()
)
"""Lower-case names that make a value and nothing else; their results are placeholders."""


def check_reference(found: Global) -> None:
    """Refuse a name that is only ever there to be called.

    Raises:
        CheckpointError: the name belongs to a module that runs programs, reads files, or loads pickles.
    """
    if found.full in _HARMLESS or _is_exception(found):
        return
    full = found.full
    if full.split(".", 1)[0] in _PROGRAMS or full.startswith(_PROGRAM_PREFIXES) or "__" in found.name.partition(".")[2]:
        refuse_call(found)


def check_call(found: Global, *, of_class: bool) -> None:
    """Refuse to make an inert value of a call that looks like one of a function.

    Args:
        found: what is to be called.
        of_class: asked for by an operation that works on classes alone.

    Raises:
        CheckpointError: the name is that of a function, and not of one that only makes a value.
    """
    if of_class or found.full in INERT_FUNCTIONS or found.full in _HARMLESS:
        return
    name = found.name.rpartition(".")[2].lstrip("_")
    if not name[:1].isupper():
        refuse_call(found)


def refuse_call(found: Global) -> None:
    raise CheckpointError(f"asks to call {found.full}; refused, nothing was run", cure=CURE)


def _is_exception(found: Global) -> bool:
    return found.module in ("builtins", "__builtin__", "exceptions") and found.name.endswith(_EXCEPTIONS)
