"""Images from a registry into the store: the manifest is chosen and hashed here, skopeo carries the blobs."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from vordr.formats import canonical
from vordr.formats.errors import FormatError
from vordr.formats.reference import Reference
from vordr.images.layout import DOCKER_MANIFEST, MAX_DOCUMENT, find_manifest, is_index, parse_image
from vordr.images.local_layout import LayoutKind, import_layout, open_layout
from vordr.images.skopeo import run_skopeo
from vordr.images.space import full_disk_is_space_exhausted
from vordr.images.store import ImageStore
from vordr.model.errors import ImageUnreadable
from vordr.model.progress import Progress, silent

__all__ = ["LayoutKind", "import_layout", "open_layout", "pull", "resolve"]

_DEEPEST_INDEX: Final = 4
_BLOB_LINE: Final = re.compile(r"Copying blob|Copying config")


def pull(
    reference: Reference,
    into: ImageStore,
    *,
    insecure: bool = False,
    auth_file: Path | None = None,
    progress: Progress = silent,
) -> str:
    """Bring the image of this host's platform into the store and return its manifest digest.

    Blobs that are there already are not fetched again. ``insecure`` allows plain HTTP and unknown
    certificates; a registry on loopback may speak HTTP unasked, as docker allows. ``auth_file`` is a
    containers-auth.json.

    Raises ImageNotFound, RegistryDenied, PullFailed, ImageUnreadable (schema 1, another platform, wrong
    bytes), LayerSpaceExhausted, RuntimeNotFound. Whole blobs that arrived before an error stay in the
    store.
    """
    reference = reference.with_default_tag()
    options = _options(reference, insecure, auth_file)
    manifest, content = resolve(reference, options=options, progress=progress)
    wanted = _blobs(content)
    if not all(into.has(digest) for digest in wanted):
        _fetch(reference, manifest, content, wanted, into, options, progress)
    small = {manifest: content}
    parse_image(lambda digest: small.get(digest) or into.read(digest, MAX_DOCUMENT), manifest)
    into.add_bytes(content, manifest)
    progress("pulled", 1, 1)
    return manifest


def resolve(
    reference: Reference, *, options: tuple[str, ...] = (), progress: Progress = silent
) -> tuple[str, bytes]:
    """The manifest digest and bytes that ``reference`` means for this host now; follows indexes."""
    progress("resolving", 0, None)
    raw = _inspect(reference, reference.digest, options)
    for _ in range(_DEEPEST_INDEX):
        if not is_index(raw):
            return f"sha256:{hashlib.sha256(raw).hexdigest()}", raw
        raw = _inspect(reference, find_manifest(raw).digest, options)
    raise ImageUnreadable(f"{reference.familiar()}: more than {_DEEPEST_INDEX} nested indexes")


def _inspect(reference: Reference, digest: str | None, options: tuple[str, ...]) -> bytes:
    name = f"{reference.name}@{digest}" if digest else f"{reference.name}:{reference.tag}"
    raw = run_skopeo(("inspect", "--raw", *options, f"docker://{name}"), reference.familiar(), timeout=120)
    if digest is not None and f"sha256:{hashlib.sha256(raw).hexdigest()}" != digest:
        raise ImageUnreadable(f"{reference.familiar()}: the registry gave other bytes for {digest}")
    return raw


def _options(reference: Reference, insecure: bool, auth_file: Path | None) -> tuple[str, ...]:
    options = []
    if insecure or is_loopback(reference.registry):
        options.append("--tls-verify=false")
    if auth_file is not None:
        options += ["--authfile", str(auth_file)]
    return tuple(options)


def is_loopback(registry: str) -> bool:
    """Whether a registry (``host[:port]``) is this machine, so that it may speak plain HTTP unasked."""
    host = registry.rpartition(":")[0] if re.search(r":\d+$", registry) else registry
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return False


def _blobs(content: bytes) -> dict[str, int]:
    """Digest and bytes of config and layers, as the manifest says; parse_image judges the manifest later."""
    try:
        manifest: Any = canonical.loads(content, max_bytes=MAX_DOCUMENT, where="manifest")
        parts = [manifest["config"], *manifest["layers"]]
        return {str(part["digest"]): int(part["size"]) for part in parts}
    except (FormatError, KeyError, TypeError, ValueError) as error:
        raise ImageUnreadable(f"manifest: no config and layers to fetch ({error})") from None


def _fetch(
    reference: Reference, manifest: str, content: bytes, wanted: dict[str, int], into: ImageStore,
    options: tuple[str, ...], progress: Progress,
) -> None:
    """Copy the image beside the store, then move its blobs in, each hashed on the way."""
    missing = {digest: size for digest, size in wanted.items() if not into.has(digest)}
    with full_disk_is_space_exhausted(reference.familiar()), into.workspace() as folder:
        started = 0

        def on_line(line: str) -> None:
            nonlocal started
            if _BLOB_LINE.match(line):
                started += 1
                progress("fetching", min(started, len(wanted)), len(wanted))

        source = f"docker://{reference.name}@{manifest}"
        with _destination(content, wanted, into, folder) as (arguments, blobs):
            copy = ("copy", "--preserve-digests", *(f"--src-{option[2:]}" for option in _equals(options)))
            command = (*copy, "--retry-times=2", *arguments[:-1], source, arguments[-1])
            run_skopeo(command, reference.familiar(), on_line=on_line)
            for number, (digest, size) in enumerate(missing.items()):
                progress("storing", number, len(missing))
                into.take(blobs / digest.removeprefix("sha256:"), digest, size)


def _equals(options: tuple[str, ...]) -> Iterator[str]:
    """Options with their values joined by "=", so that each is one word."""
    words = iter(options)
    for word in words:
        yield f"{word}={next(words)}" if word == "--authfile" else word


@contextlib.contextmanager
def _destination(
    content: bytes, wanted: dict[str, int], into: ImageStore, folder: Path
) -> Iterator[tuple[tuple[str, ...], Path]]:
    """Where skopeo is to write: its arguments, the last being the destination, and the folder of the blobs.

    skopeo's OCI layouts take OCI manifests only (others it would rewrite, with another digest), and do not
    fetch what their blob folder holds; its plain folders take everything, and start empty.
    """
    value: Any = canonical.loads(content, max_bytes=MAX_DOCUMENT, where="manifest")
    if value.get("mediaType") == DOCKER_MANIFEST:
        yield (f"dir:{folder}/plain",), folder / "plain"
        return
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for digest in wanted:
        if into.has(digest):
            os.link(into.path(digest), blobs / digest.removeprefix("sha256:"))
    yield (f"--dest-shared-blob-dir={blobs.parent}", f"oci:{folder}/layout"), blobs
