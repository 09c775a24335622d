"""Which of all points a run crashes at: all of them in a soak, else few that have one of every kind."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import Final

from failpoint.points import Fatal

SOAK: Final = bool(os.environ.get("VORDR_SOAK"))


def every(points: Sequence[str]) -> list[Fatal]:
    """Every passing of every point, in order."""
    passed: Counter[str] = Counter()
    found = []
    for name in points:
        passed[name] += 1
        found.append((name, passed[name]))
    return found


def kinds(name: str) -> tuple[str, ...]:
    """What sorts of point it is. Of a write to the journal: its moment and records, and each step in it; of
    an effect: which; of a file: in which effect, or in which top folder and whether it is named there."""
    moment, _, what = name.partition(" ")
    if moment not in ("before", "after"):
        file, _, effect = name.partition(" in ")
        event, _, path = file.partition(" ")
        named = event if event in ("rename", "link") else "at"
        return (f"inside {effect}" if effect else f"{named} {path.partition('/')[0]}" if path else file,)
    if not what.startswith("journal "):
        return (f"around {what}",)
    drafts = [draft.split() for draft in what.removeprefix("journal ").split("+")]
    return (
        f"{moment} {'+'.join(words[0] for words in drafts)}",
        *(f"{words[0]} {words[1]}" for words in drafts if words[0] in ("intent", "done")))


def chosen(
    points: Mapping[str, Sequence[str]], *, elsewhere: Set[str] = frozenset(), soak: bool = SOAK
) -> dict[str, list[Fatal]]:
    """For each scene where to crash. Deterministic: a point of each kind, where least is chosen yet.

    Kinds in ``elsewhere`` are crashed at by another test.
    """
    passed = {scene: every(names) for scene, names in points.items()}
    if soak:
        return passed
    found: dict[str, list[Fatal]] = {scene: [] for scene in points}
    met = set(elsewhere)
    for sort in sorted({sort for names in points.values() for name in names for sort in kinds(name)}):
        if sort in met:
            continue
        alike = {scene: [fatal for fatal in fatals if sort in kinds(fatal[0])]
                 for scene, fatals in passed.items()}
        scene = min((s for s, fatals in alike.items() if fatals), key=lambda s: len(found[s]))
        fatal = alike[scene][len(alike[scene]) // 2]
        found[scene].append(fatal)
        met.update(kinds(fatal[0]))
    return found
