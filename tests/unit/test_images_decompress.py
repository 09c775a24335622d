"""Blobs as tar bytes: every packing, hashed whole, cut off when they swell."""

from __future__ import annotations

import gzip
import io
import os

import pytest
from images_world import sha256, zstd

from vordr.images.decompress import BlobInvalid, Compression, LimitExceeded, TarSource
from vordr.images.limits import DEFAULT_LIMITS, Limits

CONTENT = os.urandom(300_000) + bytes(300_000)


def source(blob: bytes, compression: Compression, limits: Limits = DEFAULT_LIMITS) -> TarSource:
    return TarSource(io.BytesIO(blob).read, len(blob), compression, limits)


PACKED = {
    "plain": (Compression.NONE, CONTENT),
    "gzip": (Compression.GZIP, gzip.compress(CONTENT)),
    "gzip of many members": (
        Compression.GZIP,
        b"".join(gzip.compress(CONTENT[at : at + 7000]) for at in range(0, len(CONTENT), 7000)),
    ),
    "zstd": (Compression.ZSTD, zstd(CONTENT)),
    "zstd of two frames": (Compression.ZSTD, zstd(CONTENT[:262_144]) + zstd(CONTENT[262_144:])),
}


@pytest.mark.parametrize(("compression", "blob"), PACKED.values(), ids=PACKED.keys())
def test_every_packing_gives_the_same_bytes_and_diff_id(compression: Compression, blob: bytes) -> None:
    opened = source(blob, compression)
    assert opened.read(70_001) == CONTENT[:70_001]
    assert opened.read(500_000) == CONTENT[70_001:570_001]
    assert opened.drain() == sha256(CONTENT)
    assert opened.total == len(CONTENT) and opened.read(1) == b""


BROKEN = {
    "gzip cut": (Compression.GZIP, gzip.compress(CONTENT)[:-9]),
    "gzip with junk behind": (Compression.GZIP, gzip.compress(CONTENT) + b"junk"),
    "gzip with a wrong checksum": (Compression.GZIP, gzip.compress(CONTENT)[:-8] + bytes(8)),
    "gzip that is none": (Compression.GZIP, CONTENT),
    "empty gzip": (Compression.GZIP, b""),
    "zstd cut": (Compression.ZSTD, zstd(CONTENT)[:-9]),
    "zstd that is none": (Compression.ZSTD, CONTENT),
    "empty zstd": (Compression.ZSTD, b""),
}


@pytest.mark.parametrize(("compression", "blob"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_blob_is_refused(compression: Compression, blob: bytes) -> None:
    with pytest.raises(BlobInvalid):
        source(blob, compression).drain()


@pytest.mark.parametrize("packing", [zstd, gzip.compress])
def test_a_bomb_is_cut_off_at_its_ratio(packing: object) -> None:
    blob = packing(bytes(64 << 20))  # type: ignore[operator]  # both take and give bytes
    kind = Compression.ZSTD if packing is zstd else Compression.GZIP
    opened = source(blob, kind, Limits(ratio=50, ratio_from=1 << 20))
    with pytest.raises(LimitExceeded, match="50 times"):
        opened.drain()
    assert opened.total < 8 << 20


def test_a_layer_longer_than_allowed_is_cut_off() -> None:
    with pytest.raises(LimitExceeded, match="100000 bytes"):
        source(CONTENT, Compression.NONE, Limits(stream_bytes=100_000)).drain()
