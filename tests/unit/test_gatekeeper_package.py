"""Packing, opening and adopting: what the producer makes, the reader reads and the gatekeeper accepts."""

from __future__ import annotations

import errno
import io
import json
import os
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gatekeeper_host import NOW, Host, layer, make_host, make_layout
from published import spec_document

from vordr.gatekeeper import adopt, package, schema
from vordr.gatekeeper.bundle import parse
from vordr.gatekeeper.decide import decide
from vordr.gatekeeper.label import Label, parse_label
from vordr.gatekeeper.outfile import whole_or_absent
from vordr.gatekeeper.pack import Packed, pack
from vordr.gatekeeper.package import CtpReader, open_ctp
from vordr.gatekeeper.policy import Policy
from vordr.model.errors import ImageUnreadable, LayerSpaceExhausted, UsageError
from vordr.model.verdict import Verdict

STATUS = b"Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2\n"
LAYERS = (layer({"var/lib/dpkg/status": STATUS}), layer({"bin/sh": os.urandom(3 << 20)}))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    return make_host(tmp_path_factory.mktemp("host"))


def pack_it(host: Host, folder: Path, layers: tuple[bytes, ...] = LAYERS) -> Packed:
    manifest = make_layout(folder / "layout", layers)
    return pack(folder / "layout", manifest, folder / "web.ctp", signers=[host.operator], logs=host.logs,
                source="a folder", name="web:1", now_us=NOW)


@contextmanager
def opened(path: Path) -> Iterator[CtpReader]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield open_ctp(fd)
    finally:
        os.close(fd)


def judge(host: Host, reader: CtpReader) -> Verdict:
    return decide(reader.subject, reader.bundle, host.trust, Policy(), NOW, 1)


def test_packed_image_is_published_by_the_operator(host: Host, tmp_path: Path) -> None:
    packed = pack_it(host, tmp_path)
    with opened(packed.path) as reader:
        verdict = judge(host, reader)
    assert verdict.manifest == packed.manifest
    assert verdict.attested_by == f"published by Ada ({host.operator.public.key_id[:19]}…)"
    assert verdict.evidence[5].text == "3 logs of one operator (local)"


def test_blobs_come_out_as_they_went_in(host: Host, tmp_path: Path) -> None:
    packed = pack_it(host, tmp_path)
    stored = {path.name: path.read_bytes() for path in (tmp_path / "layout/blobs/sha256").iterdir()}
    with opened(packed.path) as reader:
        found = {digest.removeprefix("sha256:"): stream.read() for digest, _, stream in reader.blobs()}
    assert found == stored


def test_blobs_that_nobody_reads_are_checked_all_the_same(host: Host, tmp_path: Path) -> None:
    packed = pack_it(host, tmp_path)
    content = packed.path.read_bytes()
    spoilt = bytearray(content)
    spoilt[-4096] ^= 1
    packed.path.write_bytes(spoilt)
    with opened(packed.path) as reader, pytest.raises(ImageUnreadable, match="do not have the digest"):
        for _ in reader.blobs():
            pass


def test_progress_counts_every_byte_once(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "_TELL_EVERY", 1)
    told: list[tuple[str, int, int | None]] = []
    with opened(pack_it(host, tmp_path).path) as reader:
        sizes = [len(stream.read()) for _, _, stream in reader.blobs(lambda *now: told.append(now), "copy")]
    assert told[-1] == ("copy", sum(sizes), sum(sizes)) and len(told) >= len(sizes)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert {total for _, _, total in told} == {sum(sizes)}


def test_package_can_be_read_from_a_pipe(host: Host, tmp_path: Path) -> None:
    packed = pack_it(host, tmp_path)
    out, into = os.pipe()

    def feed() -> None:
        with os.fdopen(into, "wb") as file:
            file.write(packed.path.read_bytes())

    feeder = threading.Thread(target=feed)
    feeder.start()
    with os.fdopen(out, "rb") as pipe:
        reader = open_ctp(pipe.fileno())
        digests = [digest for digest, _, _ in reader.blobs()]
    feeder.join()
    assert digests[0] == packed.manifest and len(digests) == 4


