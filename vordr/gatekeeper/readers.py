"""Which files of an image tell what software it holds, and how each is read. Pure: names and bytes in.

What such a file claims is repeated, not checked. A file that cannot be read raises Unlisted and is named in
the SBOM's comment; it is never guessed at.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from email.parser import BytesHeaderParser
from typing import Final, TypeAlias

from vordr.formats.errors import FormatError
from vordr.gatekeeper.gobuild import parse_program
from vordr.gatekeeper.rpmdb import parse_rpm
from vordr.gatekeeper.software import Distribution, Kind, Package, plausible

Read: TypeAlias = Callable[[int], bytes]
"""Up to n bytes of a file; empty at its end."""
Told: TypeAlias = "tuple[Package, ...] | Distribution"


class Unlisted(Exception):
    """A file whose packages are not known; the message says why."""


@dataclass(frozen=True)
class Reader:
    """How a file is read: at most ``limit`` bytes by ``parse``. ``head``: its first bytes are enough; else a
    longer one is refused. ``name`` says in plural what kind of evidence it is."""

    name: str
    limit: int
    parse: Callable[[bytes], Told]
    head: bool = False

    def read(self, read: Read) -> Told:
        """Raises Unlisted."""
        raw = _up_to(read, self.limit + (not self.head))
        if len(raw) > self.limit:
            raise Unlisted(f"is larger than {self.limit} bytes")
        return self.parse(raw)


@dataclass(frozen=True)
class ProgramReader:
    """Programs are searched in pieces, whatever their length."""

    name: str = "Go programs"

    def read(self, read: Read) -> Told:
        return parse_program(iter(lambda: read(1 << 20), b""))


def _up_to(read: Read, limit: int) -> bytes:
    parts, left = [], limit
    while left and (chunk := read(min(left, 1 << 20))):
        parts.append(chunk)
        left -= len(chunk)
    return b"".join(parts)


# -- parsing ---------------------------------------------------------------------------------------


def _stanzas(raw: bytes) -> Iterator[Mapping[str, str]]:
    """Fields (names in lower case) of the stanzas of a deb822 file; continued lines are left out."""
    for stanza in raw.decode("utf-8", "replace").split("\n\n"):
        fields = {}
        for line in stanza.splitlines():
            name, colon, value = line.partition(":")
            if colon and not line[:1].isspace():
                fields[name.strip().lower()] = value.strip()
        yield fields


def parse_status(raw: bytes) -> tuple[Package, ...]:
    """The packages of a dpkg status file (deb-control(5) stanzas) whose state is ``installed``, sorted."""
    return _sorted(
        Package(fields["package"], fields.get("version", ""), fields.get("architecture", ""))
        for fields in _stanzas(raw)
        if fields.get("status", "").endswith(" installed") and fields.get("package"))


def parse_status_part(raw: bytes) -> tuple[Package, ...]:
    """The package of a file in dpkg's status.d, where images without dpkg keep one stanza each; no state."""
    return _sorted(
        Package(fields["package"], fields.get("version", ""), fields.get("architecture", ""))
        for fields in _stanzas(raw) if fields.get("package") and fields.get("version"))


def parse_apk(raw: bytes) -> tuple[Package, ...]:
    """The packages of apk's database of installed ones: stanzas of one-letter fields."""
    found = []
    for stanza in raw.decode("utf-8", "replace").split("\n\n"):
        fields = dict(line.split(":", 1) for line in stanza.splitlines() if line[1:2] == ":")
        if fields.get("P"):
            found.append(Package(fields["P"], fields.get("V", ""), fields.get("A", ""), Kind.APK))
    return _sorted(found)


def parse_python(raw: bytes) -> tuple[Package, ...]:
    """The distribution that METADATA or PKG-INFO describes (core metadata: fields of an e-mail's form)."""
    head = BytesHeaderParser().parsebytes(raw)
    name, version = str(head.get("Name", "")), str(head.get("Version", ""))
    if not name or not version:
        raise Unlisted("has no Name or Version")
    return (Package(name, version, kind=Kind.PYTHON),)


