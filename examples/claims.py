"""The thread's experiment on Fashion-MNIST, read off the recorded runs: is a grouped net as good as an ungrouped one?

Runs of one seed saw the same images in the same order, so grouped and ungrouped are compared in pairs; seeds are the
units. Nothing is trained here: `train_fashion.py` recorded the runs.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

import numpy as np
from fashion_net import CRITERIA, WIDTH, equal_cost_width
from numpy.typing import NDArray
from recording import RESULTS, Record, ScriptError, read_json, run_script

from gcx.measures import adjust_pvalues, runs_interval
from gcx.measures.beta import t_quantile
from gcx.renderers.cells import probability


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


def parameters(run: Record) -> int:
    return int(run["parameters"])


def multiply_adds(run: Record) -> int:
    return int(run["multiply_adds"]["total"])


SPENT = (parameters, multiply_adds)
SCORES: tuple[Score, ...] = (test_accuracy, train_accuracy, gap)


def last_epochs(folder: Path) -> Runs:
    """By setting and seed: how each recorded run ended, with its cost."""
    runs = [read_json(path) for path in sorted(folder.glob("*.json"))]
    return {(Arm(run["groups"], run["width"]), run["seed"]): run | run["epochs"][-1] for run in runs if run}


def arms_of(runs: Runs, *, equal_width: bool) -> list[Arm]:
    """The settings as wide as the ungrouped net, or those that were widened to cost as much."""
    return sorted({arm for arm, _ in runs if (arm.width == WIDTH) == equal_width})


def common_seeds(runs: Runs, arm: Arm) -> list[int]:
    """Seeds that the setting and the ungrouped net have both run: others cannot be compared in pairs."""
    return sorted(seed for known, seed in runs if known == arm and (UNGROUPED, seed) in runs)


def paired(runs: Runs, arm: Arm, score: Score) -> list[float]:
    """Grouped minus ungrouped of the same seed, in percentage points."""
    return [100 * (score(runs[arm, seed]) - score(runs[UNGROUPED, seed])) for seed in common_seeds(runs, arm)]


def points(differences: list[float]) -> str:
    """Mean and 95 % interval over seeds (Student's t) as they are printed; what rounds to 0 has no sign.

    >>> points([0.3, -0.1, -0.2]), points([1.0])
    ('0.00 (-0.66 to +0.66)', '–')
    """
    ends = runs_interval(differences)
    if ends is None:
        return "–"
    shown = [f"{value:+.2f}" if round(value, 2) else "0.00" for value in (mean(differences), *ends)]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"


def sign_flip_pvalue(differences: Sequence[float]) -> float:
    """Exact, two-sided: in what share of all ways to sign the pairs their sum is as far from 0 as it is.

    Sums of two halves are counted against each other, so that 24 pairs are no more work than 12.

    >>> sign_flip_pvalue([1.0, 2.0, 3.0])
    0.25
    """
    middle = len(differences) // 2
    left, right = (_signed_sums(part) for part in (differences[:middle], differences[middle:]))
    right.sort()
    least = abs(sum(differences)) * (1 - 1e-12)
    below = np.searchsorted(right, -least - left, side="right")
    above = len(right) - np.searchsorted(right, least - left, side="left")
    return min(1.0, float((below + above).sum()) / (len(left) * len(right)))


def _signed_sums(values: Sequence[float]) -> NDArray[np.float64]:
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


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
    ungrouped = [run for (known, _), run in runs.items() if known == UNGROUPED]
    for arm in (UNGROUPED, *(arm for arm in arms if arm != UNGROUPED)):
        own = next(run for (known, _), run in runs.items() if known == arm)
        if arm == UNGROUPED:
            cost = f"{own['parameters']:,} | {own['multiply_adds']['total']:,}"
            seeds = len(ungrouped)
            shown = [f"{100 * mean(map(score, ungrouped)):.2f} %" for score in SCORES] + [""]
        else:
            cost = " | ".join(f"{spent(own):,} ({100 * spent(own) / spent(ungrouped[0]):.0f} %)" for spent in SPENT)
            differences = paired(runs, arm, test_accuracy)
            seeds = len(differences)
            shown = [points(paired(runs, arm, score)) for score in SCORES]
            shown.append(f"{sum(value > 0 for value in differences)} of {seeds}")
        lines.append(f"| {arm.groups} | {arm.width} | {cost} | {seeds} | {' | '.join(shown)} |")
    return lines


def sentences(runs: Runs) -> list[str]:
    """What all pairs of seeds show, and what four of them would have shown."""
    arms = [arm for arm in arms_of(runs, equal_width=True) if arm != UNGROUPED]
    by_arm = {arm: found for arm in arms if len(found := paired(runs, arm, test_accuracy)) >= 4}
    pvalues = [sign_flip_pvalue(found) for found in by_arm.values()]
    said = []
    for (arm, found), pvalue, adjusted in zip(by_arm.items(), pvalues, adjust_pvalues(pvalues), strict=True):
        count, near, leads = of_four(found)
        half = t_quantile(3) * stdev(found) / 2
        said.append(
            f"- {arm.groups} groups: signs of the {len(found)} pairs flipped in all ways, p {probability(pvalue)}, "
            f"adjusted over {len(by_arm)} group counts {probability(adjusted)}. Of the {count} ways to pick four "
            f"seeds, all four lie within 0.3 points of the ungrouped net in {near}; grouped is better in three or more "
            f"of the four in {leads}. Four such pairs know the difference to about ±{half:.1f} points."
        )
    return said


def criterion_of(arm: Arm) -> str:
    """Why a setting is as wide as it is."""
    if arm.width == WIDTH:
        return "equal width"
    found = (f"equal {name}" for name in CRITERIA if equal_cost_width(arm.groups, name) == arm.width)
    return next(found, "own width")


def main(arguments: list[str] | None = None) -> int:
    command = "python examples/claims.py"
    parser = argparse.ArgumentParser(
        prog=command,
        description=__doc__,
        epilog=f"examples:\n  {command}\n  {command} --runs build/fashion",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=Path, default=RESULTS / "fashion", metavar="DIR", help="recorded runs")
    options = parser.parse_args(arguments)
    runs = last_epochs(options.runs)
    if not any(arm == UNGROUPED for arm, _ in runs):
        raise ScriptError(f"no run of the ungrouped net in {options.runs}: run train_fashion.py first")
    for equal_width in (True, False):
        print("\n".join([*table(runs, arms_of(runs, equal_width=equal_width)), ""]))
    print("\n".join(sentences(runs)))
    return 0


if __name__ == "__main__":
    run_script(main)
