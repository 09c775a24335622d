"""Emptying the trash of containers: files and secrets go for good, and with them the ranges of ids they had.

Their records stay, as those of all containers that were (decision 0005): what is gone is what an undo of
their removal would need. One step empties all that an act is about, and a recovery finishes what was begun.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import Any, Final

from vordr.formats.typed import convert
from vordr.journal.secrets import SecretStore
from vordr.model.errors import StateError
from vordr.model.paths import Paths
from vordr.model.records import Step, trash_key
from vordr.model.state import TrashItem
from vordr.model.steps import range_key

SUBJECT: Final = "trash/containers"


def step(idents: Sequence[str]) -> Step:
    """The step that empties the trash of these containers."""
    return Step(subject=SUBJECT, operation="empty", args={"items": list(idents)})


def empty(paths: Paths, args: Mapping[str, Any]) -> None:
    """Delete what the trash has of the containers; done already, or half of it, is fine.

    Raises StateError when something of it does not go; what is left is found by the next try.
    """
    for ident in args["items"]:
        try:
            shutil.rmtree(paths.trashed(ident))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StateError(
                f"cannot empty the trash of {ident[:12]}: {error.strerror}",
                remedy=f"look what keeps {error.filename}, then try again") from error
        SecretStore(paths).delete(ident)


def writes(journal: Any, args: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the projection loses with it."""
    gone: dict[str, Any] = {}
    for ident in args["items"]:
        found = journal.get(trash_key(ident))
        gone[trash_key(ident)] = None
        container = None if found is None else convert(found, TrashItem).container
        if container is not None and container.ids is not None:
            key = range_key(container.ids)
            if journal.get(key) == ident:
                gone[key] = None
    return gone
