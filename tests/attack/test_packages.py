"""Crafted .ctp files: a sound package, taken apart, changed in one way, and put together again."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from gatekeeper_world import LOGGED, NOW, World, key, raw
from hypothesis import given, settings
from hypothesis import strategies as st

from vordr.formats import canonical, dsse
from vordr.formats.digests import sha256_digest
from vordr.gatekeeper import bundle, package, ustar
from vordr.gatekeeper.checked import CheckedStream
from vordr.gatekeeper.label import Label
from vordr.gatekeeper.package import CtpReader, open_ctp, write_ctp
from vordr.gatekeeper.statements import PROVENANCE, SPDX
from vordr.gatekeeper.subject import Blob, subject_of
from vordr.model.errors import ImageUnreadable, VerificationRejected, VordrError

LAYER = b"layer " * 200
CONFIG = canonical.dumps({"rootfs": {"type": "layers", "diff_ids": [sha256_digest(b"diff")]}})
_TAR = "application/vnd.oci.image.layer.v1.tar"
MANIFEST = canonical.dumps(
    {
        "schemaVersion": 2,
        "config": {"mediaType": "application/json", "digest": sha256_digest(CONFIG), "size": len(CONFIG)},
        "layers": [{"mediaType": _TAR, "digest": sha256_digest(LAYER), "size": len(LAYER)}],
    }
)
BLOBS = "oci-layout/blobs/sha256/"
LAYER_NAME = BLOBS + sha256_digest(LAYER)[7:]
NOT_PLAIN = "neither a regular file nor a folder"
Members = list[tuple[tarfile.TarInfo, bytes]]


def sound() -> bytes:
    world, subject = World(), subject_of(MANIFEST, CONFIG)
    payloads = [world.statement(kind, subject) for kind in (PROVENANCE, SPDX)]
    bundle = raw(world.document(payloads))
    out = io.BytesIO()
    stream = CheckedStream(io.BytesIO(LAYER), sha256_digest(LAYER), len(LAYER), "layer")
    write_ctp(out, label=Label("web", subject.manifest, LOGGED, "test"), bundle=bundle, manifest=MANIFEST,
              config=CONFIG, layers=[(Blob(sha256_digest(LAYER), len(LAYER), _TAR), stream)],
              signers=[key("alice")])
    return out.getvalue()


SOUND = sound()


def apart(package_bytes: bytes) -> Members:
    with tarfile.open(fileobj=io.BytesIO(package_bytes)) as tar:
        return [(member, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]  # regular files only


def together(members: Members, form: int = tarfile.USTAR_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for member, content in members:
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def read_all(content: bytes) -> CtpReader:
    reader = CtpReader(io.BytesIO(content))
    for _, _, stream in reader.blobs():
        stream.read(7)
    return reader


def info(
    name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname = kind, len(content), link
    return member, content


def at(members: Members, name: str) -> int:
    return next(number for number, (member, _) in enumerate(members) if member.name == name)


def add(*extra: tuple[tarfile.TarInfo, bytes], before: str | None = package.LAYOUT) -> Callable[[], bytes]:
    def make() -> bytes:
        members = apart(SOUND)
        place = len(members) if before is None else at(members, before)
        members[place:place] = list(extra)
        return together(members)

    return make


def drop(name: str) -> Callable[[], bytes]:
    return lambda: together([one for one in apart(SOUND) if one[0].name != name])


def rewrite(name: str, change: Callable[[bytes], bytes]) -> Callable[[], bytes]:
    def make() -> bytes:
        members = apart(SOUND)
        place = at(members, name)
        content = change(members[place][1])
        members[place] = info(name, content)
        return together(members)

    return make


def move_to_front(name: str) -> Callable[[], bytes]:
    def make() -> bytes:
        members = apart(SOUND)
        members.insert(0, members.pop(at(members, name)))
        return together(members)

    return make


def swap_manifest_and_config() -> bytes:
    members = apart(SOUND)
    place = at(members, BLOBS + sha256_digest(MANIFEST)[7:])
    members[place], members[place + 1] = members[place + 1], members[place]
    return together(members)


def pax() -> bytes:
    members = apart(SOUND)
    members[0][0].pax_headers = {"path": "manifest.toml", "comment": "x"}
    return together(members, tarfile.PAX_FORMAT)


def global_pax() -> bytes:
    return tarfile.TarInfo.create_pax_global_header({"comment": "x"}) + SOUND


def gnu_long_name() -> bytes:
    members = apart(SOUND)
    members.insert(1, info("attestations/" + "x" * 120))
    return together(members, tarfile.GNU_FORMAT)


def old_tar() -> bytes:
    return together(apart(SOUND), tarfile.GNU_FORMAT)


def huge(name: str, size: int) -> Callable[[], bytes]:
    """A header that claims a size; the content is not there."""

    def make() -> bytes:
        members = apart(SOUND)
        place = at(members, name)
        before = sum(512 + len(content) + -len(content) % 512 for _, content in members[:place])
        member = tarfile.TarInfo(name)
        member.size = size
        return SOUND[:before] + member.tobuf(tarfile.USTAR_FORMAT)

    return make


def base256_size() -> bytes:
    members = apart(SOUND)
    header = bytearray(members[0][0].tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = b"\x80" + len(members[0][1]).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + SOUND[512:]


def in_first_header(place: int, text: bytes) -> Callable[[], bytes]:
    """A field of the first member's header overwritten, its checksum made right."""

    def make() -> bytes:
        header = bytearray(SOUND[:512])
        header[place : place + len(text)] = text
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        return bytes(header) + SOUND[512:]

    return make


