"""Which runc packages carry the fixes of the container escapes that matter, and when nobody can tell.

Three sources, the surest first: upstream's version, the revisions listed here (compared as dpkg does), and
the installed package's own changelog, in which distributions name the CVEs that they fix. Where all are
silent the answer is "cannot tell", never "fine".
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from vordr.model.errors import VordrError
from vordr.runtime.command import run
from vordr.runtime.probe import Program


class Fix(StrEnum):
    FIXED = "fixed"
    VULNERABLE = "vulnerable"
    UNKNOWN = "cannot tell"


@dataclass(frozen=True)
class Advisory:
    """``upstream`` lists, per release branch of runc (major, minor), the first patch release with the fix.

    ``newest`` is the first branch that had it from its beginning. ``packages`` are distribution revisions:
    (os-release ID, VERSION_ID) → first fixed package version.
    """

    cves: tuple[str, ...]
    what: str
    upstream: dict[tuple[int, int], int]
    newest: tuple[int, int]
    packages: dict[tuple[str, str], str]


ADVISORIES: Final = (
    # GHSA-xr7r-f8xq-vfvv; Debian DSA-5615-1; Ubuntu USN-6619-1.
    Advisory(
        ("CVE-2024-21626",), "a leaked descriptor leads out of the container", {(1, 1): 12}, (1, 2),
        {("debian", "12"): "1.1.5+ds1-1+deb12u1"},
    ),
    # GHSA-9493-h29p-rfm2, GHSA-qw9x-cqr3-wc7r, GHSA-cgrx-mc8f-2prm (November 2025).
    Advisory(
        ("CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881"),
        "masked paths and /dev/console can be redirected", {(1, 2): 8, (1, 3): 3, (1, 4): 0}, (1, 5), {},
    ),
)


@dataclass(frozen=True)
class Package:
    """The distribution's package of the runtime: os-release ID and VERSION_ID, version, changelog text."""

    distribution: str
    release: str
    version: str
    changelog: str


def judge(
    advisory: Advisory, version: str, package: Package | None, newer: Callable[[str, str], bool | None]
) -> tuple[Fix, str]:
    """Whether runc ``version`` from ``package`` carries the fix, and the reason in words. Pure.

    ``newer(a, b)`` says whether package version a ≥ b by dpkg's order, None when it cannot compare.
    """
    numbers = [int(number) for number in re.findall(r"\d+", version.split("+")[0])[:3]]
    if len(numbers) == 3 and "rc" not in version and _upstream_fixed(advisory, numbers):
        return Fix.FIXED, f"runc {version} has the fix"
    if package is None:
        return Fix.UNKNOWN, f"runc {version} is older than the fix and not a package of this system"
    known = advisory.packages.get((package.distribution, package.release))
    if known is not None and (answer := newer(package.version, known)) is not None:
        if answer:
            return Fix.FIXED, f"package {package.version} has the fix (since {known})"
        return Fix.VULNERABLE, f"package {package.version} is older than the fixed {known}"
    unnamed = [cve for cve in advisory.cves if cve not in package.changelog]
    if not unnamed:
        return Fix.FIXED, f"the changelog of package {package.version} names the fix"
    why = f"package {package.version} is older than upstream's fix and does not name {unnamed[0]}"
    return Fix.UNKNOWN, why


def _upstream_fixed(advisory: Advisory, numbers: list[int]) -> bool:
    branch = (numbers[0], numbers[1])
    first = advisory.upstream.get(branch)
    return branch >= advisory.newest or (first is not None and numbers[2] >= first)


def installed_package(program: Program) -> Package | None:
    """The Debian package that owns the program; None when dpkg is absent or knows nothing of it."""
    try:
        owner = _owner(program.path)
        asked = run(("dpkg-query", "-W", "-f", "${Version}", owner), timeout=10) if owner else None
    except VordrError:
        return None
    if owner is None or asked is None:
        return None
    system = _os_release()
    return Package(
        system.get("ID", ""), system.get("VERSION_ID", ""), asked.stdout.decode().strip(), _changelog(owner)
    )


def dpkg_newer(left: str, right: str) -> bool | None:
    """Whether ``left`` ≥ ``right`` by dpkg's version order (deb-version(7)); None without dpkg."""
    try:
        return run(("dpkg", "--compare-versions", left, "ge", right), timeout=10, check=False).code == 0
    except VordrError:
        return None


def _owner(path: Path) -> str | None:
    """The package of a file. On a merged-/usr system dpkg may know the other spelling of the path."""
    other = Path(str(path).removeprefix("/usr")) if path.is_relative_to("/usr") else Path(f"/usr{path}")
    for spelling in dict.fromkeys((path, path.resolve(), other)):
        found = run(("dpkg-query", "-S", spelling), timeout=10, check=False)
        if found.code == 0:
            return found.stdout.decode().split(":")[0].strip() or None
    return None


def _changelog(package: str) -> str:
    folder = Path("/usr/share/doc") / package
    for name in ("changelog.Debian.gz", "changelog.gz"):
        try:
            return gzip.decompress((folder / name).read_bytes()).decode(errors="replace")
        except (OSError, EOFError):
            continue
    return ""


def _os_release() -> dict[str, str]:
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {key.strip(): value.strip().strip('"') for key, _, value in pairs}
