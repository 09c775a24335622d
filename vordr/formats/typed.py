"""Plain data to typed values, from any number of threads.

What msgspec knows of a type it works out when something is first converted to it, and while it does, another
thread may be given what is half worked out: the process dies (msgspec 0.22, ``convert`` reads a null type).
So the first time is had alone here; a test holds that nothing else asks msgspec for a typed value.
"""

from __future__ import annotations

import threading
from typing import Any, Final, TypeVar, overload

import msgspec

T = TypeVar("T")

_known: Final[set[Any]] = set()
_working_out: Final = threading.Lock()


@overload
def convert(value: Any, wanted: type[T]) -> T: ...
@overload
def convert(value: Any, wanted: Any) -> Any: ...
def convert(value: Any, wanted: Any) -> Any:
    """``value`` (what JSON can hold, or a struct) as a ``wanted``. Raises msgspec.ValidationError."""
    if wanted not in _known:
        decoder(wanted)
    return msgspec.convert(value, wanted)


@overload
def decode(text: bytes | str, wanted: type[T]) -> T: ...
@overload
def decode(text: bytes | str, wanted: Any) -> Any: ...
def decode(text: bytes | str, wanted: Any) -> Any:
    """What JSON ``text`` says, as a ``wanted``. Raises msgspec.DecodeError (a ValidationError is one)."""
    return decoder(wanted).decode(text)


@overload
def decoder(wanted: type[T]) -> msgspec.json.Decoder[T]: ...
@overload
def decoder(wanted: Any) -> msgspec.json.Decoder[Any]: ...
def decoder(wanted: Any) -> msgspec.json.Decoder[Any]:
    """A decoder of JSON to a ``wanted``."""
    with _working_out:
        made = msgspec.json.Decoder(wanted)
        _known.add(wanted)
    return made
