"""run and exec on the fast path: what is asked of the service, and being attached until the exit code."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from vordr.cli.fastjob import Job


_SAME_FIELDS: Final = (
    "name", "user", "workdir", "hostname", "read_only", "init", "auto_remove", "tty", "stdin",
)


def prepare_run(values: dict[str, Any], rest: list[str]) -> Callable[[Job], int] | None:
    from vordr.cli.fastwire import frame

    environment = _environment(values)
    if environment is None or not _terminal_allows(values):
        return None
    image, *command = rest
    package = names_package(image)
    args: dict[str, Any] = {
        "image": os.path.abspath(image) if package else image, "package": package, "command": command,
        "environment": environment, "attach": not values.get("detach", False),
        **{field: values[field] for field in _SAME_FIELDS if field in values},
    }
    request = frame("run", args)
    files: list[int] = []
    if package:
        try:
            files.append(os.open(args["image"], os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            return None
    return lambda job: _run(job, request, files)


def names_package(image: str) -> bool:
    """:func:`vordr.engine.protocol.is_package`."""
    return image.endswith(".ctp") or image.startswith(("/", "./", "../"))


def _run(job: Job, request: bytes, files: list[int]) -> int:
    answer, received = job.ask("run", request, files, None if job.values.get("detach") else _be_ready)
    for file in files:
        os.close(file)
    container = answer["container"]
    if job.values.get("detach"):
        print(container["id"])
        return 0
    return _follow(job, received, container["id"], container["name"], session=None)


def _be_ready() -> None:
    """Import what attaching needs, which takes as long as the service takes to begin."""
    from vordr.cli import terminal

    del terminal


def prepare_exec(values: dict[str, Any], rest: list[str]) -> Callable[[Job], int] | None:
    from vordr.cli.fastwire import frame

    environment = _environment(values)
    if environment is None or not _terminal_allows(values):
        return None
    detach = values.get("detach", False)
    args: dict[str, Any] = {
        "container": rest[0], "command": rest[1:], "environment": environment, "detach": detach,
        "stdin": values.get("stdin", False) and not detach,
        **{field: values[field] for field in ("user", "workdir", "tty") if field in values},
    }
    request = frame("exec", args)
    return lambda job: _exec(job, request)


def _exec(job: Job, request: bytes) -> int:
    answer, received = job.ask("exec", request, (), _be_ready)
    if job.values.get("detach"):
        return 0
    return _follow(job, received, job.rest[0], job.rest[0], session=answer["session"])


def _environment(values: dict[str, Any]) -> dict[str, str] | None:
    """As :func:`vordr.cli.container_options.environment`; None where that would refuse."""
    found: dict[str, str] = {}
    for pair in values.get("env", ()):
        name, equals, value = pair.partition("=")
        if not name or name != name.strip():
            return None
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    return found


def _terminal_allows(values: dict[str, Any]) -> bool:
    """:func:`vordr.cli.attached.require_terminal`, which then says what is wrong."""
    keys = values.get("tty") and values.get("stdin") and not values.get("detach")
    return not keys or os.isatty(0)


def _follow(job: Job, files: list[int], container: str, name: str, *, session: str | None) -> int:
    """As :func:`vordr.cli.attached.follow`."""
    from vordr.cli.fastwire import frame

    tty = job.values.get("tty", False)
    removed = job.values.get("auto_remove", False)
    if not files:
        return _afterwards(job, container, name, session)
    from vordr.cli.terminal import FORWARDED, End, Streams, Wishes, pump

    def resize(rows: int, columns: int) -> None:
        size = {"container": container, "rows": rows, "columns": columns, "session": session}
        _errand(job.root, frame("resize", size))

    def forward(number: int) -> None:
        _errand(job.root, frame("kill", {"container": container, "signal": FORWARDED[number]}))

    sys.stdout.flush()
    stdin = 0 if job.values.get("stdin") else None
    ended = pump(files[0], Streams(stdin=stdin), Wishes(
        tty=tty, resize=resize, forward=None if session or tty else forward))
    if ended.how != End.CLOSED:
        return 0 if ended.how == End.DETACHED else 128 + ended.signal
    args = {"container": container, "condition": "removed" if removed else "stopped"}
    answer, _ = job.ask("wait", frame("wait", args if session is None else {**args, "session": session}))
    code = answer["code"]
    if not isinstance(code, int):
        from vordr.cli.attached import known

        return known(code, name)
    return code


def _errand(root: str, request: bytes) -> None:
    """Ask for something while the process runs, on a connection of its own; one that is refused is dropped,
    as :func:`vordr.cli.terminal.pump` has it: the process has ended."""
    from vordr.cli import fastwire

    line = fastwire.dial(root)
    if line is not None:
        try:
            line.ask(request)
        except (fastwire.Refused, fastwire.Gone, fastwire.Garbled):
            pass
        finally:
            line.close()


def _afterwards(job: Job, container: str, name: str, session: str | None) -> int:
    """The process was over before it could be attached to: the ordinary way shows what it left."""
    from pathlib import Path

    from vordr.cli.attached import Process, follow
    from vordr.cli.fastwire import SOCKET
    from vordr.engine.remote import RemoteEngine

    process = Process(
        container, name, tty=job.values.get("tty", False), session=session,
        removed=job.values.get("auto_remove", False))
    return follow(RemoteEngine(Path(job.root, SOCKET)), process, (), stdin=False)
