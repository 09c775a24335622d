"""``vordr sign``: by one's own key, without the engine, on any machine."""

from __future__ import annotations

from pathlib import Path

import click

from vordr.cli.command import HELP, Command
from vordr.cli.context import Session
from vordr.cli.output import print_json
from vordr.cli.passphrase import passphrase, passphrase_options
from vordr.cli.wording import printable
from vordr.gatekeeper.countersign import Signed, sign_bundle, sign_package
from vordr.gatekeeper.keys import load_key
from vordr.model.errors import UsageError


@click.command("sign", cls=Command, context_settings=HELP)
@click.option("--key", "key_file", required=True, type=click.Path(path_type=Path), metavar="FILE",
              help="Your private key (PEM, as 'vordr trust key' makes it).")
@passphrase_options
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE",
              help="Where to write what is signed.  [default: in place of TARGET]")
@click.argument("target", metavar="BUNDLE.json|FILE.ctp", type=click.Path(path_type=Path))
@click.pass_obj
def command(
    session: Session, key_file: Path, ask: bool, passphrase_file: Path | None, output: Path | None,
    target: Path,
) -> None:
    """Add your signature to a bundle or package: one of the k that a threshold asks for.

    Signers come one after the other, in any order. What they sign are the statements that the logs hold
    already, so the logs need no new entries.
    """
    key = load_key(key_file, passphrase(ask, passphrase_file))
    act = sign_bundle if _is_json(target) else sign_package
    signed = act(target, output or target, key)
    if session.json:
        print_json({"key": signed.key, "changed": signed.changed, "about": list(signed.about),
                    "kinds": list(signed.kinds), "signers": list(signed.signers)})
    else:
        _print(signed)


def _is_json(target: Path) -> bool:
    """A bundle is a JSON object; a package begins with the name of its first member."""
    try:
        with target.open("rb") as file:
            return file.read(64).lstrip()[:1] == b"{"
    except OSError as error:
        raise UsageError(f"{target}: cannot be read: {error.strerror}") from error


def _print(signed: Signed) -> None:
    print(f"{'Signed by' if signed.changed else 'Signed before by'} {signed.key}")
    for manifest in signed.about:
        print(f"  about  {printable(manifest)}")
    for kind in signed.kinds:
        print(f"  as     {printable(kind)}")
    print(f"  signers of all of it: {len(signed.signers)}")
