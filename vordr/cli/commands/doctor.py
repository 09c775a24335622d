"""``vordr doctor``: also when there is no service to ask."""

from __future__ import annotations

import click

from vordr import __version__
from vordr.cli.command import HELP, Command
from vordr.cli.context import Session
from vordr.cli.output import print_json
from vordr.cli.shapes import doctor_report
from vordr.cli.wording import printable
from vordr.model.answers import DoctorAnswer, DoctorCheck
from vordr.model.arguments import NoArgs
from vordr.model.errors import VordrError

_MARKS = {"pass": "ok  ", "warn": "warn", "fail": "FAIL"}


@click.command("doctor", cls=Command, context_settings=HELP)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text",
              help="text, or json (Svalinn's doctor-report.v1).  [default: text]")
@click.pass_obj
def command(session: Session, form: str) -> int:
    """Check the host: what works, what does not, and what mends it. Exits 1 when containers cannot run."""
    answer = examine(session)
    if form == "json" or session.json:
        print_json(doctor_report(answer, __version__, session.now_us()))
    else:
        _print(answer)
    return 1 if any(check.status == "fail" for check in answer.checks) else 0


def examine(session: Session) -> DoctorAnswer:
    """The service's checks, or our own where no service can be had; why is then one of them."""
    try:
        answer: DoctorAnswer = session.engine().call("doctor", NoArgs()).answer
        return answer
    except VordrError as error:
        service = DoctorCheck(
            category="Service", name="service", status="fail", message=f"{error.message} [{error.id}]",
            fix=error.remedy)
        return DoctorAnswer(checks=(service, *own_checks(session)))


def own_checks(session: Session) -> tuple[DoctorCheck, ...]:
    """The host's checks made by this process."""
    from vordr.engine.opening import resolve_root
    from vordr.model.paths import Paths
    from vordr.runtime.doctor import checks
    from vordr.runtime.probe import probe

    return tuple(
        DoctorCheck(category=c.category, name=c.name, status=str(c.status), message=c.message, fix=c.fix)
        for c in checks(probe(), Paths.of(resolve_root(session.root))))


def _print(answer: DoctorAnswer) -> None:
    category = ""
    for check in answer.checks:
        if check.category != category:
            category = check.category
            print(category)
        print(f"  {_MARKS[check.status]}  {check.name}: {printable(check.message)}")
        if check.fix and check.status != "pass":
            print(f"        To fix: {printable(check.fix)}")
    if answer.supervision:
        print("Supervision")
        for line in answer.supervision:
            print(f"  {printable(line)}")
    counts = [sum(c.status == status for c in answer.checks) for status in _MARKS]
    print("{} passed, {} warnings, {} errors".format(*counts))
