"""The picture of claim 8: accuracy over what a net costs."""

from __future__ import annotations

import itertools
from pathlib import Path
from statistics import mean

from claims import UNGROUPED, Runs, common_seeds, criterion_of, multiply_adds, paired, parameters, test_accuracy

from gcx.measures import runs_interval

COLOURS = {2: "#2f6db5", 4: "#c2571a", 8: "#4c8c3f"}
MARKS = {
    "equal width": ("o", ""),
    "equal multiply-adds": ("o", "white"),
    "equal parameters": ("s", "white"),
    "own width": ("^", "white"),
}


def draw(runs: Runs, path: Path) -> None:
    """Test accuracy against the ungrouped net of the same seed, over what a net costs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(9, 4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    ungrouped = next(run for (arm, _), run in runs.items() if arm == UNGROUPED)
    arms = [arm for arm in sorted({arm for arm, _ in runs} - {UNGROUPED}) if common_seeds(runs, arm)]
    scales = (("parameters, thousands", parameters, 1e3), ("multiply-adds, millions", multiply_adds, 1e6))
    for axes, (title, spent, unit) in zip(panels, scales, strict=True):
        axes.axhline(0, color="#bbbbbb", lw=1, zorder=0)
        axes.plot(spent(ungrouped) / unit, 0, "D", color="#444444", ms=7)
        costs = [spent(next(run for (known, _), run in runs.items() if known == arm)) / unit for arm in arms]
        for arm, cost in zip(arms, _apart(costs), strict=True):
            differences = paired(runs, arm, test_accuracy)
            colour, (mark, face) = COLOURS.get(arm.groups, "#7a7a7a"), MARKS[criterion_of(arm)]
            if (ends := runs_interval(differences)) is not None:
                axes.plot([cost] * 2, ends, color=colour, lw=1.2)
            axes.plot(cost, mean(differences), mark, color=colour, mfc=face or colour, ms=7)
        axes.set_xlabel(title)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.08)
    panels[0].set_ylabel("test accuracy against ungrouped,\npoints (95 % over seeds)")
    shown = {arm.groups for arm in arms}, {criterion_of(arm) for arm in arms}
    rows = (
        [
            Line2D([], [], color=COLOURS[groups], lw=4, label=f"{groups} groups")
            for groups in COLOURS
            if groups in shown[0]
        ],
        [
            Line2D([], [], color="#444444", ls="", marker=mark, mfc=face or "#444444", ms=7, label=criterion)
            for criterion, (mark, face) in {"ungrouped": ("D", ""), **MARKS}.items()
            if criterion in {"ungrouped", *shown[1]}
        ],
    )
    # One legend for each row, so that neither's columns stretch the other's.
    for keys, height in zip(rows, (1.0, 0.94), strict=True):
        figure.legend(
            handles=keys, loc="upper center", bbox_to_anchor=(0.5, height), ncols=5, frameon=False, fontsize=9
        )
    figure.get_layout_engine().set(rect=(0, 0, 1, 0.87))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})


def _apart(costs: list[float]) -> list[float]:
    """Nudged where two would lie on each other, by a hundredth of the range."""
    least = (max(costs) - min(costs)) / 60 if costs else 0.0
    order = sorted(range(len(costs)), key=lambda at: costs[at])
    moved = list(costs)
    for before, after in itertools.pairwise(order):
        if (short := least - (moved[after] - moved[before])) > 0:
            moved[before] -= short / 2
            moved[after] += short / 2
    return moved
