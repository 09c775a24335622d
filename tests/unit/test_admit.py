"""admit: the service's word on another engine's container, and what stands on the record of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from whole_engine import IMAGE, Whole, eventually, whole_engine

from vordr.engine.protocol import Caller
from vordr.images.layout import chain_id
from vordr.model.errors import PolicyDenied, UsageError, VerificationRejected
from vordr.model.operations import Scope
from vordr.model.records import EPOCH_KEY, Kind

ELSE = "sha256:" + "e" * 64
PODMAN = Caller("uid:7", Scope.OPERATE)


@pytest.fixture
def whole(tmp_path) -> Iterator[Whole]:
    with whole_engine(tmp_path) as made:
        yield made


def asked(whole: Whole, **other: object) -> dict[str, object]:
    image = next(image for image in whole.call("images").images if IMAGE in image.names)
    return {"engine": "containers-storage", "container": "c" * 64, "config": image.config_digest,
            "manifest": ELSE, "chain": chain_id([layer.diff_id for layer in image.layers]), **other}


def newest(whole: Whole):
    return list(whole.journal.records())[-1][0]


def test_what_is_attested_is_admitted_and_its_verdict_is_on_the_record(whole):
    answer = whole.call("admit", PODMAN, **asked(whole))
    record = newest(whole)
    assert (answer.decision, answer.seq, record.kind, record.operation) == (
        "ALLOW", record.seq, Kind.VERDICT, "admit")
    assert record.principal == "uid:7" and record.args["manifest"] == answer.manifest
    assert record.args["admits"]["container"] == "c" * 64
    assert record.args["epoch"] == whole.journal.get(EPOCH_KEY)
    whole.check()


def test_every_admission_is_on_the_record_however_many(whole):
    before = newest(whole).seq
    for _ in range(100):
        whole.call("admit", PODMAN, **asked(whole))
    kinds = [record.kind for record, _ in whole.journal.records() if record.seq > before]
    assert kinds == [Kind.VERDICT] * 100


@pytest.mark.parametrize("other", [
    {"chain": ELSE}, {"config": ELSE}, {"chain": ELSE, "config": None, "manifest": None}])
def test_other_layers_or_another_image_of_the_same_layers_are_refused(whole, other):
    with pytest.raises(VerificationRejected) as caught:
        whole.call("admit", PODMAN, **asked(whole, **other))
    assert caught.value.code == "MISSING_ATTESTATION"
    eventually(lambda: newest(whole).kind is Kind.DECISION, "the record of the refusal")
    record = newest(whole)
    assert (record.kind, record.args["decision"], record.args["code"], record.principal) == (
        Kind.DECISION, "REJECT", "MISSING_ATTESTATION", "uid:7")


def test_layers_alone_suffice_where_the_store_binds_to_no_more(whole):
    assert whole.call("admit", PODMAN, **asked(whole, config=None, manifest=None)).decision == "ALLOW"


def test_the_manifest_suffices_where_the_configuration_was_converted(whole):
    manifest = whole.call("admit", PODMAN, **asked(whole)).manifest
    assert whole.call("admit", PODMAN, **asked(whole, config=ELSE, manifest=manifest)).manifest == manifest


def test_a_revoked_key_refuses_the_next(whole):
    whole.call("admit", PODMAN, **asked(whole))
    for key in whole.call("trust_show").keys:
        if key.role == "builders":
            whole.call("trust_revoke", key=key.id)
    with pytest.raises(PolicyDenied):
        whole.call("admit", PODMAN, **asked(whole))


def test_a_pinned_sandbox_is_admitted_without_a_verdict_and_said_to_be(whole):
    answer = whole.call("admit", PODMAN, **asked(whole, chain=ELSE, config=None, manifest=None, sandbox=True))
    record = newest(whole)
    assert (answer.decision, answer.manifest) == ("ALLOW", None)
    assert (record.kind, record.args["by"], record.args["asked"]["chain"]) == (Kind.DECISION, "pinned", ELSE)


@pytest.mark.parametrize("other", [{"chain": "sha256:short"}, {"config": "hello"}, {"container": ""},
                                   {"engine": "x" * 2000}])
def test_a_question_without_sense_is_refused(whole, other):
    with pytest.raises(UsageError):
        whole.call("admit", PODMAN, **asked(whole, **other))


def test_reading_does_not_suffice_to_admit(whole):
    with pytest.raises(PolicyDenied, match="scope operate"):
        whole.call("admit", Caller("uid:8", Scope.READ), **asked(whole))
