"""in-toto layouts, verified with links that the library itself made and signed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from in_toto.models.layout import Inspection, Layout, Step
from in_toto.models.link import Link
from in_toto.models.metadata import Metablock
from securesystemslib.signer import CryptoSigner

from vordr.gatekeeper import intoto_layout
from vordr.gatekeeper.intoto_layout import MOST_LINKS, Supply, verify
from vordr.model.errors import ImageUnreadable, PolicyDenied, UsageError, VordrError

MANIFEST = "sha256:" + "ab" * 32


class Person:
    """Somebody with a key; always the same for a name."""

    def __init__(self, name: str) -> None:
        private = Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b"."))
        self.signer = CryptoSigner(private)
        self.id = self.signer.public_key.keyid
        self.pem = private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    @property
    def key(self) -> dict[str, Any]:
        return {**self.signer.public_key.to_dict(), "keyid": self.id}


OWNER, ALICE, BOB, EVE = Person("owner"), Person("alice"), Person("bob"), Person("eve")
SOURCE, IMAGE = {"app.c": {"sha256": "cd" * 32}}, {"manifest.json": {"sha256": "ab" * 32}}


class Chain:
    """A layout of two steps, write and build, and their links, in ``folder``; to be spoiled before use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.links = folder / "links"
        self.links.mkdir()
        self.layout = folder / "root.layout"
        self.write = Step(
            name="write", pubkeys=[ALICE.id], expected_products=[["ALLOW", "app.c"], ["DISALLOW", "*"]])
        self.build = Step(
            name="build", pubkeys=[BOB.id, ALICE.id],
            expected_materials=[["MATCH", "app.c", "WITH", "PRODUCTS", "FROM", "write"], ["DISALLOW", "*"]],
            expected_products=[["ALLOW", "manifest.json"], ["DISALLOW", "*"]])
        self.people = [ALICE, BOB]
        self.inspections: list[Inspection] = []
        self.expires = datetime.now(UTC) + timedelta(days=30)

    def sign(self, *owners: Person) -> None:
        made = Layout(
            steps=[self.write, self.build], inspect=self.inspections,
            keys={person.id: person.key for person in self.people},
            expires=self.expires.strftime("%Y-%m-%dT%H:%M:%SZ"))
        dump(made, self.layout, *(owners or (OWNER,)))

    def link(self, step: str, by: Person, materials: Mapping[str, Any], products: Mapping[str, Any],
             signer: Person | None = None, folder: Path | None = None) -> Path:
        made = Link(name=step, materials=dict(materials), products=dict(products))
        path = (folder or self.links) / f"{step}.{by.id[:8]}.link"
        dump(made, path, signer or by)
        return path

    def whole(self) -> Chain:
        self.sign()
        self.link("write", ALICE, {}, SOURCE)
        self.link("build", BOB, SOURCE, IMAGE)
        return self

    def verify(self, *keys: Person, **more: Any) -> Supply:
        paths = []
        for person in keys or (OWNER,):
            path = self.folder / f"{person.id[:8]}.pem"
            path.write_bytes(person.pem)
            paths.append(path)
        return verify(self.layout, paths, self.links, **more)


def dump(signed: Any, path: Path, *signers: Person) -> None:
    block = Metablock(signed=signed)
    for person in signers:
        block.create_signature(person.signer)
    block.dump(str(path))


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return Chain(tmp_path)


def test_a_chain_that_satisfies_its_layout_holds(chain: Chain) -> None:
    supply = chain.whole().verify()
    assert [(step.name, step.threshold, step.functionaries) for step in supply.steps] == [
        ("write", 1, 1), ("build", 1, 2)]
    assert supply.makes(MANIFEST) == "manifest.json"
    assert supply.makes("sha256:" + "0" * 64) is None


def refused(chain: Chain, kind: type[VordrError] = PolicyDenied, *keys: Person, **more: Any) -> str:
    with pytest.raises(kind) as error:
        chain.verify(*keys, **more)
    return error.value.message


