"""How an error is told: to a person in lines, to a program as Svalinn's error-response.v1.

Both go to standard error, so that standard output holds answers only.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click

from vordr.cli.context import Session
from vordr.cli.wording import printable
from vordr.model.errors import UsageError, VordrError

_NOT_EVIDENCE: Final = {"type", "cause", "remedies"}


def tell(error: Exception, session: Session) -> int:
    """Whatever a command line ended with: say it as it should be said; returns the exit code."""
    nothing_given = getattr(click.exceptions, "NoArgsIsHelpError", ())  # click 8.1 has none: it exits
    match error:
        case click.exceptions.Exit():
            sys.stdout.flush()
            return error.exit_code
        case click.exceptions.Abort():
            return 130
        case click.UsageError() if isinstance(error, nothing_given) and error.ctx is not None:
            print(error.ctx.get_help(), flush=True)
            return 0
        case click.ClickException():
            return report(usage_error(error), session)
        case VordrError():
            return report(error, session)
        case _:
            return report_unexpected(error, session)


def usage_error(error: click.ClickException) -> UsageError:
    """click's complaint about the command line as one of ours."""
    ctx = getattr(error, "ctx", None)
    path = ctx.command_path if ctx is not None else "vordr"
    remedies = [*getattr(error, "remedies", ()), f"{path} --help"]
    message = error.format_message().rstrip(".")
    message = message[:1].lower() + message[1:] if message[:2].istitle() else message
    return UsageError(message, remedy=remedies[0], details={"remedies": remedies})


def report(error: VordrError, session: Session) -> int:
    """Print ``error`` in the session's form; returns its exit code."""
    if session.json:
        _say(json.dumps({"error": wire_form(error)}, ensure_ascii=False))
    else:
        _say("\n".join(lines(error)))
    if session.debug:
        _say("".join(traceback.format_exception(error)).rstrip())
    return error.exit_code


def report_unexpected(error: Exception, session: Session) -> int:
    """One line about an error that nobody foresaw; the trace only with ``--debug``."""
    what = printable(f"{type(error).__name__}: {error}".splitlines()[0][:300])
    hint = "run again with 'vordr --debug …' for the trace"
    if session.json:
        _say(json.dumps({"error": {
            "code": VordrError.exit_code, "id": VordrError.id, "message": what, "suggestions": [hint]}}))
    else:
        _say(f"Error [{VordrError.id}]: {what} ({hint})")
    if session.debug:
        _say("".join(traceback.format_exception(error)).rstrip())
    return VordrError.exit_code


def wire_form(error: VordrError) -> dict[str, Any]:
    """The ``error`` object of error-response.v1, with every remedy among its suggestions."""
    wire = error.to_wire()
    remedies = wire["details"].pop("remedies", None)
    if remedies:
        wire["suggestions"] = list(remedies)
    return wire


def lines(error: VordrError) -> Iterator[str]:
    """Summary, cause, evidence, what to do, and where to read more."""
    from vordr.cli.explain import EXPLANATIONS

    row = EXPLANATIONS.get(error.id)
    yield f"Error [{error.id}]: {printable(error.message)}"
    cause = error.details.get("cause") or (row.cause if row else None)
    if cause and error.id != UsageError.id:
        yield f"  cause: {printable(str(cause))}"
    for key, value in error.details.items():
        if key not in _NOT_EVIDENCE and value not in (None, "", [], {}):
            yield from _evidence(key, value)
    steps = list(error.details.get("remedies") or ([error.remedy] if error.remedy else []))
    if not steps and row:
        steps = [row.steps[0]]
    if steps:
        yield "To fix:"
        yield from (f"  {number}. {printable(str(step))}" for number, step in enumerate(steps, start=1))
    if error.id != UsageError.id:
        yield f"More: vordr explain {error.id}"


def _evidence(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = ", ".join(f"{k}={v}" for k, v in value.items())
    elif isinstance(value, (list, tuple)):
        value = ", ".join(str(v) for v in value)
    first, *rest = str(value).splitlines() or [""]
    yield f"  {key}: {printable(first)}"
    yield from (f"    {printable(line)}" for line in rest)


def _say(text: str) -> None:
    sys.stdout.flush()
    print(text, file=sys.stderr, flush=True)
