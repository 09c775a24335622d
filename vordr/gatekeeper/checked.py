"""A stream of bytes that is what its descriptor says, or an error: compared at its end."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol, Self

from vordr.model.errors import ImageUnreadable

CHUNK = 1 << 20


class Readable(Protocol):
    """All that is asked of a source of bytes; an empty read is its end."""

    def read(self, size: int, /) -> bytes: ...


def _unheard(count: int) -> None:
    pass


class CheckedStream:
    """``size`` bytes of ``source``, hashed as they pass.

    The read that would deliver the last of them raises ImageUnreadable instead when their SHA-256 is not
    ``digest``; so does a source that ends early. ``where`` names the bytes in errors; ``told`` hears how many
    have passed, each time.
    """

    def __init__(
        self, source: Readable, digest: str, size: int, where: str, told: Callable[[int], None] = _unheard
    ) -> None:
        self._source = source
        self._digest = digest
        self._left = size
        self._where = where
        self._told = told
        self._hash = hashlib.sha256()
        self._checked = False

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes (-1: all that is left); empty at the end, which is verified by then."""
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        data = self._source.read(min(size, self._left, CHUNK)) if size and self._left else b""
        if size and self._left and not data:
            raise ImageUnreadable(f"{self._where}: ends {self._left} bytes early")
        self._left -= len(data)
        self._hash.update(data)
        self._told(len(data))
        if not self._left and not self._checked:
            if "sha256:" + self._hash.hexdigest() != self._digest:
                raise ImageUnreadable(f"{self._where}: its bytes do not have the digest {self._digest}")
            self._checked = True
        return data

    def drain(self) -> None:
        """Read and check what is left."""
        while self.read(CHUNK):
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        close = getattr(self._source, "close", None)
        if close is not None:
            close()
