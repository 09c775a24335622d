"""``[[scope]]`` of trust/policy.toml, read strictly: a key that is not known refuses the whole policy.

    [[scope]]
    name = "production"
    images = ["registry.example.org/prod/*"]
    require = "published"               # and the keys below, each optional
    distinct_log_operators = 2
    max_attestation_age_days = 30
    signers = ["sha256:…"]              # no other key of the trust store may have signed

    [[scope.cosign]]                    # a keyed signature; with `attests`, an attestation
    keys = ["-----BEGIN PUBLIC KEY-----…"]
    threshold = 1
    attests = "https://slsa.dev/provenance/v1"
    logs = ["-----BEGIN PUBLIC KEY-----…"]
    annotations = { team = "blue" }

    [[scope.sigstore]]
    trusted_root = { file = "sigstore-root.json", sha256 = "…" }
    identity = "https://github.com/o/r/.github/workflows/release.yml@refs/heads/main"
    issuer = "https://token.actions.githubusercontent.com"
    attests = "https://slsa.dev/provenance/v1"

    [[scope.in_toto]]
    layout = { file = "web.layout", sha256 = "…" }
    keys = ["-----BEGIN PUBLIC KEY-----…"]

    [[scope.svalinn]]
    policy = { file = "edge.json", sha256 = "…" }
    waive = ["resources"]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

from vordr.formats.digests import sha256_hex
from vordr.formats.errors import FormatError
from vordr.gatekeeper import edge_policy
from vordr.gatekeeper.pinned_keys import PinnedKey
from vordr.gatekeeper.scopes import (
    PATTERN,
    CosignDemand,
    InTotoDemand,
    Pinned,
    Scope,
    SigstoreDemand,
    SvalinnDemand,
)
from vordr.model.errors import ConfigInvalid

MOST_SCOPES: Final = 64
_MOST_ITEMS: Final = 64
_LONGEST_AGE: Final = 36_500
_FILE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_MISSING: Final = object()

ReadFile = Callable[[str], bytes]
"""The bytes of a file beside policy.toml; raises ConfigInvalid."""

_T = TypeVar("_T")


def read_scopes(value: object, place: str, read_file: ReadFile) -> tuple[Scope, ...]:
    """The scopes in the TOML value of ``scope``; ``place`` names the policy in errors. Raises ConfigInvalid.
    """
    scopes = tuple(
        _scope(table) for table in _tables(value, place, "scope", read_file, MOST_SCOPES))
    names = [scope.name for scope in scopes]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigInvalid(f"{place}: two scopes are called {twice!r}", details={"key": "scope"})
    return scopes


@dataclass
class _Table:
    """One table; keys are taken out one by one, and what is left in the end is unknown."""

    place: str
    values: dict[str, Any]
    read_file: ReadFile

    def refuse(self, key: str, wanted: str) -> NoReturn:
        raise ConfigInvalid(f"{self.place}.{key} must be {wanted}", details={"key": key})

    def take(self, key: str, wanted: str, good: Callable[[Any], bool], default: Any = _MISSING) -> Any:
        value = self.values.pop(key, default)
        if value is _MISSING or (value is not default and not good(value)):
            self.refuse(key, wanted)
        return value

    def text(self, key: str, default: Any = _MISSING) -> Any:
        return self.take(
            key, "a string of 1 to 1000 characters",
            lambda value: isinstance(value, str) and 0 < len(value) <= 1000, default)

    def count(self, key: str, most: int, default: Any = _MISSING) -> Any:
        return self.take(
            key, f"a number from 1 to {most}",
            lambda value: isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most,
            default)

    def words(
        self, key: str, pattern: re.Pattern[str], wanted: str, default: Any = _MISSING
    ) -> tuple[str, ...]:
        return tuple(self.take(
            key, f"a list of 1 to {_MOST_ITEMS} {wanted}",
            lambda value: isinstance(value, list) and 1 <= len(value) <= _MOST_ITEMS
            and all(isinstance(word, str) and pattern.fullmatch(word) for word in value), default))

    def keys(self, key: str, default: Any = _MISSING) -> tuple[PinnedKey, ...]:
        pems = self.words(key, re.compile(r"[\x20-\x7e\r\n]+"), "public keys in PEM", default)
        try:
            keys = tuple(PinnedKey.from_pem(pem) for pem in pems)
        except FormatError as error:
            raise ConfigInvalid(f"{self.place}.{key}: {error}", details={"key": key}) from None
        if len(set(keys)) != len(keys):
            self.refuse(key, "distinct public keys: one is listed twice")
        return keys

    def pinned(self, key: str) -> Pinned:
        """A file beside the policy, whose bytes must be those of the digest that stands here."""
        value = self.values.pop(key, None)
        if not isinstance(value, dict) or set(value) != {"file", "sha256"}:
            self.refuse(key, "{ file = \"NAME\", sha256 = \"64 hex digits\" }")
        name, digest = value["file"], value["sha256"]
        if not isinstance(name, str) or not _FILE.fullmatch(name):
            self.refuse(f"{key}.file", "the name of a file beside policy.toml")
        if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-f]{64}", digest):
            self.refuse(f"{key}.sha256", "64 lowercase hex digits")
        content = self.read_file(name)
        if sha256_hex(content) != digest:
            raise ConfigInvalid(
                f"{self.place}.{key}: {name} has the SHA-256 {sha256_hex(content)}, not {digest}",
                remedy=f"put the file back, or pin the new one: sha256sum {name}", details={"key": key})
        return Pinned(name, digest, content)

    def tables(self, key: str) -> list[_Table]:
        return _tables(self.values.pop(key, []), self.place, key, self.read_file, _MOST_ITEMS)

    def done(self, value: _T) -> _T:
        if self.values:
            unknown = next(iter(self.values))
            raise ConfigInvalid(
                f"{self.place}: unknown key {unknown!r}", remedy="docs/policy.md lists the keys",
                details={"key": unknown})
        return value


def _tables(value: object, place: str, key: str, read_file: ReadFile, most: int) -> list[_Table]:
    if not isinstance(value, list) or len(value) > most or not all(isinstance(one, dict) for one in value):
        raise ConfigInvalid(f"{place}: {key} must be at most {most} tables ([[{key}]])", details={"key": key})
    return [_Table(f"{place}: {key}[{at}]", dict(one), read_file) for at, one in enumerate(value)]


def _scope(table: _Table) -> Scope:
    require = table.take(
        "require", '"any" or "published"', lambda value: value in ("any", "published"), "any")
    age = table.count("max_attestation_age_days", _LONGEST_AGE, None)
    return table.done(Scope(
        name=table.take("name", "1 to 63 letters, digits, . _ -", lambda value: isinstance(value, str)
                        and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", value) is not None),
        images=table.words("images", PATTERN, "patterns such as \"registry.example.org/*\""),
        published=require == "published",
        distinct_log_operators=table.count("distinct_log_operators", 16, 1),
        max_age_days=age,
        signers=table.words("signers", re.compile(r"sha256:[0-9a-f]{64}"), "key ids (sha256:…)", ()),
        cosign=tuple(_cosign(one) for one in table.tables("cosign")),
        sigstore=tuple(_sigstore(one) for one in table.tables("sigstore")),
        in_toto=tuple(
            one.done(InTotoDemand(one.pinned("layout"), one.keys("keys")))
            for one in table.tables("in_toto")),
        svalinn=tuple(_svalinn(one) for one in table.tables("svalinn")),
    ))


def _cosign(table: _Table) -> CosignDemand:
    keys = table.keys("keys")
    threshold = table.count("threshold", _MOST_ITEMS, 1)
    if threshold > len(keys):
        table.refuse("threshold", f"at most the {len(keys)} keys that are listed")
    attests = table.text("attests", None)
    annotations: Mapping[str, str] = table.take(
        "annotations", "a table of strings",
        lambda value: isinstance(value, dict) and all(isinstance(one, str) for one in value.values()), {})
    if attests is not None and annotations:
        table.refuse("annotations", "absent beside attests: attestations have none")
    return table.done(CosignDemand(keys, threshold, attests, table.keys("logs", ()), annotations))


def _sigstore(table: _Table) -> SigstoreDemand:
    return table.done(SigstoreDemand(
        table.pinned("trusted_root"), table.text("identity"), table.text("issuer"),
        table.text("attests", None)))


def _svalinn(table: _Table) -> SvalinnDemand:
    pinned = table.pinned("policy")
    try:
        read = edge_policy.parse(pinned.content)
    except FormatError as error:
        raise ConfigInvalid(
            f"{table.place}.policy: {pinned.file}: {error}", details={"key": "policy"}) from None
    waived = table.words("waive", re.compile(r"[A-Za-z]+(\.[A-Za-z]+){0,3}"), "members of the policy", ())
    for one in waived:
        if not _names(read.document, one):
            table.refuse("waive", f"members of the policy, which {one!r} is not")
    return table.done(SvalinnDemand(pinned, read, waived))


def _names(document: Mapping[str, Any], path: str) -> bool:
    value: Any = document
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True
