"""Emptying the trash: files and secrets of containers go for good, and with them the ranges of ids they had;
blobs and sealed layers of images, but for those that another image has, too.

The records of containers stay, as those of all that were (decision 0005): what is gone is what an undo of
their removal would need. One step empties all of one kind that an act is about, and a recovery finishes what
was begun. No image may come in meanwhile: it would rely on a blob that is found in the store, and goes
(:attr:`vordr.engine.library.Library.coming`).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from vordr.formats.typed import convert
from vordr.images import tree
from vordr.images.seal import remove_layer
from vordr.images.store import ImageStore
from vordr.journal.secrets import SecretStore
from vordr.model.errors import StateError, VordrError
from vordr.model.paths import Paths
from vordr.model.records import Kind, Step, trash_key
from vordr.model.state import ImageState, TrashItem
from vordr.model.steps import range_key

CONTAINERS: Final = "trash/containers"
IMAGES: Final = "trash/images"
MOST_TOLD: Final = 20
_deleting: Final = threading.Lock()
"""Where the one who asked was interrupted, the step is settled while its work goes on: one by one."""


def step(subject: str, idents: Sequence[str]) -> Step:
    """The step that empties the trash of these containers, or images."""
    return Step(subject=subject, operation="empty", args={"items": list(idents)})


@dataclass(frozen=True)
class Emptied:
    """What went, by id, and what did not, with the reason in words."""

    gone: tuple[str, ...]
    left: Mapping[str, str]


class Emptier(Protocol):
    """How the trash of one kind is emptied."""

    def empty(self, args: Mapping[str, Any]) -> Emptied:
        """Delete what the trash has of the items; done already, or half of it, is fine. Of what does not go,
        the rest is found by the next try, and nothing brings it back."""
        ...

    def writes(self, gone: Sequence[str]) -> Mapping[str, Any]:
        """What the projection loses with it."""
        ...


def emptiers(paths: Paths, journal: Any) -> Mapping[str, Emptier]:
    """By the subject of the step."""
    return {CONTAINERS: _Containers(paths, journal), IMAGES: _Images(paths, journal)}


class _Containers:
    def __init__(self, paths: Paths, journal: Any) -> None:
        self.paths = paths
        self.journal = journal

    def empty(self, args: Mapping[str, Any]) -> Emptied:
        with _deleting:
            return _one_by_one(args["items"], self._delete)

    def _delete(self, ident: str) -> None:
        begun = half_gone(self.paths, ident)
        with contextlib.suppress(FileNotFoundError):
            self.paths.trashed(ident).rename(begun)  # in one: a restore finds it whole or not there
        SecretStore(self.paths).delete(ident)
        tree.delete(begun)

    def writes(self, gone: Sequence[str]) -> Mapping[str, Any]:
        lost: dict[str, Any] = {}
        for ident in gone:
            item = _item(self.journal, ident)
            lost[trash_key(ident)] = None
            if item is not None and item.container is not None and item.container.ids is not None:
                key = range_key(item.container.ids)
                if self.journal.get(key) == ident:
                    lost[key] = None
        return lost


class _Images:
    def __init__(self, paths: Paths, journal: Any) -> None:
        self.paths = paths
        self.journal = journal
        self.store = ImageStore(paths)

    def empty(self, args: Mapping[str, Any]) -> Emptied:
        with _deleting:
            # Without its manifest nothing brings an image back; one that keeps it keeps all that it needs.
            blobs = {blob for image in self._staying(set(args["items"])) for blob in _blobs(image)}
            begun = _one_by_one(args["items"], lambda ident: ident in blobs or self.store.remove(ident))
            stays = self._staying(set(begun.gone))
            blobs |= {blob for image in stays for blob in _blobs(image)}
            layers = {layer.diff_id for image in stays for layer in image.layers}

            def delete(ident: str) -> None:
                item = _item(self.journal, ident)
                if item is None or item.image is None:
                    return
                for blob in _blobs(item.image):
                    if blob not in blobs:
                        self.store.remove(blob)
                for layer in item.image.layers:
                    if layer.diff_id not in layers:
                        remove_layer(self.paths, layer.diff_id)

            ended = _one_by_one(begun.gone, delete)
            return Emptied(ended.gone, {**begun.left, **ended.left})

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

    def writes(self, gone: Sequence[str]) -> Mapping[str, Any]:
        return {trash_key(ident): None for ident in gone}


def half_gone(paths: Paths, ident: str) -> Path:
    """Where what is left of a container's files lies while they are deleted."""
    return paths.trashed(f".{ident}")


def _one_by_one(idents: Sequence[str], delete: Callable[[str], object]) -> Emptied:
    """Each, though another does not go."""
    left: dict[str, str] = {}
    for ident in idents:
        try:
            delete(ident)
        except (OSError, VordrError) as error:
            left[ident] = str(error).encode(errors="backslashreplace").decode()
    return Emptied(tuple(ident for ident in idents if ident not in left), left)


def _blobs(image: ImageState) -> Iterator[str]:
    """Digests of all that the store has of an image. Its bundle is small, and an undo may name it still."""
    yield image.manifest
    yield image.config_digest
    yield from (layer.blob for layer in image.layers)


def _item(journal: Any, ident: str) -> TrashItem | None:
    found = journal.get(trash_key(ident))
    return None if found is None else convert(found, TrashItem)


def refusal(left: Mapping[str, str]) -> StateError:
    """What is said of items that do not go."""
    ident, why = next(iter(left.items()))
    short = ident[:19] if ":" in ident else ident[:12]
    more = f" (and of {len(left) - 1} more)" if len(left) > 1 else ""
    return StateError(
        f"cannot empty the trash of {short}{more}: {why}",
        remedy=f"look what keeps it, then vordr trash empty {short}",
        details={"left": list(left)[:MOST_TOLD]})