def test_a_layout_by_somebody_else_is_refused(chain: Chain) -> None:
    assert "does not hold" in refused(chain.whole(), PolicyDenied, EVE)


def test_every_given_key_must_have_signed(chain: Chain) -> None:
    chain.whole()
    assert "does not hold" in refused(chain, PolicyDenied, OWNER, BOB)
    chain.sign(OWNER, BOB)
    assert chain.verify(OWNER, BOB)


def test_an_expired_layout_is_refused(chain: Chain) -> None:
    chain.expires = datetime.now(UTC) - timedelta(seconds=2)
    assert "expired" in refused(chain.whole())


def test_a_missing_link_is_refused(chain: Chain) -> None:
    chain.sign()
    chain.link("write", ALICE, {}, SOURCE)
    assert "build" in refused(chain)


def test_a_link_by_somebody_without_the_step_is_refused(chain: Chain) -> None:
    chain.whole()
    chain.link("write", ALICE, {}, SOURCE, signer=EVE)
    assert "does not hold" in refused(chain)


def test_a_threshold_counts_functionaries(chain: Chain) -> None:
    chain.build.threshold = 2
    chain.whole()
    assert "build" in refused(chain)
    chain.link("build", ALICE, SOURCE, IMAGE)
    assert chain.verify()
    chain.link("build", ALICE, SOURCE, {"manifest.json": {"sha256": "ef" * 32}})
    assert "does not hold" in refused(chain)


def test_one_key_under_two_ids_is_refused(chain: Chain) -> None:
    """The threshold's two would be one person."""
    chain.whole()
    document = json.loads(chain.layout.read_text())
    document["signed"]["keys"]["f" * 64] = {**document["signed"]["keys"][ALICE.id], "keyid": "f" * 64}
    chain.layout.write_text(json.dumps(document))
    assert "under two ids" in refused(chain)


def test_products_that_no_rule_allows_are_refused(chain: Chain) -> None:
    chain.whole()
    chain.link("build", BOB, SOURCE, {**IMAGE, "backdoor": {"sha256": "ef" * 32}})
    assert "does not hold" in refused(chain)


def test_materials_that_the_step_before_did_not_make_are_refused(chain: Chain) -> None:
    chain.whole()
    chain.link("build", BOB, {"app.c": {"sha256": "ef" * 32}}, IMAGE)
    assert "does not hold" in refused(chain)


# -- sublayouts and inspections --------------------------------------------------------------------


