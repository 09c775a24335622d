"""Finding what a person means: containers by name, id or its beginning; images by reference or digest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from vordr.formats import reference
from vordr.formats.errors import FormatError
from vordr.formats.typed import convert
from vordr.model.errors import ContainerNotFound, ImageNotFound, SubjectBusy, UsageError
from vordr.model.lifecycle import State
from vordr.model.records import Act, busy_key, container_key, image_key, name_key, trash_key
from vordr.model.state import ContainerState, ImageState, TrashItem

_ID: Final = re.compile(r"[0-9a-f]{2,64}")


def all_containers(journal: Any) -> Iterator[ContainerState]:
    """Every container that is not removed, by id.

    Exactly these have a name, and removed ones are kept by the ten thousand: so they are found by the names.
    """
    for container in sorted(set(names_in_use(journal).values())):
        found = container_by_id(journal, container)
        if found is not None and found.state is not State.REMOVED:
            yield found


def container_by_id(journal: Any, container: str) -> ContainerState | None:
    """The container with this id, removed ones included."""
    value = journal.get(container_key(container))
    return None if value is None else convert(value, ContainerState)


def at_rest(journal: Any, container: str) -> ContainerState | None:
    """The container with this id as committed acts left it; raises SubjectBusy while another is under way."""
    key = busy_key(f"container/{container}")
    held = journal.get(key)
    if held is not None:
        raise SubjectBusy(
            f"{container[:12]} is busy with transaction {held}", details={"key": key, "found": held})
    return container_by_id(journal, container)


def find_container(journal: Any, given: str) -> ContainerState:
    """The container that ``given`` names; raises ContainerNotFound, or UsageError when several match."""
    by_name = journal.get(name_key(given))
    found = container_by_id(journal, str(by_name)) if by_name is not None else None
    if found is not None:
        return found
    if _ID.fullmatch(given):
        matches = [
            container for _, value in journal.scan(container_key(given))
            if (container := convert(value, ContainerState)).state is not State.REMOVED]
        if len(matches) > 1:
            raise UsageError(
                f"{given} is the beginning of {len(matches)} container ids", remedy="give more of the id")
        if matches:
            return matches[0]
    raise ContainerNotFound(f"no container is called {given!r}", details={"container": given})


def find_removed(journal: Any, given: str) -> TrashItem:
    """The trash item that ``given`` names: by id, by name, by another reference to an image, or by the
    beginning of an id, in this order; the newest of several by name. Raises ContainerNotFound, or UsageError
    when it is the beginning of several ids."""
    if (exact := journal.get(trash_key(given))) is not None:  # the trash may hold ten thousands
        return convert(exact, TrashItem)
    items = [convert(value, TrashItem) for _, value in journal.scan("trash/")]
    image = reference_of(given)
    named = [i for i in items if given in (i.id, i.name)] or [
        i for i in items if i.image is not None and i.name == image]
    if named:
        return max(named, key=lambda item: item.removed)
    bare = given.removeprefix("sha256:")
    begun = [i for i in items if len(bare) >= 2 and i.id.removeprefix("sha256:").startswith(bare)]
    if len(begun) > 1:
        raise UsageError(
            f"{given} is the beginning of {len(begun)} ids in the trash", remedy="give more of the id")
    if not begun:
        raise ContainerNotFound(f"nothing in the trash is called {given!r}", remedy="vordr trash ls")
    return begun[0]


def all_images(journal: Any) -> list[ImageState]:
    return [convert(value, ImageState) for _, value in journal.scan("images/")]


def image_by_digest(journal: Any, manifest: str) -> ImageState:
    """The image with this manifest digest; raises ImageNotFound."""
    value = journal.get(image_key(manifest))
    if value is None:
        raise ImageNotFound(f"image {manifest} is not in the store", details={"image": manifest})
    return convert(value, ImageState)


def full_name(given: str) -> str:
    """A reference in full (``docker.io/library/hello:latest``); raises UsageError."""
    try:
        return str(reference.parse(given).with_default_tag())
    except FormatError as error:
        raise UsageError(f"invalid image reference {given!r}: {error.message}") from error


def reference_of(given: str) -> str | None:
    """As :func:`full_name`; None for what is no reference."""
    try:
        return full_name(given)
    except UsageError:
        return None


def find_image(journal: Any, given: str) -> ImageState:
    """The image that ``given`` names: reference, manifest digest, or the beginning of one."""
    images = all_images(journal)
    bare = given.removeprefix("sha256:")
    by_digest = re.fullmatch(r"[0-9a-f]{4,64}", bare) is not None
    # An image is easily made whose digest begins with somebody's short name: names go before beginnings.
    if not given.startswith("sha256:") and len(bare) < 64:
        name = full_name(given)
        _, at, digest = name.partition("@")
        for image in images:
            if name in image.names or (at and digest == image.manifest):
                return image
    matches = [i for i in images if by_digest and i.manifest.removeprefix("sha256:").startswith(bare)]
    if len(matches) > 1:
        raise UsageError(f"{given} is the beginning of {len(matches)} image digests")
    if matches:
        return matches[0]
    raise ImageNotFound(
        f"image {given!r} is not in the store", details={"image": given},
        remedy=f"vordr pull {given}, or vordr run FILE.ctp")


def all_acts(journal: Any) -> list[Act]:
    """Every transaction, oldest first."""
    acts = [convert(value, Act) for _, value in journal.scan("acts/")]
    return sorted(acts, key=lambda act: act.seq)  # txns order milliseconds only


def names_in_use(journal: Any) -> dict[str, str]:
    return {key.removeprefix("names/"): str(value) for key, value in journal.scan("names/")}
