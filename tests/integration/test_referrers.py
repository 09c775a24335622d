"""What refers to an image: found in a real registry, in one with the referrers API, in a layout folder."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from email.message import Message
from io import BytesIO
from pathlib import Path

import pytest
from evidence_world import Sigstore, attestation, logged_signature, signature
from images_world import entry, gzip_layer, image_blobs, sha256, tar_of, write_layout
from referrers_world import (
    Answer,
    bundle_referrer,
    index_of,
    layer_of,
    manifest_of,
    referrer,
    saying,
    tagged,
)
from registry_world import PASSWORD, USER, Registry, registry

from vordr.engine import beside
from vordr.engine.beside import Gathered
from vordr.formats import reference
from vordr.gatekeeper.evidence import MOST_PIECES
from vordr.images import registry_http
from vordr.images.layout import OCI_INDEX, OCI_MANIFEST
from vordr.images.referrers import (
    MOST_BLOBS,
    MOST_MANIFESTS,
    MOST_PAGES,
    REF_NAME,
    LayoutPlace,
    RegistryPlace,
    gather,
)

LAYER = gzip_layer(tar_of(entry("f", b"content")))
MANIFEST, BLOBS = image_blobs([LAYER])
TAG = f"sha256-{MANIFEST[7:]}"
BUNDLE = b'{"a bundle": true}'
PIECES = {signature(MANIFEST), attestation(MANIFEST), Sigstore().attested(MANIFEST)}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry") / "data") as running:
        yield running


def found(address: str, name: str = "app") -> Gathered:
    return beside.gather(RegistryPlace(reference.parse(f"{address}/{name}:v1")), MANIFEST)


# -- a real registry, which has no referrers API -----------------------------------------------------


def test_without_the_api_referrers_are_found_by_the_tag_schema(served: Registry) -> None:
    served.push("tags", "v1", MANIFEST, BLOBS, OCI_MANIFEST)
    parts = [bundle_referrer(MANIFEST, BUNDLE), *(referrer(MANIFEST, piece) for piece in PIECES)]
    for made, blobs in parts:
        served.push("tags", sha256(made), sha256(made), blobs, OCI_MANIFEST)
    index = index_of(*(made for made, _ in parts))
    served.push("tags", TAG, "index", {"index": index}, OCI_INDEX)
    gathered = found(served.address, "tags")
    assert (gathered.bundles, set(gathered.pieces), gathered.notes) == ((BUNDLE,), PIECES, ())


def test_cosigns_own_tags_are_found(served: Registry) -> None:
    served.push("cosign", "v1", MANIFEST, BLOBS, OCI_MANIFEST)
    signatures = [logged_signature(MANIFEST), signature(MANIFEST, "second")]
    for suffix, pieces in ((".sig", signatures), (".att", [attestation(MANIFEST)])):
        made, blobs = tagged(pieces)
        served.push("cosign", TAG + suffix, sha256(made), blobs, OCI_MANIFEST)
    assert set(found(served.address, "cosign").pieces) == {*signatures, attestation(MANIFEST)}


def test_an_image_without_anything_beside_it_has_nothing(served: Registry) -> None:
    served.push("bare", "v1", MANIFEST, BLOBS, OCI_MANIFEST)
    assert found(served.address, "bare") == Gathered()


def test_bytes_that_the_registry_changed_are_not_taken(served: Registry) -> None:
    piece = signature(MANIFEST, "changed")
    made, blobs = tagged([piece])
    served.push("changed", TAG + ".sig", sha256(made), blobs, OCI_MANIFEST)
    served.blob_file(sha256(piece.content)).write_bytes(b"x" * len(piece.content))
    gathered = found(served.address, "changed")
    assert not gathered.pieces and "other bytes" in gathered.notes[0]


def test_credentials_of_the_auth_file_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with registry(tmp_path / "data", authenticated=True) as closed:
        made, blobs = tagged([signature(MANIFEST)])
        closed.push("app", TAG + ".sig", sha256(made), blobs, OCI_MANIFEST)
        auth = tmp_path / "auth.json"
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(auth))
        refused = found(closed.address)
        assert not refused.pieces and "denies access" in refused.notes[0]
        auth.write_text(json.dumps({"auths": {
            closed.address: {"auth": b64encode(f"{USER}:{PASSWORD}".encode()).decode()}}}))
        assert found(closed.address).pieces == (signature(MANIFEST),)


# -- a registry with the API, that says anything -----------------------------------------------------


class Shelf:
    """Answers of a registry from what lies on it."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.tags: dict[str, bytes] = {}
        self.pages: list[bytes] = []

    def put(self, made: bytes, blobs: dict[str, bytes]) -> bytes:
        self.blobs |= blobs
        return made

    def __call__(self, path: str, credentials: str | None) -> Answer | None:
        path, _, query = path.partition("?")
        head, _, last = path.rpartition("/")
        match head.rpartition("/")[2]:
            case "referrers" if self.pages:
                number = int(query.partition("page=")[2] or 0)
                more = number + 1 < len(self.pages)
                link = {"Link": f'<{path}?page={number + 1}>; rel="next"'} if more else {}
                return 200, {"Content-Type": OCI_INDEX, **link}, self.pages[number]
            case "blobs" if last in self.blobs:
                return 200, {}, self.blobs[last]
            case "manifests":
                content = self.blobs.get(last, self.tags.get(last))
                return None if content is None else (200, {"Content-Type": OCI_MANIFEST}, content)
        return None


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def test_referrers_are_found_by_the_api_page_by_page(shelf: Shelf) -> None:
    for piece in PIECES:
        shelf.pages.append(index_of(shelf.put(*referrer(MANIFEST, piece))))
    shelf.pages.append(index_of(shelf.put(*bundle_referrer(MANIFEST, BUNDLE))))
    with saying(shelf) as (address, _):
        gathered = found(address)
    assert (gathered.bundles, set(gathered.pieces), gathered.notes) == ((BUNDLE,), PIECES, ())


