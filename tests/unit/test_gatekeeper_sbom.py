"""Software lists: what the image's own files say, layer upon layer, or why there is no list."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Sequence

import pytest
from gatekeeper_host import GZIP, layer

from vordr.formats.digests import sha256_digest
from vordr.gatekeeper import sbom
from vordr.gatekeeper.sbom import Inventory, inventory
from vordr.gatekeeper.software import Distribution, Kind, Package
from vordr.gatekeeper.subject import Blob

STATUS = b"""Package: zlib1g
Status: install ok installed
Architecture: amd64
Version: 1:1.2.13

Package: gone
Status: deinstall ok config-files
Version: 1

Package: bash
Status: install ok installed
Version: 5.2
Architecture: amd64
"""
BASH, ZLIB = Package("bash", "5.2", "amd64"), Package("zlib1g", "1:1.2.13", "amd64")
WHERE = "var/lib/dpkg/status"
NODE = "app/node_modules/left-pad/package.json"
PAD = Package("left-pad", "1.3.0", kind=Kind.NODE)
PACKAGE_JSON = b'{"name": "left-pad", "version": "1.3.0"}'


def look(layers: Sequence[bytes], kind: str = GZIP) -> Inventory:
    """The inventory of layer tars; of gzip blobs, where ``kind`` is "stored"."""
    blobs = [gzip.compress(one) if kind == GZIP else one for one in layers]
    store = {sha256_digest(blob): blob for blob in blobs}
    media_type = GZIP if kind == "stored" else kind
    descriptors = [Blob(sha256_digest(blob), len(blob), media_type) for blob in blobs]
    return inventory(descriptors, lambda digest: io.BytesIO(store[digest]))


def tar(*members: tuple[str, bytes, str], content: dict[str, bytes] | None = None) -> bytes:
    """A layer of (name, tar type, link target) members, behind regular files of ``content``."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as made:
        for name, raw in (content or {}).items():
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            made.addfile(info, io.BytesIO(raw))
        for name, kind, link in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            made.addfile(info)
    return out.getvalue()


def test_software_of_every_kind_is_listed_in_order_and_by_whom_it_is_told() -> None:
    found = look([layer({
        WHERE: STATUS,
        NODE: PACKAGE_JSON,
        "usr/lib/python3/dist-packages/idna-3.3.dist-info/METADATA": b"Name: idna\nVersion: 3.3\n\nName: x",
        "lib/apk/db/installed": b"P:musl\nV:1.2.4-r2\nA:x86_64\n\n",
        "etc/os-release": b'ID=debian\nVERSION_ID="12"\n',
    })])
    idna, musl = Package("idna", "3.3", kind=Kind.PYTHON), Package("musl", "1.2.4-r2", "x86_64", Kind.APK)
    assert found.packages == (BASH, idna, PAD, musl, ZLIB)
    assert found.packages[0].place == WHERE
    assert found.distribution == Distribution("debian", "12")
    for source in ("dpkg databases", "apk databases", "Python distributions", "Node packages"):
        assert source in found.comment


def test_topmost_database_counts() -> None:
    upper = STATUS.replace(b"5.2", b"5.3")
    found = look([layer({WHERE: STATUS}), layer({"./" + WHERE: upper}), layer({"etc/x": b""})])
    assert found.packages[0].version == "5.3"


@pytest.mark.parametrize("whiteout", [
    "var/lib/dpkg/.wh.status", "var/lib/.wh.dpkg", "var/lib/dpkg/.wh..wh..opq", "var/.wh..wh..opq", ".wh.var",
    ".wh..wh..opq",
])
def test_whiteout_hides_what_is_below_it(whiteout: str) -> None:
    found = look([layer({WHERE: STATUS}), layer({whiteout: b""})])
    assert found.packages == () and "No package database" in found.comment


@pytest.mark.parametrize("first", [True, False])
def test_whiteout_hides_nothing_of_its_own_layer(first: bool) -> None:
    files = {"var/lib/dpkg/.wh..wh..opq": b"", WHERE: STATUS}
    upper = layer(files if first else dict(reversed(files.items())))
    found = look([layer({WHERE: STATUS.replace(b"5.2", b"5.1"), NODE: PACKAGE_JSON}), upper])
    assert found.packages == (BASH, PAD, ZLIB)


def test_whiteout_of_a_name_that_begins_alike_hides_nothing() -> None:
    other = {"app/node/node_modules/x/package.json": b'{"name": "x", "version": "1"}'}
    found = look([layer({WHERE: STATUS, NODE: PACKAGE_JSON, **other}),
                  layer({"app/.wh.node": b"", ".wh.va": b""})])
    assert found.packages == (BASH, PAD, ZLIB)


