"""The declared state of a container and its digest: what undo promises to bring back, to the byte."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from vordr.formats import canonical
from vordr.model.lifecycle import State
from vordr.model.spec import ContainerSpec, IdRange
from vordr.model.state import ContainerState, Generation, ImageConfig, ImageState, Layer

SPEC = ContainerSpec()
WEB = ContainerState(
    id="c" * 64, name="web", image="sha256:manifest", image_name="tiny", spec=SPEC, state=State.STOPPED,
    generations=(Generation(1, 5), Generation(3, 9)), addresses=("10.0.0.2",), ports=("80/tcp",))
DECLARED = {
    "id": "c" * 64, "name": "web", "manifest": "sha256:manifest", "spec": msgspec.to_builtins(SPEC),
    "state": "stopped", "generations": [1, 3], "networks": [str(SPEC.network)], "addresses": ["10.0.0.2"],
    "ports": ["80/tcp"], "volumes": []}


def test_the_declared_state_is_this_and_nothing_else() -> None:
    assert WEB.declared() == DECLARED


def test_the_digest_is_that_of_the_canonical_declared_state() -> None:
    assert WEB.digest() == "sha256:" + hashlib.sha256(canonical.dumps(DECLARED)).hexdigest()


@pytest.mark.parametrize("more", [
    {"pid": 7}, {"started": 1, "finished": 2, "created": 3}, {"exit_code": 1, "restarts": 2, "process": 3},
    {"process_act": "t", "boot_id": "b", "asked_to_stop": True}, {"next_generation": 9},
    {"arguments": ("sh",), "image_name": "other", "ids": IdRange(100_000)},
    {"generations": (Generation(1, 6), Generation(3, 7))}], ids=lambda more: " ".join(more))
def test_what_is_not_declared_does_not_change_the_digest(more: dict[str, Any]) -> None:
    assert msgspec.structs.replace(WEB, **more).digest() == WEB.digest()


@pytest.mark.parametrize("more", [
    {"id": "d" * 64}, {"name": "db"}, {"image": "sha256:other"}, {"state": State.REMOVED},
    {"generations": (Generation(1, 5),)}, {"addresses": ()}, {"ports": ()},
    {"spec": ContainerSpec(auto_remove=True)}], ids=lambda more: " ".join(more))
def test_what_is_declared_changes_the_digest(more: dict[str, Any]) -> None:
    assert msgspec.structs.replace(WEB, **more).digest() != WEB.digest()


def test_the_size_of_an_image_is_that_of_its_blobs() -> None:
    image = ImageState(
        manifest="m", config_digest="c", names=(), seals=(), config=ImageConfig(), bundle=None, origin="x",
        attested_by="", imported=0, layers=(Layer("d1", "b1", 3, "tar"), Layer("d2", "b2", 4, "tar")))
    assert image.size == 7
