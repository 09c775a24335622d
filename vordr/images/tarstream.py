"""A strict reader of tar streams: POSIX ustar and pax (IEEE 1003.1 pax), GNU long names; pure over a byte
source.

Leniency is where two readers see two archives. So a header whose checksum is wrong, a number that is not
one, a half end mark or a truncated member ends the reading with TarInvalid, and what layers never need
(sparse files, multi-volume members, old vendor types) is refused by name. One thing is let pass as every
reader does: bytes after the end mark. They are still part of the stream and its digest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

BLOCK: Final = 512
_LONGEST_EXTENSION: Final = 1 << 20
_LARGEST: Final = 2**63 - 1
_XATTR: Final = "SCHILY.xattr."
_TIME: Final = re.compile(rb"-?\d{1,19}(\.\d{0,18})?")
_NUMBERS_OF_ALL: Final = {
    "mode": (100, 108), "uid": (108, 116), "gid": (116, 124), "mtime": (136, 148), "major": (329, 337),
    "minor": (337, 345),
}
_NUMBER: Final = re.compile(rb"\d{1,20}")


class TarInvalid(ValueError):
    """The stream is not a tar that all readers read alike."""


class Type(Enum):
    """What a member is, by its type flag."""

    FILE = b"0"
    HARD_LINK = b"1"
    SYMLINK = b"2"
    CHARACTER_DEVICE = b"3"
    BLOCK_DEVICE = b"4"
    DIRECTORY = b"5"
    FIFO = b"6"


@dataclass(frozen=True)
class Member:
    """One member; names are raw bytes as written. ``mtime`` is ns since the epoch; ``size`` 0 unless a
    file.
    """

    name: bytes
    type: Type
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    link: bytes = b""
    xattrs: dict[str, bytes] = field(default_factory=dict)


Read = Callable[[int], bytes]
"""Exactly n bytes, or fewer only at the end of the stream."""


def members(read: Read) -> Iterator[tuple[Member, Iterator[bytes]]]:
    """Each member with the chunks of its content, in order; unread content is skipped. Raises TarInvalid.

    Ends at the end mark (two zero blocks) or at a stream that ends between members, as Go's reader does.
    """
    extension = _Extension()
    while (header := _header(read)) is not None:
        kind, size = header[156:157], _number(header[124:136], "size")
        if kind in b"xgLK" and kind:
            extension.take(kind, _extension_body(read, size))
            continue
        member = extension.apply(header, kind, size)
        extension = _Extension()
        content = _content(read, member.size)
        yield member, content
        for _ in content:
            pass
    if extension.touched:
        raise TarInvalid("ends after an extension header without a member")


def _header(read: Read) -> bytes | None:
    """The next header block, None at the end of the archive."""
    block = read(BLOCK)
    if not block:
        return None
    if len(block) < BLOCK:
        raise TarInvalid("ends within a header")
    if block.count(0) == BLOCK:
        second = read(BLOCK)
        if second and second.count(0) != BLOCK:
            raise TarInvalid("a single zero block among the members")
        return None
    stored = _number(block[148:156], "checksum")
    # POSIX sums unsigned bytes with the checksum's own field as spaces.
    if sum(block[:148]) + 8 * 32 + sum(block[156:]) != stored:
        raise TarInvalid("a header's checksum is wrong")
    _check_fields(block)
    return block


def _check_fields(block: bytes) -> None:
    """Other readers stop, some of them silently, at a number that is none, also where it means nothing; and
    they disagree about what may follow the fields that all know."""
    posix, gnu = block[257:263] == b"ustar\0", block[257:265] == b"ustar  \0"
    if not (posix or gnu) and (any(block[257:329]) or any(block[345:])):
        raise TarInvalid("a header that is neither ustar nor older")
    if posix and any(block[500:]):
        raise TarInvalid("a header with more after its prefix (star's times)")
    if gnu and any(block[345:]):
        raise TarInvalid("a GNU header with more beyond the device numbers (times, a sparse map)")
    for what, (begin, end) in _NUMBERS_OF_ALL.items():
        _number(block[begin:end], what)


def _extension_body(read: Read, size: int) -> bytes:
    if size > _LONGEST_EXTENSION:
        raise TarInvalid(f"an extension header of {size} bytes")
    return b"".join(_content(read, size))


def _content(read: Read, size: int) -> Iterator[bytes]:
    """Chunks of a member's content; reads the padding after it, whose bytes carry no meaning."""
    left = size
    while left:
        chunk = read(min(left, 1 << 20))
        if not chunk:
            raise TarInvalid(f"ends {left} bytes before the end of a member")
        left -= len(chunk)
        yield chunk
    padding = -size % BLOCK
    if padding and len(read(padding)) < padding:
        raise TarInvalid("ends within a member's padding")


