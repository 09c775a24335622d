"""What the operator demands beyond the spec: ``trust/policy.toml``, strict, with defaults.

    require = "any"              # "published": an image that was only adopted does not start
    distinct_log_operators = 1   # logs of how many different operators must vouch for each attestation
    allow_host_network = false   # may a container share the host's network namespace?
    verdict_ttl = 3600           # seconds for which one verification may be relied on (at most 3600)
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from vordr.formats import canonical
from vordr.model.errors import ConfigInvalid, ConfigUnparsable

LONGEST_TTL: Final = 3600
"""Seconds; the design's bound on how long a verdict may be cached."""
_LARGEST_FILE = 64 * 1024


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

    @property
    def digest(self) -> str:
        """``sha256:<hex>`` over the canonical JSON of all fields: equal policies, equal digests."""
        return canonical.digest({**asdict(self), "require": self.require.value})


DEFAULT: Final = Policy()


def load(path: Path) -> Policy:
    """The policy in ``path``; the default one when there is no file.

    Raises ConfigUnparsable (not TOML) or ConfigInvalid (unknown key, wrong value), with file and line.
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
        return parse(raw.decode("utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise ConfigUnparsable(f"{path}: not UTF-8 at byte {error.start}") from error


def parse(text: str, place: str = "policy.toml") -> Policy:
    """The policy written in ``text``; ``place`` names it in errors. Raises as :func:`load`."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigUnparsable(f"{place}: not TOML: {error}") from error
    return Policy(**{key: _value(key, value, f"{place}:{_line(text, key)}") for key, value in table.items()})


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
            known = ", ".join(asdict(DEFAULT))
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
