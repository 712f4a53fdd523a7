"""Pictures from the command line: a folder of heatmaps, kernels, the HTML report, and what is refused."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gcx.cli.app import run

GCX = [sys.executable, "-P", "-m", "gcx"]
PNG = b"\x89PNG"


def error_line(capfd) -> str:
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def on_a_terminal(*arguments, **environment) -> str:
    """What a command writes where stdout is a terminal of 120 columns."""
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    env = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    env |= {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", "PYTHONUTF8": "1", "COLUMNS": "120", **environment}
    process = subprocess.Popen([*GCX, *map(str, arguments)], stdout=theirs, stderr=subprocess.PIPE, env=env)
    os.close(theirs)
    pieces = []
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(ours)
    error = process.stderr.read().decode()
    process.stderr.close()
    return b"".join(pieces).decode() + (error if process.wait() else "")


def test_a_folder_gets_one_heatmap_per_layer_under_safe_names(torch_file, tmp_path, capfd):
    folder = f"{tmp_path}/heatmaps/"
    assert run(["correlate", str(torch_file), "--export", folder]) == 0
    names = sorted(path.name for path in Path(folder).iterdir())
    assert names == ["000_stem_0.png", "001_grouped_0.png", "002_depthwise_0.png", "003_pointwise_0.png"]
    assert all(path.read_bytes().startswith(PNG) for path in Path(folder).iterdir())
    before = {path: path.read_bytes() for path in Path(folder).iterdir()}
    assert run(["correlate", str(torch_file), "--export", folder]) == 0
    assert before == {path: path.read_bytes() for path in Path(folder).iterdir()}


def test_top_chooses_which_layers_are_drawn(torch_file, tmp_path, capfd):
    import json

    assert run(["correlate", str(torch_file), "--format", "json"]) == 0
    layers = json.loads(capfd.readouterr().out)["models"][0]["layers"]
    best = max((one for one in layers if one["within"]), key=lambda one: one["within"]["excess"])["name"]
    assert run(["correlate", str(torch_file), "--top", "1", "--export", f"{tmp_path}/one/"]) == 0
    assert [path.name for path in (tmp_path / "one").iterdir()] == [f"000_{best.replace('.', '_')}.png"]


def test_layer_names_cannot_leave_the_folder(tmp_path, capfd):
    import numpy as np
    from safetensors.numpy import save_file

    names = ["../../../evil.weight", "/etc/passwd.weight", "a\nb.weight", "con.weight"]
    save_file(
        {name: np.random.default_rng(0).normal(size=(8, 4, 3, 3)) for name in names}, tmp_path / "net.safetensors"
    )
    assert run(["correlate", str(tmp_path / "net.safetensors"), "--export", f"{tmp_path}/out/"]) == 0
    assert {path.parent for path in tmp_path.rglob("*.png")} == {tmp_path / "out"}
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_what_is_no_folder_is_refused_before_anything_is_computed(torch_file, tmp_path, capfd):
    (tmp_path / "file").write_text("kept")
    assert run(["correlate", str(torch_file), "--export", f"{tmp_path}/file/"]) == 2
    assert "is a file, not a folder" in error_line(capfd)
    assert run(["correlate", str(torch_file), "--export", f"{tmp_path}/missing/heatmaps/"]) == 2
    assert "make the folder first" in error_line(capfd)
    assert run(["correlate", str(torch_file), "--export", str(tmp_path)]) == 2
    assert f"write {tmp_path}/ for one heatmap per layer" in error_line(capfd)
    assert (tmp_path / "file").read_text() == "kept"


def test_the_html_report_is_written_and_clustered(torch_file, tmp_path, capfd):
    path = tmp_path / "report.html"
    assert run(["correlate", str(torch_file), "--export", str(path), "--cluster"]) == 0
    assert "clustered within groups" in path.read_text()
    assert run(["compare", str(torch_file), str(torch_file), "--export", str(path)]) == 0
    assert "Comparison" in path.read_text()


def test_cluster_without_a_figure_is_refused(torch_file, capfd):
    assert run(["correlate", str(torch_file), "--cluster"]) == 2
    assert "orders figures, and none is wanted; add --export" in error_line(capfd)


@pytest.mark.parametrize("target", ["x.png", "x.npz", "heatmaps/"])
def test_compare_still_draws_no_figures(torch_file, tmp_path, capfd, target):
    assert run(["compare", str(torch_file), str(torch_file), "--export", f"{tmp_path}/{target}"]) == 2
    assert "compare draws no figures" in error_line(capfd)
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_never_gets_bytes(torch_file):
    seen = on_a_terminal("correlate", torch_file, "--format", "png")
    assert "a terminal cannot show png; add --export FILE.png" in seen
    assert "PNG\r" not in seen


def test_kernels_go_to_a_file_or_to_a_terminal_in_colour(torch_file, tmp_path, capfd):
    path = tmp_path / "kernels.png"
    assert run(["filters", str(torch_file), "grouped.0", "--export", str(path), "--theme", "dark"]) == 0
    assert path.read_bytes().startswith(PNG)
    assert capfd.readouterr().out == ""
    assert run(["filters", str(torch_file), "stem.0"]) == 0
    plain = capfd.readouterr().out
    assert "16×3×3×3" in plain
    assert "\x1b" not in plain
    seen = on_a_terminal("filters", torch_file, "stem.0")
    assert "▀" in seen
    assert "▀" not in on_a_terminal("filters", torch_file, "stem.0", NO_COLOR="1")


def test_kernels_of_what_is_not_there_are_one_line(torch_file, tmp_path, capfd):
    assert run(["filters", str(torch_file), "sten.0"]) == 2
    assert "did you mean 'stem.0'" in error_line(capfd)
    assert run(["filters", str(torch_file), "*"]) == 2
    assert "matches 4 layers" in error_line(capfd)
    assert run(["filters", str(torch_file), "stem.0", "--export", f"{tmp_path}/x.pdf"]) == 2
    assert "drawn as .png, not '.pdf'" in error_line(capfd)
    assert run(["filters", "missing.pt", "stem.0"]) == 2
    assert "missing.pt" in error_line(capfd)


def test_configuration_holds_for_kernels_too(torch_file, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gcx.toml").write_text('filters = true\n[groups]\n"grouped.0" = 2\n')
    assert run(["filters", str(torch_file), "grouped.0"]) == 0
    assert "2 groups (declared)" in capfd.readouterr().out


def test_r_is_drawn_on_a_terminal_with_colour_and_nowhere_else(torch_file, capfd):
    bars = re.compile("[▁▂▃▄▅▆▇█]{4}")
    seen = on_a_terminal("correlate", torch_file, "-q")
    assert "r, ±4 chance" in seen
    assert len(bars.findall(seen)) >= 4
    assert not bars.search(on_a_terminal("correlate", torch_file, "-q", NO_COLOR="1"))
    assert not bars.search(on_a_terminal("correlate", torch_file, "-q", TERM="dumb"))
    assert run(["correlate", str(torch_file)]) == 0
    assert not bars.search(capfd.readouterr().out)
