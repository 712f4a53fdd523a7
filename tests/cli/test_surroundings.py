"""The process itself, in subprocesses: exit codes, closed pipes, full disks, signals, odd environments."""

import json
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

GCX = [sys.executable, "-P", "-m", "gcx"]
COMMAND_LINE = Path(__file__).parents[2] / "gcx" / "cli"


def gcx(*arguments, env=None, **options):
    environment = {**os.environ, "NO_COLOR": "1", **(env or {})}
    options = {"capture_output": True, "text": True, "timeout": 60, **options}
    return subprocess.run([*GCX, *map(str, arguments)], env=environment, check=False, **options)


def assert_one_line(done, code=2):
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def answer(torch_file):
    """The JSON of a run in ordinary surroundings."""
    done = gcx("correlate", torch_file.name, "-f", "json", cwd=torch_file.parent)
    assert done.returncode == 0
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    "env",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"COLUMNS": "1"},
        {"COLUMNS": "many"},
        {"TERM": ""},
        {"FORCE_COLOR": "1"},
        {"HOME": "/proc/1", "MPLCONFIGDIR": "/proc/1", "XDG_CACHE_HOME": "/proc/1"},
        {"PYTHONHASHSEED": "1"},
        {"PYTHONHASHSEED": "2"},
        {"TZ": "Asia/Kathmandu"},
        {"GITHUB_ACTIONS": "true", "CI": "true"},
        {"PYTHONOPTIMIZE": "2"},
    ],
    ids=lambda env: next(iter(env)) + "=" + next(iter(env.values())),
)
def test_the_same_bytes_everywhere(torch_file, answer, env):
    done = gcx("correlate", torch_file.name, "-f", "json", env=env, cwd=torch_file.parent)
    assert (done.returncode, done.stdout, done.stderr) == (0, answer, "")
    for form in ("terminal", "markdown"):
        shown = gcx("correlate", torch_file.name, "-f", form, env=env, cwd=torch_file.parent)
        assert (shown.returncode, shown.stderr) == (0, "")
        assert "grouped.0" in shown.stdout
        assert "\x1b" not in shown.stdout


def test_ascii_stdout_gets_ascii(torch_file):
    done = gcx("correlate", torch_file, env={"PYTHONIOENCODING": "ascii"}, text=False)
    assert done.returncode == 0
    assert done.stdout.isascii()


def test_figures_need_no_home_and_no_display(torch_file, tmp_path):
    env = {"HOME": "/proc/1", "MPLCONFIGDIR": "/proc/1/x", "XDG_CACHE_HOME": "/proc/1", "DISPLAY": ""}
    done = gcx("correlate", torch_file, "-q", "-o", tmp_path / "a.png", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_at_the_same_time(torch_file, answer):
    runs = [
        subprocess.Popen(
            [*GCX, "correlate", torch_file.name, "-f", "json"], cwd=torch_file.parent, stdout=-1, text=True
        )
        for _ in range(4)
    ]
    assert [run.communicate(timeout=60)[0] for run in runs] == [answer] * 4


def test_a_closed_pipe_is_no_error(torch_file):
    for form in ("json", "terminal"):
        line = f"{sys.executable} -P -m gcx correlate {torch_file} -f {form} | head -c 1; echo ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
        assert done.stdout.splitlines()[-1] in {"0", f"{done.stdout[0]}0"}
        assert done.stderr == ""


@pytest.mark.parametrize("arguments", [["--help"], ["correlate", "--help"], ["--version"]])
def test_help_on_a_full_disk(arguments):
    with open("/dev/full", "w") as full:
        done = gcx(*arguments, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert_one_line(done)
    assert "stdout: cannot be written" in done.stderr


def test_a_full_disk(torch_file):
    with open("/dev/full", "w") as full:
        assert_one_line(gcx("correlate", torch_file, capture_output=False, stdout=full, stderr=subprocess.PIPE))


def test_closed_descriptors(torch_file):
    for closing in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        line = f"{sys.executable} -P -m gcx correlate {torch_file} -f json {closing}"
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
        assert done.returncode == (2 if ">&-" in closing.replace("2>&-", "") else 0), (closing, done.stderr)
        assert "Traceback" not in done.stderr


def test_an_output_that_exists_is_replaced_whole_or_kept(torch_file, tmp_path):
    target = tmp_path / "out.json"
    target.write_text("old")
    assert gcx("correlate", torch_file, "-o", target).returncode == 0
    json.loads(target.read_text())
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~current_umask()
    target.write_text("old")
    assert gcx("correlate", tmp_path / "gone.pt", "-o", target).returncode == 2
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def current_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_an_output_through_a_link_keeps_the_link(torch_file, tmp_path):
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    assert gcx("correlate", torch_file, "-o", tmp_path / "link.json").returncode == 0
    assert (tmp_path / "link.json").is_symlink()
    json.loads((tmp_path / "real.json").read_text())


def test_a_file_too_large_leaves_nothing(torch_file, tmp_path):
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))  # noqa: E731
    done = gcx("correlate", torch_file, "-o", tmp_path / "r.npz", preexec_fn=limit)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.fixture
