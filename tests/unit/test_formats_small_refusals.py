"""What frames, references, times and UUIDs say when they refuse, and where exactly they begin to."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vordr.formats import frames, reference, times, uuid7
from vordr.formats.errors import FormatError
from vordr.formats.reference import Reference, parse

HEX = "a" * 64
LONG = "a" * 300


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(FormatError) as raised:
        call()
    return str(raised.value)


# -- frames --------------------------------------------------------------------------------------------


def test_the_largest_frame_is_encoded_and_one_byte_more_is_not() -> None:
    fits = {"a": "x" * (frames.MAX_FRAME - len('{"a":""}'))}
    frame = frames.encode(fits)
    assert frame[:4] == bytes([2, 0, 0, 0]) and len(frame) == frames.HEADER + frames.MAX_FRAME
    more = {"a": fits["a"] + "x"}
    assert refused(lambda: frames.encode(more)) == "frame: 33554433 bytes, at most 33554432 are allowed"


def test_what_json_cannot_carry_makes_no_frame() -> None:
    assert refused(lambda: frames.encode({"a": object()})).startswith("frame: cannot be encoded: Enc")


def test_a_frame_over_the_limit_is_refused_by_its_header_and_no_sooner() -> None:
    assert refused(lambda: frames.Decoder(100).feed(bytes([0, 0, 0, 101]))) == (
        "frame: 101 bytes, at most 100 are allowed")
    decoder = frames.Decoder(100)
    assert decoder.feed(frames.encode({"a": 1}) + b"\xff\xff") == [{"a": 1}], "a header that is not there yet"
    assert decoder.pending == 2


def test_a_frame_that_is_no_object_is_refused() -> None:
    for body in (b"[1]", b"\xff", b"{", b""):
        frame = len(body).to_bytes(4, "big") + body
        assert refused(lambda frame=frame: frames.Decoder().feed(frame)).startswith(
            "frame: not a JSON object: ")


# -- references ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "why"), [
    ("", "empty"), (HEX, "an image id, not a name"), (f"sha256:{HEX}", "an image id, not a name"),
    (f"{'A' * 260}/a", f"not a registry: {'A' * 100!r}"), ("-a.b/c", "not a registry: '-a.b'"),
    ("a.b:0/c", "not a port: 'a.b:0'"), ("a.b:65536/c", "not a port: 'a.b:65536'"),
    (LONG, "the repository is longer than 255 characters"),
    ("a/B", "the repository must be lowercase: 'a/B'"), ("a/-", "not a repository: 'a/-'"),
    ("a:", "not a tag: ''"), (f"a:{LONG}", f"not a tag: {LONG[:150]!r}"),
    ("docker.io/" + "x/" + "B" * 120, f"the repository must be lowercase: {('x/' + 'B' * 120)[:100]!r}"),
    ("docker.io/" + "x/" + "-" * 120, f"not a repository: {('x/' + '-' * 120)[:100]!r}"),
])
def test_what_is_no_reference_is_told_why(text: str, why: str) -> None:
    assert refused(lambda: parse(text)) == f"reference: {why}"


def test_parts_that_would_be_read_as_others_are_refused() -> None:
    assert refused(lambda: Reference("registry", "a")) == (
        "reference: would not be read as a registry: 'registry'")
    assert refused(lambda: Reference("index.docker.io", "a/b")) == (
        "reference: would not be read as a registry: 'index.docker.io'")
    assert refused(lambda: Reference("docker.io", "a")) == (
        "reference: docker.io has no repository without a namespace")


def test_a_digest_is_refused_as_part_of_a_reference() -> None:
    assert refused(lambda: parse("a@sha256:1")).startswith("reference: ")


def test_bounds_of_ports_and_lengths_are_inside() -> None:
    assert parse("a.b:1/c").registry == "a.b:1" and parse("a.b:65535/c").registry == "a.b:65535"
    assert len(parse("a.b/" + "c" * 255).repository) == reference.MAX_REPOSITORY
    registry = ".".join(["a" * 61] * 4) + "aaaaaa:65535"
    assert len(registry) == reference.MAX_REGISTRY and parse(f"{registry}/c").registry == registry


# -- times and UUIDs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "why"), [
    ("x" * 70, f"not RFC 3339: {'x' * 60!r}"),
    ("2026-02-30T00:00:00Z", "'2026-02-30T00:00:00Z': day is out of range for month"),
    ("2026-01-01T00:00:00+24:00", "'2026-01-01T00:00:00+24:00': offset out of range"),
    ("2026-01-01T00:00:00-00:60", "'2026-01-01T00:00:00-00:60': offset out of range"),
    ("0001-01-01T00:00:00+00:01", "'0001-01-01T00:00:00+00:01': outside the years 1-9999"),
    ("9999-12-31T23:59:59-00:01", "'9999-12-31T23:59:59-00:01': outside the years 1-9999"),
])
def test_what_is_no_time_is_told_why(text: str, why: str) -> None:
    assert refused(lambda: times.parse_rfc3339(text)) == f"time: {why}"


def test_the_first_and_the_last_moment_have_a_text_and_their_neighbours_none() -> None:
    first = times.parse_rfc3339("0001-01-01T00:00:00Z")
    last = times.parse_rfc3339("9999-12-31T23:59:59.999999Z")
    assert times.format_rfc3339(first) == "0001-01-01T00:00:00.000000Z"
    assert times.format_rfc3339(last) == "9999-12-31T23:59:59.999999Z"
    for beyond in (first - 1, last + 1):
        assert refused(lambda us=beyond: times.format_rfc3339(us)) == (
            f"time: {beyond} µs is outside the years 1-9999")


def test_offsets_up_to_a_minute_before_a_day_are_taken() -> None:
    noon = times.parse_rfc3339("2026-01-02T12:00:00Z")
    assert times.parse_rfc3339("2026-01-03T11:59:00+23:59") == noon
    assert times.parse_rfc3339("2026-01-01T12:01:00-23:59") == noon


def test_a_uuid_has_48_bits_of_time_and_ten_random_bytes() -> None:
    last = (1 << 48) - 1
    assert uuid7.uuid7(last, b"\xff" * 10) == "ffffffff-ffff-7fff-bfff-ffffffffffff"
    assert uuid7.uuid7(0, bytes(10)) == "00000000-0000-7000-8000-000000000000"
    assert uuid7.timestamp_ms("ffffffff-ffff-7fff-bfff-ffffffffffff") == last
    assert refused(lambda: uuid7.uuid7(last + 1, bytes(10))) == (
        f"uuid7: time {last + 1} ms does not fit 48 bits")
    assert refused(lambda: uuid7.uuid7(-1, bytes(10))) == "uuid7: time -1 ms does not fit 48 bits"
    assert refused(lambda: uuid7.uuid7(0, bytes(9))) == "uuid7: needs 10 random bytes, got 9"
    assert refused(lambda: uuid7.timestamp_ms("x" * 70)) == f"uuid7: not a UUID version 7: {'x' * 60!r}"
