"""`gcx compare` and gates from the command line: exit codes, settings, formats, and the surroundings of CI."""

import csv
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DIGITS = REPOSITORY / "examples" / "checkpoints"
DENSE, GROUPED = str(DIGITS / "digits-g1-seed0.pt"), str(DIGITS / "digits-g4-seed0.pt")
GCX = [sys.executable, "-P", "-m", "gcx"]


def gcx(*arguments, cwd=None, **variables):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GCX_")}
    return subprocess.run(
        [*GCX, *arguments],
        cwd=cwd,
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_stdout_is_pure_json_in_any_surroundings():
    plain = gcx("compare", DENSE, GROUPED, "-f", "json")
    assert plain.returncode == 0
    assert plain.stderr == ""
    for variables in ({"GITHUB_ACTIONS": "true"}, {"NO_COLOR": "1"}, {"COLUMNS": "40"}, {"TERM": "dumb"}):
        assert gcx("compare", DENSE, GROUPED, "-f", "json", **variables).stdout == plain.stdout
    report = json.loads(plain.stdout)
    assert report["comparison"]["layers"][1]["dimension_matched"]["channels"] == 8
    assert report["settings"]["n_draws"] == 20


def test_a_closed_pipe_is_no_error():
    line = f"{' '.join(GCX)} compare {DENSE} {GROUPED} -f json | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("{\n0\n", "")


@pytest.mark.parametrize(
    ("rules", "status"),
    [
        (["within.mean_r2 > 2"], 0),
        (["within.mean_r2 > 0"], 1),
        (["across.n_pairs > 0"], 3),
        (["within.mean_r2 > 0", "across.n_pairs > 0"], 3),
        (["within.mean_r2 > 0", "nothing > 0"], 2),
    ],
)
def test_exit_codes_of_gates(rules, status):
    done = gcx("correlate", DENSE, "-f", "json", *(part for rule in rules for part in ("--fail-if", rule)))
    assert done.returncode == status
    if status == 2:
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
    else:
        assert json.loads(done.stdout)["exit_code"] == status
    assert gcx("correlate", DENSE, "--exit-zero", *(part for r in rules for part in ("--fail-if", r))).returncode in (
        {1: 0}.get(status, status),
    )


def test_gates_are_of_all_layers_whatever_top_shows():
    done = gcx("correlate", DENSE, "--top", "1", "-f", "json", "--fail-if", 'layers["*"].within.mean_r2 > 0')
    report = json.loads(done.stdout)
    assert (len(report["models"][0]["layers"]), len(report["violations"])) == (1, 2)


def test_rules_from_a_flag_a_variable_and_a_file(tmp_path):
    (tmp_path / "gcx.toml").write_text('fail-if = ["within.mean_r2 > 0"]\n')
    assert gcx("correlate", DENSE, cwd=tmp_path).returncode == 1
    assert gcx("compare", DENSE, GROUPED, cwd=tmp_path).returncode == 1
    quiet = "within.mean_r2 > 2; within.rms_r > 2"
    assert gcx("correlate", DENSE, cwd=tmp_path, GCX_FAIL_IF=quiet).returncode == 0
    assert gcx("correlate", DENSE, "--fail-if", "within.mean_r2 > 0", cwd=tmp_path, GCX_FAIL_IF=quiet).returncode == 1
    (tmp_path / "gcx.toml").write_text("fail_iff = []\n")
    done = gcx("correlate", DENSE, cwd=tmp_path)
    assert (done.returncode, "did you mean 'fail-if'?" in done.stderr) == (2, True)


def test_a_command_has_a_table_of_its_own(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[tool.gcx]\nfail-if = ["within.mean_r2 > 2"]\n[tool.gcx.compare]\nfail-if = ["change.within.mean_r2 > 10%"]\n'
    )
    assert gcx("correlate", DENSE, cwd=tmp_path).returncode == 0
    assert gcx("compare", DENSE, GROUPED, cwd=tmp_path).returncode == 1
    for text, said in (("compare = 1\n", "compare is not a table"), ("[compare]\nfail-iff = []\n", "did you mean")):
        (tmp_path / "gcx.toml").write_text(text)
        done = gcx("correlate", DENSE, cwd=tmp_path)
        assert (done.returncode, said in done.stderr) == (2, True), done


def test_progress_stays_out_of_the_json():
    master, slave = pty.openpty()
    done = subprocess.run([*GCX, "compare", DENSE, GROUPED, "-f", "json"], stdout=-1, stderr=slave, check=True)
    os.close(slave)
    assert os.read(master, 65536)  # there was progress
    os.close(master)
    assert json.loads(done.stdout)["exit_code"] == 0


def test_every_text_format_shows_the_comparison(tmp_path):
    exports = [tmp_path / name for name in ("c.json", "c.md", "c.csv", "c.xml")]
    done = gcx(
        "compare", DENSE, GROUPED, "--fail-if", "within.mean_r2 > 1", *(p for e in exports for p in ("-o", str(e)))
    )
    assert done.returncode == 0
    for text in (done.stdout, exports[1].read_text()):
        assert "at equal dimension" in text
        assert "within.mean_r2" in text
    rows = list(csv.DictReader(io.StringIO(exports[2].read_text())))
    compared = json.loads(exports[0].read_text())["comparison"]["layers"]
    assert [float(row["dimension_matched.candidate"]) for row in rows] == [
        layer["dimension_matched"]["candidate"] for layer in compared
    ]
    assert [float(row["change_ci95.low"]) for row in rows] == [layer["change_ci95"][0] for layer in compared]


@pytest.mark.parametrize("columns", ["40", "80", "120"])
def test_the_narrowest_terminal_keeps_names_and_claims(columns):
    done = gcx("compare", DENSE, GROUPED, COLUMNS=columns)
    assert "stem" in done.stdout
    assert "no change" in done.stdout


def test_what_compare_cannot_do_is_one_line(tmp_path):
    for arguments, said in (
        ([DENSE, GROUPED, "-o", str(tmp_path / "x.png")], "draws no figures"),
        ([DENSE, str(tmp_path / "gone.pt")], "gone.pt"),
        ([DENSE, GROUPED, "--map", "a=*"], "each *"),
        ([DENSE, GROUPED, "--groups", "candidate:nothing=4"], "matches no layer"),
    ):
        done = gcx("compare", *arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done
        assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_explain_lists_what_can_be_gated():
    done = gcx("explain")
    assert "What --fail-if can name" in done.stdout
    assert "change.within.mean_r2\n" in done.stdout
    assert gcx("explain", "dimension_matched.ratio").stdout.strip()