def slow_file(tmp_path):
    """A layer that takes seconds to measure."""
    from safetensors.numpy import save_file

    path = tmp_path / "slow.safetensors"
    save_file({"conv.weight": np.ones((40_000, 1, 3, 3), np.float32) + np.eye(3, dtype=np.float32)}, path)
    return path


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after", [0.02, 0.2, 1.0])
def test_signals_end_it_quietly(slow_file, kind, after):
    target = slow_file.parent / "r.npz"
    command = [*GCX, "correlate", slow_file, "--groups", "conv=40000", "-o", target]
    # A shell starts what runs in the background with SIGINT ignored, which would be inherited here.
    heard = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    run = subprocess.Popen(command, stdout=-1, stderr=-1, text=True, preexec_fn=heard)
    time.sleep(after)
    run.send_signal(kind)
    sent = time.monotonic()
    out, err = run.communicate(timeout=60)
    assert time.monotonic() - sent < 10
    # Python's own start may be caught in the open, and then may end with 1; the command line never is.
    own_start = after < 0.1 and "Traceback" in err and str(COMMAND_LINE) not in err
    assert run.returncode in {128 + kind, -kind} or own_start, err
    assert out == ""
    assert "Traceback" not in err or own_start, err
    assert [path.name for path in slow_file.parent.iterdir()] == [slow_file.name]


@pytest.mark.parametrize("kind", ["fifo", "socket", "/dev/zero", "/dev/null", "loop", "dangling", "mode 000"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, kind):
    path = tmp_path / "model.pt"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        # The name of a socket is short: bind where we stand.
        with socket.socket(socket.AF_UNIX) as endpoint:
            here = Path.cwd()
            os.chdir(tmp_path)
            try:
                endpoint.bind("model.pt")
            finally:
                os.chdir(here)
    elif kind.startswith("/dev"):
        path = Path(kind)
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "dangling":
        path.symlink_to(tmp_path / "gone.pt")
    else:
        path.write_bytes(b"x" * 100)
        path.chmod(0)
    assert_one_line(gcx("correlate", path, timeout=20))


def test_a_link_to_a_checkpoint_is_fine(torch_file, tmp_path):
    (tmp_path / "link.pt").symlink_to(torch_file)
    assert gcx("correlate", tmp_path / "link.pt").returncode == 0


def test_a_hostile_folder_is_not_imported(torch_file, tmp_path):
    for name in ("torch", "json", "numpy", "typer", "rich"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the current folder was imported')")
    assert gcx("correlate", torch_file, cwd=tmp_path).returncode == 0


def test_a_deleted_folder_is_no_problem(torch_file, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    line = f"cd {gone} && rmdir {gone} && {sys.executable} -P -m gcx correlate {torch_file} -f json"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["models"][0]["path"] == torch_file.name


def test_memory_is_bounded_by_the_largest_tensor(tmp_path):
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    save_file(
        {f"c{i}.weight": rng.normal(size=(512, 512, 3, 3)).astype("f4") for i in range(12)}, tmp_path / "m.safetensors"
    )
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-c", code, *GCX, "correlate", str(tmp_path / "m.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    largest = 512 * 512 * 9 * 4
    assert int(done.stdout) * 1024 < 3 * largest + 300e6


def test_the_console_script_is_there():
    script = Path(sys.executable).with_name("gcx")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("gcx 0.")
