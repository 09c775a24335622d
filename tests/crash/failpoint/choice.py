"""Which of all points a run crashes at: all of them in a soak, else few that have one of every kind."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
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


def chosen(points: Mapping[str, Sequence[str]], *, soak: bool = SOAK) -> dict[str, list[Fatal]]:
    """For each scene where to crash. Deterministic: each name once, where least is chosen yet, and one of
    each scene at least."""
    if soak:
        return {scene: every(passed) for scene, passed in points.items()}
    found: dict[str, list[Fatal]] = {scene: [] for scene in points}
    for name in sorted({name for passed in points.values() for name in passed}):
        scene = min((s for s, passed in points.items() if name in passed), key=lambda s: len(found[s]))
        found[scene].append((name, points[scene].count(name)))
    for scene, passed in points.items():
        late = every(passed)
        if not found[scene]:
            found[scene].append(late[len(late) // 2])
    return found