def test_what_refers_to_another_image_is_not_taken(shelf: Shelf) -> None:
    """GHSA-2r43-6962-xcw5: an index may list anything, the manifest itself must name the subject."""
    shelf.pages = [index_of(shelf.put(*referrer("sha256:" + "0" * 64, signature(MANIFEST))))]
    with saying(shelf) as (address, _):
        assert found(address) == Gathered()


def test_endless_pages_end(shelf: Shelf) -> None:
    shelf.pages = [index_of()] * 1000
    with saying(shelf) as (address, asked):
        assert found(address) == Gathered()
    assert sum("/referrers/" in path for path, _ in asked) == MOST_PAGES


def test_endless_referrers_end_and_it_is_said(shelf: Shelf) -> None:
    manifests = [shelf.put(*referrer(MANIFEST, signature(MANIFEST, f"s{number}")))
                 for number in range(MOST_MANIFESTS + 20)]
    shelf.pages = [index_of(*manifests)]
    with saying(shelf) as (address, asked):
        gathered = found(address)
    assert len(gathered.pieces) == MOST_MANIFESTS
    assert any("more beside the image" in note for note in gathered.notes)
    assert len(asked) < 2 * MOST_MANIFESTS + 10


def test_referrers_that_are_never_there_are_asked_for_a_bounded_number_of_times(shelf: Shelf) -> None:
    shelf.pages = [index_of(*(b"%d" % number for number in range(1000)))]
    with saying(shelf) as (address, asked):
        gathered = found(address)
    assert gathered.pieces == () and any("more beside the image" in note for note in gathered.notes)
    assert sum("/manifests/sha256:" in path for path, _ in asked) == MOST_MANIFESTS


def test_endless_signatures_under_one_tag_end(shelf: Shelf) -> None:
    pieces = [signature(MANIFEST, f"s{number}") for number in range(MOST_BLOBS + 20)]
    shelf.tags[TAG + ".sig"] = shelf.put(*tagged(pieces))
    with saying(shelf) as (address, asked):
        gathered = found(address)
    assert len(gathered.pieces) <= min(MOST_PIECES, MOST_BLOBS)
    assert any("more beside the image" in note for note in gathered.notes)
    assert sum("/blobs/" in path for path, _ in asked) <= MOST_BLOBS


