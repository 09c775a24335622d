"""What a start takes beside 300 running containers, against the same start beside none."""

from __future__ import annotations

import os

from figures import Figure, held, median
from host import VORDR, Host

CROWD = int(os.environ.get("VORDR_CROWD", 300))


def measure(host: Host, runs: int) -> list[Figure]:
    services = {"empty": host.another_root("alone"), "crowded": host.another_root("crowded")}
    for number in range(CROWD):
        host.call(VORDR, "run", "-d", "--name", f"c{number}", "demo", "sleep", "1000000",
                  environment=services["crowded"])
    took: dict[str, dict[str, list[float]]] = {
        words[0]: {name: [] for name in services} for words in _COMMANDS}
    for environment in services.values():
        host.call(VORDR, "run", "-d", "--name", "live", "demo", "sleep", "1000000", environment=environment)
    for _ in range(runs):
        for words in _COMMANDS:
            for name, environment in services.items():
                took[words[0]][name].append(host.time([VORDR, *words], environment).wall)
    found: list[Figure] = []
    for words in _COMMANDS:
        title = f"vordr {' '.join(words)}"
        alone = Figure(f"{title}, 1 running", median(took[words[0]]["empty"]), "ms")
        found += [alone, held(f"{title}, {CROWD + 1} running", median(took[words[0]]["crowded"]), "ms", alone,
                              bound=1.5 if words[0] == "run" else None)]
    return found


_COMMANDS = (("run", "--rm", "demo", "true"), ("exec", "live", "true"))
