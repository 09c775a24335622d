"""``vordr undo`` and, beside it, what redo shows: the plan first, then the act."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Final

import click

from vordr.cli.command import HELP, Command
from vordr.cli.completing import containers
from vordr.cli.context import Session, interactive
from vordr.cli.output import print_json
from vordr.cli.shapes import plain
from vordr.cli.wording import printable
from vordr.model.answers import UndoAnswer
from vordr.model.arguments import UndoArgs
from vordr.model.errors import UsageError

_TXN: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}(-[0-9a-f]{0,4}){0,2}(-[0-9a-f]{0,12})?")


@click.command("undo", cls=Command, context_settings=HELP)
@click.option("--last", is_flag=True, help="Your newest act that still stands (also without any argument).")
@click.option("--steps", type=click.IntRange(min=1), default=1, metavar="N",
              help="That many acts.  [default: 1]")
@click.option("--to", "to", type=click.IntRange(min=0), metavar="SEQ", help="Everything after a record.")
@click.option("--cascade", is_flag=True, help="Take later acts along that depend on it.")
@click.option("--dry-run", is_flag=True, help="Show the plan only.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.argument("what", metavar="[TXN|CONTAINER]", required=False, shell_complete=containers)
@click.pass_obj
def command(
    session: Session, last: bool, steps: int, to: int | None, cascade: bool, dry_run: bool, yes: bool,
    what: str | None,
) -> None:
    """Take acts back: the newest, one transaction, those of a container, or all after a record.

    The plan is shown first: what will run, what cannot come back, what stays. It is asked for only on a
    terminal, and only when something would be lost.
    """
    if (last and (what or to is not None)) or (what and to is not None):
        raise UsageError("--last, TXN or CONTAINER, and --to exclude each other", remedy="name one of them")
    txn, container = (what, None) if what and is_txn(what) else (None, what)
    wish = UndoArgs(txn=txn, container=container, steps=steps, to=to, cascade=cascade, dry_run=True)
    engine = session.engine()
    plan = engine.call("undo", wish).answer
    if dry_run:
        show_plan(session, plan)
        return
    if not session.json:
        show_plan(session, plan)
    confirm(plan, yes)
    finish(session, engine.call("undo", as_planned(wish, plan)).answer)


def is_txn(word: str) -> bool:
    """Whether a word has the form of a transaction's id (a UUID), or of a good part of its beginning."""
    return _TXN.fullmatch(word) is not None


def as_planned(wish: UndoArgs, plan: UndoAnswer) -> UndoArgs:
    """The act for a plan that was shown. A single act is named, so that no newer one slips in between."""
    txn = plan.undone[0][0] if len(plan.undone) == 1 else wish.txn
    if txn is not None:
        return UndoArgs(txn=txn, cascade=wish.cascade)
    return UndoArgs(container=wish.container, steps=wish.steps, to=wish.to, cascade=wish.cascade)


def plan_lines(plan: UndoAnswer) -> Iterator[str]:
    """The plan in words, in the order in which it would run."""
    for txn, summary in plan.undone:
        yield f"Undo {txn}  {summary}"
    for number, step in enumerate(plan.steps, start=1):
        yield f"  {number}. {step.name}: {step.text}"
    if plan.losses:
        yield "Cannot come back:"
        yield from (f"  - {loss}" for loss in plan.losses)
    if plan.stays:
        yield "Stays as it is:"
        yield from (f"  - {kept}" for kept in plan.stays)


def show_plan(session: Session, plan: UndoAnswer) -> None:
    if session.json:
        print_json(plain(plan))
    else:
        for line in plan_lines(plan):
            print(printable(line))
        sys.stdout.flush()


def confirm(plan: UndoAnswer, yes: bool) -> None:
    """Ask where something would be lost and somebody can answer; leaves with code 1 on a no."""
    if plan.losses and not yes and interactive() and not click.confirm("Go on?", err=True):
        raise click.exceptions.Exit(1)


def finish(session: Session, done: UndoAnswer) -> None:
    if session.json:
        print_json(plain(done))
    elif done.receipt is not None:
        print(done.receipt.txn)
