"""How well groups are found from shapes alone, as a Markdown table.

usage: python tests/benchmarks/bench_groups.py DIR

DIR holds `*.json.gz` files of `{architecture: {"tensors": [[name, shape], ...], "convs": {module: {"groups": n}}}}`,
and, if it has them, real checkpoints beside it in `../checkpoints` with their `true-groups.json`.

A family is the leading letters of an architecture's name. The rules were written while looking at two thirds of the
families, chosen by a hash of the family's name; the other third was only ever scored, as a whole.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gcx.groups import resolve_groups

LEVELS = ("certain", "likely", "ambiguous")


@dataclass
class Score:
    """Counts over many networks."""

    layers: int = 0
    right: int = 0
    grouped: int = 0
    grouped_right: int = 0
    called: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LEVELS, 0))
    wrong: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LEVELS, 0))
    networks: int = 0
    networks_right: int = 0

    def add(self, shapes: Mapping[str, tuple[int, ...]], true: Mapping[str, int]) -> None:
        """Score one network; convolutions whose weight is no tensor of rank 3 to 5 cannot be seen and do not count."""
        found = resolve_groups(shapes)
        all_right = True
        for name, groups in true.items():
            if len(shapes.get(f"{name}.weight", ())) not in (3, 4, 5):
                continue
            resolution = found.get(name)
            ok = resolution is not None and resolution.groups == groups
            level = resolution.confidence if resolution is not None else "ambiguous"
            self.layers += 1
            self.right += ok
            self.grouped += groups > 1
            self.grouped_right += ok and groups > 1
            self.called[level] += 1
            self.wrong[level] += not ok
            all_right &= ok
        self.networks += 1
        self.networks_right += all_right

    def row(self, title: str) -> str:
        certain = max(1, self.called["certain"])
        cells = [
            title,
            f"{self.networks}",
            f"{self.layers:,}",
            f"{self.right / max(1, self.layers):.2%}",
            f"{self.grouped:,}",
            f"{self.grouped_right / max(1, self.grouped):.2%}",
            f"{self.called['certain'] / max(1, self.layers):.1%}",
            f"{self.wrong['certain']} ({self.wrong['certain'] / certain:.3%})",
            f"{self.networks_right / max(1, self.networks):.1%}",
        ]
        return "| " + " | ".join(cells) + " |"


HEADER = (
    "| | networks | layers | right | grouped | grouped right | certain | wrong among certain | networks right |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
)


def family(architecture: str) -> str:
    letters = re.match("[a-z]+", architecture.lower())
    return letters.group() if letters else architecture


def held_out(architecture: str) -> bool:
    """Whether an architecture's family was kept away from those who wrote the rules."""
    return int(hashlib.sha256(f"gcx-holdout:{family(architecture)}".encode()).hexdigest(), 16) % 3 == 0


def score_shapes(path: Path, every: int = 1, *, by_name: bool = False) -> dict[str, Score]:
    """Score one file of shapes, families looked at and held out apart.

    `every` takes only each n-th architecture; `by_name` sorts the tensors by name first, as safetensors files do.
    """
    scores = {"looked at": Score(), "held out": Score()}
    architectures = json.loads(gzip.decompress(path.read_bytes()))
    for architecture, record in list(architectures.items())[::every]:
        tensors = sorted(record["tensors"]) if by_name else record["tensors"]
        shapes = {name: tuple(shape) for name, shape in tensors}
        true = {name: conv["groups"] for name, conv in record["convs"].items()}
        scores["held out" if held_out(architecture) else "looked at"].add(shapes, true)
    return scores


def real_checkpoints(folder: Path) -> Iterator[tuple[str, dict[str, tuple[int, ...]], dict[str, int]]]:
    """Names, shapes and true groups of real checkpoints that are there."""
    from gcx.readers import read_checkpoint

    for name, layers in json.loads((folder / "true-groups.json").read_text()).items():
        if not (folder / name).is_file() or name.endswith(".onnx"):
            continue
        with read_checkpoint(str(folder / name)) as checkpoint:
            shapes = {tensor: ref.shape for tensor, ref in checkpoint.tensors.items()}
        yield name, shapes, {layer.removeprefix("module."): true["groups"] for layer, true in layers.items()}


def main(folder: Path) -> None:
    print(HEADER)
    for path in sorted(folder.glob("*.json.gz")):
        for by_name in (False, True):
            for part, score in score_shapes(path, by_name=by_name).items():
                order = ", sorted by name" if by_name else ""
                print(score.row(f"{path.name.removesuffix('.json.gz')}, {part}{order}"))
    checkpoints = folder.parent / "checkpoints"
    if (checkpoints / "true-groups.json").is_file():
        score = Score()
        for _, shapes, true in real_checkpoints(checkpoints):
            score.add(shapes, true)
        print(score.row("real checkpoints"))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
