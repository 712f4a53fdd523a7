"""Which names a file may refer to, and which of them it may ask to call; everything else is refused by name.

Nothing is called either way: a refusal says that the file is not a checkpoint but a program. So the rules are wide, not
clever: a name that no checkpoint needs is refused wherever it stands, a function wherever it is called.
"""

from __future__ import annotations

from typing import NoReturn

from gcx.errors import CheckpointError
from gcx.readers.torch.values import Global

CURE = "do not open it with anything that unpickles"

_PROGRAM_WORDS = """
os posix nt ntpath posixpath sys subprocess builtins __builtin__ __builtins__ importlib imp runpy pickle _pickle cPickle
dill cloudpickle joblib marshal shelve shutil socket socketserver ctypes _ctypes types operator _operator codeop pty pdb
bdb timeit webbrowser asyncio multiprocessing threading _thread thread concurrent pkgutil pip idlelib lib2to3 cProfile
doctest urllib urllib2 urllib3 http httplib ftplib smtplib poplib imaplib telnetlib nntplib xmlrpc ssl requests httpx
aiohttp distutils setuptools cffi tempfile glob signal resource site venv zipimport zipapp zipfile tarfile unittest
popen2 pydoc inspect gc atexit antigravity this ensurepip linecache fileinput io _io codecs mmap fcntl select selectors
termios tty py_compile compileall ast dis symtable platform sqlite3 dbm _xxsubinterpreters _interpreters getpass pytest
_pytest _posixsubprocess _winapi winreg _winreg msvcrt curses turtle tkinter sched weakref faulthandler tracemalloc
sysconfig _osx_support _aix_support _pyrepl _testcapi bz2 gzip lzma cgi cgitb pipes uuid._load_system_functions
"""
_PROGRAMS = frozenset(_PROGRAM_WORDS.split())
"""Packages that no checkpoint needs and programs do."""
_OWN_OR_STANDARD = frozenset({"code", "test", "hooks", "profile", "commands", "trace"})
"""Standard packages by whose names people call their own: only what looks like a class is taken for theirs."""
_STANDARD_CLASSES = frozenset({"InteractiveInterpreter", "InteractiveConsole", "Profile", "Trace"})
_HIDDEN = frozenset({"os", "sys", "subprocess", "builtins", "__builtins__", "importlib", "ctypes", "posix", "pickle"})
"""What a package may have imported and a dotted name could reach through it."""

_PROGRAM_PREFIX_WORDS = """
logging.config. logging.FileHandler logging.handlers. numpy.f2py numpy.testing numpy.load numpy.lib.npyio
numpy.lib._npyio_impl numpy.distutils numpy.ctypeslib numpy.save numpy.genfromtxt numpy.fromfile numpy.memmap
pandas.io pandas.eval pandas.read_ torch.load torch.save torch.hub torch.jit torch.package
torch.storage._load_from_bytes torch.serialization.load torch.serialization.save torch.serialization._load
torch.serialization._legacy_load torch.utils.cpp_extension torch.utils.model_zoo torch.utils.collect_env
torch.utils.bottleneck torch.utils._config_module torch.utils.hipify torch._inductor torch._export torch.export
torch.fx.graph_module torch.fx.experimental torch.distributed.rpc torch.distributed.run torch.distributed.launch
torch.distributed.elastic torch.multiprocessing torch.testing torch.ops.load_library torch.classes.load_library
torch._ops.
"""
_PROGRAM_PREFIXES = tuple(_PROGRAM_PREFIX_WORDS.split())

_HARMLESS_BUILTINS = """
set frozenset dict list tuple bytearray complex slice range xrange object int long float str unicode bytes bool type
NoneType Ellipsis NotImplemented basestring getattr
"""
_HARMLESS = frozenset(f"{home}.{name}" for home in ("builtins", "__builtin__") for name in _HARMLESS_BUILTINS.split())
_HARMLESS |= {"types.SimpleNamespace", "types.NoneType", "types.GenericAlias", "types.UnionType", "codecs.encode"}
_HARMLESS |= {f"{home}.{name}IO" for home in ("io", "_io") for name in ("Bytes", "String")}
_REFERABLE_BUILTINS = "abs len max min sum round any all"
_MERE_REFERENCES = frozenset(
    f"{home}.{name}" for home in ("builtins", "__builtin__") for name in _REFERABLE_BUILTINS.split()
) | {"operator.getitem", "_operator.getitem", "operator.or_", "_operator.or_", "__builtin__.reduce"}
"""Functions that a module may keep as an attribute, or that types are written with; to call one is refused."""
_EXCEPTIONS = ("Error", "Exception", "Warning", "Interrupt", "Iteration")