class _Extension:
    """What pax and GNU extension headers say about the member that follows."""

    def __init__(self) -> None:
        self.touched = False
        self._long: dict[bytes, bytes] = {}
        self._pax: dict[str, bytes] = {}

    def take(self, kind: bytes, body: bytes) -> None:
        """Note one extension header of type ``kind``: x (pax), g (pax, global), L or K (GNU long name,
        link).
        """
        records = _pax_records(body) if kind in b"xg" else {}
        if kind == b"g":
            # Global records are comments in practice (git archive, buildah); as containerd does, none
            # applies.
            return
        if (self._pax and kind == b"x") or kind in self._long:
            raise TarInvalid("two extension headers of one kind for one member")
        self.touched = True
        if (self._pax or kind == b"x") and (self._long or kind in b"LK"):
            raise TarInvalid("pax and GNU extension headers for one member")
        if kind == b"x":
            self._pax = records
            return
        text = body.rstrip(b"\0")
        if b"\0" in text:
            raise TarInvalid("a NUL byte in a GNU long name")
        self._long[kind] = text

    def apply(self, header: bytes, kind: bytes, size: int) -> Member:
        """The member of a header block with everything noted so far."""
        pax = self._pax
        name = pax.get("path", self._long.get(b"L", _ustar_name(header)))
        link = pax.get("linkpath", self._long.get(b"K", _text(header[157:257])))
        if "size" in pax:
            size = _decimal(pax["size"], "size")
        type_ = _type(kind, name)
        if kind == b"\0" and name.endswith(b"/") != _ustar_name(header).endswith(b"/"):
            raise TarInvalid(f"{name!r} is a folder by one of its names and a file by the other")
        if type_ is Type.FILE and name.endswith(b"/"):
            raise TarInvalid(f"{name!r} is a file whose name ends in a slash")
        if type_ is not Type.FILE:
            # Hard links of old writers carry their target's size without content; POSIX pax would follow
            # with content. The two readings differ, so only zero passes; folders' sizes mean nothing to all
            # readers.
            if size and type_ is not Type.DIRECTORY:
                raise TarInvalid(f"{name!r} is no file but says it has {size} bytes")
            size = 0
        mtime = _time(pax["mtime"]) if "mtime" in pax else _number(header[136:148], "mtime") * 10**9
        return Member(
            name=name, type=type_, size=size, mtime=mtime,
            mode=_number(header[100:108], "mode") & 0o7777,
            uid=_decimal(pax["uid"], "uid") if "uid" in pax else _number(header[108:116], "uid"),
            gid=_decimal(pax["gid"], "gid") if "gid" in pax else _number(header[116:124], "gid"),
            link=link if type_ in (Type.HARD_LINK, Type.SYMLINK) else b"",
            xattrs={key[len(_XATTR):]: value for key, value in pax.items() if key.startswith(_XATTR)},
        )


def _type(kind: bytes, name: bytes) -> Type:
    if kind == b"\0":
        # Before ustar a folder was a file whose name ends in a slash.
        return Type.DIRECTORY if name.endswith(b"/") else Type.FILE
    try:
        return Type(kind)
    except ValueError:
        raise TarInvalid(f"{name!r} has the unsupported type {kind!r}") from None


def _ustar_name(header: bytes) -> bytes:
    name = _text(header[:100])
    # Only POSIX ustar ("ustar\0") has a prefix field; GNU ("ustar ") keeps times there.
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _text(field_: bytes) -> bytes:
    return field_.partition(b"\0")[0]


def _number(field_: bytes, what: str) -> int:
    """A number as ustar (octal digits) or GNU (base 256, first bit set) writes it; never negative."""
    if field_[0] == 0x80:
        value = int.from_bytes(field_[1:], "big")
        if value > _LARGEST:
            raise TarInvalid(f"a header's {what} is too large")
        return value
    digits = field_.strip(b" \0")
    if not digits:
        return 0
    if not re.fullmatch(rb"[0-7]+", digits):
        raise TarInvalid(f"a header's {what} is not a number: {field_!r}")
    return int(digits, 8)


def _decimal(value: bytes, what: str) -> int:
    if _NUMBER.fullmatch(value) is None or (number := int(value)) > _LARGEST:
        raise TarInvalid(f"a pax {what} is not a number: {value[:40]!r}")
    return number


def _time(value: bytes) -> int:
    """A pax time (decimal seconds with a fraction) in ns."""
    if _TIME.fullmatch(value) is None:
        raise TarInvalid(f"a pax mtime is not a time: {value[:40]!r}")
    seconds, _, fraction = value.partition(b".")
    part = int(fraction[:9].ljust(9, b"0"))
    whole = int(seconds) * 10**9
    return whole - part if value.startswith(b"-") else whole + part


def _pax_records(body: bytes) -> dict[str, bytes]:
    """pax's ``length keyword=value\\n`` records; the length counts the whole record. Duplicates are
    refused.
    """
    records: dict[str, bytes] = {}
    position = 0
    while position < len(body):
        space = body.find(b" ", position, position + 21)
        digits = body[position:space] if space > 0 else b""
        if _NUMBER.fullmatch(digits) is None:
            raise TarInvalid("a pax record without length")
        end = position + int(digits)
        keyword, equals, value = body[space + 1:end - 1].partition(b"=")
        if end > len(body) or end <= space + 1 or body[end - 1:end] != b"\n" or not equals or not keyword:
            raise TarInvalid("a pax record whose length is wrong")
        try:
            key = keyword.decode()
        except UnicodeDecodeError:
            raise TarInvalid("a pax keyword that is not UTF-8") from None
        if "\0" in key:
            raise TarInvalid("a NUL byte in a pax keyword")
        if key in records:
            raise TarInvalid(f"the pax keyword {key} twice for one member")
        if key.startswith("GNU.sparse."):
            raise TarInvalid("a sparse file")
        if key in ("path", "linkpath") and b"\0" in value:
            raise TarInvalid(f"a NUL byte in a pax {key}")
        records[key] = value
        position = end
    return records