def signed_again(name: str, old: bytes, new: bytes) -> Callable[[], bytes]:
    """A small member changed, and release.sig made anew by a trusted key: still it contradicts the rest."""

    def make() -> bytes:
        members = apart(SOUND)
        small = {m.name: c for m, c in members if not m.name.startswith(BLOBS)}
        assert old in small[name]
        small[name] = small[name].replace(old, new)
        sign_again(small)
        return together([(info(m.name, small[m.name]) if m.name in small else (m, c)) for m, c in members])

    return make


def sign_again(small: dict[str, bytes]) -> None:
    payload = package.release_payload(small)
    sig = key("alice").sign(dsse.pae(package.RELEASE_TYPE, payload))
    signature = dsse.Signature(key("alice").public.key_id, sig)
    envelope = dsse.Envelope(package.RELEASE_TYPE, payload, (signature,))
    small[package.RELEASE] = canonical.dumps(envelope.to_json())


def predicate_beyond_doubles() -> bytes:
    """A bundle that is sound for who only verifies it: canonical JSON has no integers beyond 2^53."""
    world, subject = World(), subject_of(MANIFEST, CONFIG)
    payloads = [world.statement(kind, subject) for kind in (PROVENANCE, SPDX)]
    payloads[1]["predicate"]["number"] = 2**53
    members = apart(SOUND)
    small = {m.name: c for m, c in members if not m.name.startswith(BLOBS)}
    small[package.BUNDLE] = raw(world.document(payloads))
    sign_again(small)
    return together([(info(m.name, small[m.name]) if m.name in small else (m, c)) for m, c in members])


