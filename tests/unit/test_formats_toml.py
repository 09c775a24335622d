"""The strict TOML reader: whatever the text holds, a table of plain values or one error."""

from __future__ import annotations

import pytest

from vordr.formats import FormatError, toml


def test_a_table_is_read_as_tomllib_reads_it() -> None:
    text = 'a = 1\n[b]\nc = ["x", 2.5, 1979-05-27]\n[[d]]\ne = {f = true, g.h = -9223372036854775808}\n'
    read = toml.loads(text, "place")
    assert (read["a"], read["b"]["c"][:2]) == (1, ["x", 2.5])
    assert read["d"] == [{"e": {"f": True, "g": {"h": -(2**63)}}}]


@pytest.mark.parametrize(("text", "why"), [
    ("a = [", "not TOML"),
    ("a = 1\na = 2", "not TOML"),
    ("a = " + "[" * 30_000, "nested"),
    ("a = " + "{a = " * 30_000, "nested"),
    ("a = " + "[" * 65 + "]" * 65, "nested deeper than 64"),
    (".".join("a" * 66) + " = 1", "nested deeper than 64"),
    ("[" + ".".join("a" * 66) + "]\nb = 1", "nested deeper than 64"),
    ("a = " + "1" * 5000, "not TOML"),
    ("a = 0x" + "f" * 5000, "64 bits"),
    ("a = [{b = 9223372036854775808}]", "64 bits"),
    ("a = -9223372036854775809", "64 bits"),
])
def test_what_is_no_table_of_plain_values_is_refused(text: str, why: str) -> None:
    with pytest.raises(FormatError, match=f"^place: .*{why}"):
        toml.loads(text, "place")


def test_nesting_within_the_bound_is_read() -> None:
    assert toml.loads("a = " + "[" * 63 + "]" * 63, "place")
    assert toml.loads(".".join("a" * 63) + " = 1", "place")
