"""What profiles are tried on: the contract's commands in this process, and a sound bundle to begin with."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from published import spec_document

from vordr.cli import entry
from vordr.cli.context import Session
from vordr.engine.protocol import Engine
from vordr.formats.digests import sha256_digest
from vordr.formats.signature import PrivateKey, Suite
from vordr.formats.times import parse_rfc3339
from vordr.gatekeeper import trust
from vordr.gatekeeper.attest import make_bundle
from vordr.gatekeeper.init import trust_init
from vordr.gatekeeper.keys import OPERATOR, KeyRing
from vordr.gatekeeper.sbom import Inventory
from vordr.gatekeeper.software import Package
from vordr.gatekeeper.statements import PACK_BUILD, Act
from vordr.gatekeeper.subject import Subject
from vordr.gatekeeper.translog import local_logs
from vordr.gatekeeper.trust import TrustStore
from vordr.model.paths import Paths

NOW = parse_rfc3339("2026-03-01T12:00:00Z")
SUBJECT = Subject(sha256_digest(b"manifest"), sha256_digest(b"config"), ())
BOB = PrivateKey.from_seeds(Suite.ED25519, b"b" * 32)


def read_published(place: str) -> Any:
    """A published document, or the part of it that a JSON pointer after ``#`` names."""
    name, _, pointer = place.partition("#")
    value = spec_document(name)
    for step in pointer.strip("/").split("/") if pointer else ():
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


@dataclass(frozen=True)
class Ran:
    """How one command ended: exit code, and what it wrote."""

    code: int
    out: bytes
    err: str

    @property
    def told(self) -> Any:
        """The JSON on standard output; {} where there is none."""
        return json.loads(self.out) if self.out else {}


def _no_engine(root: Path | None) -> Engine:
    raise AssertionError("a command of the contract asked for an engine")


def spec(*words: str | Path, now_us: int = NOW) -> Ran:
    """Run ``vordr spec WORDS``."""
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    session = Session(opener=_no_engine, clock=lambda: now_us)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = entry.run(["spec", *map(str, words)], session)
        out.flush()
    return Ran(code, out.buffer.getvalue(), err.getvalue())  # type: ignore[attr-defined]  # it is a BytesIO


class Bench:
    """A folder with an operator, three logs, and a bundle that they make and that holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        paths = Paths(folder / "root", folder / "run")
        self.trust: TrustStore = trust_init(paths, "Ada", NOW, host="box")
        self.operator = KeyRing(paths).load(OPERATOR)
        self._logs = local_logs(paths, self.trust)
        self.bundle: dict[str, Any] = json.loads(self.bundle_by([self.operator]))

    def bundle_by(self, signers: Sequence[PrivateKey]) -> bytes:
        act = Act(PACK_BUILD, "web:1", "a folder", signers[0].public.key_id, NOW, invocation="a test")
        found = Inventory((Package("bash", "5.2", "amd64"),), "As listed by a test.")
        return make_bundle(SUBJECT, act, found, signers=signers, logs=self._logs)

    def file(self, name: str, value: object) -> Path:
        """A file with ``value`` as JSON (bytes as they are)."""
        path = self.folder / name
        path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
        return path

    def verify(
        self, bundle: object, *words: str, store: TrustStore | None = None,
        digest: str | None = SUBJECT.manifest, now_us: int = NOW,
    ) -> Ran:
        """``spec verify`` of a bundle (None: a file that is not there), by the own trust store or another."""
        place = self.folder / "absent.json" if bundle is None else self.file("bundle.json", bundle)
        known = self.file("trust.json", trust.checked(store or self.trust).to_document())
        image = () if digest is None else ("--image-digest", digest)
        return spec("verify", "--bundle", place, "--trust-store", known, *image, *words, now_us=now_us)
