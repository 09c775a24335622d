"""Whatever an image holds, listing its software ends, refuses nothing and believes nothing it cannot show."""

from __future__ import annotations

import gzip
import io
import sqlite3
import struct
import tarfile
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from vordr.formats.digests import sha256_digest
from vordr.formats.errors import FormatError
from vordr.gatekeeper.gobuild import parse_program
from vordr.gatekeeper.rpmdb import parse_rpm
from vordr.gatekeeper.sbom import inventory
from vordr.gatekeeper.software import Kind, Package, plausible, purl
from vordr.gatekeeper.subject import Blob

GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
PATHS = st.sampled_from([
    "var/lib/dpkg/status", "var/lib/dpkg/status.d/a", "lib/apk/db/installed", "etc/os-release", "a/b",
    "x/node_modules/p/package.json", "x/node_modules/q/package.json", "x.dist-info/METADATA", "x/y.egg-info",
    "var/lib/rpm/rpmdb.sqlite", "var/lib/rpm/Packages", "bin/go",
])
CONTENTS = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([
        b"Package: a\nStatus: install ok installed\nVersion: 1\n", b'{"name": "p", "version": "1"}',
        b"Name: n\nVersion: 2\n", b"P:apk\nV:3\n", b"ID=x\n", b"",
    ]),
)
FILES = st.dictionaries(PATHS, CONTENTS, max_size=6)


def header(name: str) -> bytes:
    data = name.encode() + b"\0" + b"1\0"
    entries = struct.pack(">IIII", 1000, 6, 0, 1) + struct.pack(">IIII", 1001, 6, len(name) + 1, 1)
    return struct.pack(">II", 2, len(data)) + entries + data


def database() -> bytes:
    made = sqlite3.connect(":memory:")
    made.execute("PRAGMA page_size=512")
    made.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
    made.executemany("INSERT INTO Packages (blob) VALUES (?)",
                     [(header(f"p{at}") + bytes(at * 90),) for at in range(30)])
    made.commit()
    return made.serialize()


RPM = database()
MODULES = b"mod\ta.b/c\tv1\t\ndep\td.e/f\tv2\t\n"
PROGRAM = (b"\x7fELF" + bytes(28) + b"\xff Go buildinf:\x08\x02" + bytes(16) + b"\x08go1.20.5"
           + bytes([32 + len(MODULES)]) + b"m" * 16 + MODULES + b"m" * 16)


def layer(files: Mapping[str, bytes], mode: int = 0o755) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def _packed(tar: bytes) -> bytes:
    """Without the time of packing, so that the same tar is the same blob."""
    return gzip.compress(tar, mtime=0)


def look(*tars: bytes) -> tuple[Package, ...]:
    blobs = {sha256_digest(raw): raw for raw in map(_packed, tars)}
    digests = [sha256_digest(_packed(raw)) for raw in tars]
    found = inventory([Blob(digest, 1, GZIP) for digest in digests], lambda digest: io.BytesIO(blobs[digest]))
    assert found.comment.isprintable()
    return found.packages


@given(st.lists(FILES, max_size=4))
@settings(max_examples=80, deadline=None)
def test_whatever_files_hold_nothing_is_raised_and_all_that_is_listed_can_be_shown(
    layers: list[dict[str, bytes]]
) -> None:
    listed = look(*map(layer, layers))
    assert list(listed) == sorted(set(listed))
    for package in listed:
        assert plausible(package.name) and (not package.version or plausible(package.version))
        assert purl(package, None).isascii()


@given(st.lists(FILES, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_layers_tell_what_their_union_tells(layers: list[dict[str, bytes]]) -> None:
    union: dict[str, bytes] = {}
    for files in layers:
        union |= files
    assert look(*map(layer, layers)) == look(layer(union))


@given(st.lists(FILES, min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_an_opaque_root_hides_everything_below(layers: list[dict[str, bytes]]) -> None:
    top = layer({**layers[-1], ".wh..wh..opq": b""})
    assert look(*map(layer, layers), top) == look(layer(layers[-1]))


@given(st.integers(0, 3000), st.integers(0, 255))
@settings(max_examples=80, deadline=None)
def test_a_damaged_layer_raises_nothing(at: int, value: int) -> None:
    raw = bytearray(layer({"var/lib/dpkg/status": b"Package: a\n", "x/node_modules/p/package.json": b"{}"}))
    raw[at % len(raw)] = value
    look(bytes(raw))


@given(st.lists(st.tuples(st.integers(0, len(RPM) - 1), st.integers(0, 255)), min_size=1, max_size=12))
@settings(max_examples=300, deadline=None)
def test_a_damaged_rpm_database_is_read_or_refused(damage: list[tuple[int, int]]) -> None:
    raw = bytearray(RPM)
    for at, value in damage:
        raw[at] = value
    try:
        parse_rpm(bytes(raw))
    except FormatError:
        pass


def test_the_sound_rpm_database_is_read() -> None:
    assert {package.name for package in parse_rpm(RPM)} == {f"p{at}" for at in range(30)}


@given(st.lists(st.integers(1, 80), min_size=1, max_size=6))
@settings(max_examples=80, deadline=None)
def test_a_go_program_tells_the_same_however_it_is_cut(sizes: list[int]) -> None:
    pieces, at = [], 0
    while at < len(PROGRAM):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(PROGRAM[at : at + size])
        at += size
    assert parse_program(pieces) == (
        Package("stdlib", "1.20.5", kind=Kind.GO), Package("a.b/c", "v1", kind=Kind.GO),
        Package("d.e/f", "v2", kind=Kind.GO))


@given(st.lists(st.tuples(st.integers(0, len(PROGRAM) - 1), st.integers(0, 255)), max_size=8))
@settings(max_examples=150, deadline=None)
def test_a_damaged_go_program_raises_nothing(damage: list[tuple[int, int]]) -> None:
    raw = bytearray(PROGRAM)
    for at, value in damage:
        raw[at] = value
    parse_program([bytes(raw)])
