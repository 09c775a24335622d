"""Digests, base64, UUIDs, times, frames."""

from __future__ import annotations

import json
import pickle

import pytest

from vordr.formats import FormatError, base64s, digests, frames, times, uuid7

HEX = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_digest_of_nothing_is_the_known_one() -> None:
    assert digests.sha256_hex(b"") == HEX
    assert digests.parse_digest(digests.sha256_digest(b"")) == HEX


@pytest.mark.parametrize(
    "text",
    ["", HEX, "sha256:", f"sha256:{HEX}0", f"sha256:{HEX[:-1]}", f"sha256:{HEX.upper()}", f"SHA256:{HEX}",
     f"sha512:{HEX}", f"sha256:{HEX}\n", f" sha256:{HEX}", f"sha256:{HEX[:-1]}g", f"sha256:{HEX[:-1]}٣"],
)
def test_anything_but_a_plain_sha256_digest_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        digests.parse_digest(text)


@pytest.mark.parametrize("text", ["YQ", "YR==", "YQ==\n", "YQ=", "Y Q==", "YQ==YQ==", "====", "_w==", "é"])
def test_base64_has_one_spelling(text: str) -> None:
    assert base64s.decode("YQ==", "x") == b"a"
    with pytest.raises(FormatError):
        base64s.decode(text, "x")


def test_an_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(FormatError("place", "what")))
    assert (error.where, error.message, str(error)) == ("place", "what", "place: what")


# -- UUID version 7 --------------------------------------------------------------------------------


def test_the_uuid_of_rfc_9562_appendix_a6() -> None:
    rand = bytes.fromhex("0cc318c4dc0c0c07398f")
    assert uuid7.uuid7(0x017F22E279B0, rand) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
    assert uuid7.timestamp_ms("017f22e2-79b0-7cc3-98c4-dc0c0c07398f") == 0x017F22E279B0


def test_version_and_variant_do_not_depend_on_the_random_bits() -> None:
    for rand in (bytes(10), b"\xff" * 10):
        text = uuid7.uuid7(2**48 - 1, rand)
        assert (text[14], text[19] in "89ab") == ("7", True)
        assert uuid7.timestamp_ms(text) == 2**48 - 1


def test_later_uuids_sort_later() -> None:
    assert uuid7.uuid7(5, b"\xff" * 10) < uuid7.uuid7(6, bytes(10))


@pytest.mark.parametrize(("now", "rand"), [(-1, b"r" * 10), (2**48, b"r" * 10), (0, b"r" * 9), (0, b"")])
def test_a_uuid_needs_48_bits_of_time_and_ten_bytes(now: int, rand: bytes) -> None:
    with pytest.raises(FormatError):
        uuid7.uuid7(now, rand)


@pytest.mark.parametrize(
    "text",
    ["", "017f22e2-79b0-4cc3-98c4-dc0c0c07398f", "017f22e2-79b0-7cc3-58c4-dc0c0c07398f",
     "017F22E2-79B0-7CC3-98C4-DC0C0C07398F", "017f22e279b07cc398c4dc0c0c07398f",
     "017f22e2-79b0-7cc3-98c4-dc0c0c07398f\n", "{017f22e2-79b0-7cc3-98c4-dc0c0c07398f}"],
)
def test_other_uuids_have_no_timestamp(text: str) -> None:
    with pytest.raises(FormatError):
        uuid7.timestamp_ms(text)


# -- times -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("1985-04-12T23:20:50.52Z", 482196050_520000),
        ("1996-12-19T16:39:57-08:00", 851042397_000000),
        ("1937-01-01T12:00:27.87+00:20", -1041337172_130000),
        ("2026-01-01T00:00:00-00:00", 1767225600_000000),
        ("2024-02-29T12:00:00.123456789Z", 1709208000_123456),
        ("0001-01-01T00:00:00Z", -62135596800_000000),
        ("9999-12-31T23:59:59.999999Z", 253402300799_999999),
        ("1970-01-02T00:00:00+23:59", 60_000000),
    ],
)
def test_timestamps_of_rfc_3339_are_microseconds(text: str, us: int) -> None:
    assert times.parse_rfc3339(text) == us
    assert times.parse_rfc3339(times.format_rfc3339(us)) == us


def test_times_are_written_with_six_digits_in_utc() -> None:
    assert times.format_rfc3339(0) == "1970-01-01T00:00:00.000000Z"
    assert times.format_rfc3339(-1) == "1969-12-31T23:59:59.999999Z"


@pytest.mark.parametrize(
    "text",
    ["", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01 00:00:00Z", "2026-01-01t00:00:00Z",
     "2026-01-01T00:00:00z", "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z",
     "2016-12-31T23:59:60Z", "2026-01-01T00:00Z", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00,5Z",
     "2026-01-01T00:00:00.1234567890Z", "2026-01-01T00:00:00+0100", "2026-01-01T00:00:00+24:00",
     "2026-01-01T00:00:00+01:60", "2026-01-01T00:00:00Z\n", "٢٠٢٦-01-01T00:00:00Z", "0000-01-01T00:00:00Z",
     "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "+2026-01-01T00:00:00Z"],
)
def test_other_timestamps_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        times.parse_rfc3339(text)


@pytest.mark.parametrize("us", [-62135596800_000001, 253402300800_000000, 10**30])
def test_times_beyond_year_9999_are_not_written(us: int) -> None:
    with pytest.raises(FormatError):
        times.format_rfc3339(us)


# -- frames ----------------------------------------------------------------------------------------


def _frame(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def test_a_frame_is_a_length_and_json() -> None:
    frame = frames.encode({"op": "ps", "n": 1})
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    assert json.loads(frame[4:]) == {"op": "ps", "n": 1}


def test_a_frame_above_the_limit_is_refused_by_its_header() -> None:
    decoder = frames.Decoder()
    with pytest.raises(FormatError, match="at most"):
        decoder.feed((frames.MAX_FRAME + 1).to_bytes(4, "big"))
    assert decoder.pending == 0


def test_a_frame_at_the_limit_passes() -> None:
    body = b'{"a":1}'
    assert frames.Decoder(max_frame=len(body)).feed(_frame(body)) == [{"a": 1}]
    with pytest.raises(FormatError):
        frames.Decoder(max_frame=len(body) - 1).feed(_frame(body))


def test_a_message_above_the_limit_is_not_encoded() -> None:
    with pytest.raises(FormatError, match="at most"):
        frames.encode({"a": "x" * frames.MAX_FRAME})


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"1", b"null", b"{", b"{}x", b'{"a":NaN}', b"\xff", b'{"a":"\xed\xa0\x80"}',
     b'{"a":"\\ud800"}', b'{"a":' + b"[" * 100_000, b'{"a":1e400}'],
)
def test_a_frame_that_is_no_json_object_breaks_the_stream_for_good(body: bytes) -> None:
    decoder = frames.Decoder()
    with pytest.raises(FormatError):
        decoder.feed(_frame(body))
    with pytest.raises(FormatError):
        decoder.feed(_frame(b"{}"))


@pytest.mark.parametrize("value", ["\ud800", object(), {1j}])
def test_what_json_cannot_carry_is_not_encoded(value: object) -> None:
    with pytest.raises(FormatError):
        frames.encode({"a": value})


def test_a_cut_stream_shows() -> None:
    decoder = frames.Decoder()
    assert decoder.feed(_frame(b"{}") + b"\x00\x00") == [{}]
    assert decoder.pending == 2
