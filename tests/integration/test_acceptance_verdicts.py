"""A signer's key is revoked while containers run: who could not be started now, on a real host."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from real_world import OBEDIENT, Instance, instance, make_rootfs

from vordr.model.arguments import ImagesArgs

LOSES, KEEPS = "loses", "keeps"


@pytest.fixture
def made() -> Iterator[Instance]:
    """Two containers: one of an image that the operator signed, one of an image that Bo signed too."""
    with instance() as one:
        (one.home / "bo.pub").write_text(one.vordr("trust", "key", str(one.home / "bo.pem")).out)
        one.vordr("trust", "add", "--owner", "Bo", str(one.home / "bo.pub"))
        one.pack("hello")
        rootfs = make_rootfs(one.home / "other")
        (rootfs / "etc" / "other").write_text("another image\n")
        package = one.pack("other", rootfs=rootfs)
        one.vordr("sign", "--key", str(one.home / "bo.pem"), str(package))
        for name, image in ((KEEPS, "hello"), (LOSES, "other")):
            one.vordr("run", "-d", "--name", name, str(one.home / f"{image}.ctp"), "sh", "-c", OBEDIENT)
        yield one


def bo(made: Instance) -> str:
    return str(next(key["id"] for key in made.json("trust", "show")["keys"] if key["owner"] == "Bo"))


def test_the_container_whose_signer_was_revoked_is_named_and_starts_no_more(made: Instance) -> None:
    assert made.json("audit", "--verdicts")["lapsed"] == []
    made.vordr("trust", "revoke", "--reason", "key_compromise", bo(made))
    before = made.head()
    told = made.vordr("--json", "audit", "--verdicts", code=55).json
    assert [(one["name"], one["state"], one["code"]) for one in told["lapsed"]] == [
        (LOSES, "running", "UNKNOWN_KEY")]
    assert told["judged"] == 2
    words = made.vordr("audit", "--verdicts", code=55)
    assert LOSES in words.out and KEEPS not in words.out and "vordr adopt other" in words.err
    assert made.head() == before
    assert made.sh(LOSES, "cat /etc/other") == "another image\n"  # it runs on
    refused = made.vordr("--json", "restart", LOSES, code=51).error
    assert refused["details"]["code"] == "UNKNOWN_KEY"
    made.vordr("run", "--rm", "other", "true", code=51)
    made.vordr("restart", KEEPS)
    made.assert_sound()


def test_a_changed_layer_is_named_and_neither_mended_nor_recorded_by_that(made: Instance) -> None:
    with made.engine() as engine:
        images = engine.call("images", ImagesArgs()).answer.images
    (seal,) = next(image for image in images if "docker.io/library/other:latest" in image.names).seals
    layer = made.paths.layer(seal.diff_id)
    subprocess.run(["chattr", "-i", str(layer)], check=True)
    with layer.open("r+b") as file:
        file.seek(2048)
        byte = file.read(1)[0]
        file.seek(2048)
        file.write(bytes([byte ^ 1]))
    before, content = made.head(), layer.read_bytes()
    told = made.vordr("--json", "audit", "--verdicts", code=55).json
    assert [(one["name"], one["code"]) for one in told["lapsed"]] == [(LOSES, "ERR_SEAL_BROKEN")]
    assert (made.head(), layer.read_bytes()) == (before, content)
    made.vordr("run", "--rm", "other", "true", code=52)


def test_a_rejection_names_a_command_that_cures_it(made: Instance) -> None:
    """Bo's key is revoked; the operator vouches for the image in the words that the rejection gave."""
    made.vordr("trust", "revoke", bo(made))
    cures = made.vordr("--json", "verify", "other", code=1).json["cures"]
    (command,) = (cure["command"] for cure in cures if " adopt " in cure["command"])
    made.vordr(*command.split()[1:])
    assert made.json("verify", "other")["decision"] == "ALLOW"
    assert made.json("audit", "--verdicts")["lapsed"] == []
    made.vordr("restart", LOSES)
    text = made.home / "attested.dot"
    made.vordr("verify", "--graph", str(text), "other")
    assert "Acceptance" in text.read_text() and made.inspect(LOSES)["image"] in text.read_text()