def parse_node(raw: bytes) -> tuple[Package, ...]:
    """The package that a package.json describes; none where it has no name, as those of parts of one."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Unlisted("is no JSON") from error
    name = document.get("name") if isinstance(document, dict) else None
    version = document.get("version") if isinstance(document, dict) else None
    if not isinstance(name, str) or not isinstance(version, str):
        return ()
    return (Package(name, version, kind=Kind.NODE),)


def parse_release(raw: bytes) -> Distribution:
    """ID and VERSION_ID of os-release(5)."""
    fields = {}
    for line in raw.decode("utf-8", "replace").splitlines():
        name, equals, value = line.partition("=")
        if equals and name in ("ID", "VERSION_ID"):
            try:
                fields[name] = "".join(shlex.split(value))
            except ValueError as error:
                raise Unlisted("is not quoted as a shell would read it") from error
    for value in fields.values():
        if value and not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value):
            raise Unlisted("names no distribution")
    return Distribution(fields.get("ID", ""), fields.get("VERSION_ID", ""))


def _parse_rpm(raw: bytes) -> tuple[Package, ...]:
    try:
        return _sorted(parse_rpm(raw))
    except FormatError as error:
        raise Unlisted(str(error)) from error


def _refuse(why: str) -> Callable[[bytes], Told]:
    def parse(raw: bytes) -> Told:
        if raw:
            raise Unlisted(why)
        return ()

    return parse


def _sorted(packages: Iterable[Package]) -> tuple[Package, ...]:
    return tuple(sorted(set(packages)))


# -- recognising -----------------------------------------------------------------------------------

_MIB: Final = 1 << 20
_APK = Reader("apk databases", 64 * _MIB, parse_apk)
_RELEASE = Reader("os-release", 64 * 1024, parse_release)
_RPM = Reader("rpm databases", 192 * _MIB, _parse_rpm)
_OLD_RPM = Reader("rpm databases", 1, _refuse("is of a form that is not read here"), head=True)
_RPM_LOG = Reader("rpm databases", 1, _refuse("was not finished: what is in it is missing"), head=True)
_STATUS_PART = Reader("dpkg databases", 64 * 1024, parse_status_part)
_PYTHON = Reader("Python distributions", 64 * 1024, parse_python, head=True)
_NODE = Reader("Node packages", _MIB, parse_node)
_PROGRAM = ProgramReader()

_EXACT: Final[Mapping[str, Reader]] = {
    "var/lib/dpkg/status": Reader("dpkg databases", 64 * _MIB, parse_status),
    "lib/apk/db/installed": _APK,
    "usr/lib/apk/db/installed": _APK,
    "etc/os-release": _RELEASE,
    "usr/lib/os-release": _RELEASE,
    **{f"{folder}/rpmdb.sqlite": _RPM for folder in ("var/lib/rpm", "usr/lib/sysimage/rpm")},
    **{f"{folder}/rpmdb.sqlite-wal": _RPM_LOG for folder in ("var/lib/rpm", "usr/lib/sysimage/rpm")},
    **{f"{folder}/{name}": _OLD_RPM for folder in ("var/lib/rpm", "usr/lib/sysimage/rpm")
       for name in ("Packages", "Packages.db")},
}
DATABASES: Final = frozenset(_EXACT) - {"etc/os-release", "usr/lib/os-release"}
"""Where package databases are; a link or device there is not followed, and said."""
_PATTERNS: Final = (
    (re.compile(r"var/lib/dpkg/status\.d/[^/]+(?<!\.md5sums)"), _STATUS_PART),
    (re.compile(r"(?:.*/)?[^/]+\.(?:dist-info/METADATA|egg-info(?:/PKG-INFO)?)"), _PYTHON),
    (re.compile(r"(?:.*/)?node_modules/(?:@[^/]+/)?[^/@]+/package\.json"), _NODE),
)


def reader_of(path: str, mode: int) -> Reader | ProgramReader | None:
    """How the regular file at ``path`` (no leading slash) is read; None where it tells nothing. Programs are
    known by a bit that lets them be executed."""
    exact = _EXACT.get(path)
    if exact is not None:
        return exact
    for pattern, reader in _PATTERNS:
        if pattern.fullmatch(path):
            return reader
    return _PROGRAM if mode & 0o111 else None


def checked(told: Told, place: str) -> tuple[Told, int]:
    """What a file told, each package with its place, without those that cannot be shown; how many these are.
    """
    if isinstance(told, Distribution):
        return told, 0
    kept = tuple(
        replace(package, place=place) for package in told
        if plausible(package.name) and (not package.version or plausible(package.version))
        and (not package.architecture or plausible(package.architecture)))
    return kept, len(told) - len(kept)
