"""What image a container of another engine is made of, by what binds it to bytes; and from where it is told.

Annotations are what a user typed, or could have: they are quoted in refusals and never believed.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vordr.wrapper.refusal import Malformed, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

_LARGEST: Final = 64 * 1024 * 1024
_NAMING: Final = (
    "io.kubernetes.cri.image-name", "io.kubernetes.cri.podsandbox.image-name",
    "io.kubernetes.cri-o.ImageName", "org.opencontainers.image.ref.name",
)
_SANDBOX: Final = ("io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType")


class Identity(NamedTuple):
    """``chain`` is the ChainID of the layers below the container's own (image-spec config.md); ``config`` and
    ``manifest`` are the image's digests where the caller's store binds the container to them."""

    engine: str
    chain: str
    config: str | None = None
    manifest: str | None = None

    @property
    def digests(self) -> frozenset[str]:
        return frozenset(d for d in (self.chain, self.config, self.manifest) if d is not None)


class Bundle(NamedTuple):
    """An OCI bundle: its folder, and of its config.json the absolute root path and the annotations."""

    path: str
    rootfs: str
    annotations: dict[str, str]

    @property
    def sandbox(self) -> bool:
        return any(self.annotations.get(key) == "sandbox" for key in _SANDBOX)


def read_bundle(path: str) -> Bundle:
    """Raises Malformed."""
    path = os.path.realpath(path)
    config = read_json(f"{path}/config.json")
    root = config.get("root") if isinstance(config, dict) else None
    rootfs = root.get("path") if isinstance(root, dict) else None
    if not isinstance(rootfs, str) or not rootfs:
        raise Malformed(f"{path}/config.json names no root")
    annotations = config.get("annotations") or {}
    if not isinstance(annotations, dict):
        raise Malformed(f"{path}/config.json: annotations are no object")
    plain = {str(key): value for key, value in annotations.items() if isinstance(value, str)}
    return Bundle(path, os.path.realpath(os.path.join(path, rootfs)), plain)


def read_json(path: str) -> Any:
    """Raises Malformed."""
    try:
        with open(path, "rb") as file:
            raw = file.read(_LARGEST + 1)
        if len(raw) > _LARGEST:
            raise Malformed(f"{path} is larger than {_LARGEST} bytes")
        return json.loads(raw)
    except OSError as error:
        raise Malformed(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise Malformed(f"{path} is not JSON") from None


def chain_id(diff_ids: Sequence[str]) -> str:
    """The ChainID of layers given bottom first (image-spec config.md, Layer ChainID)."""
    import hashlib  # opens OpenSSL, which an image of one layer does not need

    chain = diff_ids[0]
    for diff_id in diff_ids[1:]:
        chain = "sha256:" + hashlib.sha256(f"{chain} {diff_id}".encode()).hexdigest()
    return chain


def not_bound(bundle: Bundle, why: str) -> Refusal:
    """The refusal of a container whose image nothing binds to its bytes."""
    named = next((bundle.annotations[key] for key in _NAMING if key in bundle.annotations), None)
    what = "no image is known" if named is None else f"{named!r} is named, not bound"
    return Refusal("NOT_BOUND", f"{what}: {why}")
