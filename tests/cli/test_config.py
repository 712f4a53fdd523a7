"""A flag beats a GCX_* variable, which beats gcx.toml or [tool.gcx]; the effective settings stand in the report."""

import json

import pytest

from gcx.cli.app import run
from gcx.cli.config import KEYS, configured
from gcx.errors import UsageError
from gcx.settings import Settings


@pytest.fixture
def settings_of(capfdbinary, torch_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        assert run(["correlate", str(torch_file), "-f", "json", *arguments]) == 0
        return json.loads(capfdbinary.readouterr().out)["settings"]

    return call


def test_flag_beats_variable_beats_file(settings_of, tmp_path, monkeypatch):
    assert settings_of()["seed"] == 0
    (tmp_path / "pyproject.toml").write_text("[tool.gcx]\nseed = 1\n")
    assert settings_of()["seed"] == 1
    (tmp_path / "gcx.toml").write_text("seed = 2\n")
    assert settings_of()["seed"] == 2
    monkeypatch.setenv("GCX_SEED", "3")
    assert settings_of()["seed"] == 3
    assert settings_of("--seed", "4")["seed"] == 4


def test_every_setting_can_stand_in_a_file(settings_of, tmp_path):
    (tmp_path / "gcx.toml").write_text(
        'measure = "cosine"\nweights = "plain"\ninclude = ["*"]\nexclude = ["stem*"]\nstrict-groups = false\n'
        "fold_sign = true\nfold-scale = true\nvirtual-groups = 4\ninduced = true\nn-resamples = 99\nseed = 7\n"
        '[groups]\n"grouped*" = 2\n'
    )
    found = settings_of()
    assert found["groups"] == [["grouped*", 2]]
    assert (found["measure"], found["exclude"], found["virtual_groups"]) == ("cosine", ["stem*"], 4)
    assert found["fold_sign"] is found["fold_scale"] is found["induced"] is True


def test_every_setting_has_a_key():
    assert {key.replace("-", "_") for key in KEYS} == set(Settings.__dataclass_fields__)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seeed = 1", "gcx.toml: unknown key 'seeed'; did you mean 'seed'"),
        ("seed = 'one'", "gcx.toml: seed is not a whole number"),
        ("seed = true", "gcx.toml: seed is not a whole number"),
        ("include = 'a'", "include is not a list of strings"),
        ("groups = {a = 1.5}", "groups is not a table of globs to counts"),
        ("seed = ", "gcx.toml: is not TOML"),
        ("\x00", "gcx.toml: is not TOML"),
        ("a" * (2**20 + 1), "is larger than"),
    ],
)
def test_a_bad_file_is_one_line_that_names_it(tmp_path, text, says):
    (tmp_path / "gcx.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        configured(tmp_path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_value_out_of_range_is_refused_wherever_it_comes_from(torch_file, tmp_path, monkeypatch, capfdbinary):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gcx.toml").write_text("seed = -1")
    assert run(["correlate", str(torch_file)]) == 2
    assert "--seed" in capfdbinary.readouterr().err.decode()


def test_other_tools_files_are_left_alone(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\nline-length = 100\n")
    assert not any(configured(tmp_path).values())
    (tmp_path / "pyproject.toml").write_text("broken = \n")
    assert not any(configured(tmp_path).values())
    (tmp_path / "pyproject.toml").write_text("[tool.gcx\n")
    with pytest.raises(UsageError):
        configured(tmp_path)


@pytest.mark.parametrize(("variable", "value"), [("GCX_MEASURE", "foo"), ("GCX_SEED", "-1"), ("GCX_ORDER", "age")])
def test_a_variable_that_cannot_be_meant_is_named(capfdbinary, torch_file, monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    command = "track" if variable == "GCX_ORDER" else "correlate"
    assert run([command, str(torch_file), str(torch_file)]) == 2
    err = capfdbinary.readouterr().err.decode()
    assert err.startswith(f"error: {variable}: Invalid value for '--")
    assert err.endswith(f"; see gcx {command} --help\n")


@pytest.mark.parametrize(("name", "head"), [("gcx.toml", ""), ("pyproject.toml", "[tool.gcx]\n")])
def test_a_file_that_sets_what_cannot_be_meant_is_named(capfdbinary, tmp_path, torch_file, monkeypatch, name, head):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(f'{head}measure = "foo"\n')
    assert run(["correlate", str(torch_file)]) == 2
    assert capfdbinary.readouterr().err.decode().startswith(f"error: {name}: Invalid value for '--measure'")
    assert run(["correlate", str(torch_file), "--measure", "bar"]) == 2
    assert capfdbinary.readouterr().err.decode().startswith("error: Invalid value for '--measure': 'bar'")


def test_every_key_of_a_file_reaches_the_settings(tmp_path, torch_file, monkeypatch, capfdbinary):
    """Each is set to what a flag would be refused for, or shows in the report."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gcx.toml").write_text(
        'map = ["zz=yy"]\nfilters = true\nn-draws = 30\nexit-zero = true\ninclude = ["stem*"]\nseed = 3\n'
    )
    command = ["compare", str(torch_file), str(torch_file), "-f", "json"]
    assert run(command) == 2
    assert "--map 'zz=yy' matches no layer" in capfdbinary.readouterr().err.decode()
    assert run([*command, "--map", "*=*"]) == 0
    found = json.loads(capfdbinary.readouterr().out)["settings"]
    assert (found["map"], found["filters"], found["n_draws"], found["exit_zero"]) == ([["*", "*"]], True, 30, True)
    assert (found["include"], found["seed"]) == (["stem*"], 3)


@pytest.mark.parametrize(
    ("text", "says"), [("groups = {a = 0}", "gcx.toml: --groups 'a=0'"), ('map = ["a"]', "gcx.toml: --map 'a'")]
)
def test_a_file_whose_texts_cannot_be_parsed_is_named(tmp_path, torch_file, monkeypatch, capfdbinary, text, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gcx.toml").write_text(text)
    assert run(["compare", str(torch_file), str(torch_file)]) == 2
    assert capfdbinary.readouterr().err.decode().startswith(f"error: {says}")
    (tmp_path / "gcx.toml").unlink()
    monkeypatch.setenv("GCX_GROUPS", "a")
    assert run(["layers", str(torch_file)]) == 2
    assert capfdbinary.readouterr().err.decode().startswith("error: GCX_GROUPS: --groups 'a'")
