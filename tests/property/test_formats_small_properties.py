"""Digests, base64, UUIDs, times, frames, envelopes, notes, references."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from vordr.formats import FormatError, base64s, dsse, frames, note, reference, times, uuid7
from vordr.formats.checkpoint import Checkpoint
from vordr.formats.checkpoint import parse as parse_checkpoint
from vordr.formats.signature import PrivateKey, Suite

KEY = PrivateKey.from_seeds(Suite.ED25519, bytes(32))
LINES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
MESSAGES = st.dictionaries(st.text(max_size=5), VALUES, max_size=4)


@given(st.binary(max_size=80))
def test_base64_undoes_itself(data: bytes) -> None:
    assert base64s.decode(base64s.encode(data), "x") == data


@given(st.text("AQgw+/=_ -", max_size=12))
def test_two_base64_texts_never_mean_the_same_bytes(text: str) -> None:
    try:
        data = base64s.decode(text, "x")
    except FormatError:
        return
    assert base64s.encode(data) == text


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_a_uuid_keeps_its_time(now: int, rand: bytes) -> None:
    assert uuid7.timestamp_ms(uuid7.uuid7(now, rand)) == now


INSTANTS = st.integers(-62135596800_000000, 253402300799_999999)


@given(INSTANTS, INSTANTS)
def test_times_survive_their_text_and_texts_sort_as_times(one: int, two: int) -> None:
    assert times.parse_rfc3339(times.format_rfc3339(one)) == one
    assert (one < two) == (times.format_rfc3339(one) < times.format_rfc3339(two))


@given(st.lists(MESSAGES, max_size=5), st.data())
def test_however_a_stream_is_cut_the_same_messages_come_out(
    messages: list[dict[str, object]], data: st.DataObject
) -> None:
    stream = b"".join(map(frames.encode, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    decoder, out = frames.Decoder(), []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        out += decoder.feed(stream[begin:end])
    assert out == messages
    assert decoder.pending == 0


@given(st.binary(max_size=60))
def test_a_decoder_answers_any_bytes_with_messages_or_a_refusal(data: bytes) -> None:
    try:
        frames.Decoder().feed(data)
    except FormatError:
        pass


@given(LINES, st.binary(min_size=1, max_size=60), st.lists(st.binary(min_size=1), min_size=1, max_size=4))
def test_an_envelope_survives_its_json(kind: str, payload: bytes, sigs: list[bytes]) -> None:
    signatures = tuple(dsse.Signature(f"key{at}", sig) for at, sig in enumerate(sigs))
    envelope = dsse.Envelope(kind, payload, signatures)
    assert dsse.parse(envelope.to_json()) == envelope


@given(st.text(max_size=6), st.binary(max_size=6), st.text(max_size=6), st.binary(max_size=6))
def test_the_pae_of_two_payloads_differs(t1: str, p1: bytes, t2: str, p2: bytes) -> None:
    assert (dsse.pae(t1, p1) == dsse.pae(t2, p2)) == ((t1, p1) == (t2, p2))


@settings(deadline=None)
@given(LINES, st.integers(1, 2**63 - 1), st.binary(min_size=32, max_size=32), st.lists(LINES, max_size=2))
def test_a_checkpoint_survives_its_signed_note(origin: str, size: int, root: bytes, more: list[str]) -> None:
    checkpoint = Checkpoint(origin, size, root, tuple(more))
    signed = note.sign_note(checkpoint.to_text(), "log.example", KEY)
    assert note.verify_note(signed, "log.example", KEY.public)
    assert parse_checkpoint(note.parse_note(signed).text) == checkpoint


@given(st.lists(LINES | st.just(""), min_size=1, max_size=6))
def test_any_text_of_lines_survives_signing(lines: list[str]) -> None:
    text = "\n".join(lines) + "\n"
    assert note.parse_note(note.sign_note(text, "n", KEY)).text == text


@given(st.text("ab0./:@-_[]A" + "sha256", max_size=25) | st.text(max_size=12))
def test_a_reference_is_refused_or_its_forms_mean_the_same(text: str) -> None:
    try:
        parsed = reference.parse(text)
    except FormatError:
        return
    assert reference.parse(str(parsed)) == parsed
    assert reference.parse(parsed.familiar()) == parsed
    assert len(parsed.familiar()) <= len(str(parsed))