ATTACKS: list[tuple[str, str, Callable[[], bytes]]] = [
    ("empty file", "header", lambda: b""),
    ("not a tar", "not a ustar header", lambda: b"x" * 2048),
    ("traversal", "does not belong", add(info("../../etc/cron.d/x", b"x"))),
    ("traversal within a known folder", "does not belong", add(info("attestations/../../x", b"x"))),
    ("absolute name", "does not belong", add(info("/etc/passwd", b"x"))),
    ("dot before the name", "does not belong", add(info("./attestations/bundle.json", b"x"))),
    ("unknown member", "does not belong", add(info("attestations/README", b"x"))),
    ("unknown folder", "no folder of a package", add(info("hooks", kind=tarfile.DIRTYPE))),
    ("name that is not ASCII", "plainly written", add(info("attestations/bündle.json", b"x"))),
    ("symbolic link", NOT_PLAIN,
     add(info("signatures/logs/6.proof", kind=tarfile.SYMTYPE, link="/etc/shadow"))),
    ("hard link", NOT_PLAIN,
     add(info("signatures/logs/6.proof", kind=tarfile.LNKTYPE, link="manifest.toml"))),
    ("character device", NOT_PLAIN, add(info("oci-layout/x", kind=tarfile.CHRTYPE))),
    ("fifo", NOT_PLAIN, add(info("oci-layout/x", kind=tarfile.FIFOTYPE))),
    ("sparse file", NOT_PLAIN, add(info("oci-layout/x", kind=tarfile.GNUTYPE_SPARSE))),
    ("old regular file type", NOT_PLAIN,
     add(info("signatures/logs/6.proof", kind=tarfile.AREGTYPE))),
    ("pax header", NOT_PLAIN, pax),
    ("global pax header", NOT_PLAIN, global_pax),
    ("GNU long name", "not a ustar header", gnu_long_name),
    ("GNU tar", "not a ustar header", old_tar),
    ("size in base 256", "plainly written", base256_size),
    ("text after the name's end", "plainly written", in_first_header(20, b"evil")),
    ("name in two parts", "a link target or name prefix", in_first_header(345, b"oci-layout")),
    ("regular file with a link target", "a link target or name prefix",
     in_first_header(157, b"/etc/shadow")),
    ("bundle twice", "is there twice", add(info(package.BUNDLE, b"{}"))),
    ("label twice", "is there twice", add(info(package.LABEL, b""))),
    ("huge bundle", "larger than", huge(package.BUNDLE, bundle.LARGEST_BUNDLE + 1)),
    ("huge label", "larger than", huge(package.LABEL, 1 << 20)),
    ("label not first", "starts with", move_to_front(package.BUNDLE)),
    ("no label", "starts with", drop(package.LABEL)),
    ("no bundle", "attestations/bundle.json is missing", drop(package.BUNDLE)),
    ("no SPDX view", "sbom.json is missing", drop(package.SBOM)),
    ("no release signature", "release.sig is missing", drop(package.RELEASE)),
    ("no index", "index.json is missing", drop(package.INDEX)),
    ("a proof missing", "signs other members", drop("signatures/logs/5.proof")),
    ("a proof too many", "signs other members", add(info("signatures/logs/6.proof", b"{}"))),
    ("label changed", "signs other members", rewrite(package.LABEL, lambda c: c.replace(b'"web"', b'"db"'))),
    ("view changed", "signs other members", rewrite(package.SBOM, lambda c: c.replace(b"2.3", b"2.2"))),
    ("view changed and signed again", "not what the bundle says", signed_again(package.SBOM, b"2.3", b"2.2")),
    ("index of another image", "not those of an image", signed_again(package.INDEX, b"sha256:", b"sha512:")),
    ("another layout version", "not those of an image", signed_again(package.LAYOUT, b"1.0.0", b"2.0.0")),
    ("label of another image", "not in its place",
     signed_again(package.LABEL, sha256_digest(MANIFEST).encode(), b"sha256:" + b"0" * 64)),
    ("label nested without end", "nested", rewrite(package.LABEL, lambda c: c + b"x = " + b"[" * 7000)),
    ("label with a key of keys of keys", "nested",
     rewrite(package.LABEL, lambda c: c + b"a." * 3000 + b"b = 1")),
    ("label whose format is a table of tables", "nested",
     rewrite(package.LABEL, lambda c: c.replace(b"format", b"format." + b"a." * 1500 + b"b"))),
    ("label with a number of 5000 digits", "not TOML",
     rewrite(package.LABEL, lambda c: b"x = " + b"1" * 5000)),
    ("label that keeps its reader busy for half a minute", "larger than",
     rewrite(package.LABEL, lambda c: c + b"a." * 32_000 + b"b = 1")),
    ("bundle whose predicate has no canonical form", "exceeds", predicate_beyond_doubles),
    ("release signature not JSON", "release.sig", rewrite(package.RELEASE, lambda c: c[:-1])),
    ("manifest after config", "not in its place", swap_manifest_and_config),
    ("no layer", "is missing", drop(LAYER_NAME)),
    ("layer twice", "twice", add(info(LAYER_NAME, LAYER), before=None)),
    ("foreign blob", "not a layer of this image", add(info(BLOBS + "0" * 64, b"x"), before=None)),
    ("blob name that is none", "not the name of a blob", add(info(BLOBS + "../x", b"x"), before=None)),
    ("member after the blobs", "not the name of a blob",
     add(info("attestations/bundle.json", b"x"), before=None)),
    ("layer's bytes changed", "do not have the digest", rewrite(LAYER_NAME, lambda c: b"L" + c[1:])),
    ("layer's last byte changed", "do not have the digest", rewrite(LAYER_NAME, lambda c: c[:-1] + b"!")),
    ("layer cut", "another size", rewrite(LAYER_NAME, lambda c: c[:-1])),
    ("layer longer", "another size", rewrite(LAYER_NAME, lambda c: c + b"!")),
    ("manifest's bytes changed", "do not have the digest",
     rewrite(BLOBS + sha256_digest(MANIFEST)[7:], lambda c: c.replace(b":2", b":3"))),
    ("text after the end", "does not end in zeros", lambda: SOUND + b"#!/bin/sh\n"),
    ("a second tar after the end", "does not end in zeros", lambda: SOUND + SOUND),
    ("no end", "the file ends in its header", lambda: SOUND[:-1024]),
    ("half an end", "does not end in zeros", lambda: SOUND[:-512]),
]


