"""A piece of software that an image holds, and its package URL (purl, ECMA-427)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import quote

_LONGEST: Final = 512
_PLAIN: Final = "-._~:"
"""What a purl writes as it is, besides letters and digits."""


class Kind(StrEnum):
    """Where a package comes from; the value is its purl type."""

    DEB = "deb"
    APK = "apk"
    RPM = "rpm"
    PYTHON = "pypi"
    NODE = "npm"
    GO = "golang"


@dataclass(frozen=True, order=True)
class Package:
    """``version`` is empty where none is told; an rpm's is ``[epoch:]version-release``. ``place`` is the file
    that says so, without its leading slash; two places of one package are no two packages."""

    name: str
    version: str
    architecture: str = ""
    kind: Kind = Kind.DEB
    place: str = field(default="", compare=False)


@dataclass(frozen=True)
class Distribution:
    """``ID`` and ``VERSION_ID`` of os-release(5); both may be empty."""

    id: str
    version: str


def plausible(word: str) -> bool:
    """Whether a name or version can be shown: 1 to 512 printable characters, no space around them."""
    return 0 < len(word) <= _LONGEST and word.isprintable() and word == word.strip()


def purl(package: Package, distribution: Distribution | None) -> str:
    """The package's URL, such as ``pkg:deb/debian/bash@5.2-1?arch=amd64&distro=debian-12``."""
    name, version = package.name, package.version
    qualifiers: dict[str, str] = {}
    space: tuple[str, ...] = ()
    match package.kind:
        case Kind.DEB | Kind.APK | Kind.RPM:
            if distribution is not None and distribution.id:
                space = (distribution.id,)
                qualifiers["distro"] = "-".join(filter(None, (distribution.id, distribution.version)))
            if package.architecture:
                qualifiers["arch"] = package.architecture
            if package.kind is Kind.RPM and ":" in version:
                qualifiers["epoch"], _, version = version.partition(":")
        case Kind.PYTHON:
            name = name.lower().replace("_", "-")
        case Kind.NODE | Kind.GO:
            *folders, name = (name.lower() if package.kind is Kind.GO else name).split("/")
            space = tuple(folders)
    path = "/".join(quote(part, safe=_PLAIN) for part in (package.kind.value, *space, name))
    at = f"@{quote(version, safe=_PLAIN)}" if version else ""
    query = "&".join(f"{key}={quote(value, safe=_PLAIN)}" for key, value in sorted(qualifiers.items()))
    return f"pkg:{path}{at}{'?' + query if query else ''}"
