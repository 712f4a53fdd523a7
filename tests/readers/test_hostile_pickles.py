"""Pickles that want something run: through every opcode, in every place of a file. Nothing runs, each is named."""

from __future__ import annotations

import pytest
from evil import (
    CANARY,
    FOUR,
    Call,
    Persistent,
    Raw,
    Ref,
    legacy_file,
    legacy_storage,
    old_tar,
    ops,
    pickled,
    records,
    storage,
    tar_file,
    tensor,
    text,
    zip_bytes,
    zip_file,
)
from readers.opening import opened, refused

TOUCH = f"touch {CANARY}"
EXTENSION = "what the extension registry has"

CALLS = {
    "reduce": ops(Call(Ref("os", "system"), TOUCH)),
    "reduce posix": ops(Call(Ref("posix", "system"), TOUCH)),
    "stack_global": text("os") + text("system") + b"\x93" + ops((TOUCH,)) + b"R",
    "stack_global from memo": text("os") + b"q\0" + b"0" + text("system") + b"q\x01" + b"0h\0h\x01\x93"
    + ops((TOUCH,)) + b"R",
    "memoised callee": b"cos\nsystem\nq\x050h\x05" + ops((TOUCH,)) + b"R",
    "inst": b"(" + text(TOUCH) + b"ios\nsystem\n",
    "obj": b"(cos\nsystem\n" + text(TOUCH) + b"o",
    "newobj": b"cos\nsystem\n" + ops((TOUCH,)) + b"\x81",
    "newobj_ex": b"cos\nsystem\n" + ops((TOUCH,)) + b"}\x92",
    "reference only": b"cos\nsystem\n",
    "frozen": b"(cos\nsystem\n\x91",
    "popped": b"cos\nsystem\n0N",
    "short": b"\x8c\x02os\x8c\x06system\x93" + ops((TOUCH,)) + b"R",
    "python 2 text": b"U\x02osU\x06system\x93" + ops((TOUCH,)) + b"R",
    "unicode line": b"Vos\nVsystem\n\x93" + ops((TOUCH,)) + b"R",
    "build": ops(Call(Ref("os", "system"), TOUCH, state={"a": 1})),
}  # fmt: skip

NAMED = [
    *("os.system", "posix.system", "nt.system", "subprocess.Popen", "subprocess.check_output", "builtins.eval"),
    *("builtins.exec", "__builtin__.eval", "builtins.open", "builtins.__import__", "importlib.import_module"),
    *("runpy.run_path", "pickle.loads", "_pickle.loads", "torch.load", "torch.hub.load", "torch.jit.load"),
    *("torch.storage._load_from_bytes", "torch.utils.cpp_extension.load", "torch.serialization.load"),
    *("shutil.rmtree", "socket.socket", "ctypes.CDLL", "types.CodeType", "types.FunctionType", "operator.attrgetter"),
    *("operator.methodcaller", "code.InteractiveInterpreter", "codeop.compile_command", "pty.spawn", "pdb.run"),
    *("timeit.timeit", "webbrowser.open", "asyncio.run", "multiprocessing.Process", "threading.Thread"),
    *("numpy.f2py.crackfortran.myeval", "numpy.testing._private.utils.runstring", "numpy.load", "pkgutil.resolve_name"),
    *("pip.main", "idlelib.run.Executive", "lib2to3.pgen2.grammar.Grammar", "cProfile.run", "profile.run", "bdb.Bdb"),
    *("doctest.debug_script", "logging.config.dictConfig", "urllib.request.urlopen", "http.client.HTTPConnection"),
    *("ftplib.FTP", "smtplib.SMTP", "ssl.get_server_certificate", "requests.get", "httpx.get", "aiohttp.request"),
    *("distutils.spawn.spawn", "setuptools.sandbox.run_setup", "cffi.FFI", "tempfile.mktemp", "glob.glob"),
    *("signal.alarm", "resource.setrlimit", "site.main", "venv.create", "zipimport.zipimporter", "zipapp.main"),
    *("unittest.main", "torch._dynamo.guards.GuardBuilder.get", "torch._inductor.codecache.compile_file"),
    *("torch.distributed.rpc.rpc_sync", "torch.serialization.os.system", "sys.exit", "joblib.load", "dill.loads"),
    *("some.package.function", "evil.__reduce__", "__main__.run", "torch.randn", "torch.ops.load_library"),
    *("pandas.read_pickle", "numpy.fromfile", "functools.reduce", "trace.Trace", "test.support.run_code"),
    *("torch.fx.graph_module.reduce_graph_module", "torch.package.PackageImporter", "linecache.getline"),
]


