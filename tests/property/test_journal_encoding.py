"""What is written fast is what RFC 8785 says, and what it refuses is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from vordr.formats.errors import FormatError
from vordr.journal.encoding import decode_plain, encode, encode_plain, encode_record
from vordr.journal.layout import decode_record
from vordr.model.lifecycle import Fidelity, Op
from vordr.model.records import Cause, Draft, Inverse, Kind

INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)
SCALARS = st.none() | st.booleans() | INTEGERS | st.text(max_size=12)


def nested(scalars: st.SearchStrategy[Any], keys: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner)
        | st.dictionaries(keys, inner, max_size=4),
        max_leaves=12)


PLAIN = nested(SCALARS, st.text(max_size=6))
ANY = nested(
    SCALARS | st.floats(-(2**53) + 1, 2**53 - 1), st.text(max_size=6) | st.sampled_from("\uffff\U00010000"))


def draft(value: Any) -> Draft:
    return Draft(
        txn="t", kind=Kind.DONE, cause=Cause.ACT, subject="container/a", operation=Op.STOP,
        args={"value": value}, inverse=Inverse("revive", {"value": value}, Fidelity.STATE, ("memory",)))


@given(ANY)
def test_every_value_is_written_as_the_rfc_has_it(value: Any) -> None:
    assert encode(value) == rfc8785.dumps(value)


@given(ANY)
def test_a_record_is_written_as_the_rfc_has_it_and_given_as_it_reads(value: Any) -> None:
    made = draft(value)
    body, record, _ = encode_record(made, 7, "boot", 9)
    whole = {**msgspec.to_builtins(made), "seq": 7, "boot_id": "boot", "time": 9}
    assert body == rfc8785.dumps(whole)
    assert record == decode_record(body)


@given(PLAIN)
def test_plain_values_need_no_second_look(value: Any) -> None:
    text = encode(value)
    assert decode_plain(text)[1]
    assert encode_plain(decode_plain(text)[0]) == text


@given(ANY)
def test_what_is_called_plain_is_written_right_without_a_look(value: Any) -> None:
    _, record, plain = encode_record(draft(value), 1, "b", 1)
    if plain:
        assert encode_plain(record.args) == rfc8785.dumps(record.args)
    read, plain = decode_plain(rfc8785.dumps(value))
    if plain:
        assert encode_plain(read) == rfc8785.dumps(value)


REFUSED = (
    2**53, -(2**53), 2**64, float("nan"), float("inf"), 1e300, "\ud800", {"\ud800": 1}, {1: 2}, {None: 1})
WRAPS = {"list": lambda v: [v], "object": lambda v: {"a": v}, "tuple": lambda v: (v,)}


@pytest.mark.parametrize("value", REFUSED, ids=repr)
@pytest.mark.parametrize("depth", [0, 1, 5, 12])
@pytest.mark.parametrize("wrap", WRAPS)
def test_what_canonical_json_cannot_carry_is_refused_at_every_depth(
    value: Any, depth: int, wrap: str
) -> None:
    for _ in range(depth):
        value = WRAPS[wrap](value)
    with pytest.raises(FormatError):
        encode(value)
    with pytest.raises((FormatError, msgspec.MsgspecError)):
        encode_record(draft(value), 1, "b", 1)
