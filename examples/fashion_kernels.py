"""What gcx says of the nets that `train_fashion.py` trained: filters within and across groups, and kernels, over seeds.

Every number comes from `gcx.compare` and `gcx.track`; here they are only asked and written down. Beside each effect
stands its control: the ungrouped net cut into virtual groups, and the nets before training.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from fashion_net import WIDTH
from recording import BUILD, HERE, Record, ScriptError, parse_options, run_script, versions, write_json
from rich.console import Console
from rich.progress import track as progress
from training import plain, save

import gcx
from gcx.contract import to_mapping

GROUPS, SEEDS, SHIPPED = (2, 4, 8), tuple(range(8)), tuple(range(4))
LAYER = "conv"
HEAD = "head."
SERIES = ("mean_r2", "null_permuted_r2", "across_mean_r2", "across_null_r2", "delta")


class Runs:
    """Where the checkpoints of the runs lie, and which of them are meant."""

    def __init__(self, folder: Path, seeds: list[int], last: int) -> None:
        self.folder, self.seeds, self.last = folder, seeds, last

    def run(self, groups: int, seed: int) -> Path:
        return self.folder / f"g{groups}-w{WIDTH}-seed{seed}"

    def at(self, groups: int, epoch: int) -> list[str]:
        return [str(self.run(groups, seed) / f"epoch-{epoch:02d}.pt") for seed in self.seeds]

    def shown(self, groups: int, epoch: int) -> str:
        """As a glob that a shell would be given."""
        return f"'build/fashion/g{groups}-w{WIDTH}-seed*/epoch-{epoch:02d}.pt'"

    def missing(self) -> list[str]:
        wanted = [path for groups in (1, *GROUPS) for epoch in (0, self.last) for path in self.at(groups, epoch)]
        return [path for path in wanted if not Path(path).exists()]


def contrasts(runs: Runs) -> Iterator[Record]:
    """Trained against ungrouped, trained against its own beginning, and, as a control, both before training."""
    for groups in (1, *GROUPS):
        pairs = {"its beginning": ((groups, 0), (groups, runs.last))}
        if groups > 1:
            pairs["ungrouped"] = ((1, runs.last), (groups, runs.last))
            pairs["ungrouped, both before training"] = ((1, 0), (groups, 0))
        cut = groups if groups > 1 else 4
        for against, (reference, candidate) in pairs.items():
            declared = {f"{role}:{LAYER}": g for role, (g, _) in (("reference", reference), ("candidate", candidate))}
            report = gcx.compare(
                runs.at(*reference), runs.at(*candidate), groups=declared, include=[LAYER], virtual_groups=cut
            )
            comparison = report.comparison
            if comparison is None:
                raise RuntimeError("gcx.compare gave no comparison")
            options = " ".join(f"--groups '{pattern}={count}'" for pattern, count in declared.items())
            yield {
                "groups": groups,
                "against": against,
                "command": f"gcx compare {runs.shown(*reference)} {runs.shown(*candidate)} {options} "
                f"--include {LAYER} --virtual-groups {cut}",
                "runs": [comparison.reference_runs, comparison.candidate_runs],
                LAYER: to_mapping(comparison.layers[0]),
            }


def along(runs: Runs, groups: int) -> Record:
    """`gcx track` of every run of one setting: per epoch the mean over the runs."""
    tracked = [
        gcx.track(str(runs.run(groups, seed)), groups={LAYER: groups}, include=[LAYER]).track for seed in runs.seeds
    ]
    series = [track.series[0] for track in tracked if track is not None]
    epochs = [checkpoint.epoch for checkpoint in tracked[0].checkpoints] if tracked[0] else []
    means: Record = {}
    for key in SERIES:
        rows = list(zip(*(getattr(one, key) for one in series), strict=True))
        means[key] = None if any(value is None for row in rows for value in row) else [sum(r) / len(r) for r in rows]
    lineages = max(checkpoint.lineage for track in tracked if track for checkpoint in track.checkpoints) + 1
    return {"groups": groups, "epochs": epochs, "runs": len(series), "lineages": lineages, **means}


def ship(runs: Runs, folder: Path) -> None:
    """Final weights of four seeds without the dense head, which is most of the net and no convolution."""
    for groups in (1, 4):
        for seed in SHIPPED:
            path = runs.run(groups, seed) / f"epoch-{runs.last:02d}.pt"
            state = torch.load(path, weights_only=True)  # noqa: TID251 - a file that this machine trained
            save(plain(state, without=HEAD), folder / f"fashion-g{groups}-seed{seed}.pt")


def quick_runs(seeds: list[int]) -> Runs:
    """Two epochs on digits, a net of each setting and seed."""
    import train_fashion

    folder = BUILD / "quick" / "fashion"
    asked = ["--quick", "--groups", "1", *map(str, GROUPS), "--seeds", *map(str, seeds), "--out", str(folder)]
    train_fashion.main(asked)
    return Runs(folder, seeds, 2)


def main(arguments: list[str] | None = None) -> int:
    options = parse_options(
        "fashion_kernels",
        __doc__,
        quick="seconds: nets of two epochs on digits, 2 seeds",
        seeds=SEEDS,
        arguments=arguments,
    )
    if options.quick:
        runs = quick_runs(options.seeds if len(options.seeds) > 1 else [0, 1])
    else:
        runs = Runs(BUILD / "fashion", options.seeds, 10)
    if missing := runs.missing():
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ScriptError(f"no {missing[0]}{more}: run train_fashion.py first")
    hidden, console = not sys.stderr.isatty(), Console(stderr=True)
    found = list(progress(contrasts(runs), "comparing", 10, console=console, transient=True, disable=hidden))
    followed = [
        along(runs, groups)
        for groups in progress((1, *GROUPS), "following", console=console, transient=True, disable=hidden)
    ]
    settings = {"layer": LAYER, "seeds": runs.seeds, "last_epoch": runs.last}
    write_json(
        options.out, {"settings": settings, "versions": versions("gcx", "numpy"), "compared": found, "along": followed}
    )
    for one in found:
        print(f"{one['groups']} groups against {one['against']}: {one[LAYER]['verdict']}")
    if options.published:
        ship(runs, HERE / "checkpoints")
    return 0


if __name__ == "__main__":
    run_script(main)