_INERT_FUNCTION_WORDS = """
numpy.core.multiarray.scalar numpy._core.multiarray.scalar numpy.core.multiarray._reconstruct
numpy._core.multiarray._reconstruct numpy.core.numeric._frombuffer numpy._core.numeric._frombuffer numpy.dtype
numpy.ndarray numpy.random.__randomstate_ctor numpy.random._pickle.__randomstate_ctor
numpy.random._pickle.__generator_ctor numpy.random._pickle.__bit_generator_ctor numpy.ma.core._mareconstruct
numpy.core.records.recarray numpy.rec.recarray datetime.datetime datetime.date datetime.time datetime.timedelta
datetime.timezone collections.defaultdict collections.deque re._compile codecs.encode _codecs.encode
array._array_reconstructor array.array pytz._UTC pytz._p dateutil.tz.tz.tzutc pandas._libs.internals._unpickle_block
pandas.core.indexes.base._new_Index torch.device torch.dtype torch.finfo torch.iinfo functools.partial
time.struct_time itertools.count itertools.cycle itertools.repeat logging.getLogger torch.serialization._get_layout
"""
_INERT_FUNCTIONS = frozenset(_INERT_FUNCTION_WORDS.split())
"""Names of functions that only make a value; the result is a placeholder."""
_SCRIPT_WORDS = "build_intlist build_tensorlist build_doublelist build_boollist restore_type_tag"
HANDING_ON = frozenset(f"torch.jit._pickle.{word}" for word in _SCRIPT_WORDS.split())
"""What TorchScript's pickles call to say what a list or dict holds; each gives back its argument."""

_KNOWN = _HARMLESS | _INERT_FUNCTIONS | _MERE_REFERENCES | HANDING_ON


def check_reference(found: Global) -> None:
    """Refuse a name that is only ever there to be called.

    Raises:
        CheckpointError: the name belongs to a module that runs programs, reads files, or loads pickles, or is one of
            Python's own underscored names.
    """
    full = found.full
    if full in _KNOWN or _is_exception(found):
        return
    parts = full.split(".")
    if (
        parts[0] in _PROGRAMS
        or full.startswith(_PROGRAM_PREFIXES)
        or not _HIDDEN.isdisjoint(parts[1:])
        or any(part.startswith("__") and part.endswith("__") for part in parts[1:] if part != "__main__")
        or (parts[0] in _OWN_OR_STANDARD and not _is_own_class(parts))
    ):
        if full in ("copyreg.__newobj__", "copy_reg.__newobj__", "copyreg.__newobj_ex__"):
            return
        refuse_call(full)


def check_call(found: Global, *, of_class: bool) -> None:
    """Refuse to make an inert value of a call that looks like one of a function.

    Args:
        found: what is to be called.
        of_class: asked for by an operation that works on classes alone.

    Raises:
        CheckpointError: the name is that of a function, and not of one that only makes a value.
    """
    if of_class or found.full in _INERT_FUNCTIONS or found.full in _HARMLESS:
        return
    if found.full.startswith("numpy.random.") and found.name.startswith("__pyx_unpickle_"):
        return
    if not looks_like_class(found.name):
        refuse_call(found.full)


def looks_like_class(name: str) -> bool:
    """Whether the last part of a name is written as classes are."""
    return name.rpartition(".")[2].lstrip("_")[:1].isupper()


class RefusedCallError(CheckpointError):
    """A file wants something to be called: it is a program."""


def refuse_call(callee: str) -> NoReturn:
    raise RefusedCallError(f"asks to call {callee}; refused, nothing was run", cure=CURE)


def _is_own_class(parts: list[str]) -> bool:
    return looks_like_class(parts[-1]) and parts[-1] not in _STANDARD_CLASSES


def _is_exception(found: Global) -> bool:
    return found.module in ("builtins", "__builtin__", "exceptions") and found.name.endswith(_EXCEPTIONS)
