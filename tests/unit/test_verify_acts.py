"""verify in a whole engine: cures name the image as its reader does, and reports refuse nothing."""

from __future__ import annotations

import msgspec
import pytest
from whole_engine import CALLER, IMAGE, Whole, make_image, whole_engine

from vordr.engine.handlers.verifying import target_of
from vordr.gatekeeper.cures import cures
from vordr.model.answers import VerifyAnswer
from vordr.model.arguments import VerifyArgs
from vordr.model.state import ImageState


@pytest.fixture
def whole(memory_path):
    with whole_engine(memory_path) as made:
        yield made


def image(whole: Whole) -> ImageState:
    return next(one for one in whole.call("images").images if IMAGE in one.names)


def damage_bundle(whole: Whole) -> None:
    found = image(whole).bundle
    assert found is not None
    whole.paths.bundle(found).write_bytes(b"{}")


def test_what_is_sound_has_no_cure_and_no_graph_unless_asked(whole: Whole) -> None:
    told = whole.call("verify", image=IMAGE)
    assert (told.decision, told.cures, told.remedy, told.attested) == ("ALLOW", (), None, None)


def test_the_graph_is_told_on_request_with_the_operators_key_and_logs(whole: Whole) -> None:
    told = whole.call("verify", image=IMAGE, graph=True).attested
    assert told.manifest == image(whole).manifest and told.bundle == image(whole).bundle
    assert {signer.owner for one in told.attestations for signer in one.signers} == {"Ada"}
    assert all(signer.holds and signer.groups for one in told.attestations for signer in one.signers)
    assert all(len(one.logs) == 3 and all(proof.holds for proof in one.logs) for one in told.attestations)
    assert (told.unproved, told.demanded) == ((), ())


@pytest.mark.parametrize(("mode", "decision"), [
    ("strict", "REJECT"), ("permissive", "ALLOW"), ("audit", "ALLOW")])
def test_a_stored_bundle_that_is_damaged_is_a_rejection_in_strict_alone(
    whole: Whole, mode: str, decision: str
) -> None:
    damage_bundle(whole)
    told = whole.call("verify", image=IMAGE, mode=mode)
    assert (told.decision, told.code, told.mode) == (decision, "MALFORMED_BUNDLE", mode)
    assert [(step.name, step.ok) for step in told.steps] == [("parse", False)]
    assert told.remedy == told.cures[0].command == "vordr pull tiny:latest"


def test_cures_name_an_image_by_its_name_however_it_was_asked_for(whole: Whole) -> None:
    damage_bundle(whole)
    told = whole.call("verify", image=image(whole).manifest[:20])
    assert told.cures[-1].command == "vordr adopt tiny:latest"


def test_an_image_without_any_name_is_named_by_its_digest_and_looked_for_in_no_registry() -> None:
    image = msgspec.structs.replace(make_image("docker.io/library/x:1", b"x")[2], names=())
    target = target_of(image)
    assert (target.image, target.named, target.manifest) == (image.manifest, False, image.manifest)
    commands = [cure.command for cure in cures("MISSING_ATTESTATION", {}, target)]
    assert commands == [f"vordr adopt {image.manifest}", "vordr create FILE.ctp"]


def test_a_rejection_survives_the_socket(whole: Whole) -> None:
    damage_bundle(whole)
    told = whole.engine.call_as(CALLER, "verify", VerifyArgs(image=IMAGE, graph=True)).answer
    assert msgspec.convert(msgspec.to_builtins(told), VerifyAnswer) == told
