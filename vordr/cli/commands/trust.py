"""``vordr trust``: init, key, show, add, revoke, sign, update, logs."""

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
from vordr.cli.wording import printable, rfc3339
from vordr.formats.errors import FormatError
from vordr.formats.times import parse_rfc3339
from vordr.model.answers import LogsSeenAnswer, TrustAnswer, TrustKey
from vordr.model.arguments import NoArgs, TrustAddArgs, TrustInitArgs, TrustRevokeArgs, TrustUpdateArgs
from vordr.model.errors import UsageError

_KEYS: Final[Columns] = (
    ("KEY", "id"), ("ROLE", "role"), ("ALGORITHM", "algorithm"), ("OWNER", "owner"), ("STATUS", "status"),
)
SUITES: Final = ("CT-SIG-01", "CT-SIG-02", "CT-SIG-04")
_SEEN: Final[Columns] = (
    ("LOG", "id"), ("OPERATOR", "operator"), ("TREE", "size"), ("INDEX", "index"), ("HEAD OF", "head"),
    ("STATUS", "status"),
)
_LOGS: Final[Columns] = (("LOG", "id"), ("OPERATOR", "operator"), ("URL", "url"))


@click.group("trust", context_settings=HELP)
def command() -> None:
    """Whom this host trusts to vouch for images."""


@command.command("init", cls=Command)
@click.option("--owner", default=None, metavar="NAME", help="Who vouches, in verdicts.  [default: your user]")
@click.option("--suite", type=click.Choice(SUITES), default="CT-SIG-01",
              help="Of the signing key: CT-SIG-01 Ed25519, CT-SIG-02 Ed25519 and ML-DSA-87 (both must hold), "
              "CT-SIG-04 Ed448.  [default: CT-SIG-01]")
@passphrase_options
@click.pass_obj
def init(
    session: Session, owner: str | None, suite: str, ask: bool, passphrase_file: Path | None
) -> None:
    """Make signing keys, three local logs and a trust store that trusts them."""
    args = TrustInitArgs(
        owner=owner or getpass.getuser(), passphrase=passphrase(ask, passphrase_file, new=True), suite=suite)
    _show(session, session.engine().call("trust_init", args).answer)


@command.command("key", cls=Command)
@click.option("--suite", type=click.Choice(SUITES), default="CT-SIG-01",
              help="As for init.  [default: CT-SIG-01]")
@passphrase_options
@click.argument("file", metavar="KEY.pem", type=click.Path(path_type=Path))
@click.pass_obj
def key(session: Session, suite: str, ask: bool, passphrase_file: Path | None, file: Path) -> None:
    """Make a private key of your own in a new file; print its public key, for 'vordr trust add'.

    No engine is asked, and nobody trusts the key by that.
    """
    from vordr.formats.signature import Suite
    from vordr.gatekeeper.keys import make_key

    public = make_key(file, Suite(suite), passphrase(ask, passphrase_file, new=True)).public
    if session.json:
        print_json({"id": public.key_id, "suite": suite, "publicKey": public.to_pem()})
    else:
        print(public.to_pem(), end="")


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
@click.option("--digest", is_flag=True,
              help="KEY is the digest of an attestation, or of an image's manifest, which nobody vouches "
              "for any more.")
@click.argument("key", metavar="KEY")
@click.pass_obj
def revoke(session: Session, reason: str, digest: bool, key: str) -> None:
    """Stop trusting a key, attestation or image. Nothing takes this back."""
    args = TrustRevokeArgs(key=key, reason=reason, digest=digest)
    _show(session, session.engine().call("trust_revoke", args).answer)


@command.command("sign", cls=Command)
@click.option("--key", "key_file", required=True, type=click.Path(path_type=Path), metavar="FILE",
              help="Your private key, of role updaters where the update shall be taken.")
@passphrase_options
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), metavar="UPDATE",
              help="Where to write the update; may be FILE.")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.pass_obj