def test_a_flood_of_referrers_does_not_push_cosigns_tags_out(shelf: Shelf) -> None:
    shelf.tags[TAG + ".sig"] = shelf.put(*tagged([signature(MANIFEST)]))
    shelf.pages = [index_of(*(shelf.put(*referrer(MANIFEST, signature(MANIFEST, f"s{number}")))
                              for number in range(MOST_MANIFESTS * 2)))]
    with saying(shelf) as (address, _):
        assert signature(MANIFEST) in found(address).pieces


def test_blobs_that_are_never_there_are_asked_for_a_bounded_number_of_times(shelf: Shelf) -> None:
    made, blobs = tagged([signature(MANIFEST, f"s{number}") for number in range(500)])
    shelf.tags[TAG + ".sig"] = made
    shelf.blobs[sha256(made)] = blobs[sha256(made)]
    with saying(shelf) as (address, asked):
        assert found(address).pieces == ()
    assert len(asked) <= MOST_BLOBS + 10


def test_a_blob_without_end_is_cut(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vordr.images.referrers.LARGEST_BLOB", 1000)
    content = b"x" * 100_000
    layer = {**layer_of(signature(MANIFEST)), "digest": sha256(content)}
    shelf.blobs[sha256(content)] = content
    shelf.tags[TAG + ".sig"] = manifest_of([layer])
    with saying(shelf) as (address, _):
        gathered = found(address)
    assert not gathered.pieces and "more than 1000 bytes" in gathered.notes[0]


@pytest.mark.parametrize("content", [
    b"", b"[]", b"{}", b"x", b'{"layers": {}}', b'{"layers": [], "manifests": []}', b'{"layers": [1, null]}',
    b'{"layers": [{"mediaType": "application/vnd.dsse.envelope.v1+json", "digest": 7}]}',
    b'{"layers": [{"mediaType": "application/vnd.dsse.envelope.v1+json", "digest": "../../x"}]}',
    b'{"layers": [], "layers": []}', b"[" * 100, b"\xff"])
def test_a_manifest_that_is_none_takes_nothing_else_along(shelf: Shelf, content: bytes) -> None:
    shelf.tags[TAG + ".sig"] = content
    shelf.tags[TAG + ".att"] = shelf.put(*tagged([attestation(MANIFEST)]))
    with saying(shelf) as (address, _):
        assert found(address).pieces == (attestation(MANIFEST),)


def test_annotations_that_are_no_base64_are_told(shelf: Shelf) -> None:
    layer = {**layer_of(signature(MANIFEST)), "annotations": {"dev.cosignproject.cosign/signature": "%"}}
    shelf.blobs[layer["digest"]] = signature(MANIFEST).content
    shelf.tags[TAG + ".sig"] = manifest_of([layer])
    with saying(shelf) as (address, _):
        gathered = found(address)
    assert not gathered.pieces and "base64" in gathered.notes[0]


def test_a_registry_that_is_gone_is_told_and_is_no_error() -> None:
    with saying(lambda path, credentials: None) as (address, _):
        pass
    gathered = found(address)
    assert not gathered.pieces and len(gathered.notes) == 1


@pytest.mark.parametrize("status", [500, 302, 301])
def test_a_registry_that_fails_is_told_and_is_no_error(status: int) -> None:
    with saying(lambda path, credentials: (status, {}, b"")) as (address, _):
        assert len(found(address).notes) == 1


# -- credentials -----------------------------------------------------------------------------------


def _auth(folder: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    auths = {"auths": {address: {"auth": b64encode(b"ann:pw").decode()}}}
    (folder / "auth.json").write_text(json.dumps(auths))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(folder / "auth.json"))


def test_a_token_is_fetched_where_the_registry_says(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.tags[TAG + ".sig"] = shelf.put(*tagged([signature(MANIFEST)]))
    basic = "Basic " + b64encode(b"ann:pw").decode()

    def answer(path: str, credentials: str | None) -> Answer | None:
        if path.startswith("/token?"):
            assert "scope=repository%3Aapp%3Apull" in path
            return (200, {}, b'{"token": "abc"}') if credentials == basic else (401, {}, b"")
        if credentials == "Bearer abc":
            return shelf(path, credentials)
        return 401, {"WWW-Authenticate": f'Bearer realm="http://{where[0]}/token",service="s"'}, b""

    where: list[str] = []
    with saying(answer) as (address, _):
        where.append(address)
        _auth(tmp_path, monkeypatch, address)
        assert found(address).pieces == (signature(MANIFEST),)


def test_credentials_do_not_follow_a_redirect(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    piece = signature(MANIFEST)
    shelf.tags[TAG + ".sig"] = shelf.put(*tagged([piece]))

    def answer(path: str, credentials: str | None) -> Answer | None:
        if credentials is None:
            return 401, {"WWW-Authenticate": 'Basic realm="x"'}, b""
        if "/blobs/" in path:
            return 307, {"Location": f"http://{elsewhere}{path}"}, b""
        return shelf(path, credentials)

    with saying(shelf) as (elsewhere, stolen), saying(answer) as (address, _):
        _auth(tmp_path, monkeypatch, address)
        assert found(address).pieces == (piece,)
    assert stolen and {credentials for _, credentials in stolen} == {None}


def test_tls_is_never_left_and_never_assumed_away() -> None:
    """A host that is not loopback is asked by TLS alone, and no redirect leads out of it."""
    client = registry_http.RegistryClient(reference.parse("registry.example.org/app:v1"))
    assert (client._scheme, client._lax) == ("https", False)
    (tls,) = (h for h in client._opener.handlers if isinstance(h, urllib.request.HTTPSHandler))
    assert tls._context.verify_mode is ssl.CERT_REQUIRED and tls._context.check_hostname
    handler = registry_http._NoWeaker()
    request = urllib.request.Request("https://registry.example.org/v2/")
    with pytest.raises(urllib.error.URLError):
        handler.redirect_request(request, BytesIO(), 302, "", Message(), "http://registry.example.org/v2/")


@pytest.mark.parametrize(("key", "wanted"), [
    ("registry.example.org/team/app", "ann:pw"), ("registry.example.org/team", "ann:pw"),
    ("registry.example.org", "ann:pw"), ("registry.example.org/other", None), ("example.org", None)])
def test_the_most_specific_credentials_count(tmp_path: Path, key: str, wanted: str | None) -> None:
    file = tmp_path / "auth.json"
    file.write_text(json.dumps({"auths": {key: {"auth": b64encode(b"ann:pw").decode()}}}))
    assert registry_http.credentials(reference.parse("registry.example.org/team/app"), file) == wanted


# -- a layout folder -------------------------------------------------------------------------------


def test_what_lies_in_a_layout_beside_the_image_is_found(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", MANIFEST, BLOBS)
    index = json.loads((layout / "index.json").read_text())
    tag_made, tag_blobs = tagged([signature(MANIFEST)])
    parts = [(tag_made, tag_blobs), referrer(MANIFEST, attestation(MANIFEST)),
             bundle_referrer(MANIFEST, BUNDLE)]
    for made, blobs in parts:
        for digest, content in blobs.items():
            (layout / "blobs" / "sha256" / digest[7:]).write_bytes(content)
        index["manifests"].append({"mediaType": OCI_MANIFEST, "digest": sha256(made), "size": len(made)})
    index["manifests"][1]["annotations"] = {REF_NAME: TAG + ".sig"}
    (layout / "index.json").write_text(json.dumps(index))
    gathered = beside.gather(LayoutPlace(layout), MANIFEST)
    assert gathered.bundles == (BUNDLE,)
    assert set(gathered.pieces) == {signature(MANIFEST), attestation(MANIFEST)}


def test_a_layout_with_only_the_image_has_nothing_beside_it(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", MANIFEST, BLOBS)
    assert gather(LayoutPlace(layout), MANIFEST).attached == []
