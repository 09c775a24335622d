"""Policy scopes where they count: an engine with its own gatekeeper, and a registry that no start asks."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from evidence_world import Sigstore, pem, signature
from images_world import entry, gzip_layer, image_blobs, sha256, tar_of, write_layout
from referrers_world import bundle_referrer, index_of, referrer, tagged
from registry_world import Registry, registry
from whole_engine import Whole, planted

from vordr.engine.protocol import Caller
from vordr.formats.digests import sha256_hex
from vordr.formats.typed import convert
from vordr.gatekeeper.adopt import attest
from vordr.gatekeeper.evidence import Piece
from vordr.gatekeeper.keys import OPERATOR, KeyRing
from vordr.gatekeeper.translog import local_logs
from vordr.images import mountapi
from vordr.images.layout import OCI_INDEX, OCI_MANIFEST
from vordr.images.referrers import REF_NAME
from vordr.model.errors import PolicyDenied, VerificationRejected
from vordr.model.lifecycle import State
from vordr.model.operations import Scope
from vordr.model.state import ContainerState, ImageState

FIRST = image_blobs([gzip_layer(tar_of(entry("f", b"first")))])
SECOND = image_blobs([gzip_layer(tar_of(entry("f", b"second")))])
SIGNED = signature(FIRST[0])


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Registry]:
    with registry(tmp_path / "registry") as running:
        yield running


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    made = planted(tmp_path / "root")
    try:
        yield made
    finally:
        made.close()
        for sealed in made.paths.layers.glob("*.erofs"):
            with mountapi.closing(os.open(sealed, os.O_RDONLY)) as descriptor:
                mountapi.set_immutable(descriptor, False)


def push(served: Registry, image: tuple[str, dict[str, bytes]], *pieces: Piece, tag: str = "v1") -> str:
    served.push("app", tag, image[0], image[1], OCI_MANIFEST)
    if pieces:
        made, blobs = tagged(pieces)
        served.push("app", f"sha256-{image[0][7:]}.sig", sha256(made), blobs, OCI_MANIFEST)
    return f"{served.address}/app:{tag}"


def demand(whole: Whole, text: str, **files: bytes) -> None:
    for name, content in files.items():
        (whole.paths.trust / f"{name}.json").write_bytes(content)
    (whole.paths.trust / "policy.toml").write_text(text)


def cosign_scope(images: str, *keys: str) -> str:
    return (f'[[scope]]\nname = "prod"\nimages = ["{images}"]\n[[scope.cosign]]\n'
            f"keys = {json.dumps([pem(key) for key in keys or ('cosign',)])}\n")


def bundle_for(whole: Whole, image: tuple[str, dict[str, bytes]]) -> bytes:
    """A bundle by the operator's own key."""
    manifest = image[1][image[0]]
    config = image[1][json.loads(manifest)["config"]["digest"]]
    host = whole.host
    return attest(
        manifest, config, name="app", source="a test", signers=[KeyRing(whole.paths).load(OPERATOR, None)],
        logs=local_logs(whole.paths, host.gatekeeper.trusted().store), now_us=host.now_us())


def run(whole: Whole, name: str, image: str) -> ContainerState:
    container: ContainerState = whole.call(
        "run", image=image, name=name, command=["/bin/serve"]).container
    return container


def pull(whole: Whole, name: str) -> ImageState:
    image: ImageState = whole.call("pull", reference=name).image
    return image


def again(whole: Whole, name: str) -> None:
    """Stop a container and start it."""
    whole.do("stop", name)
    whole.do("start", name)


# -- the bundle by referrers -----------------------------------------------------------------------


def test_an_image_whose_bundle_refers_to_it_starts_after_a_pull(served: Registry, whole: Whole) -> None:
    name = push(served, FIRST)
    made, blobs = bundle_referrer(FIRST[0], bundle_for(whole, FIRST))
    served.push("app", sha256(made), sha256(made), blobs, OCI_MANIFEST)
    served.push("app", f"sha256-{FIRST[0][7:]}", "index", {"index": index_of(made)}, OCI_INDEX)
    image = pull(whole, name)
    assert image.bundle is not None and image.seals and image.attested_by.startswith("adopted by")
    assert run(whole, "web", name).state is State.RUNNING
    whole.check()


def test_a_bundle_about_another_image_does_not_come_along(served: Registry, whole: Whole) -> None:
    name = push(served, FIRST)
    made, blobs = bundle_referrer(FIRST[0], bundle_for(whole, SECOND))
    served.push("app", sha256(made), sha256(made), blobs, OCI_MANIFEST)
    served.push("app", f"sha256-{FIRST[0][7:]}", "index", {"index": index_of(made)}, OCI_INDEX)
    assert pull(whole, name).bundle is None
    with pytest.raises(VerificationRejected) as refused:
        run(whole, "web", name)
    assert refused.value.code == "MISSING_ATTESTATION"


