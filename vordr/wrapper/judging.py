"""From a bundle to the service's word: what ``vordr-runtime`` and ``vordr-hook`` share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vordr.wrapper import storage
from vordr.wrapper.asking import ask
from vordr.wrapper.identity import not_bound, read_bundle

if TYPE_CHECKING:
    from vordr.wrapper.config import Config
    from vordr.wrapper.identity import Bundle, Identity


def judge(config: Config, path: str, ident: str) -> None:
    """Return when the container ``ident`` of the bundle at ``path`` may be made. Raises Refusal."""
    bundle = read_bundle(path)
    identity = identify(config, bundle, ident)
    sandbox = bundle.sandbox and bool(identity.digests & config.sandboxes)
    ask(config, identity, ident, sandbox=sandbox)


def identify(config: Config, bundle: Bundle, ident: str) -> Identity:
    """By the store of whoever made the bundle. Raises Refusal."""
    for store in config.stores:
        if (found := storage.resolve(store, bundle, ident)) is not None:
            return found
    from vordr.wrapper import containerd  # its subprocess takes as long to import as the rest of the gate

    for daemon in config.containerd:
        if (found := containerd.resolve(daemon, bundle, ident)) is not None:
            return found
    raise not_bound(bundle, f"the bundle {bundle.path} is of no store in the gate's configuration")
