"""Canonical JSON (RFC 8785) and a strict JSON reader.

What is hashed or signed is written by :func:`dumps`; what comes from outside is read by :func:`loads`, which
refuses every text on whose meaning two parsers could differ.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import accumulate
from typing import Any

import msgspec
import rfc8785

from vordr.formats.digests import sha256_digest
from vordr.formats.errors import FormatError

MAX_DEPTH = 64
MAX_BYTES = 16 * 1024 * 1024

_SAFE_INTEGER = 2**53 - 1
_FAST = msgspec.json.Encoder(order="sorted")

# A JSON string; the closing quote is optional so that an unterminated one costs one pass, not n².
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def dumps(value: Any) -> bytes:
    """``value`` as RFC 8785 canonical JSON, UTF-8.

    ``value`` is made of dict (str keys), list, tuple, str, bool, None, float and int with
    abs(int) < 2**53.

    :raises FormatError: another type, NaN or infinity, an integer beyond that range, a lone surrogate, or
        nesting beyond the interpreter's stack.
    """
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise FormatError("canonical json", str(error))
    except RecursionError:
        raise FormatError("canonical json", "nested too deeply")


def fast_dumps(value: Any) -> bytes:
    """The same bytes and refusals as :func:`dumps`, some ten times faster for most values.

    Values of str, int, bool, None, list, tuple and dict take the fast encoder; any other (floats, keys
    beyond the Basic Multilingual Plane) falls back.
    """
    try:
        if _is_plain(value):
            return _FAST.encode(value)
    except (RecursionError, UnicodeEncodeError):
        pass  # dumps says what is wrong, in the words of its own refusal
    return dumps(value)


def _is_plain(value: Any) -> bool:
    """Whether the fast encoder writes ``value`` as RFC 8785 does.

    RFC 8785 sorts keys by UTF-16 code units, the fast encoder by code points. The two orders differ only
    where a key leaves the Basic Multilingual Plane.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-_SAFE_INTEGER <= value <= _SAFE_INTEGER)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or not (key.isascii() or max(key) <= "\uffff") or not _is_plain(item):
                return False
        return True
    if kind is list or kind is tuple:
        return all(map(_is_plain, value))
    return False


def digest(value: Any) -> str:
    """``sha256:<hex>`` of the canonical JSON of ``value``. Raises as :func:`dumps`."""
    return sha256_digest(fast_dumps(value))


def loads(
    data: bytes | str, *, max_depth: int = MAX_DEPTH, max_bytes: int = MAX_BYTES, where: str = "json"
) -> Any:
    """The value of one JSON text (RFC 8259).

    Integers keep their exact value at any size the interpreter converts (by default 4300 digits): refusing
    them is left to the schema, and :func:`dumps` refuses to *sign* what a double cannot hold. Numbers with
    a fraction or exponent become float.

    :param max_depth: how many arrays and objects may be nested in each other.
    :param max_bytes: the longest text, counted in UTF-8.
    :raises FormatError: too long or deep, not UTF-8, a byte order mark, a duplicate key, NaN, Infinity, a
        number too large for a double, a lone surrogate, anything after the value, or no JSON at all.
    """
    raw = _as_utf8(data, where)
    if len(raw) > max_bytes:
        raise FormatError(where, f"{len(raw)} bytes, at most {max_bytes} are allowed")
    if raw.startswith(b"\xef\xbb\xbf"):
        raise FormatError(where, "starts with a byte order mark")
    _check_depth(raw, max_depth, where)

    def refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            counts = Counter(key for key, _ in pairs)
            raise FormatError(where, f"duplicate key {counts.most_common(1)[0][0][:100]!r}")
        return found

    def refuse_constant(name: str) -> Any:
        raise FormatError(where, f"{name} is not JSON")

    def finite(text: str) -> float:
        number = float(text)
        if number in (float("inf"), float("-inf")):
            raise FormatError(where, f"{text[:40]} is too large for a double")
        return number

    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=refuse_duplicates,
            parse_constant=refuse_constant,
            parse_float=finite,
        )
        if _SURROGATE_ESCAPE.search(raw):
            _check_surrogates(value, where)
    except FormatError:
        raise
    except UnicodeDecodeError as error:
        raise FormatError(where, f"not UTF-8 at byte {error.start}")
    except ValueError as error:  # JSONDecodeError, or an integer of too many digits
        raise FormatError(where, str(error))
    except RecursionError:  # only with a max_depth beyond the interpreter's stack
        raise FormatError(where, "nested too deeply")
    return value


def _as_utf8(data: bytes | str, where: str) -> bytes:
    if isinstance(data, str):
        try:
            return data.encode("utf-8")
        except UnicodeEncodeError as error:
            raise FormatError(where, f"lone surrogate at character {error.start}")
    return bytes(data)


def _check_depth(raw: bytes, max_depth: int, where: str) -> None:
    """Refuse deep nesting before the recursive parser sees it."""
    if raw.count(b"[") + raw.count(b"{") <= max_depth:
        return
    brackets = _STRING.sub(b"", raw).translate(None, _NO_BRACKETS)
    if max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > max_depth:
        raise FormatError(where, f"nested deeper than {max_depth}")


def _check_surrogates(value: Any, where: str) -> None:
    match value:
        case str():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                raise FormatError(where, "a string holds a lone surrogate")
        case list():
            for item in value:
                _check_surrogates(item, where)
        case dict():
            for key, item in value.items():
                _check_surrogates(key, where)
                _check_surrogates(item, where)
