"""Signed notes (C2SP signed-note v1), with Ed25519 keys (signature type 0x01)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from vordr.formats import base64s
from vordr.formats.errors import FormatError
from vordr.formats.signature import PrivateKey, PublicKey, Suite

ED25519_TYPE = b"\x01"
MAX_SIGNATURES = 100
MAX_BYTES = 1_000_000

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_KEY_ID = re.compile(r"[0-9a-f]{8}")
_SIGNATURE_LINE = re.compile(r"— ([^ \n]+) ([A-Za-z0-9+/=]+)")


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: who (key name and 4-byte key id), and the signature's bytes."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class SignedNote:
    """A text that ends in a newline, and its signatures; nothing verified: see :func:`verify_note`."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def to_text(self) -> str:
        """The note as it is written: text, empty line, signature lines."""
        lines = [
            f"— {sig.name} {base64s.encode(sig.key_id + sig.signature)}\n" for sig in self.signatures
        ]
        return self.text + "\n" + "".join(lines)


def key_id(name: str, public_key_bytes: bytes) -> bytes:
    """The first 4 bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ 32-byte Ed25519 key).

    :raises FormatError: a name with a lone surrogate.
    """
    return hashlib.sha256(_utf8(name) + b"\n" + ED25519_TYPE + public_key_bytes).digest()[:4]


def sign_note(text: str, name: str, key: PrivateKey) -> str:
    """The note of ``text`` (ending in a newline) with one signature by ``key``, known as ``name``.

    :raises FormatError: a text or key name that a note cannot carry, or a key that is not Ed25519.
    """
    _check_name(name)
    _check_text(text)
    public = _ed25519(key.public)
    line = NoteSignature(name, key_id(name, public.raw), key.sign(text.encode()))
    return SignedNote(text, (line,)).to_text()


def parse_note(note: str) -> SignedNote:
    """Text and signatures of a note, nothing verified.

    :raises FormatError: no text, no signature, control characters, a line among the signatures that is none,
        more than ``MAX_SIGNATURES``, or more than ``MAX_BYTES``.
    """
    if len(note) > MAX_BYTES or len(_utf8(note)) > MAX_BYTES:
        raise FormatError("note", f"longer than {MAX_BYTES} bytes")
    text, gap, block = note.rpartition("\n\n")
    if not gap:
        raise FormatError("note", "no empty line before the signatures")
    text += "\n"
    _check_text(text)
    if not block.endswith("\n"):
        raise FormatError("note", "the last signature line is not ended")
    lines = block[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise FormatError("note", f"more than {MAX_SIGNATURES} signatures")
    return SignedNote(text, tuple(_parse_line(line) for line in lines))


def verify_note(note: SignedNote | str, name: str, public: PublicKey) -> bool:
    """Whether the note is signed by ``public``, known as ``name``.

    Signatures of other keys are ignored. Where this key signed more than once, each of its signatures must
    hold.

    :raises FormatError: a note given as str that is none, or a key that is not Ed25519.
    """
    signed = parse_note(note) if isinstance(note, str) else note
    wanted = key_id(name, _ed25519(public).raw)
    ours = [sig for sig in signed.signatures if sig.name == name and sig.key_id == wanted]
    message = _utf8(signed.text)
    return bool(ours) and all(public.verify(sig.signature, message) for sig in ours)


def encode_verifier_key(name: str, public: PublicKey) -> str:
    """``name+hash+base64`` as the Go note package prints verifier keys.

    :raises FormatError: a bad name, or a key that is not Ed25519.
    """
    _check_name(name)
    raw = _ed25519(public).raw
    return f"{name}+{key_id(name, raw).hex()}+{base64s.encode(ED25519_TYPE + raw)}"


def parse_verifier_key(text: str) -> tuple[str, PublicKey]:
    """Name and key of a verifier key.

    :raises FormatError: another form, another algorithm, a hash that is not the key's, or an unsound key.
    """
    name, _, rest = text.partition("+")
    stated, plus, encoded = rest.partition("+")
    if not plus or not _KEY_ID.fullmatch(stated):
        raise FormatError("verifier key", "not name+hash+key")
    _check_name(name)
    data = base64s.decode(encoded, "verifier key")
    if data[:1] != ED25519_TYPE:
        raise FormatError("verifier key", "not an Ed25519 key")
    public = PublicKey(Suite.ED25519, data[1:])
    if key_id(name, public.raw).hex() != stated:
        raise FormatError("verifier key", "the hash is not that of name and key")
    return name, public


def _parse_line(line: str) -> NoteSignature:
    match = _SIGNATURE_LINE.fullmatch(line)
    if match is None:
        raise FormatError("note", f"not a signature line: {line[:100]!r}")
    name, encoded = match.groups()
    _check_name(name)
    data = base64s.decode(encoded, "note signature")
    if len(data) < 5:
        raise FormatError("note signature", "shorter than a key id and a signature")
    return NoteSignature(name, data[:4], data[4:])


def _check_name(name: str) -> None:
    if not name or "+" in name or any(char.isspace() for char in name) or _CONTROL.search(name):
        raise FormatError("note key name", f"empty, or holds a space or plus: {name[:100]!r}")
    _utf8(name)


def _check_text(text: str) -> None:
    if not text.endswith("\n"):
        raise FormatError("note", "the text does not end in a newline")
    if _CONTROL.search(text):
        raise FormatError("note", "the text holds a control character")
    _utf8(text)


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise FormatError("note", "holds a lone surrogate")


def _ed25519(public: PublicKey) -> PublicKey:
    if public.suite is not Suite.ED25519:
        raise FormatError("note", f"notes are signed with {Suite.ED25519.value}, not {public.suite.value}")
    return public
