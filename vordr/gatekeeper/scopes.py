"""Scopes of the policy: which images, and what must hold of them beyond everything that holds for all.

A scope only adds demands: nothing starts by a scope that the spec's steps refuse. Every scope that matches a
name of the image counts, all of them; an image that has no name falls under every scope. Names say where an
image was asked for, not who made it: what every image must meet belongs into a scope of ``images = ["*"]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from vordr.gatekeeper.edge_policy import SvalinnPolicy
from vordr.gatekeeper.pinned_keys import PinnedKey

PATTERN: Final = re.compile(r"[A-Za-z0-9._:/*?-]{1,300}")


@dataclass(frozen=True)
class Pinned:
    """A file beside policy.toml with the digest that it must have: ``content`` had it when it was read."""

    file: str
    digest: str
    content: bytes = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        return {"file": self.file, "sha256": self.digest}


@dataclass(frozen=True)
class CosignDemand:
    """``threshold`` of ``keys`` must have signed the image; with ``attests``, an attestation of that
    predicate type about it. With ``logs`` (Rekor's keys) each signature must have been promised an entry
    there."""

    keys: tuple[PinnedKey, ...]
    threshold: int = 1
    attests: str | None = None
    logs: tuple[PinnedKey, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "keys": [key.key_id for key in self.keys], "threshold": self.threshold, "attests": self.attests,
            "logs": [key.key_id for key in self.logs], "annotations": dict(self.annotations)}


@dataclass(frozen=True)
class SigstoreDemand:
    """A sigstore bundle by ``identity`` of ``issuer``, under the pinned trusted root."""

    trusted_root: Pinned
    identity: str
    issuer: str
    attests: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {"trusted_root": self.trusted_root.to_json(), "identity": self.identity,
                "issuer": self.issuer, "attests": self.attests}


@dataclass(frozen=True)
class InTotoDemand:
    """An in-toto layout that the image's making must satisfy. No start can judge it yet: it refuses."""

    layout: Pinned
    keys: tuple[PinnedKey, ...]

    def to_json(self) -> dict[str, Any]:
        return {"layout": self.layout.to_json(), "keys": [key.key_id for key in self.keys]}


@dataclass(frozen=True)
class SvalinnDemand:
    """One of Svalinn's policies. ``waived`` are its members that the operator does not want judged, of those
    that nothing here can judge."""

    policy: Pinned
    read: SvalinnPolicy
    waived: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"policy": self.policy.to_json(), "waive": list(self.waived)}


@dataclass(frozen=True)
class Scope:
    """``images`` are patterns over ``registry/repository[:tag]``, where ``*`` stands for any characters."""

    name: str
    images: tuple[str, ...]
    published: bool = False
    distinct_log_operators: int = 1
    max_age_days: int | None = None
    signers: tuple[str, ...] = ()
    cosign: tuple[CosignDemand, ...] = ()
    sigstore: tuple[SigstoreDemand, ...] = ()
    in_toto: tuple[InTotoDemand, ...] = ()
    svalinn: tuple[SvalinnDemand, ...] = ()

    def matches(self, names: Iterable[str]) -> bool:
        """Whether an image of these names is in the scope; one without a name is."""
        given = tuple(names)
        return not given or any(matches(pattern, name) for pattern in self.images for name in given)

    def to_json(self) -> dict[str, Any]:
        """All of the scope, JSON-safe; pinned files by their digests."""
        return {
            "name": self.name, "images": list(self.images), "published": self.published,
            "distinct_log_operators": self.distinct_log_operators, "max_age_days": self.max_age_days,
            "signers": list(self.signers), "cosign": [one.to_json() for one in self.cosign],
            "sigstore": [one.to_json() for one in self.sigstore],
            "in_toto": [one.to_json() for one in self.in_toto],
            "svalinn": [one.to_json() for one in self.svalinn]}


def matches(pattern: str, name: str) -> bool:
    """Whether ``pattern`` matches a full reference, with or without its tag; its digest is left out."""
    whole = name.partition("@")[0]
    return fnmatchcase(whole, pattern) or fnmatchcase(untagged(whole), pattern)


def untagged(name: str) -> str:
    """``registry/repository`` of a full reference."""
    whole = name.partition("@")[0]
    before, colon, tag = whole.rpartition(":")
    return before if colon and "/" not in tag else whole