def sign(
    session: Session, key_file: Path, ask: bool, passphrase_file: Path | None, output: Path, file: Path
) -> None:
    """Sign a new trust store (JSON), or add your signature to an update that others signed.

    Its "revision" must be above that of the hosts, and "updated" later. No engine is asked.
    """
    from vordr.gatekeeper import durable, trust_updates
    from vordr.gatekeeper.keys import load_key

    key = load_key(key_file, passphrase(ask, passphrase_file))
    made = trust_updates.sign(_read(file, trust_updates.LARGEST_UPDATE).encode(), key)
    try:
        durable.replace(output, made, 0o644)
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}") from None
    signers = [one.keyid for one in trust_updates.parse(made).signatures]
    if session.json:
        print_json({"key": key.public.key_id, "signers": signers})
    else:
        print(f"{output}  signed by {key.public.key_id}, {len(signers)} signatures")


@command.command("update", cls=Command)
@click.argument("file", metavar="UPDATE", type=click.Path(path_type=Path, allow_dash=True))
@click.pass_obj
def update(session: Session, file: Path) -> None:
    """Take a new trust store that the updaters of this host's signed ('-' reads standard input).

    It must be newer than the present one, and no revocation may be missing from it.
    """
    from vordr.gatekeeper.trust_updates import LARGEST_UPDATE

    args = TrustUpdateArgs(document=_read(file, LARGEST_UPDATE))
    _show(session, session.engine().call("trust_update", args).answer)


@command.command("logs", cls=Command)
@click.pass_obj
def logs(session: Session) -> int:
    """Ask the logs of others for their heads, and hold them against what was seen of them before.

    Exits 1 if one shows less than before, another history, or no answer.
    """
    answer: LogsSeenAnswer = session.engine().call("trust_logs", NoArgs()).answer
    if session.json:
        print_json(plain(answer))
    else:
        print_rows([plain(log) | {"status": printable(log.wrong or "ok"),
                                  "head": rfc3339(log.time) if log.time else "-"} for log in answer.logs],
                   _SEEN)
    return int(any(log.wrong for log in answer.logs))


def _read(file: Path, limit: int) -> str:
    """The text of a file of at most ``limit`` bytes; '-' is standard input. Raises UsageError."""
    try:
        with open(sys.stdin.fileno() if str(file) == "-" else file, "rb", closefd=str(file) != "-") as source:
            raw = source.read(limit + 1)
        if len(raw) > limit:
            raise UsageError(f"{file}: larger than {limit} bytes")
        return raw.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {file}: {error}") from None


def _show(session: Session, answer: TrustAnswer) -> None:
    if session.json:
        print_json(plain(answer))
        return
    print(f"Trust store {answer.id}, revision {answer.revision}, epoch {answer.epoch}, {answer.digest}")
    if answer.expires is not None:
        word = "expired" if session.now_us() >= answer.expires else "expires"
        print(f"It {word} {rfc3339(answer.expires)}")
    print()
    now = session.now_us()
    print_rows([plain(key) | {"status": key_status(key, now)} for key in answer.keys], _KEYS)
    print()
    print_rows([plain(log) for log in answer.logs], _LOGS)
    print()
    for group, rule in answer.thresholds.items():
        print(f"Threshold of {group}: {rule}")
    for one in answer.revoked:
        print(f"Revoked: {one.digest} at {rfc3339(one.at)} ({one.reason})")


def key_status(key: TrustKey, now_us: int) -> str:
    if key.revoked is not None:
        return f"revoked {rfc3339(key.revoked)}" + (f" ({key.reason})" if key.reason else "")
    if now_us < key.valid_from:
        return f"valid from {rfc3339(key.valid_from)}"
    if key.valid_until is not None:
        word = "expired" if now_us >= key.valid_until else "valid until"
        return f"{word} {rfc3339(key.valid_until)}"
    return "valid"
