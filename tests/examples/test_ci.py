"""The CI examples, run as far as they can be: the script as it is, the commands of the workflow and of the job."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
CI = REPOSITORY / "examples" / "ci"
DIGITS = REPOSITORY / "examples" / "checkpoints"
DENSE, GROUPED = DIGITS / "digits-g1-seed0.pt", DIGITS / "digits-g4-seed0.pt"
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def run(command, folder, **variables):
    return subprocess.run(
        command, cwd=folder, env=ENVIRONMENT | variables, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not there")
@pytest.mark.parametrize(
    ("rules", "status", "said"),
    [
        ([], 0, "no gate was crossed"),
        (["change.within.mean_r2 > 10%"], 1, "crosses change.within.mean_r2 > 10%"),
        (["change.across.mean_r2 > 0"], 3, "inconclusive"),
        (["nonsense"], 2, "could not answer"),
    ],
)
def test_the_script(tmp_path, rules, status, said):
    done = run([CI / "gate.sh", DENSE, GROUPED, *rules], tmp_path)
    assert (done.returncode, said in done.stdout) == (status, True), done
    assert (tmp_path / "gcx.md").exists() == (status != 2)
    if status != 2:
        assert json.loads((tmp_path / "gcx.json").read_text())["exit_code"] == status


def command_of(name: str) -> list[str]:
    """The gcx command of an example: lines folded by `>-`."""
    text = (CI / name).read_text()
    folded = re.search(r"^ *(gcx compare .*(?:\n +(?:--|gcx).*)*)", text, re.MULTILINE)
    return shlex.split(folded[1].replace("\n", " "))


@pytest.fixture
def workspace(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    shutil.copy(GROUPED, tmp_path / "checkpoints" / "model.pt")
    assert run(["gcx", "correlate", GROUPED, "--export", "baseline.json"], tmp_path).returncode == 0
    return tmp_path


def test_the_workflow(workspace):
    done = run(
        command_of("github.yml"), workspace, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(workspace / "sum.md")
    )
    assert done.returncode == 0, done
    assert "within.max_abs_r" in (workspace / "sum.md").read_text()
    assert json.loads((workspace / "gcx.json").read_text())["violations"] == []


def test_the_workflow_annotates(workspace):
    command = [*command_of("github.yml"), "--fail-if", "within.mean_r2 > 0"]
    (workspace / "sum.md").write_text("what another step wrote\n")
    done = run(command, workspace, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(workspace / "sum.md"))
    assert done.returncode == 1
    assert [line[:8] for line in done.stdout.splitlines()] == ["::error ", "gcx: 1 o"]
    assert (workspace / "sum.md").read_text().startswith("what another step wrote\n### gcx\n\n- **violated**")


def test_the_job(workspace):
    done = run(command_of("gitlab.yml"), workspace)
    assert done.returncode == 0, done
    assert len(ET.parse(workspace / "gcx.xml").getroot().findall("testsuite")) == 3
