"""`gcx track` from the command line: what it reads, writes and refuses, and that it loads no torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DIGITS = REPOSITORY / "examples" / "checkpoints"
RUN = [str(DIGITS / f"digits-g4-seed{seed}.pt") for seed in range(3)]
GCX = [sys.executable, "-P", "-m", "gcx"]


def gcx(*arguments, cwd=None):
    return subprocess.run([*GCX, *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=120)


def test_json_holds_the_track_and_every_checkpoint():
    done = gcx("track", *reversed(RUN), "-f", "json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert [model["path"] for model in report["models"]] == [one["path"] for one in report["track"]["checkpoints"]]
    assert [one["epoch"] for one in report["track"]["checkpoints"]] == [0, 1, 2]
    # Seeds are no epochs: the nets are of three lineages, and gcx says so.
    assert [one["lineage"] for one in report["track"]["checkpoints"]] == [0, 1, 2]
    assert report["track"]["series"][1]["change"] is None


def test_every_export_of_one_run(tmp_path):
    names = ["run.html", "run.png", "run.svg", "run.pdf", "run.csv", "run.md", "run.json", "run.xml"]
    done = gcx("track", *RUN, "-q", *(part for name in names for part in ("-o", str(tmp_path / name))))
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert all(path.stat().st_size > 500 for path in tmp_path.iterdir() if path.name != "run.xml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([RUN[0]], "error: a run has two checkpoints or more, and this is 1; use `gcx correlate` for one"),
        ([*RUN, "-o", "x.npz"], "error: track writes no matrices and no folder; use `gcx correlate` on one checkpoint"),
        ([*RUN, "--order", "size"], "--order"),
        ([*RUN, "--order", "file"], "holds no number of an epoch or step; use --order name or mtime"),
        ([*RUN, "gone.pt"], "error: gone.pt: "),
        ([*RUN, "--include", "nothing*"], "error: --include 'nothing*' matches no layer"),
        ([*RUN, "--fail-if", "change.within.mean_r2 > 0"], "is a number of a comparison"),
    ],
)
def test_what_cannot_be_answered_is_one_line(arguments, message, tmp_path):
    done = gcx("track", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_gates_and_the_order_from_a_file(tmp_path):
    (tmp_path / "gcx.toml").write_text('[track]\norder = "mtime"\nfail-if = ["within.mean_r2 > 0"]\n')
    done = gcx("track", *RUN, cwd=tmp_path)
    assert done.returncode == 1
    assert "when the files were changed" in done.stdout
    assert "violated: 1 of 1 rules" in done.stderr


def test_the_way_to_a_report_loads_no_torch():
    code = (
        "import sys; from gcx.cli.app import run; "
        f"code = run(['track', *{RUN!r}, '-f', 'csv']); "
        "assert code == 0; assert not {'torch', 'matplotlib', 'scipy'} & set(sys.modules), sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
