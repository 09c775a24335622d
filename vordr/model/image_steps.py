"""What one step does to an image in the store, and how it is undone: pure.

import brings an image in, unimport moves it to the trash (its blobs and layers stay until the trash is
emptied), reimport brings it back, describe changes its names and who vouches for it.
"""

from __future__ import annotations

from collections.abc import Container
from enum import StrEnum
from typing import Any, Final

import msgspec

from vordr.formats import canonical
from vordr.formats.typed import convert
from vordr.model.errors import ImageNotFound
from vordr.model.lifecycle import Fidelity
from vordr.model.records import Inverse, image_key, trash_key
from vordr.model.state import ImageState, Seal, TrashItem


class ImageOp(StrEnum):
    IMPORT = "import"
    UNIMPORT = "unimport"
    REIMPORT = "reimport"
    DESCRIBE = "describe"


DESCRIBED: Final = ("names", "bundle", "origin", "attested_by", "evidence")
_LISTS: Final = ("names", "evidence")


class ImageAdvance(msgspec.Struct, frozen=True, kw_only=True):
    """The image after the step (None: not in the store), digests before and after, writes, inverse."""

    image: ImageState | None
    before: str | None
    after: str | None
    writes: dict[str, Any]
    inverse: Inverse


def image_digest(image: ImageState | None) -> str | None:
    """State digest of an image: what it is, its names and who vouches, not where its files lie."""
    if image is None:
        return None
    evidence = {"evidence": list(image.evidence)} if image.evidence else {}
    return canonical.digest({
        "manifest": image.manifest, "names": list(image.names), "bundle": image.bundle,
        "origin": image.origin, **evidence})


def advance_image(
    op: ImageOp, before: ImageState | None, trashed: TrashItem | None, args: dict[str, Any], *, time: int,
    txn: str, trash_days: int, seals: tuple[Seal, ...] = (),
) -> ImageAdvance:
    """The image after ``op``. ``seals`` are what an import made. Raises ImageNotFound."""
    match op:
        case ImageOp.IMPORT:
            lies = None if trashed is None else trashed.image
            # Its layers are sealed still, and an undo of its removal will count on that.
            sealed = seals or (() if lies is None else lies.seals)
            image = msgspec.structs.replace(
                convert(args["image"], ImageState), seals=sealed, imported=time,
                known_as=() if lies is None else lies.known_as)
            return _result(before, image, {trash_key(image.manifest): None}, ImageOp.UNIMPORT, {})
        case ImageOp.REIMPORT:
            if trashed is None or trashed.image is None:
                raise ImageNotFound(
                    "the image is not in the trash any more", remedy="vordr pull, or run the .ctp again")
            # Its files are those that lie there; its names and who vouched are those of when it was removed,
            # which another import may have changed since.
            image = _described(trashed.image, args)
            return _result(before, image, {trash_key(image.manifest): None}, ImageOp.UNIMPORT, {})
    if before is None:
        raise ImageNotFound(f"cannot {op}: the image is not in the store")
    if op is ImageOp.UNIMPORT:
        item = TrashItem(
            id=before.manifest, kind="image", txn=txn,
            name=before.names[0] if before.names else before.manifest,
            removed=time, deadline=time + trash_days * 86_400_000_000, image=before)
        writes = {trash_key(before.manifest): msgspec.to_builtins(item)}
        return _result(before, None, writes, ImageOp.REIMPORT, _description(before, DESCRIBED))
    after = msgspec.structs.replace(_described(before, args), seals=seals or before.seals)
    return _result(before, after, {}, ImageOp.DESCRIBE, _description(before, args))


def _description(image: ImageState, keys: Container[str]) -> dict[str, Any]:
    return {key: msgspec.to_builtins(getattr(image, key)) for key in DESCRIBED if key in keys}


def _described(image: ImageState, args: dict[str, Any]) -> ImageState:
    """``image`` with those of its names and of who vouches that ``args`` give."""
    given = {key: args[key] for key in DESCRIBED if key in args}
    return msgspec.structs.replace(
        image, **{key: tuple(value) if key in _LISTS else value for key, value in given.items()})


def _result(
    before: ImageState | None, after: ImageState | None, writes: dict[str, Any], inverse: ImageOp,
    args: dict[str, Any],
) -> ImageAdvance:
    either = after or before
    assert either is not None
    if after is not None:
        older = (*after.known_as, *(() if before is None else (*before.known_as, *before.names)))
        after = msgspec.structs.replace(after, known_as=tuple(dict.fromkeys((*older, *after.names))))
    value = None if after is None else msgspec.to_builtins(after)
    return ImageAdvance(
        image=after, before=image_digest(before), after=image_digest(after),
        writes={image_key(either.manifest): value, **writes},
        inverse=Inverse(str(inverse), args, Fidelity.EXACT))
