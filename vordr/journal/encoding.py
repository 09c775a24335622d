"""Canonical JSON of journalled values, at the speed of C wherever they are as nearly all are.

msgspec's sorted encoder writes what RFC 8785 demands for values of dict (str keys), list, str, bool, None and
integers within ±(2**53 - 1), as long as no key leaves the Basic Multilingual Plane (the RFC sorts UTF-16 code
units, msgspec code points). That a value is made of these alone is found by converting it to a type that says
so, some levels deep. Whatever does not fit takes the slow way, which refuses what no canonical JSON carries.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

import msgspec

from vordr.formats import canonical
from vordr.formats.errors import FormatError
from vordr.formats.typed import convert
from vordr.journal.layout import decode_record, decode_value
from vordr.model.records import Draft, Record

_DEPTH: Final = 9
"""Levels of nesting that are checked fast; a begin's plan has eight."""

_Integer = Annotated[int, msgspec.Meta(ge=-(2**53) + 1, le=2**53 - 1)]
_BEYOND_BMP: Final = re.compile(rb"[\xf0-\xf4]")
_ENCODER: Final = msgspec.json.Encoder(order="sorted")


class _Float(Exception):
    """There is a float in it."""


def _refuse_float(text: str) -> None:
    raise _Float


_FLOATLESS: Final = msgspec.json.Decoder(float_hook=_refuse_float)


def _plain_type() -> Any:
    """The type of plain values. Lists directly in lists hold no more than scalars, or it would have a branch
    of its own for each of 2**depth places."""
    scalar = None | bool | _Integer | str
    value: Any = scalar
    item: Any = scalar
    for _ in range(_DEPTH):
        value, item = (
            scalar | list[item] | dict[str, value], scalar | list[scalar] | dict[str, value])
    return value


# A struct, because msgspec remembers what it has worked out about a type in structs alone.
_Plain: Any = msgspec.defstruct("_Plain", [("value", _plain_type())])


def encode(value: Any) -> bytes:
    """Canonical JSON of a record or of a projection value (msgspec structs, enums and tuples allowed).

    :raises FormatError: a value that canonical JSON cannot carry, or not there and back: a float of 2**53 or
        more is written as an integer, which no reader may write again.
    :raises TypeError: a value that is none of JSON's.
    """
    builtin = msgspec.to_builtins(value)
    try:
        plain = convert({"value": builtin}, _Plain).value
    except msgspec.ValidationError:
        return canonical.fast_dumps(_lists(builtin))
    return _write(plain)


def encode_plain(value: Any) -> bytes:
    """The same, for a value made of plain ones alone: as :func:`decode_plain` reads them, or out of a record
    that :func:`encode_record` calls plain."""
    text = _ENCODER.encode(value)
    if text.isascii() or _BEYOND_BMP.search(text) is None:
        return text
    return encode(value)


def encode_record(draft: Draft, seq: int, boot_id: str, time: int) -> tuple[bytes, Record, bool]:
    """The canonical JSON of the record that ``draft`` becomes, the record as a reader of it sees it, and
    whether all in it is plain.

    :raises FormatError, TypeError: as :func:`encode`.
    :raises msgspec.ValidationError: a field of another type than a record's.
    """
    whole = msgspec.to_builtins(draft)
    whole["seq"], whole["boot_id"], whole["time"] = seq, boot_id, time
    try:
        plain = convert({"value": whole}, _Plain).value
    except msgspec.ValidationError:
        body = canonical.fast_dumps(_lists(whole))
        return body, decode_record(body), False
    return _write(plain), convert(plain, Record), True


def decode_plain(text: bytes) -> tuple[Any, bool]:
    """The value of canonical JSON, and whether it is plain: whether it has no float."""
    try:
        return _FLOATLESS.decode(text), True
    except _Float:
        return decode_value(text), False


def _write(plain: Any) -> bytes:
    try:
        text = _ENCODER.encode(plain)
    except UnicodeEncodeError:
        return canonical.dumps(plain)  # says what is wrong, in the words of its own refusal
    if text.isascii() or _BEYOND_BMP.search(text) is None:
        return text
    return canonical.fast_dumps(plain)


def _lists(value: Any) -> Any:
    """Tuples as lists, which are all that the fast canonical encoder knows; and no large floats."""
    kind = type(value)
    if kind is dict:
        return {key: _lists(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [_lists(item) for item in value]
    if kind is float and abs(value) >= 2**53:
        raise FormatError("canonical json", f"{value} is too large for a float")
    return value
