"""The floors of the house: imports only go down, no wing imports another, heavy things are imported late."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "gcx"
GROUND = {
    "errors",
    "globs",
    "words",
    "limits",
    "version",
    "settings",
    "checkpoint",
    "conv_layer",
    "comparison",
    "training_run",
    "results",
    "contract",
    "filter_bank",
    "weight_parts",
}
WINGS = {"readers", "measures", "renderers"}
JOINTS = {"extract", "groups", "parametrizations"}
SPINE = {"assembly", "summary", "measuring", "pipeline", "comparing", "gate", "filters", "tracking"}
SPINE |= {"inputs", "saved_report", "outcome"}
FRONT = {"cli", "__main__", "__init__"}
MAY_IMPORT = {
    **dict.fromkeys(GROUND, GROUND),
    **{wing: GROUND | {wing} for wing in WINGS},
    "extract": GROUND,
    "parametrizations": GROUND,
    "groups": GROUND | {"groups", "extract"},
    **dict.fromkeys(SPINE, GROUND | WINGS | JOINTS | SPINE),
    **dict.fromkeys(FRONT, GROUND | WINGS | JOINTS | SPINE | FRONT),
}
NAMED_EXCEPTIONS = {("results.py", "renderers")}
"""`Report._repr_html_` imports a renderer late."""


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Rooms that a module imports, inside functions too; `if TYPE_CHECKING` imports count as well."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the floor"
            names = [node.module or ""]
            if node.module == "gcx":
                names = [f"gcx.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("gcx.")}
    return rooms


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_go_down(path):
    room = room_of(path)
    assert room in MAY_IMPORT, f"{room} stands on no floor"
    allowed = MAY_IMPORT[room] | {room}
    rising = {other for other in imported_rooms(path) - allowed if (path.name, other) not in NAMED_EXCEPTIONS}
    assert not rising, f"{path.name} ({room}) may not import {sorted(rising)}"


def test_the_check_sees_an_import_inside_a_function(tmp_path):
    module = tmp_path / "x.py"
    module.write_text("def f():\n    from gcx.renderers import base\n    import gcx.readers.onnx\n")
    assert imported_rooms(module) == {"renderers", "readers"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_unpickles_asserts_or_evaluates(path):
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.Assert), f"{path.name}: an assert is gone under python -O"
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            assert not {"pickle", "cPickle", "dill", "shelve", "marshal"} & {name.split(".")[0] for name in names}
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"eval", "exec", "torch.load", "torch.jit.load", "__import__"}, (path.name, called)
            assert not any(
                keyword.arg == "allow_pickle" and getattr(keyword.value, "value", None) is not False
                for keyword in node.keywords
            ), f"{path.name}: allow_pickle"


HEAVY = ("torch", "scipy.stats", "matplotlib", "onnx", "h5py", "safetensors", "sklearn")


def modules_loaded_by(code: str) -> set[str]:
    listing = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys\n{code}\nprint('\\n'.join(sys.modules), file=sys.stderr)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(listing.stderr.split())


def test_importing_gcx_is_light():
    loaded = modules_loaded_by("import gcx")
    assert not loaded & {*HEAVY, "numpy", "typer", "rich"}


def test_help_is_light():
    loaded = modules_loaded_by("from gcx.cli.app import run\nassert run(['--help']) == 0")
    assert not loaded & {*HEAVY, "numpy"}


@pytest.mark.parametrize("form", ["json", "terminal", "csv", "markdown"])
def test_correlating_a_file_is_light(form, torch_file):
    code = f"from gcx.cli.app import run\nassert run(['correlate', {str(torch_file)!r}, '--format', {form!r}]) == 0"
    assert not modules_loaded_by(code) & set(HEAVY)


def test_correlating_a_file_unpickles_nothing(torch_file):
    code = (
        "seen = []\n"
        "sys.addaudithook(lambda event, _: seen.append(event) if event.startswith('pickle.') else None)\n"
        "from gcx.cli.app import run\n"
        f"assert run(['correlate', {str(torch_file)!r}, '--format', 'json']) == 0\n"
        "assert not seen, seen"
    )
    modules_loaded_by(code)