def test_a_file_in_the_place_of_a_folder_hides_what_was_in_it() -> None:
    found = look([layer({WHERE: STATUS, NODE: PACKAGE_JSON}), layer({"var/lib": b"now a file"})])
    assert found.packages == (PAD,)


def test_a_folder_that_becomes_a_link_is_not_followed_and_said() -> None:
    found = look([layer({WHERE: STATUS}), tar(("var/lib", tarfile.SYMTYPE, "../srv"))])
    assert found.packages == () and "behind /var/lib" in found.comment


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_database_that_is_no_file_is_said(kind: bytes) -> None:
    found = look([layer({WHERE: STATUS}), tar((WHERE, kind, "/tmp/x"))])
    assert found.packages == () and f"/{WHERE} is not a regular file" in found.comment


def test_a_file_that_is_replaced_by_nothing_to_tell_is_forgotten() -> None:
    for upper in (layer({NODE: b"{}"}), tar((NODE, tarfile.SYMTYPE, "x")), tar((NODE, tarfile.DIRTYPE, ""))):
        assert look([layer({NODE: PACKAGE_JSON}), upper]).packages == ()


def test_a_hard_link_tells_what_its_target_tells() -> None:
    other = "srv/node_modules/left-pad/package.json"
    linked = tar((other, tarfile.LNKTYPE, NODE), content={NODE: PACKAGE_JSON})
    assert look([linked, layer({"app/node_modules/.wh.left-pad": b""})]).packages == (PAD,)


def test_the_last_of_two_members_of_one_name_counts() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for content in (STATUS, STATUS.replace(b"5.2", b"5.3")):
            info = tarfile.TarInfo(WHERE)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    assert look([out.getvalue()]).packages[0].version == "5.3"


def test_one_package_in_two_places_is_one() -> None:
    found = look([layer({NODE: PACKAGE_JSON, "b/node_modules/left-pad/package.json": PACKAGE_JSON})])
    assert found.packages == (PAD,)


def test_layer_of_several_gzip_members_is_read_whole() -> None:
    plain = layer({"a": b"x" * 3000, WHERE: STATUS})
    blob = gzip.compress(plain[:1024]) + gzip.compress(plain[1024:])
    found = inventory([Blob(sha256_digest(blob), len(blob), GZIP)], lambda digest: io.BytesIO(blob))
    assert found.packages == (BASH, ZLIB)


def test_unreadable_layer_leaves_the_list_empty_and_says_so() -> None:
    zstd = "application/vnd.oci.image.layer.v1.tar+zstd"
    assert "tar+zstd" in look([layer({WHERE: STATUS})], zstd).comment
    whole = gzip.compress(layer({WHERE: STATUS, "big": bytes(range(256)) * 999}))
    for broken in (whole[:-20], whole[: len(whole) // 2], b"no gzip", whole[:20] + b"\xff" * 40 + whole[60:]):
        found = look([gzip.compress(layer({NODE: PACKAGE_JSON})), broken], "stored")
        assert found.packages == () and "not a readable tar" in found.comment


def test_extension_header_of_any_size_is_not_read_into_memory() -> None:
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 1 << 32
    assert "at once" in look([info.tobuf(tarfile.USTAR_FORMAT) + bytes(2048)]).comment


def test_a_damaged_file_is_named_and_the_others_are_listed() -> None:
    bad = "srv/node_modules/broken/package.json"
    found = look([layer({WHERE: STATUS, bad: b"{", "x.dist-info/METADATA": b"Nothing: here\n"})])
    assert found.packages == (BASH, ZLIB)
    assert f"/{bad} is no JSON" in found.comment and "/x.dist-info/METADATA has no Name" in found.comment


def test_names_that_cannot_be_shown_are_left_out_and_counted() -> None:
    odd = STATUS.replace(b"Package: bash", b"Package: ba\x1b[31msh")
    found = look([layer({WHERE: odd})])
    assert found.packages == (ZLIB,) and "1 packages with a name that cannot be shown" in found.comment


def test_more_packages_than_can_be_listed_are_not_listed_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sbom, "MOST_PACKAGES", 2)
    found = look([layer({WHERE: STATUS, NODE: PACKAGE_JSON})])
    assert found.packages == () and "more than 2" in found.comment


def test_image_without_any_says_so() -> None:
    assert "No package database" in look([layer({"bin/busybox": b""})]).comment
