"""What one step does to an image in the store, and how it is undone: pure.

import brings an image in, unimport moves it to the trash (its blobs and layers stay until the trash is
emptied), reimport brings it back, describe changes its names and who vouches for it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

from vordr.formats import canonical
from vordr.model.errors import ImageNotFound
from vordr.model.lifecycle import Fidelity
from vordr.model.records import Inverse, image_key, trash_key
from vordr.model.state import ImageState, Seal, TrashItem


class ImageOp(StrEnum):
    IMPORT = "import"
    UNIMPORT = "unimport"
    REIMPORT = "reimport"
    DESCRIBE = "describe"


DESCRIBED: Final = ("names", "bundle", "origin", "attested_by")


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
    return canonical.digest({
        "manifest": image.manifest, "names": list(image.names), "bundle": image.bundle,
        "origin": image.origin})


def advance_image(
    op: ImageOp, before: ImageState | None, trashed: TrashItem | None, args: dict[str, Any], *, time: int,
    txn: str, trash_days: int, seals: tuple[Seal, ...] = (),
) -> ImageAdvance:
    """The image after ``op``. ``seals`` are what an import made. Raises ImageNotFound."""
    match op:
        case ImageOp.IMPORT:
            image = msgspec.structs.replace(
                msgspec.convert(args["image"], ImageState), seals=seals, imported=time)
            return _result(before, image, {trash_key(image.manifest): None}, ImageOp.UNIMPORT, {})
        case ImageOp.REIMPORT:
            if trashed is None or trashed.image is None:
                raise ImageNotFound(
                    "the image is not in the trash any more", remedy="vordr pull, or run the .ctp again")
            return _result(
                before, trashed.image, {trash_key(trashed.image.manifest): None}, ImageOp.UNIMPORT, {})
    if before is None:
        raise ImageNotFound(f"cannot {op}: the image is not in the store")
    if op is ImageOp.UNIMPORT:
        item = TrashItem(
            id=before.manifest, kind="image", txn=txn,
            name=before.names[0] if before.names else before.manifest,
            removed=time, deadline=time + trash_days * 86_400_000_000, image=before)
        writes = {trash_key(before.manifest): msgspec.to_builtins(item)}
        return _result(before, None, writes, ImageOp.REIMPORT, {})
    known: dict[str, Any] = {
        key: msgspec.to_builtins(getattr(before, key)) for key in DESCRIBED if key in args}
    after = msgspec.structs.replace(
        before, seals=seals or before.seals,
        **{key: tuple(args[key]) if key == "names" else args[key] for key in known})
    return _result(before, after, {}, ImageOp.DESCRIBE, known)


def _result(
    before: ImageState | None, after: ImageState | None, writes: dict[str, Any], inverse: ImageOp,
    args: dict[str, Any],
) -> ImageAdvance:
    either = after or before
    assert either is not None
    value = None if after is None else msgspec.to_builtins(after)
    return ImageAdvance(
        image=after, before=image_digest(before), after=image_digest(after),
        writes={image_key(either.manifest): value, **writes},
        inverse=Inverse(str(inverse), args, Fidelity.EXACT))
