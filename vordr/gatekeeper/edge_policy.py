"""Reading Svalinn's policies: gatekeeper-policy.v1, and the edge policies, which have no published schema.

The edge shape is read off the published examples and is closed: a member that is not known here, or known
with another type, refuses the policy. What each member demands is in :mod:`~vordr.gatekeeper.edge_demands`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from vordr.formats import canonical
from vordr.formats.errors import FormatError
from vordr.gatekeeper.schema import Fault, Many, Members, Shape, Text, Whole

LARGEST_POLICY: Final = 1 << 20


class Form(StrEnum):
    GATEKEEPER = "gatekeeper-policy.v1"
    EDGE = "edge-policy.v1"


@dataclass(frozen=True)
class SvalinnPolicy:
    """``document`` is the policy as read; its digest is pinned by whoever refers to it."""

    form: Form
    document: Mapping[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        return str(self.document.get("name", self.form.value))


@dataclass(frozen=True)
class _Flag:
    def faults(self, value: Any, path: str) -> Iterator[Fault]:
        if not isinstance(value, bool):
            yield path, "must be true or false"


@dataclass(frozen=True)
class _Amount:
    def faults(self, value: Any, path: str) -> Iterator[Fault]:
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            yield path, "must be a number of at least 0"


_TEXT, _WORDS, _FLAG, _AMOUNT = Text(shortest=1), Many(Text(shortest=1)), _Flag(), _Amount()
_KEY_IDS = Many(Text(r"sha256:[a-f0-9]{64}"), 1)

_GATEKEEPER: Final = Members(
    {"version": Whole(1), "requiredPredicates": Many(Text(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+"), 1),
     "allowedSigners": _KEY_IDS, "logQuorum": Whole(1)},
    {"mode": Text(one_of=("strict", "permissive")), "notes": Text()})

_SECTIONS: Final[Mapping[str, Members]] = {
    "registries": Members(
        {}, {"allow": _WORDS, "deny": _WORDS, "requireSignature": _FLAG, "allowedSigners": _KEY_IDS}),
    "images": Members({}, {
        "allowPatterns": _WORDS, "denyPatterns": _WORDS, "requireSbom": _FLAG, "maxAgeDays": Whole(),
        "maxVulnerabilities": Members(
            {}, dict.fromkeys(("critical", "high", "medium", "low"), Whole()))}),
    "resources": Members({}, dict.fromkeys(
        ("maxMemoryMb", "maxCpuCores", "maxContainers", "maxStorageGb"), _AMOUNT)),
    "security": Members({}, {
        "allowPrivileged": _FLAG, "allowHostNetwork": _FLAG, "allowHostPid": _FLAG, "allowHostIpc": _FLAG,
        "readOnlyRoot": _FLAG, "dropCapabilities": _WORDS, "addCapabilities": _WORDS,
        "seccompProfile": _TEXT, "apparmorProfile": _TEXT}),
    "network": Members(
        {}, {"allowEgress": _FLAG, "allowIngress": _FLAG, "deniedPorts": Many(Whole())}),
    "verification": Members({}, {
        "signatureAlgorithms": Many(_TEXT, 1),
        "transparencyLogs": Members({}, {"required": _WORDS, "quorum": Whole()}),
        "sbomRequired": _FLAG, "sbomFormats": Many(_TEXT, 1), "provenanceLevel": Whole(),
        "maxSignatureAgeDays": Whole(), "keyTrustLevel": _TEXT, "allowedKeyIds": _KEY_IDS,
        "requiredPredicates": Many(_TEXT, 1)}),
}
_EDGE: Final = Members(
    {"version": Text(one_of=("1.0",)), "name": _TEXT},
    {"$schema": Text(), "description": Text(), "notes": Text(), **_SECTIONS})


def parse(raw: bytes) -> SvalinnPolicy:
    """The policy in ``raw``, in either form. Raises FormatError with the place."""
    document: Any = canonical.loads(raw, max_bytes=LARGEST_POLICY, where="policy")
    if not isinstance(document, dict):
        raise FormatError("policy", "not an object")
    edge = isinstance(document.get("version"), str)
    shape = _EDGE if edge else _GATEKEEPER
    for path, wrong in shape.faults(document, "$"):
        raise FormatError(f"policy {path}", wrong)
    for path, unknown in _unknown(shape, document, "$"):
        raise FormatError(
            f"policy {path}", f"unknown member {unknown[:100]!r}: what is not known is not ignored")
    if not edge:
        if document["version"] != 1:
            raise FormatError("policy $.version", "must be 1")
        if document.get("mode") == "permissive":
            raise FormatError("policy $.mode", "permissive starts nothing here: it must be strict")
    return SvalinnPolicy(Form.EDGE if edge else Form.GATEKEEPER, document)


def _unknown(shape: Members, value: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for name in shape.unknown(value):
        yield path, name
    inner: dict[str, Shape] = {**shape.needed, **shape.optional}
    for name, one in inner.items():
        if isinstance(one, Members) and name in value:
            yield from _unknown(one, value[name], f"{path}.{name}")
