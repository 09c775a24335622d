"""Fifty runs at once, ours against podman's: how long until the last is over, and how many were lost."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from figures import Figure, held, median
from host import VORDR, Host

AT_ONCE = 50
ROUNDS = 3


def measure(host: Host, runs: int) -> list[Figure]:
    podman = [*host.podman, "run", "--rm", "--network=none", "localhost/hello", "/bin/true"]
    ours = [VORDR, "run", "--rm", "demo", "true"]
    took: dict[str, list[float]] = {"podman": [], "vordr": []}
    lost = dict.fromkeys(took, 0)
    for _ in range(ROUNDS):
        for name, words in (("podman", podman), ("vordr", ours)):
            wall, failed = _all_at_once(host, words)
            took[name].append(wall)
            lost[name] += failed
    peer = Figure(f"{AT_ONCE} × podman run --rm at once", median(took["podman"]), "ms")
    return [
        peer,
        held(f"{AT_ONCE} × vordr run --rm at once", median(took["vordr"]), "ms", peer, bound=0.5),
        Figure(f"lost of {ROUNDS * AT_ONCE}, podman", lost["podman"], ""),
        Figure(f"lost of {ROUNDS * AT_ONCE}, vordr", lost["vordr"], "", bound=0),
    ]


def _all_at_once(host: Host, words: Sequence[object]) -> tuple[float, int]:
    """Milliseconds until all were over, and how many did not end with 0."""
    started = time.perf_counter()
    processes = [host.spawn(words) for _ in range(AT_ONCE)]
    codes = [process.wait() for process in processes]
    wall = (time.perf_counter() - started) * 1000
    return wall, sum(code != os.EX_OK for code in codes)
