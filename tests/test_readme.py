"""The README is true: each command shown in it prints what it shows, at 80 columns; each file it names is there."""

import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text()
PAGES = [README, (REPOSITORY / "examples" / "README.md").read_text()]
BLOCKS = [block for page in PAGES for block in re.findall(r"```console\n(.*?)```", page, flags=re.DOTALL)]


def shown_commands():
    """(command, output shown, exit code shown) of every `$ …` in a console block."""
    for block in BLOCKS:
        for part in re.split(r"(?m)^\$ ", block)[1:]:
            command, _, output = part.partition("\n")
            while command.endswith("\\"):
                more, _, output = output.partition("\n")
                command = command[:-1] + more.removeprefix(">").strip()
            yield command, output


def on_a_terminal(command, columns=80):
    """What a person would see: stdout and stderr of a command on a terminal of that width, without colour."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {**os.environ, "NO_COLOR": "1", "TERM": "dumb", "PYTHONIOENCODING": "utf-8"}
    environment = {name: value for name, value in environment.items() if name not in {"COLUMNS", "LINES"}}
    run = subprocess.Popen(command, stdout=slave, stderr=slave, stdin=slave, env=environment, cwd=REPOSITORY)
    os.close(slave)
    parts = []
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(master)
    run.wait(timeout=60)
    return b"".join(parts).decode().replace("\r\n", "\n")


@pytest.mark.parametrize(("command", "shown"), list(shown_commands()))
def test_a_command_prints_what_the_readme_shows(command, shown):
    program, *arguments = shlex.split(command)
    assert program == "gcx"
    printed = on_a_terminal([sys.executable, "-P", "-m", "gcx", *arguments])
    if "…\n" in shown.splitlines(keepends=True):
        head, tail = shown.split("…\n")
        assert printed.startswith(head)
        assert printed.rstrip().endswith(tail.strip())
    else:
        assert printed.strip() == shown.strip()


def test_the_first_screen_is_a_sentence_a_command_and_its_output():
    first = README.split("\n## ")[0]
    assert len(first.splitlines()) < 50
    assert "```console\n$ gcx correlate " in first


def test_every_link_into_the_repository_leads_somewhere():
    for folder, page in zip((REPOSITORY, REPOSITORY / "examples"), PAGES, strict=True):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page):
            assert (folder / target).exists(), target


def test_every_command_has_help_with_three_commands_to_copy():
    for command in ([], ["correlate"], ["compare"], ["layers"], ["explain"]):
        shown = on_a_terminal([sys.executable, "-P", "-m", "gcx", *command, "--help"])
        examples = shown.split("Examples:")[1]
        assert len(re.findall(r"(?m)^ +gcx ", examples)) == 3, command
