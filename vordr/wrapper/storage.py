"""podman's and CRI-O's store (containers/storage): from a container's id to the image it is made of.

The container's own layer lies on the image's, whose diffIDs the store computed when it unpacked them; the
bundle's root must be the mount of that very layer. Only files that root alone may write are believed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from vordr.wrapper.config import guarded
from vordr.wrapper.identity import Identity, chain_id, not_bound, read_json
from vordr.wrapper.refusal import Malformed

if TYPE_CHECKING:
    from vordr.wrapper.config import Store
    from vordr.wrapper.identity import Bundle

_MOUNTS: Final = {"overlay": "{root}/overlay/{layer}/merged", "vfs": "{root}/vfs/dir/{layer}"}
_MOST_LAYERS: Final = 512


def resolve(store: Store, bundle: Bundle, ident: str) -> Identity | None:
    """The image of a container of this store; None when the bundle is not of this store.

    Raises Malformed, and the refusal "named, not bound" where the container is not of an image.
    """
    driver = _driver(store, bundle.path, ident)
    if driver is None:
        return None
    root = os.path.realpath(store.root)
    container = _only(_rows(root, driver, "containers"), ident, "container")
    layer, image_id = str(container.get("layer") or ""), str(container.get("image") or "")
    if not image_id:
        raise not_bound(bundle, "the container is made of a folder, not of an image")
    if bundle.rootfs != os.path.realpath(_MOUNTS[driver].format(root=root, layer=layer)):
        raise not_bound(bundle, f"the root {bundle.rootfs} is not the mount of its layer in the store")
    image = _only(_rows(root, driver, "images"), image_id, "image")
    layers = {str(row.get("id")): row for row in _rows(root, driver, "layers")}
    below = str(layers.get(layer, {}).get("parent") or "")
    if below not in {image.get("layer"), *(image.get("mapped-layers") or ())}:
        raise not_bound(bundle, f"its layer does not lie on those of image {image_id[:12]}")
    manifest = image.get("digest")
    return Identity(
        "containers-storage", chain_id(_diff_ids(layers, below)), f"sha256:{image_id}",
        manifest if isinstance(manifest, str) else None)


def _driver(store: Store, bundle: str, ident: str) -> str | None:
    for driver in _MOUNTS:
        for base in (store.root, store.run):
            if bundle == f"{os.path.realpath(base)}/{driver}-containers/{ident}/userdata":
                return driver
    return None


def _diff_ids(layers: dict[str, dict[str, Any]], top: str) -> list[str]:
    found: list[str] = []
    at = top
    while at:
        row = layers.get(at)
        digest = None if row is None else row.get("diff-digest")
        if row is None or not isinstance(digest, str) or len(found) >= _MOST_LAYERS:
            raise Malformed(f"the store knows no content of layer {at[:12]}")
        found.append(digest)
        at = str(row.get("parent") or "")
    return found[::-1]


def _rows(root: str, driver: str, kind: str) -> list[dict[str, Any]]:
    """The store's records of a kind; it keeps those of ``--rm`` and transient ones apart."""
    rows: list[dict[str, Any]] = []
    for name in (f"{kind}.json", f"volatile-{kind}.json"):
        path = f"{root}/{driver}-{kind}/{name}"
        try:
            held = os.stat(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Malformed(f"{path} cannot be read: {error.strerror}") from None
        if not (guarded(held) and guarded(os.stat(os.path.dirname(path)))):
            raise Malformed(f"{path} may be written by others")
        found = read_json(path)
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise Malformed(f"{path} is not a list of records")
        rows += found
    return rows


def _only(rows: list[dict[str, Any]], ident: str, what: str) -> dict[str, Any]:
    found = [row for row in rows if row.get("id") == ident]
    if len(found) != 1:
        raise Malformed(f"the store has {len(found)} records of {what} {ident[:12]}")
    return found[0]
