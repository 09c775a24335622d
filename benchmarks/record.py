"""The history of benchmarks: one line of JSON for each, and what changed against the last."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from figures import Figure

CHANGED = 0.10
"""Ratios that differ by more are worth a line: less is the noise of a machine at rest."""

_HERE = Path(__file__).resolve().parent


def entry(sections: Mapping[str, Sequence[Figure]]) -> dict[str, Any]:
    figures = [figure for found in sections.values() for figure in found]
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _git("describe", "--always", "--dirty"),
        "kernel": platform.release(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "figures": {f.name: {"value": round(f.value, 4), "unit": f.unit} for f in figures},
        "ratios": {f.name: round(f.ratio, 4) for f in figures if f.ratio is not None and f.name != f.against},
        "missed": [f.name for f in figures if f.missed],
    }


def last(history: Path, cpu: str) -> dict[str, Any] | None:
    """The newest entry of a machine with this processor."""
    if not history.exists():
        return None
    entries = [json.loads(line) for line in history.read_text().splitlines() if line]
    return next((found for found in reversed(entries) if found["cpu"] == cpu), None)


def append(history: Path, found: Mapping[str, Any]) -> None:
    with history.open("a") as file:
        file.write(json.dumps(found, sort_keys=True) + "\n")


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The ratios that are no longer what they were, the largest change first."""
    found: list[tuple[float, str]] = []
    for name, ratio in now["ratios"].items():
        old = before["ratios"].get(name)
        if old and abs(ratio / old - 1) > CHANGED:
            found.append((abs(ratio / old - 1), f"{name:44}{old:8.2f} → {ratio:.2f}"))
    return [line for _, line in sorted(found, reverse=True)]


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", _HERE, *words], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
