"""``vordr audit``: of the journal, through the engine or offline on a copy; or of the verdicts that stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from vordr.cli.command import HELP, Command
from vordr.cli.context import Session
from vordr.cli.output import Columns, print_json, print_rows
from vordr.cli.shapes import plain
from vordr.model.answers import AuditAnswer, VerdictsAnswer
from vordr.model.arguments import AuditArgs, NoArgs
from vordr.model.errors import JournalCorrupt, UsageError, VerdictsLapsed

_PATH: Any = click.Path(path_type=Path)
_LAPSED: Final[Columns] = (
    ("CONTAINER ID", "id"), ("NAME", "name"), ("IMAGE", "image"), ("STATE", "state"), ("CODE", "code"),
    ("WHY", "message"),
)


@click.command("audit", cls=Command, context_settings=HELP)
@click.option("--chain", is_flag=True,
              help="Check the whole chain and the signed head (also without any option).")
@click.option("--model", is_flag=True, help="Also hold the history against the proved model.")
@click.option("--prove", type=click.IntRange(min=1), metavar="SEQ", help="Also prove that a record is in it.")
@click.option("--consistency", nargs=2, type=click.IntRange(min=0), metavar="A B",
              help="Also prove that the first A records are a beginning of the first B.")
@click.option("--db", type=_PATH, metavar="DIR", help="Offline: the journal's database, or a copy.")
@click.option("--head", type=_PATH, metavar="FILE", help="Offline: the signed head.")
@click.option("--public-key", type=_PATH, metavar="FILE",
              help="Offline: the host's public key, PEM or base64.")
@click.option("--verdicts", is_flag=True,
              help="Instead: list the containers that run, or are held created or paused, and could not be "
              "started now. Exits 55 when there are any.")
@click.pass_obj
def command(
    session: Session, chain: bool, model: bool, prove: int | None, consistency: tuple[int, int] | None,
    db: Path | None, head: Path | None, public_key: Path | None, verdicts: bool,
) -> int:
    """Check the journal: each record's hash, the tree, and the head that the host signed. Exits 41 when it
    does not hold.

    With --verdicts check what runs instead: each container is judged as if it were started now, by the trust
    store, the policy and the files of now. Nothing is stopped by that, and nothing recorded.
    """
    if verdicts:
        if chain or model or any(one is not None for one in (prove, consistency, db, head, public_key)):
            raise UsageError("--verdicts is about what runs, the other options are about the journal",
                             remedy="vordr audit --verdicts")
        return _verdicts(session)
    if prove is not None and consistency is not None:
        raise UsageError("--prove and --consistency exclude each other", remedy="ask for one at a time")
    if db is not None and head is not None and public_key is not None:
        answer = offline(db, head, public_key, prove, consistency, model=model)
    elif db is None and head is None and public_key is None:
        asked = AuditArgs(prove=prove, consistency=consistency, model=model)
        answer = session.engine().call("audit", asked).answer
    else:
        raise UsageError(
            "an offline audit needs all three", remedy="vordr audit --db DIR --head FILE --public-key FILE")
    if session.json:
        print_json(plain(answer))
        return 0 if answer.ok else JournalCorrupt.exit_code
    if not answer.ok:
        raise JournalCorrupt(
            f"the journal does not hold: {answer.reason}",
            remedy="keep a copy of the journal before you do anything else",
            details={"first_bad": answer.first_bad, "records": answer.records, "root": answer.root})
    _print(answer)
    if db is None:
        print("Checked with this host's own key. Keep the key and the root elsewhere: whoever had root here")
        print("can replace all three, and an audit with your copy (--db, --head, --public-key) shows it.")
    return 0


def _verdicts(session: Session) -> int:
    answer: VerdictsAnswer = session.engine().call("verdicts", NoArgs()).answer
    lapsed = answer.lapsed
    if session.json:
        print_json(plain(answer))
        return VerdictsLapsed.exit_code if lapsed else 0
    if not lapsed:
        print(f"Each of {answer.judged} containers could be started now.")
        return 0
    print_rows([plain(one) | {"id": one.id[:12]} for one in lapsed], _LAPSED)
    cures = dict.fromkeys(f"{cure.command}  ({cure.text})" for one in lapsed for cure in one.cures)
    raise VerdictsLapsed(
        f"{len(lapsed)} of {answer.judged} containers could not be started now as they were",
        details={"remedies": list(cures)})


def offline(
    db: Path, head: Path, public_key: Path, prove: int | None, consistency: tuple[int, int] | None, *,
    model: bool,
) -> AuditAnswer:
    """Audit without an engine; see :mod:`vordr.journal.auditor` for what is checked."""
    import msgspec

    from vordr.engine.auditing import audited
    from vordr.journal.auditor import OfflineJournal

    key = read_key(public_key)
    if not db.is_dir():
        raise UsageError(f"{db} is no folder", remedy="--db ROOT/journal/db")
    with OfflineJournal.copied(db, head) as journal:
        answer = audited(journal, key, None, model=model)
        proof: dict[str, Any] | None = None
        if answer.ok and prove is not None:
            proof = journal.prove(prove, key)
        elif answer.ok and consistency is not None:
            proof = journal.consistency(*consistency)
    return msgspec.structs.replace(answer, proof=proof)


def read_key(file: Path) -> Any:
    """The Ed25519 public key in a file: PEM, or the base64 of its SPKI as ``vordr audit`` prints it."""
    from vordr.formats.errors import FormatError
    from vordr.formats.signature import PublicKey, Suite

    try:
        text = file.read_text(encoding="ascii")
        body = "".join(line.strip() for line in text.splitlines() if not line.startswith("-----"))
        return PublicKey.from_spki_base64(body, Suite.ED25519)
    except (OSError, UnicodeDecodeError, FormatError) as error:
        raise UsageError(
            f"cannot read a public key from {file}: {error}",
            remedy="save the 'Host key' that 'vordr audit' prints on the host") from None


def _print(answer: AuditAnswer) -> None:
    print("The journal holds.")
    print(f"Records:  {answer.records} ({answer.unanchored} after the signed head)")
    print(f"Root:     {answer.root}")
    print(f"Host key: {answer.public_key}")
    if answer.model is not None:
        print(f"Model:    {answer.model}")
    if answer.proof is not None:
        print("Proof:")
        print_json(answer.proof)
