"""The fast path: plain command lines of the everyday commands, from words to an exit code in a few ms.

Importing click, msgspec and the model takes 50 ms, which a person feels and a script pays at every call. So
what is plain is read, asked and shown here with next to no imports, and everything else (other commands and
options, ``--json``, no service, every error) goes the ordinary way. A test asks both ways the same and wants
the same requests, output and exit codes (tests/unit/test_cli_fast.py).

:func:`attempt` either declines, before the service has heard anything, or carries the command to its end.
"""

from __future__ import annotations

import os

from vordr.cli.fastjob import Job, vordr_error
from vordr.cli.fastwords import GRAMMARS, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Final

    Prepare = Callable[[dict[str, Any], list[str]], Callable[[Job], int] | None]

DEFAULT_ROOT: Final = "/var/lib/vordr"
_ACTS: Final = {
    "start": "start", "stop": "stop", "restart": "restart", "kill": "kill", "pause": "pause",
    "unpause": "resume", "resume": "resume", "rm": "remove",
}
"""Commands that do one thing to each container named, and the operation that does it."""


def attempt(words: Sequence[str]) -> int | None:
    """Perform a plain command line; its exit code. None: nothing was done, go the ordinary way.

    Raises what the ordinary way raises, its errors of the engine excepted: those are told here.
    """
    root, words = _root(words)
    if not words or "_VORDR_COMPLETE" in os.environ:
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
    prepare = _preparing(command)
    try:
        work = prepare(values, rest)
    except UnicodeEncodeError:  # words that are not text: the ordinary way says so
        return None
    if work is None:
        return None
    line = fastwire.dial(root)
    return None if line is None else _perform(Job(root, line, values, rest), work)


def _preparing(command: str) -> Prepare:
    """What makes the work of a command of its words, its requests ready; None where click must see them."""
    if command in _ACTS:
        return _prepare_acts(command)
    if command == "ps":
        return _prepare_ps
    from vordr.cli import fastrun

    return {"run": fastrun.prepare_run, "exec": fastrun.prepare_exec}[command]


def _perform(job: Job, work: Callable[[Job], int]) -> int:
    try:
        return work(job)
    except (KeyError, AttributeError) as error:  # an answer without a field that it should have
        from vordr.engine.remote import misunderstood

        return job.report(misunderstood(f"answered in other words: {error!r}"))
    except vordr_error() as error:
        return job.report(error)


def _root(words: Sequence[str]) -> tuple[str, Sequence[str]]:
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


def _prepare_ps(values: dict[str, Any], rest: list[str]) -> Callable[[Job], int] | None:
    from vordr.cli.fastwire import frame

    if rest:
        return None
    request = frame("list", {"all": values.get("every", False)})
    return lambda job: _ps(job, request)


def _ps(job: Job, request: bytes) -> int:
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


def _prepare_acts(command: str) -> Prepare:
    from vordr.cli.fastwire import frame

    def prepare(values: dict[str, Any], rest: list[str]) -> Callable[[Job], int]:
        requests = [(name, frame(_ACTS[command], {"container": name, **values})) for name in rest]
        return lambda job: _for_each(job, _ACTS[command], requests)

    return prepare


def _for_each(job: Job, operation: str, requests: list[tuple[str, bytes]]) -> int:
    """As :func:`vordr.cli.targets.for_each`: each is tried, errors come at the end."""
    from vordr.cli.fastwire import dial

    code = 0
    for target, request in requests:
        try:
            job.ask(operation, request)
        except vordr_error() as error:
            failed = job.report(error)
            code = code or failed
            if error.id == "ERR_SERVICE_UNREACHABLE":
                job.line = dial(job.root) or job.line
        else:
            print(target)
    return code
