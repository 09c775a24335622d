from __future__ import annotations

import struct

import pytest

from vordr.formats import FormatError, canonical

# RFC 8785 appendix B: bits of the double, its text.
NUMBERS = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555557", "333333333.33333343"),
]


@pytest.mark.parametrize(("bits", "text"), NUMBERS)
def test_doubles_are_written_as_rfc_8785_appendix_b_says(bits: str, text: str) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical.dumps(number).decode() == text
    assert canonical.fast_dumps(number).decode() == text


def test_keys_are_sorted_by_utf16_code_units() -> None:
    keys = ["€", "\r", "\ufb33", "1", "😀", "\u0080", "ö"]  # RFC 8785 §3.2.3
    value = {key: at for at, key in enumerate(keys)}
    expected = ["\r", "1", "\u0080", "ö", "€", "😀", "\ufb33"]
    assert list(canonical.loads(canonical.dumps(value))) == expected
    assert canonical.fast_dumps(value) == canonical.dumps(value)


def test_only_what_must_be_escaped_is_escaped() -> None:
    text = "".join(map(chr, range(0x20))) + '"\\/\x7f\u2028é'
    want = (
        '"\\u0000\\u0001\\u0002\\u0003\\u0004\\u0005\\u0006\\u0007\\b\\t\\n\\u000b\\f\\r\\u000e\\u000f'
        "\\u0010\\u0011\\u0012\\u0013\\u0014\\u0015\\u0016\\u0017\\u0018\\u0019\\u001a\\u001b\\u001c\\u001d"
        '\\u001e\\u001f\\"\\\\/\x7f\u2028é"'
    )
    assert canonical.dumps(text).decode() == want
    assert canonical.fast_dumps(text).decode() == want


def _nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("write", [canonical.dumps, canonical.fast_dumps, canonical.digest])
@pytest.mark.parametrize(
    "value",
    [
        2**53,
        -(2**53),
        float("nan"),
        float("-inf"),
        "\ud800",
        {"\udfff": 1},
        {"a": ["\ud800"]},
        {1: 2},
        b"bytes",
        {"a": {1, 2}},
        object(),
        _nested(100_000),
    ],
)
def test_values_without_a_canonical_form_are_refused(write: object, value: object) -> None:
    with pytest.raises(FormatError):
        write(value)  # type: ignore[operator]  # three functions of one signature


def test_digest_is_the_sha256_of_the_canonical_bytes() -> None:
    assert canonical.digest({"b": 1, "a": []}) == canonical.digest({"a": [], "b": 1})
    # printf '{}' | sha256sum
    assert canonical.digest({}) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"a":1,"a":2}', "duplicate key 'a'"),
        (b'{"a":1,"\\u0061":2}', "duplicate key 'a'"),
        (b'[{"x":{"a":1,"b":0,"a":1}}]', "duplicate key 'a'"),
        (b"NaN", "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"-Infinity", "Infinity"),
        (b"1e400", "too large"),
        (b"-1e400", "too large"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"\xff\xfe{\x00}\x00", "UTF-8"),
        (b'"\xc0\x80"', "UTF-8"),
        (b'"\xed\xa0\x80"', "UTF-8"),
        (b'"\\ud800"', "surrogate"),
        (b'["\\udc00\\ud800"]', "surrogate"),
        (b'{"\\ud83d":1}', "surrogate"),
        ('"\ud800"', "surrogate"),
        (b"{} {}", "Extra data"),
        (b"1 x", "Extra data"),
        (b"", "Expecting value"),
        (b"{'a':1}", "property name"),
        (b"[1,]", "Expecting value|trailing comma"),
        (b"01", "Extra data"),
        (b'"\n"', "control character"),
        ("٣", "Expecting value"),  # a digit, but not an ASCII one
        (b"9" * 5000, "digits"),
    ],
)
def test_texts_two_parsers_could_read_differently_are_refused(text: bytes | str, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        canonical.loads(text)


def test_escaped_surrogate_pairs_are_one_character() -> None:
    assert canonical.loads(b'"\\ud83d\\ude00"') == "😀"


def test_integers_keep_their_exact_value() -> None:
    assert canonical.loads(b"[9007199254740993,-0,18446744073709551616]") == [2**53 + 1, 0, 2**64]


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_depth_counts_arrays_and_objects(opening: bytes) -> None:
    closing = {b"[": b"]"}.get(opening, b"}")
    canonical.loads(opening * 64 + b"1" + closing * 64)
    with pytest.raises(FormatError, match="deeper than 64"):
        canonical.loads(opening * 65 + b"1" + closing * 65)


def test_brackets_in_strings_do_not_count_as_depth() -> None:
    value = ["[" * 500 + '"' + "{\\", {'"]' * 300: "[["}]
    assert canonical.loads(canonical.dumps(value)) == value


def test_width_does_not_count_as_depth() -> None:
    assert canonical.loads(b"[" + b"[]," * 1000 + b"{}]") == [[]] * 1000 + [{}]


@pytest.mark.parametrize(
    "text", [b"[" * 2_000_000, b'{"a":' * 500_000, b'"' + b'\\"' * 2_000_000 + b"[" * 99]
)
def test_hostile_texts_are_refused_in_one_pass(text: bytes) -> None:
    with pytest.raises(FormatError):
        canonical.loads(text)


def test_size_is_counted_in_utf8_bytes() -> None:
    assert canonical.loads('"é"', max_bytes=4) == "é"
    with pytest.raises(FormatError, match="4 bytes, at most 3"):
        canonical.loads('"é"', max_bytes=3)


def test_the_error_says_where() -> None:
    with pytest.raises(FormatError) as caught:
        canonical.loads(b"{", where="bundle.json")
    assert caught.value.where == "bundle.json"
    assert str(caught.value).startswith("bundle.json: ")


def test_brackets_in_strings_are_not_depth_even_where_none_is_allowed() -> None:
    assert canonical.loads('"[[{{"', max_depth=0) == "[[{{"
    with pytest.raises(FormatError, match="nested deeper than 0"):
        canonical.loads("[]", max_depth=0)


def test_wide_values_may_be_as_deep_as_is_allowed_and_no_deeper() -> None:
    assert canonical.loads("[[1], [2], {}]", max_depth=2) == [[1], [2], {}]
    with pytest.raises(FormatError, match="^json: nested deeper than 2$"):
        canonical.loads("[[1], [2], [{}]]", max_depth=2)


@pytest.mark.parametrize(("value", "fast"), [
    ("é", True), (True, True), (None, True), (0, True), (2**53 - 1, True), (-(2**53) + 1, True),
    ([1, ("a", None)], True), ({"a": {"b": [False]}, "é\uffff": 1}, True), ({}, True),
    (2**53, False), (-(2**53), False), (1.5, False), ([1.5], False), ({"a": 1.5}, False),
    ({"\U0001f600": 1}, False), ({1: 1}, False), ({"a"}, False),
])
def test_only_what_the_fast_encoder_writes_alike_takes_it(
    value: object, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[object] = []
    monkeypatch.setattr(canonical, "dumps", lambda value: taken.append(value) or b"slow")
    assert (canonical.fast_dumps(value) == b"slow") is (not fast)
    assert taken == ([] if fast else [value])
