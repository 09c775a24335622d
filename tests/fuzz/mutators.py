"""Mutations that get past the first check: of a JSON value, of a tar's members, of a package's.

Each takes bytes, the longest result allowed and a random number generator, and gives bytes; ``flip`` is the
fuzzer's own mutation of a byte string. What cannot be taken apart is flipped as it is.
"""

from __future__ import annotations

import base64
import copy
import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Callable
from itertools import islice
from random import Random
from typing import Any

import images_world

from vordr.formats import canonical, dsse
from vordr.formats.errors import FormatError
from vordr.gatekeeper import bundle as bundles
from vordr.gatekeeper import package
from vordr.model.errors import VordrError

Flip = Callable[[bytes, int], bytes]
Mutate = Callable[[bytes, int, Random, Flip], bytes]

_ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**53, 2**64, 10**400, 0.5, -0.0, 1e308, "", " ", "0", "\0", "\u202e",
    "é" * 9, "A" * 300, "sha256:" + "0" * 64, "2026-03-01T11:00:00.000000Z", "9999-12-31T23:59:59-23:59",
    [], {}, [[]], {"a": 1})


def plainly(data: bytes, most: int, chance: Random, flip: Flip) -> bytes:
    return flip(data, most)


def json_value(data: bytes, most: int, chance: Random, flip: Flip) -> bytes:
    """One to three changes somewhere in a JSON document, sometimes of its text."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return flip(data, most)
    if chance.random() < 0.2:
        return flip(data, most)
    for _ in range(chance.randint(1, 3)):
        document = _change(document, chance, flip)
    try:
        changed = json.dumps(document).encode()
    except (ValueError, RecursionError):
        return flip(data, most)
    return changed if len(changed) <= most else data[:most]


def _change(document: Any, chance: Random, flip: Flip) -> Any:
    places = list(islice(_places(document, 0), 2000))
    if not places:
        return copy.deepcopy(chance.choice(_ODD))
    box, at = chance.choice(places)
    match chance.randrange(7):
        case 0:
            del box[at]
        case 1:
            box[at] = copy.deepcopy(chance.choice(_ODD))
        case 2:
            other, there = chance.choice(places)
            box[at] = json.loads(json.dumps(other[there]))
        case 6:
            alike = [(other, there) for other, there in places if there == at] or places
            other, there = chance.choice(alike)
            box[at] = json.loads(json.dumps(other[there]))
        case 3 if isinstance(box, list):
            box.extend([box[at]] * chance.choice((1, 3, 30)))
        case 4 if isinstance(box, dict):
            box[chance.choice((at + "x", "x", "$schema", "suite", "mode"))] = box[at]
        case _:
            box[at] = _leaf(box[at], chance, flip)
    return document


def _places(value: Any, depth: int) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for at, inner in list(items)[:64]:
        yield value, at
        if depth < 20:
            yield from _places(inner, depth + 1)


def _leaf(value: Any, chance: Random, flip: Flip) -> Any:
    match value:
        case str() if chance.random() < 0.5:
            return _within(value, chance, flip)
        case str():
            return flip(value.encode(errors="replace"), len(value) * 2 + 8).decode("utf-8", "replace")
        case bool():
            return not value
        case int():
            return value + chance.choice((-1, 1, 2**31, -(2**31)))
    return copy.deepcopy(chance.choice(_ODD))


def _within(text: str, chance: Random, flip: Flip) -> str:
    """What a base64 text holds, mutated: a JSON value as one, other bytes as bytes."""
    try:
        inner = base64.b64decode(text, validate=True)
    except ValueError:
        return text.swapcase()
    changed = json_value(inner, len(inner) * 2 + 64, chance, flip) if inner[:1] == b"{" else flip(inner, 128)
    return base64.b64encode(changed).decode()


# -- tars ------------------------------------------------------------------------------------------


def layer(data: bytes, most: int, chance: Random, flip: Flip) -> bytes:
    """A layer of any packing: its tar mutated, checksums made right, and packed again."""
    if len(data) < 2 or chance.random() < 0.2:
        return flip(data, most)
    packing, body = data[:1], data[1:]
    try:
        tar = _unpacked(packing, body)
    except (ValueError, zlib.error, EOFError, OSError):
        return flip(data, most)
    way = chance.random()
    tar = _summed(
        _spliced(tar, chance) if way < 0.2 else _field(tar, chance) if way < 0.7 else flip(tar, most))
    if packing == b"\1":
        tar = gzip.compress(tar, 1, mtime=0)
    elif packing == b"\2":
        tar = images_world.zstd(tar)
    return (packing + tar)[:most]


def _unpacked(packing: bytes, body: bytes) -> bytes:
    if packing == b"\1":
        return zlib.decompressobj(31).decompress(body, 1 << 16)
    if packing == b"\2":
        raise ValueError("zstd stays packed")
    return body


def _spliced(tar: bytes, chance: Random) -> bytes:
    """Blocks moved, doubled or dropped."""
    blocks = [tar[at:at + 512] for at in range(0, len(tar), 512)]
    begin, end = sorted(chance.choices(range(len(blocks) + 1), k=2))
    part = blocks[begin:min(end, begin + 4)]
    if chance.random() < 0.5:
        del blocks[begin:begin + len(part)]
    place = chance.randrange(len(blocks) + 1)
    blocks[place:place] = part
    return b"".join(blocks)


_NAMES = (
    b"", b"/", b".", b"..", b"../x", b"/x", b"a/../../x", b"etc/passwd", b"./etc//passwd", b"bin/x",
    b"etc/.wh.x", b".wh...", b".wh..wh..opq", b"x\0y", b"n" * 100, b"usr/", "\u0435tc".encode(), b"\xff")
_NUMBERS = (
    b"", b"0000000\0", b"7777777\0", b"0000010\0", b"       \0", b"-000001\0", b"9\0",
    b"\x80" + b"\0" * 6 + b"\1", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"00000001000\0")
_FIELDS = (
    (0, 100, _NAMES), (100, 8, _NUMBERS), (108, 8, _NUMBERS), (116, 8, _NUMBERS), (124, 12, _NUMBERS),
    (136, 12, _NUMBERS), (156, 1, [bytes([kind]) for kind in b"\0" b"01234567gxLKSVD"]), (157, 100, _NAMES),
    (257, 8, (b"ustar\00000", b"ustar  \0", b"\0" * 8, b"ustar\0\0\0", b"ustar 00")), (329, 8, _NUMBERS),
    (345, 155, _NAMES))


def _field(tar: bytes, chance: Random) -> bytes:
    """One field of one header set to what readers may differ about."""
    headers = [at for at in range(0, len(tar) - 511, 512) if tar[at + 257:at + 262] == b"ustar"]
    if not headers:
        return tar
    place, length, values = chance.choice(_FIELDS)
    at = chance.choice(headers) + place
    return tar[:at] + chance.choice(values)[:length].ljust(length, b"\0") + tar[at + length:]


def _summed(tar: bytes) -> bytes:
    """Each block that looks like a header gets the checksum of what it holds."""
    whole = bytearray(tar)
    for at in range(0, len(whole) - 511, 512):
        if whole[at + 257:at + 262] == b"ustar":
            whole[at + 148:at + 156] = b" " * 8
            whole[at + 148:at + 156] = b"%06o\0 " % sum(whole[at:at + 512])
    return bytes(whole)


# -- packages --------------------------------------------------------------------------------------


def ctp(data: bytes, most: int, chance: Random, flip: Flip) -> bytes:
    """A package with one member changed; what derives from it often made anew, as an attacker would."""
    if chance.random() < 0.2:
        return _summed(flip(data, most))
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            members = [(member.name, _read(tar, member)) for member in tar]
    except (tarfile.TarError, ValueError, EOFError, OSError):
        return _summed(flip(data, most))
    if not members:
        return flip(data, most)
    at = chance.randrange(len(members))
    name, content = members[at]
    changed = json_value if content[:1] == b"{" else plainly
    members[at] = name, changed(content, len(content) * 2 + 64, chance, flip)
    if chance.random() < 0.8:
        members = _derived(members)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            try:
                tar.addfile(member, io.BytesIO(content))
            except (ValueError, UnicodeError):
                return flip(data, most)
    return out.getvalue()[:most]


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member) if member.isfile() else None
    return file.read() if file else b""


def _derived(members: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """The views and release.sig that these members want; release.sig keeps the signature that it had."""
    small = {name: content for name, content in members if not name.startswith("oci-layout/blobs/")}
    try:
        small |= package.views(bundles.parse(small[package.BUNDLE]))
    except (VordrError, FormatError, KeyError):
        pass
    try:
        signed = dsse.parse(canonical.loads(small[package.RELEASE]))
        anew = dsse.Envelope(package.RELEASE_TYPE, package.release_payload(small), signed.signatures)
        small[package.RELEASE] = canonical.dumps(anew.to_json())
    except (FormatError, KeyError):
        pass
    return [(name, small.get(name, content)) for name, content in members]
