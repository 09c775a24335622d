"""Being attached to a container's process or to an exec session, from the first byte to the exit code."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Final

from vordr.cli.detaching import DETACH_KEYS
from vordr.cli.terminal import FORWARDED, End, Streams, Wishes, pump
from vordr.engine.protocol import Engine, Event
from vordr.model.arguments import KillArgs, LogsArgs, ResizeArgs, WaitArgs
from vordr.model.errors import ContainerError, UsageError

DETACHED: Final = 0


@dataclass(frozen=True)
class Process:
    """What is attached to: a container's process, or its exec ``session``. ``name`` is for messages.

    ``removed``: the process is over when its container is gone too, as docker's ``run --rm`` has it.
    """

    container: str
    name: str
    tty: bool
    session: str | None = None
    removed: bool = False


def require_terminal(*, tty: bool, stdin: bool) -> None:
    """docker's rule: keys for a container's terminal come from a terminal. Raises UsageError."""
    if tty and stdin and not os.isatty(0):
        raise UsageError("the input device is not a terminal", remedy="leave -t out, and keep -i")


def follow(
    engine: Engine, process: Process, files: tuple[int, ...], *, stdin: bool, proxy: bool = True,
    keys: bytes = DETACH_KEYS,
) -> int:
    """Pump the attach descriptor in ``files`` until the process ends; its exit code, 0 after the detach keys.

    Without a descriptor (the process was over before it could be attached to) what it wrote is read from its
    log. An exec session gets no signals: the engine can send them to a container's own process only.

    :raises ContainerError: the exit code is not known.
    """
    if not files:
        return _afterwards(engine, process)
    sys.stdout.flush()
    wishes = Wishes(
        tty=process.tty,
        detach_keys=keys,
        resize=lambda rows, columns: _resize(engine, process, rows, columns),
        forward=None if process.session or process.tty or not proxy else lambda n: _kill(engine, process, n),
    )
    ended = pump(files[0], Streams(stdin=0 if stdin else None), wishes)
    if ended.how == End.CLOSED:
        return exit_code(engine, process)
    return DETACHED if ended.how == End.DETACHED else 128 + ended.signal


def exit_code(engine: Engine, process: Process) -> int:
    """Wait for the process to end; its exit code. Raises ContainerError when nobody can know it."""
    args = WaitArgs(
        container=process.container, session=process.session,
        condition="removed" if process.removed else "stopped")
    return known(engine.call("wait", args).answer.code, process.name)


def known(code: int | None, name: str) -> int:
    """An exit code, if there is one; raises ContainerError when nobody can know it."""
    if code is None:
        raise ContainerError(
            f"the exit code of {name} is not known: the host or its keeper went down while it ran",
            remedy=f"vordr history {name}",
        )
    return code


def _afterwards(engine: Engine, process: Process) -> int:
    if process.session is None:
        def show(event: Event) -> None:
            if event.get("event") == "log":
                print(event["text"], file=sys.stderr if event["stream"] == "stderr" else sys.stdout)

        args = LogsArgs(container=process.container, events=True)
        for line in engine.call("logs", args, on_event=show).answer.lines:
            show({"event": "log", "stream": line.stream, "text": line.text})
    return exit_code(engine, process)


def _resize(engine: Engine, process: Process, rows: int, columns: int) -> None:
    engine.call("resize", ResizeArgs(
        container=process.container, rows=rows, columns=columns, session=process.session))


def _kill(engine: Engine, process: Process, number: int) -> None:
    engine.call("kill", KillArgs(container=process.container, signal=FORWARDED[number]))
