"""A refusal names the command that mends it: one that there is, that parses, and that fits what was wrong."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator
from typing import Any

import click
import pytest
from attested_world import REFUSALS, Case

from vordr.cli.app import program
from vordr.cli.context import Session
from vordr.cli.explain import VERIFICATION_CODES, explanation_of
from vordr.gatekeeper.cures import Target, code_of, cures, cures_of
from vordr.model import errors
from vordr.model.answers import Cure

IMAGE = Target("web:v1")
TARGETS = (
    IMAGE, Target("/tmp/a.ctp", package=True), Target("web:v1", bundle=True),
    Target("sha256:" + "a" * 64, named=False),
    Target("/tmp/it's; rm -rf $HOME `id`\n.ctp", package=True), Target("-x.ctp", package=True))
CODES = (*VERIFICATION_CODES, "POLICY_DENIED", "ERR_TRUST_STORE", "ERR_CONFIG", "ERR_CONFIG_PARSE",
         "ERR_CONFIG_INVALID", "ERR_SEAL_BROKEN", "ERR_IMAGE_NOT_FOUND", "ERR_IMAGE_UNREADABLE",
         "ERR_STATE_LOCKED")
DETAILS: tuple[dict[str, Any], ...] = (
    {}, {"revoked": "superseded"}, {"revoked": "sha256:" + "a" * 64}, {"roles": ["auditors"]},
    {"suite": "CT-SIG-02"}, {"attestation": 0}, {"operators": ["Ada"]}, {"origin": "adopted"},
    {"group": "adopters", "signed": 1, "needed": 3}, {"demand": "cosign[0]"}, {"demand": "sigstore[1]"},
    {"demand": "in_toto[0]"}, {"demand": "require"}, {"demand": "svalinn[0].images"}, {"network": "host"},
    {"missing": True}, {"code": "EXPIRED"})


def parsed(command: str) -> list[str]:
    """The command line through the program's own tree of commands, as a shell would hand it over; the words
    of the commands on the way. Raises click's errors."""
    first, *words = shlex.split(command)
    assert first == "vordr"
    path: list[str] = []
    group: click.Command = program
    parent = None
    while True:
        ctx = group.make_context(path[-1] if path else "vordr", list(words), parent=parent, obj=Session())
        if not isinstance(group, click.Group):
            return path
        name, found, words = group.resolve_command(ctx, [*ctx._protected_args, *ctx.args])
        assert name is not None and found is not None
        path.append(name)
        group, parent = found, ctx


def every_cure() -> Iterator[tuple[str, Target, Cure]]:
    for code, details, target in itertools.product(CODES, DETAILS, TARGETS):
        found = cures(code, details, target)
        assert found, (code, details, target)
        for cure in found:
            yield code, target, cure


def test_every_cure_is_a_command_line_that_parses() -> None:
    commands = {cure.command for _, _, cure in every_cure()}
    assert len(commands) > 30
    for command in commands:
        assert parsed(command), command


@pytest.mark.parametrize("command", ["vordr adopt --nope web", "vordr nope", "vordr trust add KEY.pem",
                                     "vordr trust nope", "vordr adopt"])
def test_a_command_line_that_there_is_not_does_not_parse(command: str) -> None:
    with pytest.raises(click.UsageError):
        parsed(command)


def test_a_cure_says_when_it_is_one() -> None:
    for code, _, cure in every_cure():
        assert cure.text and "\n" not in cure.text and not cure.text.endswith("."), code


def test_what_is_cured_is_one_word_of_the_command_line_whatever_it_is_called() -> None:
    for _, target, cure in every_cure():
        given = target.image if not target.image.startswith("-") else f"./{target.image}"
        if target.word in cure.command:
            assert given in shlex.split(cure.command)
        else:
            assert "rm" not in shlex.split(cure.command)


def test_all_ten_codes_of_the_spec_have_a_cure_of_their_own() -> None:
    assert len(VERIFICATION_CODES) == 10
    for code in VERIFICATION_CODES:
        assert cures(code, {}, IMAGE)[0].command != f"vordr explain {code}"


