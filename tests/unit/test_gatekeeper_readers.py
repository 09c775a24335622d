"""Each kind of evidence of software, read from its bytes; and package URLs."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from vordr.formats.errors import FormatError
from vordr.gatekeeper import gobuild, readers, sqlitefile
from vordr.gatekeeper.gobuild import parse_program
from vordr.gatekeeper.readers import Unlisted, reader_of
from vordr.gatekeeper.rpmdb import parse_header, parse_rpm
from vordr.gatekeeper.software import Distribution, Kind, Package, purl

# -- files -----------------------------------------------------------------------------------------


def test_only_installed_packages_of_dpkg_are_listed_and_continued_lines_are_no_fields() -> None:
    raw = (b"Package: b\nStatus: install ok installed\nVersion: 1\nDescription: x\n Package: a\n\n"
           b"Package: c\nStatus: deinstall ok config-files\nVersion: 1\n\nStatus: install ok installed\n")
    assert readers.parse_status(raw) == (Package("b", "1"),)


def test_status_parts_of_images_without_dpkg_have_no_state() -> None:
    raw = b"Package: a\nVersion: 1\nArchitecture: all\n"
    assert readers.parse_status_part(raw) == (Package("a", "1", "all"),)


def test_apks_database() -> None:
    raw = b"C:Q1\nP:busybox\nV:1.36-r1\nA:x86_64\nT:a: b\nF:bin\nR:busybox\n\nP:zlib\nV:1.3\nA:x86_64\n\n"
    assert readers.parse_apk(raw) == (
        Package("busybox", "1.36-r1", "x86_64", Kind.APK), Package("zlib", "1.3", "x86_64", Kind.APK))


def test_metadata_of_a_python_distribution_ends_with_its_head() -> None:
    raw = b"Metadata-Version: 2.1\nName: Foo_Bar\nVersion: 1.0+l\nSummary: a\n b\n\nName: other\n"
    assert readers.parse_python(raw) == (Package("Foo_Bar", "1.0+l", kind=Kind.PYTHON),)


@pytest.mark.parametrize("raw", [b"{}", b"[]", b"1", b'{"name": "a"}', b'{"name": 1, "version": "1"}'])
def test_a_package_json_without_name_and_version_tells_nothing(raw: bytes) -> None:
    assert readers.parse_node(raw) == ()


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 5000])
def test_a_package_json_that_is_none_is_unlisted(raw: bytes) -> None:
    with pytest.raises(Unlisted):
        readers.parse_node(raw)


@pytest.mark.parametrize(("raw", "expected"), [
    (b'NAME="Debian GNU/Linux"\nID=debian\nVERSION_ID="12"\n', Distribution("debian", "12")),
    (b"ID='arch'\n", Distribution("arch", "")), (b"", Distribution("", "")),
])
def test_os_release(raw: bytes, expected: Distribution) -> None:
    assert readers.parse_release(raw) == expected


@pytest.mark.parametrize("raw", [b'ID="x', b"ID=$(rm)\n", b"ID=a/b\n", b"ID=" + b"a" * 65])
def test_an_os_release_that_names_no_distribution_is_unlisted(raw: bytes) -> None:
    with pytest.raises(Unlisted):
        readers.parse_release(raw)


@pytest.mark.parametrize(("path", "name"), [
    ("var/lib/dpkg/status", "dpkg databases"), ("var/lib/dpkg/status.d/base", "dpkg databases"),
    ("usr/lib/apk/db/installed", "apk databases"), ("usr/lib/sysimage/rpm/rpmdb.sqlite", "rpm databases"),
    ("var/lib/rpm/Packages", "rpm databases"), ("x.dist-info/METADATA", "Python distributions"),
    ("opt/v/lib/x-1.egg-info", "Python distributions"), ("opt/x.egg-info/PKG-INFO", "Python distributions"),
    ("node_modules/a/package.json", "Node packages"), ("a/node_modules/@s/b/package.json", "Node packages"),
    ("a/node_modules/.pnpm/b@1/node_modules/b/package.json", "Node packages"),
    ("var/lib/dpkg/status.d/base.md5sums", None), ("var/lib/dpkg/status-old", None), ("a/METADATA", None),
    ("package.json", None), ("node_modules/a/lib/package.json", None), ("node_modules/@s/package.json", None),
    ("home/var/lib/dpkg/status", None),
])
def test_which_files_tell_of_software(path: str, name: str | None) -> None:
    found = reader_of(path, 0o644)
    assert (found.name if found else None) == name


def test_what_can_be_executed_may_be_a_go_program() -> None:
    found = reader_of("bin/x", 0o755)
    assert found is not None and found.name == "Go programs"


def test_a_file_beyond_its_limit_is_not_read_into_memory() -> None:
    reader = reader_of("node_modules/a/package.json", 0o644)
    asked: list[int] = []

    def endless(size: int) -> bytes:
        asked.append(size)
        return bytes(size)

    assert reader is not None
    with pytest.raises(Unlisted, match="larger than"):
        reader.read(endless)
    assert sum(asked) <= (1 << 20) + 1


def test_rpm_databases_of_older_forms_are_named_and_not_guessed_at() -> None:
    for path in ("var/lib/rpm/Packages", "var/lib/rpm/Packages.db", "var/lib/rpm/rpmdb.sqlite-wal"):
        reader = reader_of(path, 0o644)
        assert reader is not None and reader.read(lambda size: b"") == ()
        with pytest.raises(Unlisted):
            reader.read(lambda size: b"x" * size)


# -- rpm -------------------------------------------------------------------------------------------


def header(strings: Mapping[int, str], epoch: int | None = None) -> bytes:
    data, entries = b"", []
    if epoch is not None:
        entries.append(struct.pack(">IIII", 1003, 4, 0, 1))
        data += struct.pack(">I", epoch)
    for tag, text in strings.items():
        entries.append(struct.pack(">IIII", tag, 6, len(data), 1))
        data += text.encode() + b"\0"
    return struct.pack(">II", len(entries), len(data)) + b"".join(entries) + data


def named(name: str, version: str = "1", release: str = "2") -> bytes:
    return header({1000: name, 1001: version, 1002: release, 1022: "x86_64", 1005: "long words " * 40})


def database(path: Path, headers: list[bytes], wal: bool = False) -> bytes:
    """A database as rpm makes one, by SQLite itself."""
    with sqlite3.connect(path) as made:
        if wal:
            made.execute("PRAGMA journal_mode=WAL")
        made.execute("PRAGMA page_size=4096")
        made.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
        made.execute("CREATE TABLE Name (key TEXT NOT NULL, hnum INTEGER NOT NULL)")
        made.executemany("INSERT INTO Packages (blob) VALUES (?)", [(one,) for one in headers])
        made.executemany("INSERT INTO Name VALUES (?, ?)", [("x", at) for at in range(50)])
    made.close()
    return path.read_bytes()


@pytest.mark.parametrize("wal", [False, True])
def test_rpms_database_is_read_with_overflowing_rows_and_many_pages(tmp_path: Path, wal: bool) -> None:
    headers = [named(f"p{at:04}") + bytes(at * 37) for at in range(400)]
    headers.append(named("gpg-pubkey"))
    found = parse_rpm(database(tmp_path / "rpmdb.sqlite", headers, wal))
    assert found == tuple(Package(f"p{at:04}", "1-2", "x86_64", Kind.RPM) for at in range(400))


def test_an_empty_rpm_database_lists_nothing(tmp_path: Path) -> None:
    assert parse_rpm(database(tmp_path / "db", [])) == ()


def test_epoch_and_missing_release_of_an_rpm() -> None:
    assert parse_header(header({1000: "a", 1001: "1"}, epoch=0)).version == "1"
    assert parse_header(header({1000: "a", 1001: "1", 1002: "2.el9"}, epoch=3)).version == "3:1-2.el9"


@pytest.mark.parametrize("bad", [
    b"", b"\0" * 7, struct.pack(">II", 1, 0), struct.pack(">II", 0, 9), header({1000: "a"}),
    struct.pack(">IIIIII", 1, 2, 1000, 6, 5, 1) + b"a\0",
    struct.pack(">IIIIII", 1, 2, 1000, 6, 0, 1) + b"ab",
    struct.pack(">II", 2**32 - 1, 2**32 - 1) + bytes(64),
])
def test_a_damaged_rpm_header_is_refused(bad: bytes) -> None:
    with pytest.raises(FormatError):
        parse_header(bad)


def test_sqlite_rows_are_those_that_sqlite_reads(tmp_path: Path) -> None:
    rows = [(None, 0, 1, -1, 127, -129, 2**31, -(2**40), 2**62, 1.5, "é", b"\0x"), ("", b"") + (None,) * 10]
    with sqlite3.connect(tmp_path / "db") as made:
        made.execute(f"CREATE TABLE t ({', '.join(f'c{at}' for at in range(12))})")
        made.executemany(f"INSERT INTO t VALUES ({', '.join('?' * 12)})", rows)
    made.close()
    assert list(sqlitefile.rows((tmp_path / "db").read_bytes(), "t")) == rows


def test_a_table_that_is_not_there_or_a_view_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "db") as made:
        made.execute("CREATE VIEW Packages AS SELECT 1")
    made.close()
    view, magic = (tmp_path / "db").read_bytes(), b"SQLite format 3\0"
    for raw in (view, b"", magic, magic + bytes(4096)):
        with pytest.raises(FormatError):
            list(sqlitefile.rows(raw, "Packages"))


def test_a_b_tree_that_loops_comes_to_an_end(tmp_path: Path) -> None:
    raw = bytearray(database(tmp_path / "db", [named(f"p{at}") for at in range(300)]))
    root = next(at for at in range(4096, len(raw), 4096) if raw[at] == 5)
    raw[root + 8 : root + 12] = (root // 4096 + 1).to_bytes(4, "big")
    with pytest.raises(FormatError, match="two places"):
        parse_rpm(bytes(raw))


def test_rows_that_lie_upon_each_other_come_to_an_end(tmp_path: Path) -> None:
    raw = bytearray(database(tmp_path / "db", [named("p")] * 3))
    leaf = next(at for at in range(4096, len(raw), 4096) if raw[at] == 13 and raw[at + 4] == 3)
    cell = raw[leaf + 8 : leaf + 10]
    raw[leaf + 3 : leaf + 5] = (1500).to_bytes(2, "big")
    raw[leaf + 8 : leaf + 8 + 3000] = cell * 1500
    with pytest.raises(FormatError):
        parse_rpm(bytes(raw))


# -- Go --------------------------------------------------------------------------------------------

MODULES = ("path\texample.com/a\nmod\texample.com/a\t(devel)\t\ndep\tgithub.com/B/c\tv1.2.3\th1:x=\n"
           "dep\tx.org/old\tv1.0.0\th1:y=\n=>\tx.org/new\tv2.0.0+incompatible\th1:z=\nbuild\t-compiler=gc\n")


def varint(size: int) -> bytes:
    out = b""
    while size > 0x7F:
        out += bytes([size & 0x7F | 0x80])
        size >>= 7
    return out + bytes([size])


def record(version: bytes = b"go1.22.1", modules: str = MODULES, flags: int = 2) -> bytes:
    listed = b"\x30" * 16 + modules.encode() + b"\xf9" * 16
    head = b"\xff Go buildinf:" + bytes([8, flags]) + bytes(16)
    return head + varint(len(version)) + version + varint(len(listed)) + listed


def program(before: int, what: bytes) -> bytes:
    return b"\x7fELF" + bytes(before - 4) + what + bytes(100)


GO = (
    Package("stdlib", "1.22.1", kind=Kind.GO), Package("example.com/a", "", kind=Kind.GO),
    Package("github.com/B/c", "v1.2.3", kind=Kind.GO),
    Package("x.org/new", "v2.0.0+incompatible", kind=Kind.GO),
)


def pieces(raw: bytes, size: int) -> Iterator[bytes]:
    return (raw[at : at + size] for at in range(0, len(raw), size))


@pytest.mark.parametrize("size", [1, 7, 16, 333, 1 << 20])
@pytest.mark.parametrize("before", [16, 4096, 70_000])
def test_modules_of_a_go_program_are_found_however_it_is_cut(before: int, size: int) -> None:
    if before < 70_000 or size > 1:
        assert parse_program(pieces(program(before, record()), size)) == GO


def test_a_record_that_is_none_hides_no_record_after_it() -> None:
    decoy = b"\xff Go buildinf:" + bytes(18)
    misaligned = bytes(3) + record(b"go9.9.9")
    raw = program(64, decoy + misaligned + bytes(-len(decoy + misaligned) % 16) + record())
    for size in (5, 4096):
        assert parse_program(pieces(raw, size)) == GO


@pytest.mark.parametrize("raw", [
    b"", b"#!/bin/sh\n" + bytes(6) + record(), program(16, b""), program(16, record(flags=0)),
    program(16, record()[:40]), program(16, record(b"no version")), program(24, record()),
    program(16, b"\xff Go buildinf:\x08\x02" + bytes(16) + b"\xff" * 64),
])
def test_other_programs_and_damaged_records_tell_nothing(raw: bytes) -> None:
    assert parse_program(pieces(raw, 64)) == ()


def test_a_go_program_without_modules_still_tells_its_go() -> None:
    raw = b"\xff Go buildinf:\x08\x02" + bytes(16) + varint(8) + b"go1.20.5" + varint(0)
    assert parse_program([program(16, raw)]) == (Package("stdlib", "1.20.5", kind=Kind.GO),)


def test_a_long_program_is_searched_in_constant_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    monkeypatch.setattr(gobuild, "_modules", lambda record: held.append(len(record)) or ())
    chunks = (b"\x7fELF" + bytes(60) + (b"\xff Go buildinf:" + bytes(2)) * 4 if at == 0 else bytes(1 << 20)
              for at in range(64))
    assert parse_program(chunks) == ()
    assert len(held) == 4 and max(held) < 8 << 20


def test_a_program_of_nothing_but_marks_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    monkeypatch.setattr(gobuild, "_modules", lambda record: tried.append(1) or ())
    marks = (b"\xff Go buildinf:" + bytes(2)) * (1 << 16)
    assert parse_program(iter([b"\x7fELF" + bytes(12), *[marks] * 8])) == ()
    assert len(tried) == 64


# -- package URLs ----------------------------------------------------------------------------------

DEBIAN = Distribution("debian", "12")


@pytest.mark.parametrize(("package", "distribution", "expected"), [
    (Package("bash", "5.2-1", "amd64"), DEBIAN, "pkg:deb/debian/bash@5.2-1?arch=amd64&distro=debian-12"),
    (Package("g++", "4:12", "amd64"), DEBIAN, "pkg:deb/debian/g%2B%2B@4:12?arch=amd64&distro=debian-12"),
    (Package("bash", "5.2"), None, "pkg:deb/bash@5.2"),
    (Package("musl", "1-r2", "x86_64", Kind.APK), Distribution("alpine", ""),
     "pkg:apk/alpine/musl@1-r2?arch=x86_64&distro=alpine"),
    (Package("curl", "3:7-1", "x86_64", Kind.RPM), Distribution("fedora", "39"),
     "pkg:rpm/fedora/curl@7-1?arch=x86_64&distro=fedora-39&epoch=3"),
    (Package("Foo_Bar.x", "1+l", kind=Kind.PYTHON), DEBIAN, "pkg:pypi/foo-bar.x@1%2Bl"),
    (Package("@scope/name", "1.0.0", kind=Kind.NODE), None, "pkg:npm/%40scope/name@1.0.0"),
    (Package("github.com/B/c", "v1", kind=Kind.GO), None, "pkg:golang/github.com/b/c@v1"),
    (Package("example.com/a", "", kind=Kind.GO), None, "pkg:golang/example.com/a"),
    (Package("a b?#", "1 2&x=y", kind=Kind.NODE), None, "pkg:npm/a%20b%3F%23@1%202%26x%3Dy"),
])
def test_package_urls(package: Package, distribution: Distribution | None, expected: str) -> None:
    assert purl(package, distribution) == expected
