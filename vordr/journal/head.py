"""The signed head: a C2SP checkpoint of the journal's tree in a file outside the database.

Origin and key name are ``vordr/<first 16 hex digits of the host key id>``. Two extension lines follow the
root: ``seq <number of the last record>`` and ``hash <hex of its hash>``. A database that holds fewer records
than the head covers was cut or swapped; records beyond the head are not yet anchored.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from vordr.formats import checkpoint, note
from vordr.formats.errors import FormatError
from vordr.formats.signature import PrivateKey, PublicKey, Suite
from vordr.model.errors import JournalCorrupt

_MAX_BYTES = 64 * 1024


def origin(public: PublicKey) -> str:
    """The journal's name in its checkpoints."""
    return "vordr/" + public.key_id.removeprefix("sha256:")[:16]


@dataclass(frozen=True)
class Head:
    """The tree at ``size`` records, its root, and the last record's number and hash."""

    size: int
    root: bytes
    seq: int
    hash: bytes

    def to_checkpoint(self, name: str) -> checkpoint.Checkpoint:
        return checkpoint.Checkpoint(
            name, self.size, self.root, (f"seq {self.seq}", f"hash {self.hash.hex()}")
        )


class Signer:
    """Signs heads with one host key."""

    def __init__(self, key: PrivateKey) -> None:
        """:raises FormatError: the key is not Ed25519."""
        self.public = key.public
        if self.public.suite is not Suite.ED25519:
            raise FormatError("host key", f"is a key of {self.public.suite.value}, not {Suite.ED25519.value}")
        self._key = key
        self._name = origin(self.public)
        self._key_id = note.key_id(self._name, self.public.raw)

    def sign(self, head: Head) -> str:
        """The head as a signed note."""
        # note.sign_note derives and checks the public key each time, which costs as much as a commit.
        text = head.to_checkpoint(self._name).to_text()
        line = note.NoteSignature(self._name, self._key_id, self._key.sign(text.encode()))
        return note.SignedNote(text, (line,)).to_text()


def verify(text: str, public: PublicKey) -> Head:
    """The head that ``text`` states, signed by ``public``.

    :raises FormatError: malformed, of another journal, or not signed by that key.
    """
    name = origin(public)
    signed = note.parse_note(text)
    if not note.verify_note(signed, name, public):
        raise FormatError("head", f"is not signed by the host key {name}")
    found = checkpoint.parse(signed.text)
    if found.origin != name:
        raise FormatError("head", f"is of {found.origin}, not of {name}")
    match [line.split(" ") for line in found.extensions]:
        case [["seq", seq], ["hash", digest]] if seq.isascii() and seq.isdigit():
            try:
                head = Head(found.size, found.root, int(seq), bytes.fromhex(digest))
            except ValueError:
                raise FormatError("head", "its hash is not hexadecimal")
        case _:
            raise FormatError("head", "lacks the lines seq and hash")
    if head.to_checkpoint(name).to_text() != signed.text:
        raise FormatError("head", "is not in its canonical form")
    return head


def read(path: Path) -> str | None:
    """The text of the head file; None when there is none.

    :raises JournalCorrupt: not a text, or far too long for a head.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    if len(raw) > _MAX_BYTES:
        raise JournalCorrupt(f"the journal's head {path} is longer than any head")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise JournalCorrupt(f"the journal's head {path} is not a signed note")


def write(path: Path, text: str) -> None:
    """Replace the head file; a crash leaves the old head or the new one, never half of one.

    The folder itself is not synced: losing the rename brings back the old head, which is still true.

    :raises OSError: the disk refuses.
    """
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        data = text.encode()
        if os.write(descriptor, data) != len(data):
            raise OSError(f"short write to {temporary}")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(temporary, path)
