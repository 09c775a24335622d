"""Package lists: what the image's own database says, or why there is no list."""

from __future__ import annotations

import gzip
import io
from collections.abc import Sequence

import pytest
from gatekeeper_host import GZIP, layer

from vordr.formats.digests import sha256_digest
from vordr.gatekeeper.sbom import Inventory, Package, inventory, parse_status
from vordr.gatekeeper.subject import Blob

STATUS = b"""Package: zlib1g
Status: install ok installed
Architecture: amd64
Version: 1:1.2.13
Description: compression
 Package: not-a-field

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


def look(layers: Sequence[bytes], kind: str = GZIP) -> Inventory:
    blobs = [gzip.compress(one) if kind == GZIP else one for one in layers]
    store = {sha256_digest(blob): blob for blob in blobs}
    descriptors = [Blob(sha256_digest(blob), len(blob), kind) for blob in blobs]
    return inventory(descriptors, lambda digest: io.BytesIO(store[digest]))


def test_installed_packages_are_listed_in_order() -> None:
    assert parse_status(STATUS) == (BASH, ZLIB)
    assert look([layer({WHERE: STATUS})]).packages == (BASH, ZLIB)


def test_topmost_database_counts() -> None:
    upper = STATUS.replace(b"5.2", b"5.3")
    found = look([layer({WHERE: STATUS}), layer({"./" + WHERE: upper}), layer({"etc/x": b""})])
    assert found.packages[0].version == "5.3"


@pytest.mark.parametrize(
    "whiteout", ["var/lib/dpkg/.wh.status", "var/lib/.wh.dpkg", "var/lib/dpkg/.wh..wh..opq"]
)
def test_whiteout_hides_the_database(whiteout: str) -> None:
    found = look([layer({WHERE: STATUS}), layer({whiteout: b""})])
    assert found.packages == () and "no /var/lib/dpkg/status" in found.comment


def test_database_beside_an_opaque_mark_counts() -> None:
    found = look([layer({WHERE: STATUS, "var/lib/dpkg/.wh..wh..opq": b""})])
    assert found.packages == (BASH, ZLIB)


def test_layer_of_several_gzip_members_is_read_whole() -> None:
    tar = layer({"a": b"x" * 3000, WHERE: STATUS})
    blob = gzip.compress(tar[:1024]) + gzip.compress(tar[1024:])
    found = inventory([Blob(sha256_digest(blob), len(blob), GZIP)], lambda digest: io.BytesIO(blob))
    assert found.packages == (BASH, ZLIB)


def test_unreadable_layer_leaves_the_list_empty_and_says_so() -> None:
    zstd = "application/vnd.oci.image.layer.v1.tar+zstd"
    assert "tar+zstd" in look([layer({WHERE: STATUS})], zstd).comment
    broken = gzip.compress(layer({WHERE: STATUS}))[:-20]
    found = inventory([Blob(sha256_digest(broken), len(broken), GZIP)], lambda digest: io.BytesIO(broken))
    assert found.packages == () and "not a readable tar" in found.comment


def test_folder_replaced_by_a_file_is_not_guessed_about() -> None:
    found = look([layer({WHERE: STATUS}), layer({"var/lib": b"now a file"})])
    assert found.packages == () and "not a folder" in found.comment


def test_image_without_dpkg_says_so() -> None:
    assert "no /var/lib/dpkg/status" in look([layer({"bin/busybox": b""})]).comment
