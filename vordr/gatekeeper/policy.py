"""What the operator demands beyond the spec: ``trust/policy.toml``, strict, with defaults.

    require = "any"              # "published": an image that was only adopted does not start
    distinct_log_operators = 1   # logs of how many different operators must vouch for each attestation
    allow_host_network = false   # may a container share the host's network namespace?
    verdict_ttl = 3600           # seconds for which one verification may be relied on (at most 3600)

and any number of ``[[scope]]`` tables, which demand more of some images
(:mod:`~vordr.gatekeeper.scope_tables`). Files that a scope refers to lie beside policy.toml and are pinned
there by their SHA-256.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from vordr.formats import canonical, toml
from vordr.formats.errors import FormatError
from vordr.gatekeeper.scope_tables import ReadFile, read_scopes
from vordr.gatekeeper.scopes import Scope
from vordr.model.errors import ConfigInvalid, ConfigUnparsable

LONGEST_TTL: Final = 3600
"""Seconds; the design's bound on how long a verdict may be cached."""
_LARGEST_FILE = 256 * 1024
_LARGEST_PINNED = 1 << 20


class Require(StrEnum):
    ANY = "any"
    PUBLISHED = "published"


@dataclass(frozen=True)
class Policy:
    """``verdict_ttl`` in seconds; ``distinct_log_operators`` counts names of operators in the trust store."""

    require: Require = Require.ANY
    distinct_log_operators: int = 1
    allow_host_network: bool = False
    verdict_ttl: int = LONGEST_TTL
    scopes: tuple[Scope, ...] = ()

    @property
    def digest(self) -> str:
        """``sha256:<hex>`` over the canonical JSON of all fields: equal policies, equal digests. Pinned files
        count by their digests."""
        plain: dict[str, Any] = {
            "require": self.require.value, "distinct_log_operators": self.distinct_log_operators,
            "allow_host_network": self.allow_host_network, "verdict_ttl": self.verdict_ttl}
        if self.scopes:
            plain["scopes"] = [scope.to_json() for scope in self.scopes]
        return canonical.digest(plain)


DEFAULT: Final = Policy()


def load(path: Path) -> Policy:
    """The policy in ``path``; the default one when there is no file.

    Raises ConfigUnparsable (not TOML) or ConfigInvalid (unknown key, wrong value, a pinned file with other
    bytes), with file and place.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST_FILE + 1)
    except FileNotFoundError:
        return DEFAULT
    except OSError as error:
        raise ConfigInvalid(f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) > _LARGEST_FILE:
        raise ConfigInvalid(f"{path}: larger than {_LARGEST_FILE} bytes")
    try:
        return parse(raw.decode("utf-8"), str(path), beside(path.parent))
    except UnicodeDecodeError as error:
        raise ConfigUnparsable(f"{path}: not UTF-8 at byte {error.start}") from error


def beside(folder: Path) -> ReadFile:
    """Reads files of ``folder`` by their names: plain files, no links, of at most 1 MiB."""
    def read(name: str) -> bytes:
        path = folder / name
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise ConfigInvalid(f"{path}: cannot be read: {error.strerror}") from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ConfigInvalid(f"{path}: is not a file")
        with open(descriptor, "rb") as file:
            content = file.read(_LARGEST_PINNED + 1)
        if len(content) > _LARGEST_PINNED:
            raise ConfigInvalid(f"{path}: larger than {_LARGEST_PINNED} bytes")
        return content

    return read


def _nothing_beside(name: str) -> bytes:
    raise ConfigInvalid(f"{name}: there are no files beside this policy")


def parse(text: str, place: str = "policy.toml", read_file: ReadFile = _nothing_beside) -> Policy:
    """The policy written in ``text``; ``place`` names it in errors, ``read_file`` gives the pinned files.
    Raises as :func:`load`."""
    try:
        table = toml.loads(text, place)
    except FormatError as error:
        raise ConfigUnparsable(str(error)) from error
    scopes = read_scopes(table.pop("scope", []), place, read_file)
    plain = {key: _value(key, value, f"{place}:{_line(text, key)}") for key, value in table.items()}
    return Policy(**plain, scopes=scopes)


def _value(key: str, value: Any, place: str) -> Any:
    match key, value:
        case "require", "any" | "published":
            return Require(value)
        case "require", _:
            wanted = '"any" or "published"'
        case "distinct_log_operators", int() if not isinstance(value, bool) and 1 <= value <= 16:
            return value
        case "distinct_log_operators", _:
            wanted = "a number from 1 to 16"
        case "allow_host_network", bool():
            return value
        case "allow_host_network", _:
            wanted = "true or false"
        case "verdict_ttl", int() if not isinstance(value, bool) and 1 <= value <= LONGEST_TTL:
            return value
        case "verdict_ttl", _:
            wanted = f"a number of seconds from 1 to {LONGEST_TTL}"
        case _:
            known = "require, distinct_log_operators, allow_host_network, verdict_ttl, scope"
            raise ConfigInvalid(f"{place}: unknown key {key!r}", remedy=f"the keys are: {known}",
                                details={"key": key})
    raise ConfigInvalid(f"{place}: {key} must be {wanted}, not {value!r}", details={"key": key})


def _line(text: str, key: str) -> int:
    """Number of the line that sets ``key`` (1 when it is written in a way that no line shows plainly)."""
    setting = re.compile(rf"\s*\[*\s*[\"']?{re.escape(key)}[\"']?\s*[=.\]]")
    for number, line in enumerate(text.splitlines(), 1):
        if setting.match(line):
            return number
    return 1
