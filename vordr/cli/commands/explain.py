"""``vordr explain``."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

import click

from vordr.cli.command import HELP, Command
from vordr.cli.context import Session
from vordr.cli.explain import Explanation, explanation_of
from vordr.cli.output import print_json
from vordr.cli.wording import printable
from vordr.model.arguments import ExplainArgs
from vordr.model.errors import UsageError, every_error


@click.command("explain", cls=Command, context_settings=HELP)
@click.option("--last", is_flag=True, help="Your newest act (also without any argument).")
@click.argument("what", metavar="[TXN|ERR_X]", required=False)
@click.pass_obj
def command(session: Session, last: bool, what: str | None) -> None:
    """Tell at length what an act did, or what an error means."""
    if last and what:
        raise UsageError("--last and a name exclude each other", remedy="vordr explain --last")
    row = explanation_of(what) if what else None
    if what and row is None and not re.fullmatch(r"[0-9a-f][0-9a-f-]{3,35}", what):
        raise UsageError(
            f"{what!r} is neither a transaction nor an error", remedy="vordr history lists transactions")
    if row is not None:
        _print_error(session, *row)
        return
    answer = session.engine().call("explain", ExplainArgs(txn=what)).answer
    if session.json:
        print_json({"text": answer.text})
    else:
        # Summaries hold words of commands, which others chose.
        print("\n".join(printable(line) for line in answer.text.rstrip("\n").split("\n")))


def exit_codes(error_id: str) -> list[int]:
    """All exit codes that go with an id, as for 126 and 127."""
    return sorted({cls.exit_code for cls in every_error() if cls.id == error_id})


def _print_error(session: Session, name: str, row: Explanation) -> None:
    codes = exit_codes(name)
    if session.json:
        print_json({"id": name, "exit_codes": codes, "cause": row.cause, "meaning": row.meaning,
                    "steps": list(row.steps)})
    else:
        print("\n".join(error_lines(name, row, codes)))


def error_lines(name: str, row: Explanation, codes: list[int]) -> Iterator[str]:
    """An explanation for reading."""
    suffix = f" (exit code {', '.join(map(str, codes))})" if codes else ""
    yield f"{name}{suffix}: {row.cause}."
    yield ""
    yield from textwrap.wrap(row.meaning, 80)
    yield ""
    yield "What to do:"
    for number, step in enumerate(row.steps, start=1):
        yield from textwrap.wrap(f"{number}. {step}", 78, initial_indent="  ", subsequent_indent="     ")
