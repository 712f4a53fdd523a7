"""The loop with `gcx.Tracker` runs, and the shipped run is what `gcx track` reads."""

import subprocess
import sys
from pathlib import Path

import pytest

import gcx

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "examples" / "track_digits.py"


def test_the_quick_run_leaves_checkpoints_that_track_reads(tmp_path):
    pytest.importorskip("sklearn")
    command = [sys.executable, str(SCRIPT), "--quick", "--groups", "4", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("filter_r") == 2
    track = gcx.track(str(tmp_path), groups={"conv": 4}).track
    assert [one.epoch for one in track.checkpoints] == [0, 1, 2]
    assert {one.lineage for one in track.checkpoints} == {0}
    assert track.verdict in done.stdout


def test_only_the_shipped_run_is_written_to_the_shipped_folder():
    done = subprocess.run([sys.executable, str(SCRIPT), "--groups", "8"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "name another folder by --out" in done.stderr


def test_help_needs_no_training():
    done = subprocess.run([sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "--quick" in done.stdout


def test_the_shipped_run_rises_within_groups():
    track = gcx.track(str(REPOSITORY / "examples" / "run"), groups={"conv": 4}).track
    assert [one.epoch for one in track.checkpoints] == [0, 4, 8, 12, 16, 20]
    conv = track.series[1]
    assert conv.change.rises == conv.change.steps == 5
    assert conv.excess[-1] > 0.015 > conv.excess[0]
