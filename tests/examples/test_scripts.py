"""What the example scripts share: one line for what a user can mend, and no record of the page lost by accident."""

import io
import json
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

import recording

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(script, *arguments):
    command = [sys.executable, str(EXAMPLES / f"{script}.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("jobs", [1, 2])
def test_missing_data_is_one_line(tmp_path, jobs):
    done = run("train_fashion", "--data", tmp_path / "none", "--jobs", jobs, "--out", tmp_path / "new")
    assert done.returncode == 2
    assert done.stderr.startswith("train_fashion.py: no train-images-idx3-ubyte.gz in ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("script", "option"),
    [
        ("equivalence", "--out"),
        ("fashion_kernels", "--out"),
        ("network_cost", "--out"),
        ("towers", "--out"),
        ("track_digits", "--out"),
        ("train_digits", "--out"),
        ("train_fashion", "--out"),
        ("write_page", "--page"),
    ],
)
def test_what_cannot_be_written_is_one_line_before_the_work(tmp_path, script, option):
    (tmp_path / "file").touch()
    quick = [] if script == "write_page" else ["--quick"]
    done = run(script, *quick, option, tmp_path / "file" / "x")
    assert done.returncode == 2
    assert done.stderr.startswith(f"{script}.py: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize("script", ["equivalence", "fashion_kernels", "towers"])
def test_a_part_of_the_seeds_is_not_written_over_the_record_of_the_page(script):
    record = EXAMPLES / "results" / f"{script}.json"
    before = record.read_bytes()
    for arguments in (["--seeds", "0"], ["--quick", "--out", record]):
        done = run(script, *arguments)
        assert done.returncode == 2
        assert f"{script}.json of the page has all seeds in full: name another file by --out" in done.stderr
    assert record.read_bytes() == before


def test_a_run_made_otherwise_is_not_overwritten(tmp_path):
    first = run("train_fashion", "--quick", "--groups", "4", "--out", tmp_path)
    assert first.returncode == 0, first
    path = tmp_path / "g4-w32-seed0.json"
    made = path.read_bytes()
    shorter = run("train_fashion", "--quick", "--groups", "4", "--epochs", "1", "--out", tmp_path)
    assert shorter.returncode == 2
    assert "g4-w32-seed0.json has n_epochs 2, and here it is 1: " in shorter.stderr
    assert path.read_bytes() == made
    record = json.loads(made)
    path.write_text(json.dumps({**record, "versions": {**record["versions"], "torch": "1.0"}}))
    other = run("train_fashion", "--quick", "--groups", "4", "--out", tmp_path)
    assert other.returncode == 2
    assert "'torch': '1.0'" in other.stderr
    forced = run("train_fashion", "--quick", "--groups", "4", "--epochs", "1", "--out", tmp_path, "--force")
    assert forced.returncode == 0, forced
    assert sorted(one.name for one in (tmp_path / "g4-w32-seed0").iterdir()) == ["epoch-00.pt", "epoch-01.pt"]


def test_checkpoints_lie_beside_their_records(tmp_path):
    """Of a run recorded elsewhere they must not replace those of the run that build/fashion records."""
    import train_fashion

    assert train_fashion.parse(["--epochs", "1", "--out", str(tmp_path)]).checkpoints == tmp_path


def test_quick_training_takes_no_data(tmp_path):
    done = run("train_fashion", "--quick", "--data", tmp_path, "--out", tmp_path / "new")
    assert done.returncode == 2
    assert "--quick trains on digits: leave --data out" in done.stderr


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted: the same command goes on from here"),
        (OSError(28, "No space left on device", "/there/it.json"), 2, "/there/it.json: No space left on device"),
        (recording.ScriptError("what, and the cure"), 2, "what, and the cure"),
    ],
)
def test_a_script_ends_with_one_line(monkeypatch, capsys, error, status, said):
    def main():
        raise error

    monkeypatch.setattr(sys, "argv", ["examples/some.py"])
    with pytest.raises(SystemExit) as ended:
        recording.run_script(main, goes_on=True)
    assert ended.value.code == status
    assert capsys.readouterr().err == f"some.py: {said}\n"


def test_processes_end_with_what_started_them():
    import training

    started = time.monotonic()
    context = multiprocessing.get_context("spawn")
    with pytest.raises(KeyboardInterrupt), training.processes(1, context, training.make_deterministic) as pool:
        assert pool.submit(abs, -1).result(timeout=60) == 1
        pool.submit(time.sleep, 600)
        raise KeyboardInterrupt
    assert time.monotonic() - started < 120
    assert not multiprocessing.active_children()


def test_a_bad_download_is_not_kept_and_not_to_be_deleted(tmp_path, monkeypatch):
    import image_data

    monkeypatch.setattr(image_data.urllib.request, "urlopen", lambda *_, **__: io.BytesIO(b"a page, not a file"))
    with pytest.raises(recording.ScriptError, match=r"^the downloaded train-images.* differs\): try again, or get"):
        image_data.fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []
