"""Memory of the service for each container: made, and running."""

from __future__ import annotations

from figures import Figure
from host import VORDR, Host
from records import anonymous

MADE, RUNNING = 100, 30


def measure(host: Host, runs: int) -> list[Figure]:
    environment = host.another_root("memory")

    def service() -> float:
        pid = host.service_pid(environment)
        if pid is None:
            raise SystemExit("no service to measure")
        return anonymous(pid)

    def each(count: int, *words: str) -> None:
        for number in range(count):
            host.call(VORDR, *words, "--name", f"{words[0]}{number}", "demo", "sleep", "100000",
                      environment=environment)

    for _ in range(10):
        host.call(VORDR, "run", "--rm", "demo", "true", environment=environment)
    idle = service()
    each(MADE, "create")
    made = service()
    each(RUNNING, "run", "-d")
    running = service()
    return [
        Figure("service without containers", idle / 1024, "MiB"),
        Figure("each container that was made", (made - idle) / MADE, "KiB"),
        Figure("each container that runs", (running - made) / RUNNING, "KiB"),
    ]