def container(kind: str, payload: bytes) -> bytes:
    value = Raw(b"\x80\x04" + payload + b".")
    return {"zip": zip_file, "legacy": legacy_file, "plain": bytes}[kind](value)


@pytest.mark.parametrize("kind", ["zip", "legacy", "plain"])
@pytest.mark.parametrize("opcode", CALLS)
def test_no_opcode_runs_anything(opcode, kind, watched):
    message = refused(container(kind, CALLS[opcode]), watched)
    assert "asks to call" in message
    assert "refused, nothing was run" in message
    assert "system" in message


@pytest.mark.parametrize("code", [b"\x82\x01", b"\x83\x01\x02", b"\x84\x01\x02\x03\x04"])
def test_the_extension_registry_is_refused(code, watched):
    assert EXTENSION in refused(container("zip", code + b")R"), watched)


@pytest.mark.parametrize("name", NAMED)
def test_every_function_that_is_called_is_named(name, watched):
    module, _, function = name.rpartition(".")
    message = refused(zip_file({"a": tensor(), "b": Call(Ref(module, function), TOUCH)}), watched)
    assert f"asks to call {name};" in message


@pytest.mark.parametrize("name", ["os.system", "builtins.exec", "torch.load", "pickle.loads", "subprocess.run"])
def test_a_mere_reference_to_a_program_is_refused(name, watched):
    module, _, function = name.rpartition(".")
    assert f"call {name};" in refused(zip_file({"a": tensor(), "b": Ref(module, function)}), watched)


PLACES = {
    "key": {Call(Ref("os", "system"), TOUCH): tensor()},
    "rebuild argument": {"a": tensor(offset=Call(Ref("os", "system"), TOUCH))},
    "persistent id": {"a": tensor(of=Persistent(("storage", Call(Ref("os", "system"), TOUCH), "0", "cpu", 4)))},
    "state": Call(Ref("mod", "Net"), state=Call(Ref("os", "system"), TOUCH)),
    "partial": {"f": Call(Ref("functools", "partial"), Ref("os", "system"), TOUCH)},
    "getattr": {"f": Call(Ref("builtins", "getattr"), Ref("os", "path"), "system")},
    "from type": {
        "a": Call(Ref("torch._tensor", "_rebuild_from_type_v2"), Ref("os", "system"), Ref("torch", "T"), (TOUCH,), {})
    },
    "newobj function": {"a": Call(Ref("copyreg", "__newobj__"), Ref("os", "system"), TOUCH)},
    "parameter": {"a": Call(Ref("torch._utils", "_rebuild_parameter"), Call(Ref("os", "system"), TOUCH), True, {})},
    "hooks": {"a": Call(Ref("torch._utils", "_rebuild_tensor_v2"), storage(), 0, (4,), (1,), False, Ref("os", "x"))},
}


@pytest.mark.parametrize("place", PLACES)
def test_no_place_of_a_pickle_hides_a_call(place, watched):
    assert "asks to call os." in refused(zip_file(PLACES[place]), watched)


@pytest.mark.parametrize(
    "value",
    [
        Call(Call(Ref("functools", "partial"), Ref("torch.nn.functional", "relu")), 1),
        Call(Call(Ref("mod", "Net")), 1),
        Call(Call(Ref("builtins", "getattr"), Ref("mod", "Net"), "method"), 1),
        Call(3, 1),
        Call(Ref("builtins", "getattr"), Ref("mod", "function"), "name"),
        Call(Ref("builtins", "getattr"), Ref("mod", "Net"), "__reduce__"),
        Call(Ref("torch.nn.functional", "relu"), tensor()),
    ],
    ids=["partial", "object", "method", "number", "function's attribute", "dunder", "function"],
)
def test_what_a_call_gives_cannot_be_called(value, watched):
    assert "asks to call" in refused(zip_file({"a": tensor(), "b": value}), watched)


EVIL = pickled(Call(Ref("os", "system"), TOUCH))


