"""The fast path: plain command lines of the everyday commands, from words to an exit code in a few ms.

Importing click, msgspec and the model takes 50 ms, which a person feels and a script pays at every call. So
what is plain is read, asked and shown here with next to no imports, and everything else (other commands and
options, ``--json``, no service, every error) goes the ordinary way. A test asks both ways the same and wants
the same requests, output and exit codes (tests/unit/test_cli_fast.py).

:func:`attempt` either declines, before the service has heard anything, or carries the command to its end.
"""

from __future__ import annotations

import os
import sys

from vordr.cli.fastwords import GRAMMARS, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Final

    from vordr.cli.fastwire import Line
    from vordr.model.errors import VordrError

DEFAULT_ROOT: Final = "/var/lib/vordr"
_ACTS: Final = {
    "start": "start", "stop": "stop", "restart": "restart", "kill": "kill", "pause": "pause",
    "unpause": "resume", "resume": "resume", "rm": "remove",
}
"""Commands that do one thing to each container named, and the operation that does it."""

_SAME_FIELDS: Final = (
    "name", "user", "workdir", "hostname", "read_only", "init", "auto_remove", "tty", "stdin",
)


class _Job:
    """One command line on its way: where the service is, and what was asked for."""

    def __init__(self, root: str, line: Line, values: dict[str, Any], rest: list[str]) -> None:
        self.root = root
        self.line = line
        self.values = values
        self.rest = rest

    def ask(
        self, operation: str, request: bytes, files: Sequence[int] = ()
    ) -> tuple[dict[str, Any], list[int]]:
        """As :meth:`Line.ask`, with the errors of the ordinary way."""
        from vordr.cli import fastwire

        show = _Progress() if sys.stderr.isatty() else None
        try:
            return self.line.ask(request, files, show)
        except fastwire.Refused as refused:
            from vordr.engine.remote import rebuild

            raise rebuild(refused.told) from None
        except fastwire.Gone:
            from vordr.engine.remote import went_away

            raise went_away(operation) from None
        except fastwire.Garbled as garbled:
            from vordr.engine.remote import misunderstood

            raise misunderstood(str(garbled)) from None
        finally:
            if show is not None:
                show.wipe()

    def report(self, error: VordrError) -> int:
        """Tell an error as the ordinary way does; its exit code."""
        from vordr.cli.context import Session
        from vordr.cli.failure import report

        session = Session()
        session.debug = bool(os.environ.get("VORDR_DEBUG"))
        return report(error, session)


class _Progress:
    """Shows progress on a terminal; what draws it is imported when there is something to draw."""

    def __init__(self) -> None:
        self._line: Any = None

    def __call__(self, event: dict[str, Any]) -> None:
        if self._line is None:
            from vordr.cli.progress import ProgressLine

            self._line = ProgressLine()
        self._line.show(event)

    def wipe(self) -> None:
        if self._line is not None:
            self._line.wipe()


def attempt(words: Sequence[str]) -> int | None:
    """Perform a plain command line; its exit code. None: nothing was done, go the ordinary way.

    Raises what the ordinary way raises, its errors of the engine excepted: those are told here.
    """
    root, words = _root(words)
    if not words or root is None or "_VORDR_COMPLETE" in os.environ:
        return None
    command = words[0]
    grammar = GRAMMARS.get(command)
    found = None if grammar is None else read(words[1:], grammar)
    if found is None:
        return None
    try:
        from vordr.cli import fastwire
    except ImportError:  # a Python without these C halves
        return None
    values, rest = found
    prepare = _prepare_acts(command) if command in _ACTS else _PREPARING[command]
    try:
        work = prepare(values, rest)
    except UnicodeEncodeError:  # words that are not text: the ordinary way says so
        return None
    if work is None:
        return None
    line = fastwire.dial(root)
    return None if line is None else _perform(_Job(root, line, values, rest), work)


def _perform(job: _Job, work: Callable[[_Job], int]) -> int:
    try:
        return work(job)
    except (KeyError, AttributeError) as error:  # an answer without a field that it should have
        from vordr.engine.remote import misunderstood

        return job.report(misunderstood(f"answered in other words: {error!r}"))
    except _vordr_error() as error:
        return job.report(error)


def _vordr_error() -> type[VordrError]:
    """The root of the engine's errors, imported once there is one."""
    from vordr.model.errors import VordrError

    return VordrError