def test_package_is_a_tar_whose_parts_other_tools_read(host: Host, tmp_path: Path) -> None:
    packed = pack_it(host, tmp_path)
    with tarfile.open(packed.path) as tar:
        tar.extractall(tmp_path / "out", filter="data")
    out = tmp_path / "out"
    assert (out / "attestations/bundle.json").read_bytes() == packed.bundle
    sbom = json.loads((out / "attestations/sbom.json").read_text())
    assert [one["name"] for one in sbom["packages"]] == ["web:1", "bash"]
    (listed,) = json.loads((out / "oci-layout/index.json").read_text())["manifests"]
    assert listed["digest"] == packed.manifest
    assert len(list((out / "signatures/logs").iterdir())) == 6


def test_bundle_has_the_published_shape(host: Host, tmp_path: Path) -> None:
    packed = pack_it(host, tmp_path)
    assert schema.validate_document("attestation-bundle", json.loads(packed.bundle)) == []
    jsonschema = pytest.importorskip("jsonschema")
    published = spec_document("schema/attestation-bundle.schema.json")
    jsonschema.validate(json.loads(packed.bundle), published)


def test_image_with_one_layer_twice_is_packed_once(host: Host, tmp_path: Path) -> None:
    packed = pack_it(host, tmp_path, (LAYERS[0], LAYERS[0]))
    with opened(packed.path) as reader:
        assert len([digest for digest, _, _ in reader.blobs()]) == 3
        assert len(reader.subject.layers) == 2


def test_image_without_layers_is_packed(host: Host, tmp_path: Path) -> None:
    with opened(pack_it(host, tmp_path, ()).path) as reader:
        assert len(list(reader.blobs())) == 2


def test_release_signature_is_the_operators(host: Host, tmp_path: Path) -> None:
    with opened(pack_it(host, tmp_path).path) as reader:
        assert reader.verify_release(host.trust, NOW) == (host.operator.public.key_id,)


def test_adopted_image_is_adopted_by_the_operator(host: Host, tmp_path: Path) -> None:
    with opened(pack_it(host, tmp_path).path) as reader:
        bundle = adopt.attest(reader.manifest, reader.config, name="web:1", source="docker.io/library/web",
                              signers=[host.operator], logs=host.logs, now_us=NOW)
        verdict = decide(reader.subject, bundle, host.trust, Policy(), NOW, 1)
    assert (verdict.origin, verdict.attested_by) == (
        "adopted", f"adopted by Ada ({host.operator.public.key_id[:19]}…)")


def test_adopting_lists_packages_where_the_layers_can_be_read(host: Host, tmp_path: Path) -> None:
    with opened(pack_it(host, tmp_path).path) as reader:
        blobs = {digest: stream.read() for digest, _, stream in reader.blobs()}
        bundle = adopt.attest(reader.manifest, reader.config, name="web", source="here",
                              signers=[host.operator], logs=host.logs, now_us=NOW,
                              open_blob=lambda digest: io.BytesIO(blobs[digest]))
    (document,) = [one.predicate for one in parse(bundle).attestations if "spdxVersion" in one.predicate]
    assert [one["name"] for one in document["packages"]] == ["web", "bash"]


@pytest.mark.parametrize("count", [0, 1])
def test_attestation_needs_two_logs(host: Host, tmp_path: Path, count: int) -> None:
    with opened(pack_it(host, tmp_path).path) as reader, pytest.raises(UsageError, match="distinct logs"):
        adopt.attest(reader.manifest, reader.config, name="web", source="here", signers=[host.operator],
                     logs=host.logs[:count], now_us=NOW)