def sublayout(chain: Chain, *, inspect: bool = False) -> None:
    """Bob has Eve do the building."""
    chain.sign()
    chain.link("write", ALICE, {}, SOURCE)
    inner = Layout(
        steps=[Step(name="compile", pubkeys=[EVE.id])], keys={EVE.id: EVE.key},
        inspect=[inspection(chain)] if inspect else [],
        expires=(datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ"))
    dump(inner, chain.links / f"build.{BOB.id[:8]}.link", BOB)
    folder = chain.links / f"build.{BOB.id[:8]}"
    folder.mkdir()
    chain.link("compile", EVE, SOURCE, IMAGE, folder=folder)


def inspection(chain: Chain) -> Inspection:
    made = Inspection(name="look")
    made.set_run_from_string(f"touch {chain.folder}/ran")
    return made


def ran(chain: Chain) -> bool:
    return (chain.folder / "ran").exists()


def test_a_sublayout_is_verified_as_its_step(chain: Chain) -> None:
    sublayout(chain)
    assert chain.verify().makes(MANIFEST) == "manifest.json"
    chain.link("compile", EVE, SOURCE, IMAGE, signer=ALICE, folder=chain.links / f"build.{BOB.id[:8]}")
    assert "does not hold" in refused(chain)


def test_inspections_do_not_run_unless_asked(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(chain.folder)
    chain.inspections = [inspection(chain)]
    assert "has inspections (look)" in refused(chain.whole())
    assert not ran(chain)
    assert chain.verify(inspect=True).inspected == ("look",)
    assert ran(chain) and not list(chain.folder.glob("*.link"))


def test_inspections_of_a_sublayout_do_not_run_either(chain: Chain) -> None:
    """A functionary is trusted with a step, not with this host."""
    sublayout(chain, inspect=True)
    assert "has inspections (look)" in refused(chain)
    assert not ran(chain)


def test_what_was_looked_at_is_what_is_verified(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links swapped after the look for a layout with inspections do not reach the library."""
    sublayout(chain)
    looked = intoto_layout._verify

    def swap(*args: Any) -> Supply:
        (chain.links / f"build.{BOB.id[:8]}.link").unlink()
        inner = Layout(steps=[], keys={}, inspect=[inspection(chain)],
                       expires=(datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ"))
        dump(inner, chain.links / f"build.{BOB.id[:8]}.link", BOB)
        return looked(*args)

    monkeypatch.setattr(intoto_layout, "_verify", swap)
    assert chain.verify().makes(MANIFEST)
    assert not ran(chain)


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [
    "", "[]", "{}", '{"signed": {}, "signed": {}}', '{"signed": [], "signatures": []}',
    '{"payload": "x", "payloadType": "y", "signatures": []}'])
def test_a_layout_that_is_no_metadata_is_unreadable(chain: Chain, text: str) -> None:
    chain.whole()
    chain.layout.write_text(text)
    refused(chain, ImageUnreadable)


def test_a_link_is_no_layout(chain: Chain) -> None:
    chain.whole()
    chain.layout.write_bytes(chain.link("write", ALICE, {}, SOURCE).read_bytes())
    assert "not a layout" in refused(chain, ImageUnreadable)


def test_a_step_that_names_files_elsewhere_is_refused(chain: Chain) -> None:
    chain.whole()
    document = json.loads(chain.layout.read_text())
    document["signed"]["steps"][0]["name"] = "../../etc/x"
    chain.layout.write_text(json.dumps(document))
    assert "plain name" in refused(chain, ImageUnreadable)


def test_links_to_files_elsewhere_are_not_followed(chain: Chain) -> None:
    chain.whole()
    path = chain.links / f"write.{ALICE.id[:8]}.link"
    path.rename(chain.folder / "elsewhere")
    path.symlink_to(chain.folder / "elsewhere")
    assert "write" in refused(chain)


def test_links_are_bounded_in_number_and_depth(chain: Chain) -> None:
    chain.whole()
    deep = chain.links.joinpath(*["build.00000000"] * 10)
    deep.mkdir(parents=True)
    assert "nested deeper" in refused(chain, ImageUnreadable)
    shutil.rmtree(chain.links / "build.00000000")
    chain.links.joinpath(*["unrelated"] * 10).mkdir(parents=True)
    assert chain.verify()
    for number in range(MOST_LINKS):
        (chain.links / f"x{number}.link").write_text("{}")
    assert f"more than {MOST_LINKS}" in refused(chain, ImageUnreadable)


def test_no_keys_and_absent_files_are_errors_of_use(chain: Chain) -> None:
    chain.whole()
    with pytest.raises(UsageError):
        verify(chain.layout, [], chain.links)
    with pytest.raises(UsageError):
        verify(chain.layout, [chain.folder / "absent.pem"], chain.links)
    with pytest.raises(UsageError):
        verify(chain.layout, [chain.folder], chain.links)
    (chain.folder / "bad.pem").write_text("no key")
    with pytest.raises(UsageError):
        verify(chain.layout, [chain.folder / "bad.pem"], chain.links)
    with pytest.raises(UsageError):
        verify(chain.folder / "absent", [chain.folder / "bad.pem"], chain.links)
