"""What the producer says: provenance true to what was done, and an SPDX document that hangs together."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from vordr.engine.handlers.origins import Source
from vordr.formats.digests import sha256_digest
from vordr.formats.times import format_rfc3339
from vordr.gatekeeper.pack import Origin
from vordr.gatekeeper.sbom import Inventory
from vordr.gatekeeper.software import Distribution, Kind, Package
from vordr.gatekeeper.statements import (
    ADOPT_BUILD,
    PACK_BUILD,
    Act,
    Material,
    provenance,
    spdx,
    statement,
)
from vordr.gatekeeper.subject import Subject
from vordr.model.arguments import PackArgs
from vordr.model.errors import ImageNotFound, ImageUnreadable

NOW = 1_772_366_400_000_000
LAYER = sha256_digest(b"layer")
SUBJECT = Subject(sha256_digest(b"manifest"), sha256_digest(b"config"), ((LAYER, sha256_digest(b"diff")),))


def act(**more: Any) -> Act:
    return Act(PACK_BUILD, "web:1", "/src", "sha256:aa", NOW, **more)


def digests(said: Mapping[str, Any]) -> list[str]:
    needed = said["buildDefinition"]["resolvedDependencies"]
    return [one.get("digest", {}).get("sha256", "") for one in needed]


# -- provenance ------------------------------------------------------------------------------------


def test_an_image_that_was_there_before_is_among_what_went_in() -> None:
    assert digests(provenance(SUBJECT, act())) == [
        one[7:] for one in (SUBJECT.manifest, SUBJECT.config, LAYER)]


def test_an_image_that_was_made_is_not_said_to_have_gone_in() -> None:
    source = Material("rootfs-folder", "file:///src")
    said = provenance(SUBJECT, act(made=True, materials=(source,)))
    assert said["buildDefinition"]["resolvedDependencies"] == [
        {"name": "rootfs-folder", "uri": "file:///src"}]


def test_provenance_tells_begin_end_and_what_was_asked_for() -> None:
    said = provenance(SUBJECT, act(finished=NOW + 5, invocation="0199", options={"entrypoint": ["sh"]}))
    assert said["runDetails"]["metadata"] == {
        "startedOn": format_rfc3339(NOW), "finishedOn": format_rfc3339(NOW + 5), "invocationId": "0199"}
    assert said["buildDefinition"]["externalParameters"] == {
        "name": "web:1", "source": "/src", "entrypoint": ["sh"]}


def test_without_an_end_of_its_own_an_act_ends_at_once_and_invents_no_invocation() -> None:
    metadata = provenance(SUBJECT, act())["runDetails"]["metadata"]
    assert metadata["finishedOn"] == metadata["startedOn"] and "invocationId" not in metadata


def test_adoption_says_so() -> None:
    said = provenance(SUBJECT, Act(ADOPT_BUILD, "web", "docker.io/library/web", "sha256:aa", NOW))
    assert said["buildDefinition"]["buildType"] == "https://vordr.dev/adopt/v1"


# -- where a package came from ---------------------------------------------------------------------


def silent(phase: str, done: int, total: int | None) -> None:
    pass


def origin(path: Path, **more: Any) -> Origin:
    args = PackArgs(source=str(path), output="/o.ctp", name="web", **more)
    return Source.look(path, silent).origin(args, "0199")


def archive(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    return path


def test_a_folder_has_no_digest_and_its_manifest_is_made(tmp_path: Path) -> None:
    told = origin(tmp_path, entrypoint=("/bin/sh",), command=("-c", "x"))
    assert told == Origin(True, (Material("rootfs-folder", tmp_path.as_uri()),), {
        "sourceKind": "rootfs-folder", "entrypoint": ["/bin/sh"], "command": ["-c", "x"]}, "0199")


@pytest.mark.parametrize(("member", "kind", "made"), [
    ("oci-layout", "oci-archive", False), ("manifest.json", "docker-archive", True)])
def test_an_archive_is_named_by_its_digest(tmp_path: Path, member: str, kind: str, made: bool) -> None:
    file = archive(tmp_path / "a b.tar", member)
    told = origin(file)
    assert told.made is made and told.options == {"sourceKind": kind}
    assert told.materials == (Material(kind, file.as_uri(), sha256_digest(file.read_bytes())),)


def test_a_layout_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "oci-layout").write_text("{}")
    told = origin(tmp_path)
    assert not told.made and told.materials[0].digest == ""


def test_an_archive_that_changes_while_it_is_packed_is_refused(tmp_path: Path) -> None:
    file = archive(tmp_path / "a.tar", "oci-layout")
    source = Source.look(file, silent)
    file.write_bytes(file.read_bytes() + bytes(512))
    with pytest.raises(ImageUnreadable, match="changed while"):
        source.origin(PackArgs(source=str(file), output="/o.ctp", name="web"), "0199")


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageNotFound):
        origin(tmp_path / "none")


# -- SPDX ------------------------------------------------------------------------------------------

FOUND = Inventory((
    Package("bash", "5.2", "amd64", place="var/lib/dpkg/status"), Package("example.com/a", "", kind=Kind.GO),
), "How it was found.", Distribution("debian", "12"))


def test_every_package_is_contained_in_the_image_and_has_a_purl() -> None:
    said = spdx(SUBJECT, act(), FOUND)
    image, *packages = said["packages"]
    assert [one["relationshipType"] for one in said["relationships"]] == ["DESCRIBES", "CONTAINS", "CONTAINS"]
    assert {one["relatedSpdxElement"] for one in said["relationships"][1:]} == {p["SPDXID"] for p in packages}
    assert all(one["spdxElementId"] == image["SPDXID"] for one in said["relationships"][1:])
    assert [p["externalRefs"][0]["referenceLocator"] for p in packages] == [
        "pkg:deb/debian/bash@5.2?arch=amd64&distro=debian-12", "pkg:golang/example.com/a"]
    assert said["comment"] == "How it was found."


def test_a_package_says_which_file_told_of_it_and_no_version_where_there_is_none() -> None:
    _, bash, go = spdx(SUBJECT, act(), FOUND)["packages"]
    assert (bash["versionInfo"], bash["sourceInfo"]) == ("5.2", "as /var/lib/dpkg/status says")
    assert "versionInfo" not in go and "sourceInfo" not in go


def test_two_documents_of_one_image_have_two_namespaces() -> None:
    names = {spdx(SUBJECT, act(finished=NOW + at), FOUND)["documentNamespace"] for at in (1, 2)}
    assert len(names) == 2


def test_a_statement_is_about_the_manifest_alone() -> None:
    said = json.loads(statement(SUBJECT, "web:1", "https://spdx.dev/Document", {}))
    assert said["subject"] == [{"name": "web:1", "digest": {"sha256": SUBJECT.manifest[7:]}}]
