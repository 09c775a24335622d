"""What exists now: containers, images, trash, as the projection holds them, and the state digest.

All times are integer µs since the epoch. All values survive canonical JSON: no floats, no integers ≥ 2^53.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from vordr.formats import canonical
from vordr.model.lifecycle import State
from vordr.model.spec import ContainerSpec, IdRange


class Layer(msgspec.Struct, frozen=True):
    """One layer of an image: its blob (media type, digest, bytes) and the diffID of its content."""

    diff_id: str
    blob: str
    size: int
    media_type: str


class Seal(msgspec.Struct, frozen=True):
    """One sealed layer file: SHA-256 and size of the EROFS image, and the stamp of its inode.

    ``stamp`` is ``dev:inode:size:mtime_ns:ctime_ns`` when it was last hashed; ``verity`` the fs-verity digest
    where the file system has it. ``format`` is ``erofs`` or ``folder``.
    """

    diff_id: str
    sha256: str
    size: int
    stamp: str
    verity: str | None = None
    format: str = "erofs"


class ImageConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The part of an OCI image configuration that a run needs (OCI image-spec config.md)."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    workdir: str = "/"
    user: str = ""
    stop_signal: str | None = None
    labels: dict[str, str] = {}
    os: str = "linux"
    architecture: str = "amd64"


class ImageState(msgspec.Struct, frozen=True, kw_only=True):
    """An image in the store, keyed by manifest digest. ``names`` are full references, in order of arrival.

    ``known_as`` are all names that it ever had here: what the policy demands of a name does not end when the
    name moves on. ``evidence`` are digests of what is kept beside the bundle (signatures, attestations).
    """

    manifest: str
    config_digest: str
    names: tuple[str, ...]
    layers: tuple[Layer, ...]
    seals: tuple[Seal, ...]
    config: ImageConfig
    bundle: str | None
    origin: str
    attested_by: str
    imported: int
    known_as: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all layer blobs."""
        return sum(layer.size for layer in self.layers)


class Generation(msgspec.Struct, frozen=True):
    """A writable layer opened by an explicit start; ``number`` counts from 1 and is never used again."""

    number: int
    opened: int


class ContainerState(msgspec.Struct, frozen=True, kw_only=True):
    """One container. ``arguments`` is what its process runs: entrypoint and command of spec and image.

    ``process`` counts starts of it; pid, times and codes are not in the digest.
    """

    id: str
    name: str
    image: str
    image_name: str
    spec: ContainerSpec
    state: State
    arguments: tuple[str, ...] = ()
    generations: tuple[Generation, ...] = ()
    next_generation: int = 1
    ids: IdRange | None = None
    addresses: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    created: int = 0
    started: int | None = None
    finished: int | None = None
    exit_code: int | None = None
    pid: int | None = None
    process: int = 0
    process_act: str | None = None
    boot_id: str | None = None
    restarts: int = 0
    asked_to_stop: bool = False

    def declared(self) -> dict[str, Any]:
        """The declared state as a JSON-safe object: what undo promises to bring back (design §4)."""
        return {
            "id": self.id,
            "name": self.name,
            "manifest": self.image,
            "spec": msgspec.to_builtins(self.spec),
            "state": str(self.state),
            "generations": [g.number for g in self.generations],
            "networks": [str(self.spec.network)],
            "addresses": list(self.addresses),
            "ports": list(self.ports),
            "volumes": [],
        }

    def digest(self) -> str:
        """State digest: SHA-256 over the canonical declared state, ``sha256:<hex>``."""
        return "sha256:" + hashlib.sha256(canonical.fast_dumps(self.declared())).hexdigest()


class TrashItem(msgspec.Struct, frozen=True, kw_only=True):
    """Something removed that can come back until ``deadline``: a container's or an image's last state."""

    id: str
    kind: str
    name: str
    txn: str
    removed: int
    deadline: int
    container: ContainerState | None = None
    image: ImageState | None = None