# -- evidence at every start -----------------------------------------------------------------------


@pytest.fixture
def running(served: Registry, whole: Whole) -> str:
    """An image in a scope that demands cosign's signature; pulled with it, adopted, and running as web."""
    name = push(served, FIRST, SIGNED)
    demand(whole, cosign_scope(f"{served.address}/*"))
    assert pull(whole, name).evidence == (SIGNED.digest,)
    whole.call("adopt", image=name)
    run(whole, "web", name)
    return name


def test_a_scopes_evidence_is_verified_offline_at_every_start(
    served: Registry, whole: Whole, running: str
) -> None:
    again(whole, "web")
    assert whole.call("policy_check", image=running).decision == "ALLOW"
    verdict = whole.do("inspect").verdict
    assert any(step["name"] == "policy" and "scope prod, cosign[0]" in step["text"]
               for step in verdict["evidence"])
    assert SIGNED.digest in verdict["evidence"][-1]["text"]
    whole.check()


@pytest.mark.parametrize("damage", ["gone", "changed", "of another image"])
def test_evidence_that_is_not_what_the_journal_names_stops_the_next_start(
    whole: Whole, running: str, damage: str
) -> None:
    file = whole.paths.bundle(SIGNED.digest)
    kept = file.read_bytes()
    file.unlink()
    if damage != "gone":
        other = signature(SECOND[0]).to_bytes()
        file.write_bytes(other if damage == "of another image" else kept[:-1] + b" ")
    whole.do("stop", "web")
    with pytest.raises(PolicyDenied, match="are damaged"):
        whole.do("start", "web")
    assert whole.call("policy_check", image=running).lost == (SIGNED.digest,)
    file.unlink(missing_ok=True)
    file.write_bytes(kept)
    whole.do("start", "web")


def test_a_tightened_policy_stops_the_next_start_and_no_process(
    served: Registry, whole: Whole, running: str
) -> None:
    demand(whole, cosign_scope(f"{served.address}/*", "another"))
    found = whole.get("web")
    assert found is not None and found.state is State.RUNNING
    whole.do("stop", "web")
    with pytest.raises(PolicyDenied, match="scope prod"):
        whole.do("start", "web")
    told = whole.call("policy_check", image=running)
    assert (told.decision, told.code, told.scopes) == ("REJECT", "POLICY_DENIED", ("prod",))
    assert [(line.demand, line.outcome) for line in told.demands] == [("cosign[0]", "fails")]


def test_an_image_in_a_scope_cannot_be_adopted_past_it(served: Registry, whole: Whole) -> None:
    name = push(served, FIRST)
    demand(whole, cosign_scope(f"{served.address}/*"))
    pull(whole, name)
    with pytest.raises(PolicyDenied, match="scope prod"):
        whole.call("adopt", image=name)


def test_evidence_that_comes_later_is_gathered(served: Registry, whole: Whole) -> None:
    name = push(served, FIRST)
    demand(whole, cosign_scope(f"{served.address}/*"))
    pull(whole, name)
    with pytest.raises(PolicyDenied, match="nothing that refers"):
        whole.call("gather", image=name)
    push(served, FIRST, SIGNED)
    assert whole.call("gather", image=name).image.evidence == (SIGNED.digest,)
    with pytest.raises(PolicyDenied, match="is kept already"):
        whole.call("gather", image=name)
    whole.call("adopt", image=name)
    assert run(whole, "web", name)
    whole.check()


