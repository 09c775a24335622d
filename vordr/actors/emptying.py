"""Emptying the trash: files and secrets of containers go for good, and with them the ranges of ids they had;
blobs and sealed layers of images, but for those that another image has, too.

The records of containers stay, as those of all that were (decision 0005): what is gone is what an undo of
their removal would need. One step empties all of one kind that an act is about, and a recovery finishes what
was begun. No image may come in meanwhile: it would rely on a blob that is found in the store, and goes
(:attr:`vordr.engine.library.Library.coming`).
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from vordr.formats.typed import convert
from vordr.images.seal import remove_layer
from vordr.images.store import ImageStore
from vordr.journal.secrets import SecretStore
from vordr.model.errors import StateError
from vordr.model.paths import Paths
from vordr.model.records import Kind, Step, trash_key
from vordr.model.state import ImageState, TrashItem
from vordr.model.steps import range_key

CONTAINERS: Final = "trash/containers"
IMAGES: Final = "trash/images"
_deleting: Final = threading.Lock()
"""Where the one who asked was interrupted, the step is settled while its work goes on: one by one."""


def step(subject: str, idents: Sequence[str]) -> Step:
    """The step that empties the trash of these containers, or images."""
    return Step(subject=subject, operation="empty", args={"items": list(idents)})


class Emptier(Protocol):
    """How the trash of one kind is emptied."""

    def empty(self, args: Mapping[str, Any]) -> None:
        """Delete what the trash has of the items; done already, or half of it, is fine. Raises StateError
        when something of it does not go; what is left is found by the next try."""
        ...

    def writes(self, args: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the projection loses with it."""
        ...


def emptiers(paths: Paths, journal: Any) -> Mapping[str, Emptier]:
    """By the subject of the step."""
    return {CONTAINERS: _Containers(paths, journal), IMAGES: _Images(paths, journal)}


class _Containers:
    def __init__(self, paths: Paths, journal: Any) -> None:
        self.paths = paths
        self.journal = journal

    def empty(self, args: Mapping[str, Any]) -> None:
        with _deleting:
            for ident in args["items"]:
                try:
                    shutil.rmtree(self.paths.trashed(ident))
                except FileNotFoundError:
                    pass
                except OSError as error:
                    raise _left(ident[:12], error) from error
                SecretStore(self.paths).delete(ident)

    def writes(self, args: Mapping[str, Any]) -> Mapping[str, Any]:
        gone: dict[str, Any] = {}
        for ident in args["items"]:
            item = _item(self.journal, ident)
            gone[trash_key(ident)] = None
            if item is not None and item.container is not None and item.container.ids is not None:
                key = range_key(item.container.ids)
                if self.journal.get(key) == ident:
                    gone[key] = None
        return gone


class _Images:
    def __init__(self, paths: Paths, journal: Any) -> None:
        self.paths = paths
        self.journal = journal
        self.store = ImageStore(paths)

    def empty(self, args: Mapping[str, Any]) -> None:
        with _deleting:
            items = [item for ident in args["items"] if (item := _item(self.journal, ident)) is not None]
            goes = [item.image for item in items if item.image is not None]
            stays = self._staying({image.manifest for image in goes})
            blobs = {blob for image in stays for blob in _blobs(image)}
            layers = {layer.diff_id for image in stays for layer in image.layers}
            for image in goes:
                try:
                    for blob in _blobs(image):
                        if blob not in blobs:
                            self.store.remove(blob)
                    for layer in image.layers:
                        if layer.diff_id not in layers:
                            remove_layer(self.paths, layer.diff_id)
                except OSError as error:
                    raise _left(image.manifest[:19], error) from error

    def _staying(self, goes: set[str]) -> list[ImageState]:
        """Every image of the store, and what else lies in the trash. None is in neither for having moved
        between two looks: then we look again."""
        while True:
            seen = self.journal.last()[0]
            found = [*self._standing(), *self._lying(goes)]
            since = (record for record, _ in self.journal.records(seen + 1))
            if not any(record.kind is Kind.DONE and record.subject.startswith("image/") for record in since):
                return found

    def _standing(self) -> Iterator[ImageState]:
        for _, value in self.journal.scan("images/"):
            yield convert(value, ImageState)

    def _lying(self, goes: set[str]) -> Iterator[ImageState]:
        for _, value in self.journal.scan("trash/"):
            item = convert(value, TrashItem)
            if item.image is not None and item.id not in goes:
                yield item.image

    def writes(self, args: Mapping[str, Any]) -> Mapping[str, Any]:
        return {trash_key(ident): None for ident in args["items"]}


def _blobs(image: ImageState) -> Iterator[str]:
    """Digests of all that the store has of an image. Its bundle is small, and an undo may name it still.

    The manifest goes first: without it, nothing brings the image back that is half gone.
    """
    yield image.manifest
    yield image.config_digest
    yield from (layer.blob for layer in image.layers)


def _item(journal: Any, ident: str) -> TrashItem | None:
    found = journal.get(trash_key(ident))
    return None if found is None else convert(found, TrashItem)


def _left(what: str, error: OSError) -> StateError:
    return StateError(
        f"cannot empty the trash of {what}: {error.strerror}",
        remedy=f"look what keeps {error.filename}, then try again")
