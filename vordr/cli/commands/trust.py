"""``vordr trust``: init, show, add, revoke."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Final

import click

from vordr.cli.command import HELP, Command
from vordr.cli.context import Session
from vordr.cli.output import Columns, print_json, print_rows
from vordr.cli.passphrase import passphrase, passphrase_options
from vordr.cli.shapes import plain
from vordr.cli.wording import rfc3339
from vordr.formats.errors import FormatError
from vordr.formats.times import parse_rfc3339
from vordr.model.answers import TrustAnswer, TrustKey
from vordr.model.arguments import NoArgs, TrustAddArgs, TrustInitArgs, TrustRevokeArgs
from vordr.model.errors import UsageError

_KEYS: Final[Columns] = (
    ("KEY", "id"), ("ROLE", "role"), ("ALGORITHM", "algorithm"), ("OWNER", "owner"), ("STATUS", "status"),
)
_LOGS: Final[Columns] = (("LOG", "id"), ("OPERATOR", "operator"), ("URL", "url"))


@click.group("trust", context_settings=HELP)
def command() -> None:
    """Whom this host trusts to vouch for images."""


@command.command("init", cls=Command)
@click.option("--owner", default=None, metavar="NAME", help="Who vouches, in verdicts.  [default: your user]")
@passphrase_options
@click.pass_obj
def init(session: Session, owner: str | None, ask: bool, passphrase_file: Path | None) -> None:
    """Make signing keys, three local logs and a trust store that trusts them."""
    args = TrustInitArgs(
        owner=owner or getpass.getuser(), passphrase=passphrase(ask, passphrase_file, new=True))
    _show(session, session.engine().call("trust_init", args).answer)


@command.command("show", cls=Command)
@click.pass_obj
def show(session: Session) -> None:
    """Show keys, logs and thresholds."""
    _show(session, session.engine().call("trust_show", NoArgs()).answer)


@command.command("add", cls=Command)
@click.option("--role", default="builders", metavar="ROLE",
              help="What the key is trusted for.  [default: builders]")
@click.option("--owner", required=True, metavar="NAME", help="Whose key it is.")
@click.option("--valid-until", metavar="TIME", help="When trust ends, such as 2027-01-01T00:00:00Z.")
@click.argument("file", metavar="KEY.pem", type=click.Path(path_type=Path, allow_dash=True))
@click.pass_obj
def add(session: Session, role: str, owner: str, valid_until: str | None, file: Path) -> None:
    """Trust another public key (PEM; '-' reads standard input)."""
    try:
        pem = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {file}: {error}", remedy="a public key in PEM form") from None
    if "PRIVATE KEY" in pem:
        raise UsageError(
            f"{file} holds a private key", remedy="give its public key, and keep this one secret")
    try:
        until = None if valid_until is None else parse_rfc3339(valid_until)
    except FormatError as error:
        raise UsageError(f"--valid-until: {error}", remedy="such as 2027-01-01T00:00:00Z") from None
    args = TrustAddArgs(public_key=pem, role=role, owner=owner, valid_until=until)
    _show(session, session.engine().call("trust_add", args).answer)


@command.command("revoke", cls=Command)
@click.option("--reason", default="unspecified", metavar="REASON",
              help="Why: key_compromise, superseded, affiliation_changed, cessation, privilege_withdrawn or "
              "unspecified.  [default: unspecified]")
@click.argument("key", metavar="KEY")
@click.pass_obj
def revoke(session: Session, reason: str, key: str) -> None:
    """Stop trusting a key. Nothing takes this back: the key can never be added again."""
    _show(session, session.engine().call("trust_revoke", TrustRevokeArgs(key=key, reason=reason)).answer)


def _show(session: Session, answer: TrustAnswer) -> None:
    if session.json:
        print_json(plain(answer))
        return
    print(f"Trust store {answer.id}, epoch {answer.epoch}, {answer.digest}")
    print()
    now = session.now_us()
    print_rows([plain(key) | {"status": key_status(key, now)} for key in answer.keys], _KEYS)
    print()
    print_rows([plain(log) for log in answer.logs], _LOGS)
    print()
    for group, rule in answer.thresholds.items():
        print(f"Threshold of {group}: {rule}")


def key_status(key: TrustKey, now_us: int) -> str:
    if key.revoked is not None:
        return f"revoked {rfc3339(key.revoked)}" + (f" ({key.reason})" if key.reason else "")
    if now_us < key.valid_from:
        return f"valid from {rfc3339(key.valid_from)}"
    if key.valid_until is not None:
        word = "expired" if now_us >= key.valid_until else "valid until"
        return f"{word} {rfc3339(key.valid_until)}"
    return "valid"
