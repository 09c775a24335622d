"""``vordr spec``: verified-container-spec's CLI contract (conformance/runner/cli-contract.json), exactly.

Standard output holds the contract's JSON and nothing else, words for people go to standard error. Exit codes
are 0, 1 and 2 as the contract sets them for each command. No engine is asked, no root folder needed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from vordr import __version__
from vordr.cli.command import HELP, Command
from vordr.cli.context import Session
from vordr.cli.wording import printable
from vordr.formats import canonical
from vordr.formats.digests import sha256_digest
from vordr.formats.errors import FormatError
from vordr.formats.signature import PrivateKey
from vordr.gatekeeper import contract, trust
from vordr.gatekeeper.decide import Mode, Report
from vordr.gatekeeper.outfile import whole_or_absent
from vordr.model.errors import TrustStoreInvalid, VerificationRejected, VordrError

OK, NO, ERROR = range(3)
_LARGEST: Final = canonical.MAX_BYTES
F = TypeVar("F", bound=Callable[..., Any])

_version = click.version_option(__version__, "--version", message="vordr %(version)s")
_verbose = click.option("--verbose", is_flag=True, help="Say more on standard error.")
_KINDS: Final = ("attestation-bundle", "trust-store", "log-entry", "signed-tree-head")


def _file(name: str, help: str, *, required: bool = True) -> Callable[[F], F]:
    return click.option(name, required=required, metavar="FILE", type=click.Path(path_type=Path), help=help)


@click.group("spec", context_settings=HELP)
@_version
def command() -> None:
    """The commands of verified-container-spec's conformance contract.

    Answers are JSON on standard output. They need neither a service nor a root folder.
    """


class _Failure(Exception):
    """An input or output that could not be used; ``code`` is the contract's exit code for it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class _SpecCommand(Command):
    """A command that ends with one of the contract's codes whatever goes wrong, told on standard error."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except _Failure as failure:
            code, message = failure.code, str(failure)
        except VordrError as error:
            code, message = ERROR, error.message
        sys.stdout.flush()
        print(f"vordr spec {self.name}: {printable(message)}", file=sys.stderr)
        return code


def _spec(name: str) -> Callable[[F], click.Command]:
    def make(function: F) -> click.Command:
        return command.command(name, cls=_SpecCommand)(_verbose(_version(function)))

    return make


def _say(value: object) -> None:
    """Compact JSON on one line."""
    print(json.dumps(value))


def _more(verbose: bool, text: str) -> None:
    if verbose:
        print(printable(text), file=sys.stderr)


def _read(path: Path, code: int = ERROR) -> bytes:
    """A file's bytes. A failure ends the command with ``code``."""
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
    except OSError as error:
        raise _Failure(code, f"{path}: {error.strerror}") from error
    if len(raw) > _LARGEST:
        raise _Failure(code, f"{path}: more than {_LARGEST} bytes")
    return raw


def _write(path: Path, content: bytes) -> None:
    try:
        with whole_or_absent(path) as file:
            file.write(content)
    except VordrError as error:
        raise _Failure(ERROR, error.message) from error


# -- consumers -------------------------------------------------------------------------------------


@_spec("validate")
@click.option("--type", "kind", required=True, type=click.Choice(_KINDS), help="What the document is.")
@_file("--input", "The JSON document.")
def validate(kind: str, input: Path, verbose: bool) -> int:
    """Hold a document against its schema. Exits 0 valid, 1 invalid, 2 unreadable or no JSON."""
    try:
        faults = contract.validate(kind, _read(input))
    except FormatError as error:
        raise _Failure(ERROR, f"{input}: {error}") from error
    _more(verbose, f"{len(faults)} faults of {kind}")
    if not faults:
        _say({"valid": True})
        return OK
    _say({"valid": False, "errors": [{"path": path, "message": wrong} for path, wrong in faults]})
    return NO


@_spec("verify")
@_file("--bundle", "The attestation bundle. One that does not exist is MISSING_ATTESTATION.")
@_file("--trust-store", "The trust store to verify it by.")
@click.option("--image-digest", metavar="DIGEST", help="The image manifest that it must be about.")
@click.option("--mode", type=click.Choice([mode.value for mode in Mode]), default="strict",
              help="strict refuses; permissive and audit warn.  [default: strict]")
