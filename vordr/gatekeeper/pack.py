"""Making a .ctp from an OCI image layout: check every byte, say what is true of it, sign, log, write."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vordr.formats.digests import parse_digest
from vordr.formats.errors import FormatError
from vordr.formats.signature import PrivateKey
from vordr.gatekeeper import sbom, ustar
from vordr.gatekeeper.attest import make_bundle
from vordr.gatekeeper.checked import CheckedStream
from vordr.gatekeeper.label import Label
from vordr.gatekeeper.logs import Log
from vordr.gatekeeper.outfile import whole_or_absent
from vordr.gatekeeper.package import write_ctp
from vordr.gatekeeper.statements import PACK_BUILD, PACKER, Act, Material
from vordr.gatekeeper.subject import LARGEST_DOCUMENT, Blob, read_manifest, subject_of
from vordr.model.errors import ImageUnreadable
from vordr.model.progress import Progress, silent


@dataclass(frozen=True)
class Packed:
    """What :func:`pack` made: the package's path, the image's manifest digest, and the bundle's bytes."""

    path: Path
    manifest: str
    bundle: bytes


@dataclass(frozen=True)
class Origin:
    """What the provenance tells of the layout that is packed, with the members of statements.Act."""

    made: bool = False
    materials: tuple[Material, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    invocation: str = ""


def pack(
    layout: Path, manifest_digest: str, output: Path, *, signers: Sequence[PrivateKey],
    logs: Sequence[Log], source: str, name: str, now_us: int, progress: Progress = silent,
    origin: Origin | None = None, clock: Callable[[], int] | None = None,
) -> Packed:
    """Write the image ``manifest_digest`` of the OCI layout folder ``layout`` to ``output`` as a .ctp.

    ``source`` says where the image came from, ``name`` what it is called; ``origin`` is what more there is to
    tell of its making. It began at ``now_us`` and ends by ``clock`` (by default at once). All blobs are
    checked before anything is signed, and again while they are copied. ``output`` appears whole and durable,
    replacing what was there, or not at all.

    Raises ImageUnreadable, UsageError, StateError (a log failed), LayerSpaceExhausted.
    """
    folder = _Layout(layout)
    manifest = folder.document(manifest_digest)
    config_blob, layers = read_manifest(manifest)
    config = folder.document(config_blob.digest)
    subject = subject_of(manifest, config)
    distinct = [blob for blob in {layer.digest: layer for layer in layers}.values()
                if blob.digest != config_blob.digest]
    total = sum(blob.size for blob in distinct)
    done = 0
    for blob in distinct:
        progress("check", done, total)
        with folder.open(blob.digest, blob.size) as stream:
            stream.drain()
        done += blob.size
    progress("attest", 0, None)
    found = sbom.inventory(layers, folder.open)
    told = origin or Origin()
    act = Act(PACK_BUILD, name, source, signers[0].public.key_id if signers else "", now_us,
              None if clock is None else clock(), told.made, told.materials, told.options, told.invocation)
    bundle = make_bundle(subject, act, found, signers=signers, logs=logs)
    label = Label(name, manifest_digest, act.ended, PACKER)
    progress("write", 0, total)
    with whole_or_absent(output) as file:
        write_ctp(file, label=label, bundle=bundle, manifest=manifest, config=config,
                  layers=folder.each(distinct), signers=signers)
    progress("write", total, total)
    return Packed(output, manifest_digest, bundle)


class _Layout:
    """Blobs of an OCI image layout folder (image-spec, image-layout.md)."""

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "blobs" / "sha256"

    def open(
        self, digest: str, size: int | None = None, *, limit: int = ustar.LARGEST_MEMBER
    ) -> CheckedStream:
        """The blob's bytes, checked as they are read; ``size`` is what its descriptor says, if known."""
        try:
            path = self._blobs / parse_digest(digest)
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FormatError as error:
            raise ImageUnreadable(str(error)) from error
        except OSError as error:
            raise ImageUnreadable(f"layout: blob {digest}: {error.strerror}") from error
        file = os.fdopen(fd, "rb")
        found = os.fstat(fd).st_size
        if size is not None and found != size:
            file.close()
            raise ImageUnreadable(f"layout: blob {digest} has {found} bytes, its descriptor says {size}")
        if found > limit:
            file.close()
            raise ImageUnreadable(f"layout: blob {digest} has {found} bytes, at most {limit} are allowed")
        return CheckedStream(file, digest, found, f"layout: blob {digest}")

    def each(self, blobs: Iterable[Blob]) -> Iterator[tuple[Blob, CheckedStream]]:
        """The blobs in order, one open at a time."""
        for blob in blobs:
            with self.open(blob.digest, blob.size) as stream:
                yield blob, stream

    def document(self, digest: str) -> bytes:
        """A manifest or config, at most LARGEST_DOCUMENT bytes."""
        with self.open(digest, limit=LARGEST_DOCUMENT) as stream:
            return stream.read()
