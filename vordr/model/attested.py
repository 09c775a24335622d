"""Who attested what of one image, as ``vordr verify --graph`` draws it: what is claimed, and what holds.

Names, key ids and log ids may be anything that a bundle's author wrote, as long as ``holds`` is false.
"""

from __future__ import annotations

import msgspec


class Signer(msgspec.Struct, frozen=True, kw_only=True):
    """A signature of one attestation. ``owner``, ``roles`` and ``groups`` (``NAME (k of n)``) are the trust
    store's, empty for a key that it does not have."""

    key: str
    holds: bool
    owner: str = ""
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class LogProof(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of a transparency log, and the checkpoint under which it is proved: ``size`` and ``root`` of
    the log's tree. ``time`` is when the log took it in (RFC 3339); ``operator`` is empty for an unknown log.
    """

    log: str
    index: int
    size: int
    root: str
    time: str
    holds: bool
    operator: str = ""


class Attestation(msgspec.Struct, frozen=True, kw_only=True):
    """``digest`` is that of the signed bytes, ``predicate`` the type's URI and ``name`` what it is called."""

    digest: str
    predicate: str
    name: str
    signers: tuple[Signer, ...]
    logs: tuple[LogProof, ...]


class Demanded(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence of cosign or sigstore that a scope of the policy demands; ``keys`` are pinned keys that gave
    it."""

    scope: str
    demand: str
    holds: bool
    text: str
    keys: tuple[str, ...] = ()


class Attested(msgspec.Struct, frozen=True, kw_only=True):
    """``bundle`` is the bundle's digest, None where there is none that could be read. ``unproved`` are log
    entries that were not held against an attestation, because a step before refused."""

    manifest: str
    bundle: str | None
    attestations: tuple[Attestation, ...] = ()
    unproved: tuple[LogProof, ...] = ()
    demanded: tuple[Demanded, ...] = ()
