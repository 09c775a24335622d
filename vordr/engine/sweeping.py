"""What a crash leaves that no record names, and so no recovery looks for: swept away at the next opening."""

from __future__ import annotations

import contextlib
from typing import Any, Final

from vordr.images import tree
from vordr.model.paths import Paths
from vordr.model.records import container_key, trash_key

_ASIDE: Final = (".pack-*", ".adopt-*", ".trust-init-*")
"""Folders in which an operation prepares what it then moves into place."""


def sweep(paths: Paths, journal: Any) -> None:
    """Remove folders of work cut short, and the secrets of containers that never came to be.

    Secrets are kept before the act begins that journals their digests: a crash between the two leaves values
    that nothing refers to. Only for the owner of the root folder, after recovery and before the first call.
    """
    for pattern in _ASIDE:
        for folder in paths.root.glob(pattern):
            with contextlib.suppress(OSError):
                tree.delete(folder)
    for file in paths.secrets.glob("*.json*"):
        container = file.name.partition(".")[0]
        known = file.suffix == ".json" and any(
            journal.get(key(container)) is not None for key in (container_key, trash_key))
        if not known:
            with contextlib.suppress(OSError):  # it is tried again at every opening
                file.unlink()
