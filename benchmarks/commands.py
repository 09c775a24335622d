"""Whole commands against their peers: run, run with a cold service, ps, exec. Rounds are interleaved."""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from figures import Figure, held, median
from host import VORDR, Host, Spent

STOPPED = 100
"""Containers at rest that both lists have to leave out."""

RUN, PS, EXEC = "podman run --rm --network=none true", "podman ps", "podman exec true"


@dataclass(frozen=True)
class Command:
    """What is timed, the peer it is held against, the promised ratio, what is done before the clock runs."""

    words: Sequence[object]
    peer: str
    bound: float | None = None
    before: Callable[[], None] | None = None
    environment: dict[str, str] | None = None


def measure(host: Host, runs: int) -> list[Figure]:
    _prepare(host)
    commands = _commands(host)
    spent: dict[str, list[Spent]] = {name: [] for name in commands}
    for number in range(runs + 1):  # the first round only warms up
        for name in random.sample(list(commands), len(commands)):
            command = commands[name]
            if command.before is not None:
                command.before()
            took = host.time(command.words, command.environment)
            if number:
                spent[name].append(took)
    wall = {name: median(each.wall for each in times) for name, times in spent.items()}
    return [
        held(name, wall[name], "ms", Figure(command.peer, wall[command.peer], "ms"), bound=command.bound,
             processor=median(each.processor for each in spent[name]))
        for name, command in commands.items()]


def _prepare(host: Host) -> None:
    bundle = host.folder / "bundle"
    bundle.mkdir()
    shutil.copytree(host.rootfs, bundle / "rootfs", symlinks=True)
    host.call("runc", "spec", "--bundle", bundle)
    spec = json.loads((bundle / "config.json").read_text())
    spec["process"].update(terminal=False, args=["/bin/true"], rlimits=[])
    (bundle / "config.json").write_text(json.dumps(spec))
    for number in range(STOPPED):
        host.call(VORDR, "create", "--name", f"rest{number}", "demo")
        host.call(*host.podman, "create", "--network=none", "--name", f"rest{number}", "localhost/hello",
                  "/bin/true")
    host.call(VORDR, "run", "-d", "--name", "live", "demo", "sleep", "100000")
    host.call(*host.podman, "run", "-d", "--network=none", "--name", "live", "localhost/hello",
              "/bin/sleep", "100000")


def _commands(host: Host) -> dict[str, Command]:
    runc = ["runc", "--root", host.folder / "runc", "run", "--bundle", host.folder / "bundle", "bare"]
    cold = host.another_root("cold")
    image = "localhost/hello"
    return {
        "python that does nothing": Command([sys.executable, "-c", ""], PS),
        "runc run true": Command(runc, RUN),
        RUN: Command([*host.podman, "run", "--rm", "--network=none", image, "/bin/true"], RUN),
        "vordr run --rm demo true": Command([VORDR, "run", "--rm", "demo", "true"], RUN, 0.35),
        "vordr run --rm demo.ctp true": Command([VORDR, "run", "--rm", "demo.ctp", "true"], RUN),
        "vordr run --rm demo true, service cold": Command(
            [VORDR, "run", "--rm", "demo", "true"], RUN, before=lambda: host.stop_service(cold),
            environment=cold),
        PS: Command([*host.podman, "ps"], PS),
        "vordr ps": Command([VORDR, "ps"], PS, 1.0),
        EXEC: Command([*host.podman, "exec", "live", "/bin/true"], EXEC),
        "vordr exec true": Command([VORDR, "exec", "live", "true"], EXEC, 0.5),
    }
