from __future__ import annotations

import base64

import pytest

from vordr.formats import FormatError, base64s, note
from vordr.formats.signature import PrivateKey, PublicKey, Suite

# The example keys and note of Go's sumdb/note package (note_test.go).
PETER_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
ENOCH_VKEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
PETER_SIG = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6Ryy"
    "BwJnAM=\n"
)
ENOCH_SIG = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc"
    "+QQ=\n"
)
NOTE = TEXT + "\n" + PETER_SIG

PETER = PrivateKey.from_seeds(Suite.ED25519, PETER_SEED)


def test_the_example_keys_of_go_are_read_and_written() -> None:
    name, public = note.parse_verifier_key(PETER_VKEY)
    assert (name, public) == ("PeterNeumann", PETER.public)
    assert note.encode_verifier_key(name, public) == PETER_VKEY
    assert note.key_id(name, public.raw).hex() == "c74f20a3"


def test_signing_writes_the_example_note_of_go() -> None:
    assert note.sign_note(TEXT, "PeterNeumann", PETER) == NOTE


def test_the_example_note_of_go_verifies() -> None:
    parsed = note.parse_note(NOTE + ENOCH_SIG)
    assert parsed.text == TEXT
    assert [sig.name for sig in parsed.signatures] == ["PeterNeumann", "EnochRoot"]
    for vkey in (PETER_VKEY, ENOCH_VKEY):
        name, public = note.parse_verifier_key(vkey)
        assert note.verify_note(parsed, name, public)
    assert parsed.to_text() == NOTE + ENOCH_SIG


def test_a_note_is_not_signed_by_who_did_not_sign_it() -> None:
    name, public = note.parse_verifier_key(ENOCH_VKEY)
    assert not note.verify_note(NOTE, name, public)
    assert not note.verify_note(NOTE, "PeterNeuman", PETER.public)


def test_a_signature_under_another_name_is_ignored_even_with_our_key_id() -> None:
    renamed = NOTE.replace("— PeterNeumann", "— PeterNewman")
    assert not note.verify_note(renamed, "PeterNeumann", PETER.public)
    assert note.verify_note(renamed + PETER_SIG, "PeterNeumann", PETER.public)


def test_a_changed_text_does_not_verify() -> None:
    assert not note.verify_note(NOTE.replace("cryptography", "cryptographY"), "PeterNeumann", PETER.public)


def test_each_signature_of_a_key_must_hold() -> None:
    forged = PETER_SIG.replace("UG/S", "UG/T")
    assert note.verify_note(NOTE + PETER_SIG, "PeterNeumann", PETER.public)
    assert not note.verify_note(NOTE + forged, "PeterNeumann", PETER.public)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT + "\n",
        "\n" + PETER_SIG,
        PETER_SIG,
        NOTE[:-1],
        "\x01" + NOTE,
        "a\r\n" + NOTE,
        "a\tb\n" + NOTE,
        "\ud800" + NOTE,
        NOTE + "Unexpected line.\n",
        NOTE + "\n",
        TEXT + "\n" + PETER_SIG.replace("PeterNeumann", "Bad Name"),
        TEXT + "\n" + PETER_SIG.replace("PeterNeumann", "Bad+Name"),
        TEXT + "\n" + PETER_SIG.replace("PeterNeumann", "Bad\u00a0Name"),
        TEXT + "\n" + PETER_SIG.replace("PeterNeumann", ""),
        TEXT + "\n" + PETER_SIG.replace("—", "-"),
        TEXT + "\n" + PETER_SIG.replace("JnAM=", "JnAN="),
        TEXT + "\n" + PETER_SIG.replace("JnAM=", "JnAM"),
        TEXT + "\n— PeterNeumann x08gow==\n",
        TEXT + "\n" + PETER_SIG * 101,
        "a" * note.MAX_BYTES + NOTE,
        "€" * (note.MAX_BYTES // 3) + NOTE,
    ],
)
def test_malformed_notes_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        note.parse_note(text)


def test_a_hundred_signatures_are_read() -> None:
    assert len(note.parse_note(TEXT + "\n" + PETER_SIG * 100).signatures) == 100


def test_the_text_ends_at_the_last_empty_line() -> None:
    text = f"a\n\n{PETER_SIG}\n\n"
    signed = note.sign_note(text, "x", PETER)
    assert note.parse_note(signed).text == text
    assert note.verify_note(signed, "x", PETER.public)


@pytest.mark.parametrize("at", range(len(PETER_VKEY)))
def test_a_verifier_key_with_one_character_changed_is_refused(at: int) -> None:
    mangled = PETER_VKEY[:at] + chr(ord(PETER_VKEY[at]) + 1) + PETER_VKEY[at + 1 :]
    with pytest.raises(FormatError):
        note.parse_verifier_key(mangled)


def test_no_part_of_a_verifier_key_is_one() -> None:
    for begin in range(len(PETER_VKEY)):
        for end in range(begin, len(PETER_VKEY) + 1):
            if (begin, end) != (0, len(PETER_VKEY)):
                with pytest.raises(FormatError):
                    note.parse_verifier_key(PETER_VKEY[begin:end])


@pytest.mark.parametrize(
    "vkey",
    [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        PETER_VKEY.replace("c74f20a3", "C74F20A3"),
        "",
    ],
)
def test_other_verifier_keys_are_refused(vkey: str) -> None:
    with pytest.raises(FormatError):
        note.parse_verifier_key(vkey)


@pytest.mark.parametrize(
    ("text", "name"),
    [("no newline", "x"), ("", "x"), ("a\x00\n", "x"), ("a\n", ""), ("a\n", "x y"), ("a\n", "x+y"),
     ("a\n", "\ud800"), ("\udfff\n", "x")],
)
def test_what_a_note_cannot_carry_is_not_signed(text: str, name: str) -> None:
    with pytest.raises(FormatError):
        note.sign_note(text, name, PETER)


def test_notes_take_ed25519_keys_only() -> None:
    key = PrivateKey.from_seeds(Suite.ED448, bytes(57))
    with pytest.raises(FormatError):
        note.sign_note("a\n", "x", key)
    with pytest.raises(FormatError):
        note.verify_note(NOTE, "x", key.public)
    with pytest.raises(FormatError):
        note.encode_verifier_key("x", PublicKey(Suite.ED448, key.public.raw))


def test_a_verifier_key_may_hold_a_plus_in_its_base64() -> None:
    with_plus = next(
        key.public for key in (PrivateKey.from_seeds(Suite.ED25519, bytes([n]) * 32) for n in range(256))
        if "+" in base64s.encode(b"\x01" + key.public.raw))
    assert note.parse_verifier_key(note.encode_verifier_key("who", with_plus)) == ("who", with_plus)


@pytest.mark.parametrize("letter", ["a", "é"])
def test_a_note_may_have_a_million_bytes_and_no_more(letter: str) -> None:
    line = "\n\n— who AAAAAAA=\n"
    room = note.MAX_BYTES - len(line.encode())
    text = letter * (room // len(letter.encode()))
    whole = text + "b" * (room - len(text.encode())) + line
    assert len(whole.encode()) == note.MAX_BYTES
    assert note.parse_note(whole).signatures == (note.NoteSignature("who", bytes(4), bytes(1)),)
    with pytest.raises(FormatError, match="longer"):
        note.parse_note("b" + whole)
