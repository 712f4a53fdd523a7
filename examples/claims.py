"""The thread's experiment on Fashion-MNIST, read off the recorded runs: is a grouped net as good as an ungrouped one?

Runs of one seed saw the same images in the same order, so grouped and ungrouped are compared in pairs; seeds are the
units. Nothing is trained here: `train_fashion.py` recorded the runs.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

from fashion_net import CRITERIA, WIDTH, equal_cost_width
from recording import HERE, RESULTS, Record, read_json

from gcx.measures import runs_interval
from gcx.measures.beta import t_quantile

PICTURE = HERE / "pictures" / "accuracy.png"


class Arm(NamedTuple):
    """One setting of the experiment."""

    groups: int
    width: int


UNGROUPED = Arm(1, WIDTH)
Runs = dict[tuple[Arm, int], Record]
Score = Callable[[Record], float]


def test_accuracy(run: Record) -> float:
    return float(run["test_accuracy"])


def train_accuracy(run: Record) -> float:
    return float(run["train_accuracy"])


def gap(run: Record) -> float:
    """How much better a net does on the images it learnt from: the less, the more it was regularised."""
    return train_accuracy(run) - test_accuracy(run)


COSTS: dict[str, Callable[[Record], float]] = {
    "parameters, thousands": lambda run: run["parameters"] / 1e3,
    "multiply-adds, millions": lambda run: run["multiply_adds"]["total"] / 1e6,
}
COLOURS = {2: "#2f6db5", 4: "#c2571a", 8: "#4c8c3f"}
MARKS = {"equal width": ("o", ""), "equal multiply-adds": ("o", "white"), "equal parameters": ("s", "white")}
SCORES: tuple[Score, ...] = (test_accuracy, train_accuracy, gap)


def last_epochs(folder: Path) -> Runs:
    """By setting and seed: how each recorded run ended, with its cost."""
    runs = [read_json(path) for path in sorted(folder.glob("*.json"))]
    return {(Arm(run["groups"], run["width"]), run["seed"]): run | run["epochs"][-1] for run in runs if run}


def arms_of(runs: Runs, *, equal_width: bool) -> list[Arm]:
    """The settings as wide as the ungrouped net, or those that were widened to cost as much."""
    return sorted({arm for arm, _ in runs if (arm.width == WIDTH) == equal_width})


def paired(runs: Runs, arm: Arm, score: Score) -> list[float]:
    """Grouped minus ungrouped of the same seed, in percentage points."""
    seeds = sorted(seed for known, seed in runs if known == arm)
    return [100 * (score(runs[arm, seed]) - score(runs[UNGROUPED, seed])) for seed in seeds]


def interval(differences: list[float]) -> tuple[float, float, float]:
    """Mean and 95 % interval by Student's t over seeds.

    >>> [round(number, 2) for number in interval([1.0, 2.0, 3.0])]
    [2.0, -0.48, 4.48]
    """
    ends = runs_interval(differences)
    if ends is None:
        raise ValueError("an interval wants two seeds")
    return mean(differences), *ends


def points(middle: float, low: float, high: float) -> str:
    """A difference and its interval as they are printed; what rounds to 0 has no sign.

    >>> points(-0.001, -0.2, 0.2)
    '0.00 (-0.20 to +0.20)'
    """
    shown = [f"{value:+.2f}" if round(value, 2) else "0.00" for value in (middle, low, high)]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"


def of_four(differences: list[float]) -> tuple[int, int, int]:
    """Of all choices of four seeds: how many there are, in how many all lie within .3 points, and grouped leads in 3.

    >>> of_four([0.1, 0.2, -0.1, 0.3, 0.4])
    (5, 1, 5)
    """
    fours = list(itertools.combinations(differences, 4))
    near = sum(all(abs(difference) <= 0.3 + 1e-9 for difference in four) for four in fours)
    return len(fours), near, sum(sum(difference > 0 for difference in four) >= 3 for four in fours)


def table(runs: Runs, arms: Sequence[Arm]) -> list[str]:
    """Markdown: each setting against the ungrouped net of 32 channels, which stands in the first row."""
    lines = [
        "| groups | width | parameters | multiply-adds | seeds | test | train | gap | better in |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for arm in (UNGROUPED, *(arm for arm in arms if arm != UNGROUPED)):
        own = [run for (known, _), run in runs.items() if known == arm]
        cost = f"{own[0]['parameters']:,} | {own[0]['multiply_adds']['total']:,}"
        if arm == UNGROUPED:
            shown = [f"{100 * mean(map(score, own)):.2f} %" for score in SCORES] + [""]
        else:
            shown = [points(*interval(paired(runs, arm, score))) for score in SCORES]
            shown.append(f"{sum(value > 0 for value in paired(runs, arm, test_accuracy))} of {len(own)}")
        lines.append(f"| {arm.groups} | {arm.width} | {cost} | {len(own)} | {' | '.join(shown)} |")
    return lines


def sentences(runs: Runs) -> list[str]:
    """What four of the seeds would have shown."""
    said = []
    for arm in arms_of(runs, equal_width=True):
        if arm == UNGROUPED:
            continue
        differences = paired(runs, arm, test_accuracy)
        count, near, leads = of_four(differences)
        half = t_quantile(3) * stdev(differences) / 2
        said.append(
            f"- {arm.groups} groups: of the {count} ways to pick four seeds, all four lie within 0.3 points of the "
            f"ungrouped net in {near}; grouped is better in three or more of the four in {leads}. Four such pairs know "
            f"the difference to about ±{half:.1f} points."
        )
    return said


def draw(runs: Runs, path: Path) -> None:
    """Test accuracy against the ungrouped net of the same seed, over what a net costs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(9, 4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    ungrouped = next(run for (arm, _), run in runs.items() if arm == UNGROUPED)
    for axes, (title, cost) in zip(panels, COSTS.items(), strict=True):
        axes.axhline(0, color="#bbbbbb", lw=1, zorder=0)
        axes.plot(cost(ungrouped), 0, "D", color="#444444", ms=7)
        for arm in {arm for arm, _ in runs} - {UNGROUPED}:
            run = next(run for (known, _), run in runs.items() if known == arm)
            middle, low, high = interval(paired(runs, arm, test_accuracy))
            colour, (mark, face) = COLOURS[arm.groups], MARKS[criterion_of(arm)]
            axes.plot([cost(run)] * 2, [low, high], color=colour, lw=1.2)
            axes.plot(cost(run), middle, mark, color=colour, mfc=face or colour, ms=7)
        axes.set_xlabel(title)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.08)
    panels[0].set_ylabel("test accuracy against ungrouped,\npoints (95 % over seeds)")
    keys = [Line2D([], [], color="#444444", ls="", marker="D", ms=7, label="ungrouped")]
    keys += [Line2D([], [], color=colour, lw=4, label=f"{groups} groups") for groups, colour in COLOURS.items()]
    for criterion, (mark, face) in MARKS.items():
        keys.append(Line2D([], [], color="#444444", ls="", marker=mark, mfc=face or "#444444", ms=7, label=criterion))
    figure.legend(handles=keys, loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})


def criterion_of(arm: Arm) -> str:
    """Why a setting is as wide as it is."""
    if arm.width == WIDTH:
        return "equal width"
    return "equal " + next(name for name in CRITERIA if equal_cost_width(arm.groups, name) == arm.width)


def main(arguments: list[str] | None = None) -> int:
    command = "python examples/claims.py"
    parser = argparse.ArgumentParser(
        prog=command,
        description=__doc__,
        epilog=f"examples:\n  {command}\n  {command} --picture {PICTURE.name}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=Path, default=RESULTS / "fashion", metavar="DIR", help="recorded runs")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw accuracy over cost too")
    options = parser.parse_args(arguments)
    runs = last_epochs(options.runs)
    if not any(arm == UNGROUPED for arm, _ in runs):
        sys.exit(f"claims.py: no run of the ungrouped net in {options.runs}: run train_fashion.py first")
    for equal_width in (True, False):
        print("\n".join([*table(runs, arms_of(runs, equal_width=equal_width)), ""]))
    print("\n".join(sentences(runs)))
    if options.picture:
        draw(runs, options.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
