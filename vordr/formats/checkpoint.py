"""Checkpoints (C2SP tlog-checkpoint): the text of the signed note that states a log's size and root."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vordr.formats import base64s
from vordr.formats.errors import FormatError
from vordr.formats.merkle import EMPTY_ROOT, HASH_SIZE, MAX_SIZE

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_BREAK = re.compile(r"[\x00-\x1f]")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``origin`` names the log, ``size`` counts its leaves, ``root`` is the 32-byte tree hash at that size;
    ``extensions`` are further lines, opaque.

    :raises FormatError: a value its line cannot carry, or an empty tree with another root than the empty one.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for line in (self.origin, *self.extensions):
            if not line or _BREAK.search(line):
                raise FormatError("checkpoint", f"an empty line or a control character: {line[:100]!r}")
        if not 0 <= self.size <= MAX_SIZE:
            raise FormatError("checkpoint", f"size {self.size} out of range")
        if len(self.root) != HASH_SIZE:
            raise FormatError("checkpoint", "the root has 32 bytes")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise FormatError("checkpoint", "an empty tree has another root")

    def to_text(self) -> str:
        """The note text, ended by a newline."""
        lines = (self.origin, str(self.size), base64s.encode(self.root), *self.extensions)
        return "".join(line + "\n" for line in lines)


def parse(text: str) -> Checkpoint:
    """The checkpoint in a note *text* (see :func:`vordr.formats.note.parse_note`).

    :raises FormatError: fewer than three lines, an empty line, a size with sign, spaces or leading zeros, or
        a root that is not the base64 of 32 bytes.
    """
    if not text.endswith("\n"):
        raise FormatError("checkpoint", "does not end in a newline")
    lines = text[:-1].split("\n")
    if len(lines) < 3:
        raise FormatError("checkpoint", "fewer than three lines")
    origin, size, root, *extensions = lines
    if not _SIZE.fullmatch(size):
        raise FormatError("checkpoint", f"not a size: {size[:40]!r}")
    return Checkpoint(origin, int(size), base64s.decode(root, "checkpoint root"), tuple(extensions))