# -- what was really wrong -------------------------------------------------------------------------

FIRST = {
    "no bundle": "vordr adopt web:v1",
    "image revoked": "vordr pull IMAGE",
    "no JSON": "vordr pull web:v1",
    "another image": "vordr pull web:v1",
    "key nobody knows": "vordr trust add --owner NAME KEY.pem",
    "key revoked": "vordr pull web:v1",
    "key of another role": "vordr trust add --role builders --owner NAME KEY.pem",
    "key expired": "vordr pull web:v1",
    "key not yet valid": "vordr doctor",
    "logged before the key": "vordr pull web:v1",
    "signature changed": "vordr pull web:v1",
    "log unknown": "vordr pull web:v1",
    "one operator": "vordr trust show",
    "timestamp changed": "vordr trust logs",
    "log of two minds": "vordr trust logs",
    "one of two": "vordr adopt --draft BUNDLE.json web:v1",
    "not published": "vordr pull web:v1",
    "not published, by scope": "vordr pull web:v1",
    "other signers": "vordr policy check web:v1",
    "no evidence": "vordr policy gather web:v1",
}


@pytest.mark.parametrize("wrong", REFUSALS)
def test_what_the_gatekeeper_found_wrong_leads_to_its_cure(wrong: str) -> None:
    code, make = REFUSALS[wrong]
    case = make()
    told = case.report()
    assert told.code == code
    target = Target("web:v1", manifest=case.subject.manifest)
    assert cures(code, told.details, target)[0].command == FIRST[wrong]


def test_the_world_of_these_refusals_is_sound() -> None:
    told = Case().report()
    assert (told.decision, told.code, told.name) == ("ALLOW", None, "")
    assert {code for code, _ in REFUSALS.values()} == {*VERIFICATION_CODES, "POLICY_DENIED"}


def test_an_image_that_was_taken_back_is_not_to_be_vouched_for_again() -> None:
    case = REFUSALS["image revoked"][1]()
    found = cures("MISSING_ATTESTATION", case.report().details,
                  Target("web:v1", manifest=case.subject.manifest))
    assert not any("adopt" in cure.command for cure in found)


def test_bytes_that_were_changed_are_not_to_be_vouched_for() -> None:
    for wrong in ("signature changed", "timestamp changed"):
        code, make = REFUSALS[wrong]
        assert not any("adopt" in cure.command for cure in cures(code, make().report().details, IMAGE))


def test_missing_signatures_are_counted() -> None:
    told = REFUSALS["one of two"][1]().report()
    assert cures("THRESHOLD_NOT_MET", told.details, IMAGE)[1] == Cure(
        "vordr sign --key KEY.pem BUNDLE.json", "by each of the 1 that are missing of adopters")


@pytest.mark.parametrize(("error", "code", "command"), [
    (errors.TrustStoreMissing("none"), "ERR_TRUST_STORE", "vordr trust init --owner NAME"),
    (errors.TrustStoreInvalid("over", details={"code": "EXPIRED"}), "ERR_TRUST_STORE",
     "vordr trust update UPDATE.json"),
    (errors.TrustStoreInvalid("torn"), "ERR_TRUST_STORE", "vordr trust show"),
    (errors.ConfigInvalid("x"), "ERR_CONFIG_INVALID", "vordr policy check web:v1"),
    (errors.SealBroken("x"), "ERR_SEAL_BROKEN", "vordr run --rm web:v1"),
    (errors.ImageUnreadable("x"), "ERR_IMAGE_UNREADABLE", "vordr pull web:v1"),
    (errors.PolicyDenied("x"), "POLICY_DENIED", "vordr policy check web:v1"),
    (errors.VerificationRejected("EXPIRED_KEY", "x", step=5), "EXPIRED_KEY", "vordr pull web:v1"),
])
def test_errors_lead_to_the_cure_of_their_code_and_the_code_is_explained(
    error: errors.VordrError, code: str, command: str
) -> None:
    assert code_of(error) == code
    assert cures_of(error, IMAGE)[0].command == command
    assert explanation_of(code) is not None
