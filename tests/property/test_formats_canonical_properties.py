from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from vordr.formats import FormatError, canonical

SAFE = st.integers(-(2**53) + 1, 2**53 - 1)
# Both sides of the surrogate gap in keys, for there the two sort orders part.
EDGES = st.sampled_from("\ue000\uffff\U00010000\U0010ffff\ud7ffa\x00\x7f")
KEYS = st.text(max_size=8) | st.text(EDGES, max_size=3)
PLAIN = st.none() | st.booleans() | SAFE | st.text(max_size=20)


def json_values(leaves: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=6),
        max_leaves=20,
    )


@given(json_values(PLAIN))
def test_fast_dumps_equals_dumps_for_plain_values(value: object) -> None:
    assert canonical.fast_dumps(value) == canonical.dumps(value)


@given(json_values(PLAIN | st.floats(allow_nan=False, allow_infinity=False)))
def test_fast_dumps_equals_dumps_for_values_with_floats(value: object) -> None:
    assert canonical.fast_dumps(value) == canonical.dumps(value)


@given(json_values(PLAIN))
def test_loads_undoes_dumps_and_dumps_is_stable(value: object) -> None:
    data = canonical.fast_dumps(value)
    assert canonical.loads(data) == value
    assert canonical.dumps(canonical.loads(data)) == data


@given(json_values(PLAIN))
def test_spacing_order_and_escapes_do_not_change_the_canonical_form(value: object) -> None:
    text = json.dumps(value, indent=3, ensure_ascii=True)
    assert canonical.dumps(canonical.loads(text)) == canonical.dumps(value)


@given(st.binary(max_size=40) | st.text('[]{}":,\\ud8c01eE.-+naN \n', max_size=40).map(str.encode))
def test_loads_returns_or_refuses_and_never_fails_otherwise(data: bytes) -> None:
    try:
        value = canonical.loads(data)
    except FormatError:
        return
    assert json.loads(data) == value