def test_attestation_needs_a_signer(host: Host, tmp_path: Path) -> None:
    with opened(pack_it(host, tmp_path).path) as reader, pytest.raises(UsageError, match="signers"):
        adopt.attest(reader.manifest, reader.config, name="web", source="here", signers=[], logs=host.logs,
                     now_us=NOW)


def test_config_of_another_image_is_not_adopted(host: Host, tmp_path: Path) -> None:
    with opened(pack_it(host, tmp_path).path) as reader, pytest.raises(ImageUnreadable, match="config"):
        adopt.attest(reader.manifest, reader.config + b" ", name="web", source="here",
                     signers=[host.operator], logs=host.logs, now_us=NOW)


def test_spoilt_layout_is_refused_before_anything_is_signed_or_logged(host: Host, tmp_path: Path) -> None:
    manifest = make_layout(tmp_path / "layout", LAYERS)
    biggest = max((tmp_path / "layout/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(biggest.read_bytes())
    content[100] ^= 1
    biggest.write_bytes(content)
    sizes = [log.size for log in host.logs]
    with pytest.raises(ImageUnreadable, match=biggest.name):
        pack(tmp_path / "layout", manifest, tmp_path / "web.ctp", signers=[host.operator], logs=host.logs,
             source="a folder", name="web:1", now_us=NOW)
    assert [log.size for log in host.logs] == sizes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["layout"]


def test_package_that_cannot_be_written_leaves_nothing(host: Host, tmp_path: Path) -> None:
    manifest = make_layout(tmp_path / "layout", LAYERS)
    with pytest.raises(UsageError, match="cannot be written"):
        pack(tmp_path / "layout", manifest, tmp_path / "no" / "web.ctp", signers=[host.operator],
             logs=host.logs, source="a folder", name="web:1", now_us=NOW)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["layout"]


def test_full_disk_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(LayerSpaceExhausted), whole_or_absent(tmp_path / "web.ctp") as file:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_progress_tells_each_phase(host: Host, tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    manifest = make_layout(tmp_path / "layout", LAYERS)
    pack(tmp_path / "layout", manifest, tmp_path / "web.ctp", signers=[host.operator], logs=host.logs,
         source="a folder", name="web:1", now_us=NOW, progress=lambda *step: told.append(step))
    assert [phase for phase, _, _ in told] == ["check", "check", "attest", "write", "write"]


# -- manifest.toml ---------------------------------------------------------------------------------

LABEL = Label("web:1 \"böld\" \\", "sha256:" + "1" * 64, NOW, "vordr-0.1.0")


def test_label_comes_back_as_it_was_written() -> None:
    assert parse_label(LABEL.to_toml()) == LABEL


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("format = 1", "format = 2"),
        ("format = 1", "format = true"),
        ("format = 1", "format = 1\nextra = 1"),
        ("[package]", "[package]\nsigned = true"),
        ("sha256:1", "sha256:X"),
        ("2026-03-01T12", "2026-03-01 12"),
        ("2026-03-01", "1969-03-01"),
        ('packer = "vordr-0.1.0"', 'packer = ""'),
        ('packer = "vordr-0.1.0"', 'packer = "a\\u0007"'),
        ('packer = "vordr-0.1.0"', "packer = 1"),
        ('packer = "vordr-0.1.0"', ""),
        ("[image]", "[imag"),
        ("[image]", "[[image]]"),
    ],
)
def test_label_with_anything_else_is_refused(old: str, new: str) -> None:
    text = LABEL.to_toml().decode()
    assert old in text
    with pytest.raises(ImageUnreadable, match=r"manifest\.toml"):
        parse_label(text.replace(old, new, 1).encode())


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 501])
def test_label_is_not_written_with_a_name_that_could_not_be_read(name: str) -> None:
    with pytest.raises(ImageUnreadable):
        Label(name, LABEL.manifest, NOW, "vordr").to_toml()
