"""Where a run breaks: an architecture that changes, a file whose filters are not those of the one before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gcx.comparing.arms import Arm
from gcx.comparing.lineage import Lineage, lineage_of
from gcx.results import LayerResult, ModelResult
from gcx.summary import mean_known
from gcx.tracking.series import Kind, Step, kinds_of
from gcx.training_run import Event
from gcx.words import plural

_LINEAGES = 8
"""Lineages back that a checkpoint may go on from, the latest first."""
_NAMED = 3


@dataclass(frozen=True)
class _Place:
    """The last checkpoint of a lineage."""

    lineage: int
    number: int
    arm: Arm


def steps_of(arms: Sequence[Arm]) -> tuple[Step, ...]:
    """Give every checkpoint its architecture and its lineage.

    A checkpoint whose filters do not correlate with those of the one before is looked for in earlier lineages: after a
    stray file the run goes on.

    Args:
        arms: one run each, in order.

    Raises:
        CheckpointError: weights cannot be read again.
    """
    architectures: dict[frozenset[Kind], int] = {}
    lasts: list[_Place] = []
    steps: list[Step] = []
    for number, arm in enumerate(arms):
        result = arm.runs[0].result
        kinds = frozenset(kinds_of(result))
        architecture = architectures.setdefault(kinds, len(architectures))
        lineage, found = _lineage(arm, lasts)
        before = lasts[0].lineage if lasts else None
        # How filters moved since the checkpoint before is only known of one lineage.
        moved = found if lineage == before else None
        steps.append(
            Step(
                result=result,
                architecture=architecture,
                lineage=lineage,
                z=found.z if found is not None else None,
                filter_r=_filter_r(arm, moved, lasts[0].arm) if moved is not None else {},
            )
        )
        lasts = [_Place(lineage, number, arm), *(place for place in lasts if place.lineage != lineage)][:_LINEAGES]
    return tuple(steps)


def _lineage(arm: Arm, lasts: Sequence[_Place]) -> tuple[int, Lineage | None]:
    """The lineage of a checkpoint, and what was found against the one before; unknown counts as going on."""
    if not lasts:
        return 0, None
    found = [_against(arm, lasts[0])]
    if found[0].same or (found[0].same is None and _comparable(arm, lasts[0])):
        return lasts[0].lineage, found[0]
    for place in lasts[1:]:
        if _against(arm, place).same:
            return place.lineage, found[0]
    return 1 + max(place.lineage for place in lasts), found[0]


def _against(arm: Arm, place: _Place) -> Lineage:
    return lineage_of(place.arm, arm, _shared(place.arm, arm), errors=False)


def _comparable(arm: Arm, place: _Place) -> bool:
    """Whether nothing speaks against one lineage: a saved report has no weights, small layers cannot tell."""
    return bool(_shared(place.arm, arm))


def _shared(before: Arm, after: Arm) -> list[tuple[LayerResult, LayerResult]]:
    ours, theirs = (kinds_of(arm.runs[0].result) for arm in (before, after))
    return [(layer, theirs[kind]) for kind, layer in ours.items() if kind in theirs]


def _filter_r(arm: Arm, found: Lineage, before: Arm) -> dict[str, float | None]:
    shared = _shared(before, arm)
    return {
        second.name: mean_known(layer.filter_r or ()) for (_, second), layer in zip(shared, found.layers, strict=True)
    }


def break_events(steps: Sequence[Step], shown: Sequence[str]) -> Iterator[Event]:
    """A changed architecture, another lineage, and the way back from it.

    Args:
        steps: the run.
        shown: what each checkpoint is called in a sentence.
    """
    seen: dict[int, int] = {}
    for number, step in enumerate(steps):
        before = steps[number - 1] if number else step
        if step.architecture != before.architecture:
            text = f"{shown[number]}: {_difference(before.result, step.result)}, against {shown[number - 1]}"
            yield Event(kind="architecture", checkpoint=number, text=text)
        if step.lineage != before.lineage:
            last = seen.get(step.lineage)
            if last is not None:
                text = f"{shown[number]}: of the lineage of {shown[last]} again"
            else:
                why = "no layer to compare" if step.z is None else f"z {step.z:.1f}"
                text = f"{shown[number]}: not of the lineage of {shown[number - 1]}: its filters are others ({why})"
            yield Event(kind="lineage", checkpoint=number, text=text)
        seen[step.lineage] = number


def _difference(before: ModelResult, after: ModelResult) -> str:
    """What differs between the layers of two checkpoints."""
    ours, theirs = kinds_of(before), kinds_of(after)
    gone = [kind[0] for kind in ours if kind not in theirs]
    new = [kind[0] for kind in theirs if kind not in ours]
    changed = [name for name in gone if name in set(new)]
    lists = (
        ("changed", changed),
        ("new", [name for name in new if name not in set(changed)]),
        ("gone", [name for name in gone if name not in set(changed)]),
    )
    return "; ".join(f"{plural(len(names), 'layer')} {what} ({_names(names)})" for what, names in lists if names)


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
