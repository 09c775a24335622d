"""What is said about an image: in-toto Statements v1 with SLSA provenance v1 or an SPDX 2.3 document.

They say only what was done or read. Formats: in-toto attestation spec v1, SLSA
provenance v1 (slsa.dev/spec/v1.0/provenance), SPDX 2.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from vordr.formats import canonical
from vordr.formats.digests import parse_digest
from vordr.formats.times import format_rfc3339
from vordr.gatekeeper.bundle import STATEMENT_TYPE
from vordr.gatekeeper.sbom import Inventory
from vordr.gatekeeper.software import Distribution, Package, purl
from vordr.gatekeeper.subject import Subject

PROVENANCE: Final = "https://slsa.dev/provenance/v1"
SPDX: Final = "https://spdx.dev/Document"
PREDICATES: Final[Mapping[str, str]] = {PROVENANCE: "SLSA provenance v1", SPDX: "SPDX document"}

PACK_BUILD: Final = "https://vordr.dev/pack/v1"
ADOPT_BUILD: Final = "https://vordr.dev/adopt/v1"
PACKER: Final = "vordr-0.1.0"


@dataclass(frozen=True)
class Material:
    """Something that went in: what it is, where it was (a URI, or empty) and its SHA-256 (``sha256:<hex>``,
    or empty where it has none, as a folder)."""

    name: str
    uri: str = ""
    digest: str = ""

    def to_json(self) -> dict[str, Any]:
        """SLSA's ResourceDescriptor."""
        plain: dict[str, Any] = {"name": self.name}
        if self.uri:
            plain["uri"] = self.uri
        if self.digest:
            plain["digest"] = {"sha256": parse_digest(self.digest)}
        return plain


@dataclass(frozen=True)
class Act:
    """What the provenance tells: ``build_type`` is PACK_BUILD or ADOPT_BUILD, ``name`` the image's name,
    ``source`` where its bytes were taken from, ``builder`` the key id of whoever did it.

    ``time`` is when it began and ``finished`` when the statements were made, in µs (None: at once). ``made``:
    manifest and layers were made by this act; else they were there before and are among what went in, beside
    ``materials``. ``options`` are what else was asked for. ``invocation`` names the act, in the journal too.
    """

    build_type: str
    name: str
    source: str
    builder: str
    time: int
    finished: int | None = None
    made: bool = False
    materials: tuple[Material, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    invocation: str = ""

    @property
    def ended(self) -> int:
        return self.time if self.finished is None else self.finished


def statement(subject: Subject, name: str, predicate_type: str, predicate: Mapping[str, Any]) -> bytes:
    """An in-toto Statement v1 about the image manifest, as canonical JSON."""
    return canonical.dumps(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": name, "digest": {"sha256": parse_digest(subject.manifest)}}],
            "predicateType": predicate_type,
            "predicate": predicate,
        }
    )


def provenance(subject: Subject, act: Act) -> dict[str, Any]:
    """SLSA provenance v1: by whom, when, and from what. It does not claim that anything was compiled."""
    metadata = {"startedOn": format_rfc3339(act.time), "finishedOn": format_rfc3339(act.ended)}
    if act.invocation:
        metadata["invocationId"] = act.invocation
    return {
        "buildDefinition": {
            "buildType": act.build_type,
            "externalParameters": {"name": act.name, "source": act.source, **act.options},
            "resolvedDependencies": [one.to_json() for one in (*act.materials, *_taken(subject, act))],
        },
        "runDetails": {
            "builder": {"id": f"https://vordr.dev/operator/{act.builder}", "version": {"vordr": PACKER}},
            "metadata": metadata,
        },
    }


def _taken(subject: Subject, act: Act) -> list[Material]:
    """The image's own blobs, where the act did not make them."""
    blobs = [("manifest", subject.manifest), ("config", subject.config)]
    blobs += [(f"layer {at}", blob) for at, (blob, _) in enumerate(subject.layers)]
    return [] if act.made else [Material(name, digest=digest) for name, digest in blobs]


def spdx(subject: Subject, act: Act, inventory: Inventory) -> dict[str, Any]:
    """An SPDX 2.3 document: the image as one package, and the software that its own files tell of. How it was
    found, and what could not be read, is said in the document's comment."""
    image = "SPDXRef-Image"
    packages = [_image_package(subject, act, image)]
    packages += [_package(one, inventory.distribution, f"SPDXRef-Package-{at}")
                 for at, one in enumerate(inventory.packages)]
    contained = [
        {"spdxElementId": image, "relationshipType": "CONTAINS", "relatedSpdxElement": one["SPDXID"]}
        for one in packages[1:]
    ]
    described = {
        "spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": image,
    }
    stamp = format_rfc3339(act.ended)
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": act.name,
        "documentNamespace": f"https://vordr.dev/spdx/{parse_digest(subject.manifest)}/{act.ended}",
        "creationInfo": {"created": stamp[:19] + "Z", "creators": [f"Tool: {PACKER}"]},
        "comment": inventory.comment,
        "packages": packages,
        "relationships": [described, *contained],
    }


def _image_package(subject: Subject, act: Act, spdx_id: str) -> dict[str, Any]:
    return {
        "SPDXID": spdx_id,
        "name": act.name,
        "versionInfo": subject.manifest,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "primaryPackagePurpose": "CONTAINER",
        "checksums": [{"algorithm": "SHA256", "checksumValue": parse_digest(subject.manifest)}],
    }


def _package(package: Package, distribution: Distribution | None, spdx_id: str) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "SPDXID": spdx_id,
        "name": package.name,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": purl(package, distribution),
            }
        ],
    }
    if package.version:
        entry["versionInfo"] = package.version
    if package.place:
        entry["sourceInfo"] = f"as /{package.place} says"
    return entry


def view(predicate: Mapping[str, Any]) -> bytes:
    """A predicate as a file for people and other tools: canonical JSON, derived from the signed payload."""
    return canonical.dumps(predicate)