@pytest.mark.parametrize(("why", "make"), [row[1:] for row in ATTACKS], ids=[row[0] for row in ATTACKS])
def test_crafted_package_is_refused_for_what_it_is(why: str, make: Callable[[], bytes]) -> None:
    with pytest.raises(ImageUnreadable, match=why):
        read_all(make())


def test_sound_package_is_read_as_written_and_as_repacked() -> None:
    for content in (SOUND, together(apart(SOUND))):
        reader = read_all(content)
        assert reader.label.name == "web"
        assert reader.verify_release(World().trust(), NOW) == (key("alice").public.key_id,)


def test_package_with_its_folders_listed_is_read() -> None:
    folders = [info(name, kind=tarfile.DIRTYPE) for name in ("attestations/", "signatures/", "oci-layout/")]
    assert read_all(add(*folders)()).label.name == "web"


def test_package_with_a_malformed_bundle_is_refused_with_the_specs_code() -> None:
    members = apart(SOUND)
    small = {m.name: c for m, c in members if not m.name.startswith(BLOBS)}
    small[package.BUNDLE] = b"{}"
    sign_again(small)
    content = together([(info(m.name, small[m.name]) if m.name in small else (m, c)) for m, c in members])
    with pytest.raises(VerificationRejected) as refusal:
        read_all(content)
    assert refusal.value.code == "MALFORMED_BUNDLE"


@pytest.mark.parametrize(
    ("world", "now", "code"),
    [
        (World(valid_until=NOW), NOW, "EXPIRED_KEY"),
        (World(valid_from=NOW), NOW - 1, "KEY_NOT_YET_VALID"),
    ],
)
def test_release_signature_of_a_key_out_of_time_is_refused(world: World, now: int, code: str) -> None:
    with pytest.raises(VerificationRejected) as refusal:
        read_all(SOUND).verify_release(world.trust(), now)
    assert refusal.value.code == code


def test_release_signature_of_nobody_we_know_is_refused() -> None:
    alice, mallory = (key(name).public.key_id.encode() for name in ("alice", "mallory"))
    reader = read_all(rewrite(package.RELEASE, lambda c: c.replace(alice, mallory))())
    with pytest.raises(VerificationRejected) as refusal:
        reader.verify_release(World().trust(), NOW)
    assert refusal.value.code == "UNKNOWN_KEY"


def test_release_signature_that_does_not_hold_is_refused() -> None:
    members = apart(SOUND)
    held = canonical.loads(members[at(members, package.RELEASE)][1])["signatures"][0]["sig"].encode()
    reader = read_all(rewrite(package.RELEASE, lambda c: c.replace(held, held[:3] + b"AAAA" + held[7:]))())
    with pytest.raises(VerificationRejected) as refusal:
        reader.verify_release(World().trust(), NOW)
    assert refusal.value.code == "INVALID_SIGNATURE"


@given(st.integers(0, len(SOUND) * 8 - 1))
@settings(max_examples=400, deadline=None)
def test_no_bit_of_a_package_can_be_flipped(bit: int) -> None:
    spoilt = bytearray(SOUND)
    spoilt[bit // 8] ^= 1 << bit % 8
    with pytest.raises(VordrError):
        read_all(bytes(spoilt)).verify_release(World().trust(), NOW)


@given(st.integers(0, len(SOUND) - 1))
@settings(max_examples=200, deadline=None)
def test_package_cut_anywhere_is_refused(length: int) -> None:
    with pytest.raises(VordrError):
        read_all(SOUND[:length])


@given(st.binary(max_size=3000))
@settings(max_examples=200, deadline=None)
def test_garbage_is_refused_in_our_own_words(content: bytes) -> None:
    with pytest.raises(VordrError):
        read_all(content)


def test_opening_reads_no_further_than_the_config_and_leaves_the_descriptor_open(tmp_path: Path) -> None:
    (tmp_path / "web.ctp").write_bytes(SOUND)
    fd = os.open(tmp_path / "web.ctp", os.O_RDONLY)
    try:
        assert open_ctp(fd).subject == subject_of(MANIFEST, CONFIG)
        os.fstat(fd)
    finally:
        os.close(fd)


def test_writer_refuses_a_stream_of_another_length() -> None:
    for content in (b"123", b"12345"):
        with pytest.raises(ImageUnreadable, match="is not 4 bytes long"):
            ustar.Writer(io.BytesIO(), 0).add("x", 4, io.BytesIO(content))


def test_writer_refuses_what_eleven_octal_digits_cannot_say() -> None:
    with pytest.raises(ImageUnreadable, match="more than a member can have"):
        ustar.Writer(io.BytesIO(), 0).add("x", ustar.LARGEST_MEMBER + 1, io.BytesIO())