def test_evidence_is_gathered_from_a_layout_without_any_registry(whole: Whole, tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", *FIRST)
    whole.call("adopt", image=str(layout), name="prod.example.org/app")
    demand(whole, cosign_scope("prod.example.org/*"))
    index = json.loads((layout / "index.json").read_text())
    made, blobs = tagged([SIGNED])
    for digest, content in blobs.items():
        (layout / "blobs" / "sha256" / digest[7:]).write_bytes(content)
    index["manifests"].append({"mediaType": OCI_MANIFEST, "digest": sha256(made), "size": len(made),
                               "annotations": {REF_NAME: f"sha256-{FIRST[0][7:]}.sig"}})
    (layout / "index.json").write_text(json.dumps(index))
    with pytest.raises(PolicyDenied, match="scope prod"):
        run(whole, "web", "prod.example.org/app")
    whole.call("gather", image="prod.example.org/app", layout=str(layout))
    assert run(whole, "web", "prod.example.org/app")


def test_gathering_is_for_administrators(whole: Whole) -> None:
    with pytest.raises(PolicyDenied, match="scope admin"):
        whole.call("gather", Caller("uid:1000", Scope.OPERATE), image="x", layout="/etc")


def test_a_sigstore_bundle_is_verified_at_the_start(served: Registry, whole: Whole) -> None:
    world = Sigstore()
    root = world.trusted_root()
    name = push(served, FIRST)
    made, blobs = referrer(FIRST[0], world.attested(FIRST[0]))
    served.push("app", sha256(made), sha256(made), blobs, OCI_MANIFEST)
    served.push("app", f"sha256-{FIRST[0][7:]}", "index", {"index": index_of(made)}, OCI_INDEX)
    text = (f'[[scope]]\nname = "prod"\nimages = ["{served.address}/*"]\n[[scope.sigstore]]\n'
            f'trusted_root = {{ file = "root.json", sha256 = "{sha256_hex(root)}" }}\n'
            'identity = "https://example.org/release.yml@refs/heads/main"\n'
            'issuer = "https://issuer.example.org"\nattests = "https://slsa.dev/provenance/v1"\n')
    demand(whole, text, root=root)
    pull(whole, name)
    whole.call("adopt", image=name)
    run(whole, "web", name)
    again(whole, "web")
    demand(whole, text.replace("release.yml", "other.yml"))
    whole.do("stop", "web")
    with pytest.raises(PolicyDenied, match="SANs do not match"):
        whole.do("start", "web")


# -- names move ------------------------------------------------------------------------------------


def test_a_tag_that_moves_takes_no_word_along(served: Registry, whole: Whole, running: str) -> None:
    """CVE-2022-47633, GHSA-2r43-6962-xcw5: what was signed was the digest, whatever the tag says now."""
    push(served, SECOND)
    moved = pull(whole, running)
    assert moved.manifest == SECOND[0] and moved.evidence == ()
    with pytest.raises(PolicyDenied, match="scope prod"):
        whole.call("adopt", image=running)
    with pytest.raises(VerificationRejected):
        run(whole, "other", running)
    again(whole, "web")  # of the first image, which has its signature
    found = whole.get("web")
    assert found is not None and found.image == FIRST[0]


def test_a_name_that_an_image_had_keeps_its_demands(served: Registry, whole: Whole) -> None:
    """Pulled under another name after its own has moved on, an image is not out of its scope."""
    name = push(served, FIRST)
    push(served, FIRST, tag="free")
    pull(whole, name)
    pull(whole, f"{served.address}/app:free")
    push(served, SECOND)
    pull(whole, name)
    free = f"{served.address}/app:free"
    whole.call("adopt", image=free)
    run(whole, "web", free)
    demand(whole, cosign_scope(name))
    whole.do("stop", "web")
    with pytest.raises(PolicyDenied, match="scope prod"):
        whole.do("start", "web")


def test_a_packages_own_name_does_not_lead_it_out_of_a_scope(whole: Whole, tmp_path: Path) -> None:
    """The author of a package writes its name; what the store calls the image counts all the same."""
    layout = write_layout(tmp_path / "layout", *FIRST)
    package = tmp_path / "free.ctp"
    whole.call("pack", source=str(layout), output=str(package), name="free.example.org/app")
    whole.call("adopt", image=str(layout), name="prod.example.org/app")
    demand(whole, cosign_scope("prod.example.org/*"))
    with package.open("rb") as file, pytest.raises(PolicyDenied, match="scope prod"):
        _with_file(whole, "run", file.fileno(), image=str(package), package=True, command=["/x"])


def _with_file(whole: Whole, operation: str, descriptor: int, **args: Any) -> Any:
    from whole_engine import CALLER

    from vordr.model.operations import REGISTRY

    return whole.engine.call_as(
        CALLER, operation, convert(args, REGISTRY[operation].args), files=(descriptor,))


# -- bundles from a file ---------------------------------------------------------------------------


def test_a_bundle_from_a_file_is_judged_and_not_kept(whole: Whole, tmp_path: Path, served: Registry) -> None:
    name = push(served, FIRST)
    pull(whole, name)
    file = tmp_path / "bundle.json"
    file.write_bytes(bundle_for(whole, FIRST))
    with contextlib.closing(file.open("rb")) as opened:
        told = _with_file(whole, "verify", opened.fileno(), image=name, bundle=True).answer
    assert told.decision == "ALLOW"
    file.write_bytes(bundle_for(whole, SECOND))
    with contextlib.closing(file.open("rb")) as opened:
        told = _with_file(whole, "verify", opened.fileno(), image=name, bundle=True).answer
    assert (told.decision, told.code) == ("REJECT", "SUBJECT_MISMATCH")
    with pytest.raises(VerificationRejected):
        run(whole, "web", name)


def test_what_was_gathered_can_be_undone_and_done_again(served: Registry, whole: Whole) -> None:
    name = push(served, FIRST)
    pull(whole, name)
    push(served, FIRST, SIGNED)
    whole.call("gather", image=name)
    txn = whole.last().txn
    whole.call("undo", txn=txn)
    assert whole.call("policy_check", image=name).evidence == ()
    whole.call("redo")
    assert [one.digest for one in whole.call("policy_check", image=name).evidence] == [SIGNED.digest]
    whole.check()