def test_every_pickle_of_a_legacy_stream_is_looked_at(watched):
    evil = Call(Ref("os", "system"), TOUCH)
    good = {"a": tensor(of=legacy_storage())}
    assert "a" in opened(legacy_file(good), watched)[0]
    for field in ("magic", "protocol", "info", "keys"):
        data = legacy_file(good, **{field: evil})
        assert "asks to call os.system" in refused(data, watched), field


def test_every_pickle_of_a_zip_is_looked_at(watched):
    good = records(pickled({"a": tensor()}))
    extra = type(good[0])("archive/extra.pkl", EVIL)
    assert "asks to call os.system" in refused(zip_bytes([*good, extra]), watched)


@pytest.mark.parametrize("member", ["sys_info", "storages", "tensors", "pickle"])
def test_every_pickle_of_a_tar_is_looked_at(member, watched):
    members = old_tar({"a": Persistent("8")})
    assert opened(tar_file(members), watched)[0]["a"].tolist() == [1, 2, 3, 4]
    assert "asks to call os.system" in refused(tar_file(members | {member: EVIL}), watched)


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'touch x'\ntR.",
        b"(S'touch x'\nios\nsystem\n.",
        b"(lp0\ncposix\nsystem\np1\n(S'x'\ntRa.",
        b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x02os\x8c\x06system\x93N\x85R.",
    ],
)
def test_pickles_without_a_container(data, watched):
    assert "asks to call" in refused(data, watched)
    assert "asks to call" in refused(data, watched, name="weights.safetensors")


HARMLESS = {
    "numpy scalar": Call(
        Ref("numpy.core.multiarray", "scalar"), Call(Ref("numpy", "dtype"), "f8", False, True), bytes(8)
    ),
    "numpy array": Call(Ref("numpy._core.multiarray", "_reconstruct"), Ref("numpy", "ndarray"), (0,), b"b"),
    "namespace": Call(Ref("argparse", "Namespace"), state={"lr": 0.1}),
    "path": Call(Ref("pathlib", "PosixPath"), "a", "b"),
    "time": Call(Ref("datetime", "datetime"), b"\x07\xe5\x01\x01\0\0\0\0\0\0"),
    "defaultdict": Call(Ref("collections", "defaultdict"), Ref("builtins", "list")),
    "omegaconf": Call(Ref("omegaconf.dictconfig", "DictConfig"), state={"_content": {}, "_flags": None}),
    "user class": Call(Ref("__main__", "Trainer"), state=({"a": 1}, {"slot": 2})),
    "function": Ref("torch.nn.functional", "relu"),
    "partial": Call(Ref("functools", "partial"), Ref("torch.nn.functional", "interpolate"), state=(1, 2, 3, 4)),
    "set": Call(Ref("builtins", "set"), [1, 2]),
    "bytearray": Call(Ref("builtins", "bytearray"), 3 * 10**9),
    "dtype": Ref("torch", "float32"),
    "device": Call(Ref("torch", "device"), "cuda", 0),
    "size": Call(Ref("torch", "Size"), [1, 2]),
    "enum": Call(Ref("builtins", "getattr"), Ref("mod", "Mode"), "TRAIN"),
    "lower-case class": Raw(b"cmodels\nresnet18\n)\x81}b"),
    "code": Call(Ref("code.models", "Net")),
    "codecs": Call(Ref("_codecs", "encode"), "abc", "latin1"),
    "logger": Call(Ref("logging", "getLogger"), "x"),
    "exception": Call(Ref("builtins", "ValueError"), "x"),
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_inert_objects_beside_the_weights_are_passed_over(kind, watched):
    for value in ({"a": tensor(), "x": HARMLESS[kind]}, {"state_dict": {"a": tensor()}, "x": HARMLESS[kind]}):
        arrays, _ = opened(zip_file(value), watched)
        assert {name: array.tolist() for name, array in arrays.items()} == {"a": [1, 2, 3, 4]}


def test_a_tensor_with_names_that_are_methods_changes_nothing(watched):
    value = Call(Ref("collections", "OrderedDict"), state={"items": 1, "named": 2})
    data = Raw(b"\x80\x02" + ops(value) + text("a") + ops(tensor()) + b"s.")
    assert opened(zip_file(data, data={"0": FOUR}), watched)[0]["a"].tolist() == [1, 2, 3, 4]