@click.pass_obj
def verify(
    session: Session, bundle: Path, trust_store: Path, image_digest: str | None, mode: str, verbose: bool
) -> int:
    """Verify a bundle by a trust store. Exits 0 ALLOW, 1 REJECT, 2 when it could not be verified."""
    try:
        store = trust.parse(_read(trust_store), str(trust_store))
    except TrustStoreInvalid as error:
        raise _Failure(ERROR, error.message) from error
    raw = _read(bundle) if os.path.lexists(bundle) else None
    told = contract.verify(raw, store, image_digest, Mode(mode), session.now_us())
    _comment(told, verbose)
    if told.decision == "ALLOW":
        _say({"decision": told.decision, "attestationsVerified": told.attestations_verified,
              "logEntriesVerified": told.log_entries_verified, "thresholdsMet": list(told.thresholds_met)})
        return OK
    _say({"decision": told.decision, "errorCode": told.code, "message": told.message})
    return NO


def _comment(told: Report, verbose: bool) -> None:
    """Warnings, with --verbose the steps, and in audit mode the whole report, on standard error."""
    if told.mode is Mode.AUDIT:
        print(json.dumps({"audit": told.to_json()}), file=sys.stderr)
    for warning in told.warnings if told.mode is not Mode.STRICT else ():
        print(f"warning: {printable(warning)}", file=sys.stderr)
    for step in told.evidence:
        _more(verbose, f"{step.step}. {step.name}: {step.text}")


@_spec("verify-proof")
@_file("--proof", "The inclusion proof, as in a bundle's log entry.")
@click.option("--leaf-hash", required=True, metavar="HASH", help="Hash of the leaf, in hexadecimal.")
def verify_proof(proof: Path, leaf_hash: str, verbose: bool) -> int:
    """Verify a Merkle inclusion proof. Exits 0 valid, 1 invalid, 2 unreadable or no JSON."""
    try:
        wrong = contract.proof_fault(_read(proof), contract.leaf_hash(leaf_hash))
    except FormatError as error:
        raise _Failure(ERROR, str(error)) from error
    _more(verbose, wrong or "the path leads to the root")
    if wrong is None:
        _say({"proofValid": True})
        return OK
    _say({"proofValid": False, "errorCode": "LOG_PROOF_INVALID", "message": wrong})
    return NO


# -- producers -------------------------------------------------------------------------------------


@_spec("create-bundle")
@_file("--attestations", "A JSON array of DSSE envelopes.")
@_file("--log-entries", "A JSON array of log entries.")
@_file("--output", "Where to write the bundle.")
@click.pass_obj
def create_bundle(
    session: Session, attestations: Path, log_entries: Path, output: Path, verbose: bool
) -> int:
    """Put a bundle together. Exits 0 written, 1 for input that makes none, 2 when it cannot be written."""
    try:
        made = contract.create_bundle(_read(attestations, NO), _read(log_entries, NO), session.now_us())
    except (FormatError, VerificationRejected) as error:
        code = error.code if isinstance(error, VerificationRejected) else "MALFORMED_BUNDLE"
        raise _Failure(NO, f"{code}: {error}") from error
    _write(output, made)
    _say({"created": True, "bundleDigest": sha256_digest(made), "path": os.path.abspath(output)})
    _more(verbose, f"{len(made)} bytes")
    return OK


@_spec("sign")
@_file("--statement", "An in-toto Statement v1.")
@_file("--key", "The private key (PEM, PKCS #8, no passphrase).")
@_file("--output", "Where to write the DSSE envelope.")
def sign(statement: Path, key: Path, output: Path, verbose: bool) -> int:
    """Sign a statement. Exits 0 signed, 1 for input that is no statement, 2 when it cannot be signed."""
    raw = _read(statement, NO)
    try:
        signer = PrivateKey.from_pem(_read(key))
    except FormatError as error:
        raise _Failure(ERROR, f"{key}: {error}") from error
    if key.stat().st_mode & 0o077:
        print(f"warning: others than its owner have access to {printable(str(key))}", file=sys.stderr)
    try:
        envelope = contract.sign(raw, signer)
    except (FormatError, VerificationRejected) as error:
        raise _Failure(NO, f"{statement}: {error}") from error
    _write(output, canonical.dumps(envelope.to_json()))
    _say({"signed": True, "keyid": signer.public.key_id, "path": os.path.abspath(output)})
    _more(verbose, f"signed by {signer.suite.value}")
    return OK


@_spec("canonicalize")
@_file("--input", "The JSON document.")
@_file("--output", "Where to write it.  [default: standard output]", required=False)
def canonicalize(input: Path, output: Path | None, verbose: bool) -> int:
    """Write JSON in its canonical form (RFC 8785). Exits 0 done, 1 for what is no JSON, 2 for files."""
    raw = _read(input)
    try:
        made = contract.canonicalize(raw)
    except FormatError as error:
        raise _Failure(NO, f"{input}: {error}") from error
    _more(verbose, f"{len(raw)} bytes, canonical {len(made)}")
    if output is not None:
        _write(output, made)
    else:
        sys.stdout.buffer.write(made)
        sys.stdout.buffer.flush()
    return OK
