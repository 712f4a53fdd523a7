"""The gallery is true: its commands make its pictures, again the same."""

import io
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gcx.cli.app import run

REPOSITORY = Path(__file__).parents[2]
GALLERY = REPOSITORY / "examples" / "gallery"
README = (GALLERY / "README.md").read_text()
COMMANDS = re.findall(r"(?m)^\$ (gcx .*)$", README)


def test_every_picture_of_the_folder_is_shown_or_made_beside_one():
    shown = set(re.findall(r"!\[[^]]*\]\(([^)]+)\)", README))
    assert all((GALLERY / path).is_file() for path in shown)
    there = {str(path.relative_to(GALLERY)) for path in GALLERY.rglob("*.png")}
    assert there - shown == {"heatmaps/000_stem.png"}
    assert sum(path.stat().st_size for path in GALLERY.rglob("*")) < 2e6


def test_every_picture_of_the_page_is_there_and_shown():
    page = (GALLERY.parent / "README.md").read_text()
    shown = set(re.findall(r"!\[[^]]*\]\(pictures/([^)]+)\)", page))
    assert shown == {path.name for path in (GALLERY.parent / "pictures").iterdir()}


@pytest.mark.parametrize(
    "command",
    [
        "gcx correlate fashion-g4-seed0.pt --groups conv=4 --include conv --export fashion-conv.png",
        "gcx filters towers-seed0.pt stem --groups 'conv*=2' --induced --export towers.png",
    ],
)
def test_a_command_of_the_page_makes_its_picture(command, tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    folder = "examples/pictures/"
    page = " ".join((GALLERY.parent / "README.md").read_text().split())
    command, model, *arguments, target = shlex.split(command)[1:]
    arguments = [command, f"examples/checkpoints/{model}", *arguments]
    assert f"--export {folder}{target}" in page
    assert run([*arguments, f"{tmp_path}/{target}"]) == 0
    assert_alike(tmp_path / target, REPOSITORY / folder / target)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_makes_its_picture(command, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(REPOSITORY)
    program, *arguments = shlex.split(command)
    assert program == "gcx"
    *arguments, target = arguments
    assert arguments[-1] == "--export"
    made = f"{tmp_path}/{target.removeprefix('examples/gallery/')}"
    assert run([*arguments, made]) == 0
    if made.endswith(".html"):
        assert Path(made).read_text().startswith("<!DOCTYPE html>")
        return
    for path in tmp_path.rglob("*.png"):
        assert_alike(path, GALLERY / path.relative_to(tmp_path))


def assert_alike(made, kept):
    new, old = (np.asarray(Image.open(io.BytesIO(one.read_bytes())).convert("RGB"), dtype=int) for one in (made, kept))
    assert new.shape == old.shape
    assert np.abs(new - old).mean() < 1  # fonts and the last digits may differ elsewhere