def _root(words: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """The root folder as :func:`vordr.engine.opening.resolve_root` resolves it, and the words after it."""
    given = os.environ.get("VORDR_ROOT") or DEFAULT_ROOT
    if words and words[0] == "--root" and len(words) > 1 and words[1] and words[1][0] != "-":
        given, words = words[1], words[2:]
    return os.path.realpath(given), words


# -- ps ------------------------------------------------------------------------------------------------


class _Seen:
    """A container of the answer, its fields as attributes."""

    id: str
    name: str
    image_name: str
    arguments: list[str]
    ports: list[str]
    state: str
    created: int
    started: int | None
    finished: int | None
    exit_code: int | None
    parked: str | None

    def __init__(self, fields: dict[str, Any]) -> None:
        self.__dict__ = fields


def _prepare_ps(values: dict[str, Any], rest: list[str]) -> Callable[[_Job], int] | None:
    from vordr.cli.fastwire import frame

    if rest:
        return None
    request = frame("list", {"all": values.get("every", False)})
    return lambda job: _ps(job, request)


def _ps(job: _Job, request: bytes) -> int:
    import time

    from vordr.cli.columns import cell, print_table
    from vordr.cli.units import PS_COLUMNS, age_order, ps_cells

    answer, _ = job.ask("list", request)
    listed = [_Seen(fields) for fields in answer["containers"]]
    listed.sort(key=age_order, reverse=True)
    now = time.time_ns() // 1000
    rows = [ps_cells(each, now, full=job.values.get("no_trunc", False)) for each in listed]
    if job.values.get("quiet"):
        for row in rows:
            print(row["ID"])
    else:
        print_table([[heading for heading, _ in PS_COLUMNS],
                     *([cell(row[name]) for _, name in PS_COLUMNS] for row in rows)])
    return 0


# -- acts on containers --------------------------------------------------------------------------------


def _prepare_acts(
    command: str,
) -> Callable[[dict[str, Any], list[str]], Callable[[_Job], int] | None]:
    from vordr.cli.fastwire import frame

    def prepare(values: dict[str, Any], rest: list[str]) -> Callable[[_Job], int]:
        requests = [(name, frame(_ACTS[command], {"container": name, **values})) for name in rest]
        return lambda job: _for_each(job, _ACTS[command], requests)

    return prepare


def _for_each(job: _Job, operation: str, requests: list[tuple[str, bytes]]) -> int:
    """As :func:`vordr.cli.targets.for_each`: each is tried, errors come at the end."""
    from vordr.cli.fastwire import dial

    code = 0
    for target, request in requests:
        try:
            job.ask(operation, request)
        except _vordr_error() as error:
            failed = job.report(error)
            code = code or failed
            if error.id == "ERR_SERVICE_UNREACHABLE":
                job.line = dial(job.root) or job.line
        else:
            print(target)
    return code


# -- run and exec --------------------------------------------------------------------------------------


def _prepare_run(values: dict[str, Any], rest: list[str]) -> Callable[[_Job], int] | None:
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


def _run(job: _Job, request: bytes, files: list[int]) -> int:
    answer, received = job.ask("run", request, files)
    for file in files:
        os.close(file)
    container = answer["container"]
    if job.values.get("detach"):
        print(container["id"])
        return 0
    return _follow(job, received, container["id"], container["name"], session=None)


def _prepare_exec(values: dict[str, Any], rest: list[str]) -> Callable[[_Job], int] | None:
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


def _exec(job: _Job, request: bytes) -> int:
    answer, received = job.ask("exec", request)
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


def _follow(job: _Job, files: list[int], container: str, name: str, *, session: str | None) -> int:
    """As :func:`vordr.cli.attached.follow`, whose errands and rarer ends are left to it."""
    from vordr.cli.fastwire import frame

    tty = job.values.get("tty", False)
    removed = job.values.get("auto_remove", False)
    if not files:
        from vordr.cli.attached import follow

        return follow(_engine(job), _process(container, name, tty, session, removed), (), stdin=False)
    from vordr.cli.terminal import End, Streams, Wishes, pump

    def resize(rows: int, columns: int) -> None:
        from vordr.cli.attached import resize as ask

        ask(_engine(job), _process(container, name, tty, session, removed), rows, columns)

    def forward(number: int) -> None:
        from vordr.cli.attached import kill

        kill(_engine(job), _process(container, name, tty, session, removed), number)

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


def _engine(job: _Job) -> Any:
    """The ordinary way's engine, on connections of its own."""
    from pathlib import Path

    from vordr.cli.fastwire import SOCKET
    from vordr.engine.remote import RemoteEngine

    return RemoteEngine(Path(job.root, SOCKET))


def _process(container: str, name: str, tty: bool, session: str | None, removed: bool) -> Any:
    from vordr.cli.attached import Process

    return Process(container, name, tty=tty, session=session, removed=removed)


_PREPARING: Final = {"ps": _prepare_ps, "run": _prepare_run, "exec": _prepare_exec}
