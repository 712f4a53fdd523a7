"""The thread's experiment on Fashion-MNIST, read off the recorded runs: is a grouped net as good as an ungrouped one?

Runs of one seed saw the same images in the same order, so grouped and ungrouped are compared in pairs; seeds are the
units. Nothing is trained here: `train_fashion.py` recorded the runs.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from statistics import mean, stdev

from recording import RESULTS, Record, read_json

from gcx.measures.effects import t_quantile

WIDTH = 32


def last_epochs(folder: Path) -> dict[tuple[int, int, int], Record]:
    """By (groups, width, seed): how each recorded run ended, with its cost."""
    runs = [read_json(path) for path in sorted(folder.glob("*.json"))]
    return {(run["groups"], run["width"], run["seed"]): run | run["epochs"][-1] for run in runs if run}


def paired(runs: dict[tuple[int, int, int], Record], groups: int, width: int, key: str) -> list[float]:
    """Grouped minus ungrouped of the same seed, in percentage points."""
    seeds = sorted(seed for known, wide, seed in runs if (known, wide) == (groups, width))
    return [100 * (runs[groups, width, seed][key] - runs[1, WIDTH, seed][key]) for seed in seeds]


def interval(differences: list[float]) -> tuple[float, float, float]:
    """Mean and 95 % interval by Student's t over seeds.

    >>> [round(number, 2) for number in interval([1.0, 2.0, 3.0])]
    [2.0, -0.48, 4.48]
    """
    middle = mean(differences)
    half = t_quantile(len(differences) - 1) * stdev(differences) / len(differences) ** 0.5
    return middle, middle - half, middle + half


def of_four(differences: list[float]) -> tuple[int, int, int]:
    """Of all choices of four seeds: how many there are, in how many all lie within .3 points, and grouped leads in 3.

    >>> of_four([0.1, 0.2, -0.1, 0.3, 0.4])
    (5, 1, 5)
    """
    fours = list(itertools.combinations(differences, 4))
    near = sum(all(abs(difference) <= 0.3 + 1e-9 for difference in four) for four in fours)
    return len(fours), near, sum(sum(difference > 0 for difference in four) >= 3 for four in fours)


def table(runs: dict[tuple[int, int, int], Record]) -> list[str]:
    """Markdown: each arm against the ungrouped net of 32 channels."""
    lines = [
        "| groups | width | parameters | multiply-adds | seeds | test, points (95 %) | train (95 %) | better in |",
        "|---:|---:|---:|---:|---:|---|---|---:|",
    ]
    arms = sorted({(groups, width) for groups, width, _ in runs}, key=lambda arm: (arm[1] != WIDTH, arm))
    for groups, width in arms:
        one = next(run for (known, wide, _), run in runs.items() if (known, wide) == (groups, width))
        cost = f"{one['parameters']:,} | {one['multiply_adds']['total']:,}"
        test, train = (paired(runs, groups, width, f"{part}_accuracy") for part in ("test", "train"))
        if (groups, width) == (1, WIDTH):
            alone = [run for (known, wide, _), run in runs.items() if (known, wide) == (1, WIDTH)]
            ends = [mean(run[f"{part}_accuracy"] for run in alone) for part in ("test", "train")]
            shown = f"{ends[0]:.2%} | {ends[1]:.2%} | "
        else:
            said = [f"{low:+.2f} ({a:+.2f} to {b:+.2f})" for low, a, b in (interval(test), interval(train))]
            shown = f"{said[0]} | {said[1]} | {sum(value > 0 for value in test)} of {len(test)}"
        lines.append(f"| {groups} | {width} | {cost} | {len(test)} | {shown} |")
    return lines


def sentences(runs: dict[tuple[int, int, int], Record]) -> list[str]:
    """What four of the seeds would have shown."""
    said = []
    for groups in sorted({known for known, width, _ in runs if width == WIDTH and known > 1}):
        count, near, leads = of_four(paired(runs, groups, WIDTH, "test_accuracy"))
        said.append(
            f"- {groups} groups: of the {count} ways to pick four of the seeds, all four lie within 0.3 points of the "
            f"ungrouped net in {near}; grouped is better in three or more of the four in {leads}."
        )
    return said


def main(arguments: list[str] | None = None) -> int:
    command = "python examples/claims.py"
    parser = argparse.ArgumentParser(prog=command, description=__doc__, epilog=f"examples:\n  {command}")
    parser.add_argument("--runs", type=Path, default=RESULTS / "fashion", metavar="DIR", help="recorded runs")
    runs = last_epochs(parser.parse_args(arguments).runs)
    print("\n".join([*table(runs), "", *sentences(runs)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
