"""What each step does to an image in the store, what it writes, and what takes it back."""

from typing import Any

import msgspec
import pytest

from vordr.formats import canonical
from vordr.model.errors import ImageNotFound
from vordr.model.image_steps import ImageOp, advance_image, image_digest
from vordr.model.lifecycle import Fidelity
from vordr.model.records import Inverse
from vordr.model.state import ImageConfig, ImageState, Layer, Seal, TrashItem

MANIFEST = "sha256:" + "a" * 64
SEAL = Seal("sha256:diff", "sha256:seal", 5, "1:2:3:4:5")
IMAGE = ImageState(
    manifest=MANIFEST, config_digest="sha256:config", names=("web:1", "web:2"),
    layers=(Layer("sha256:diff", "sha256:blob", 3, "tar"),), seals=(SEAL,), config=ImageConfig(),
    bundle="sha256:bundle", origin="adopted", attested_by="Ada", imported=1, known_as=("old:1",),
    evidence=("sha256:e",))
KEYS = {"image": f"images/{MANIFEST}", "trash": f"trash/{MANIFEST}"}
SAID = {"names": ("web:1", "web:2"), "bundle": "sha256:bundle", "origin": "adopted", "attested_by": "Ada",
        "evidence": ("sha256:e",)}

replace = msgspec.structs.replace


def plain(value: Any) -> Any:
    return msgspec.to_builtins(value)


def step(op: ImageOp, before: ImageState | None, trashed: TrashItem | None = None, args: Any = None,
         seals: tuple[Seal, ...] = ()) -> Any:
    return advance_image(
        op, before, trashed, args or {}, time=1000, txn="t1", trash_days=2, seals=seals)


def item(image: ImageState, name: str = "web:1") -> TrashItem:
    return TrashItem(id=MANIFEST, kind="image", name=name, txn="t1", removed=1000,
                     deadline=1000 + 2 * 86_400_000_000, image=image)


def test_an_import_brings_in_the_image_sealed_now_and_takes_it_out_of_the_trash() -> None:
    coming = replace(IMAGE, seals=(), known_as=("claimed:1",))
    made = step(ImageOp.IMPORT, None, None, {"image": plain(coming)}, (SEAL,))
    after = replace(IMAGE, imported=1000, known_as=("web:1", "web:2"))
    assert (made.image, made.before, made.after) == (after, None, image_digest(after))
    assert made.writes == {KEYS["image"]: plain(after), KEYS["trash"]: None}
    assert made.inverse == Inverse("unimport", {}, Fidelity.EXACT)


def test_an_import_of_what_lies_in_the_trash_or_the_store_keeps_the_names_that_it_had() -> None:
    coming = replace(IMAGE, names=("new:1",))
    trashed = step(ImageOp.IMPORT, None, item(IMAGE), {"image": plain(coming)})
    assert trashed.image.known_as == ("old:1", "new:1")
    assert trashed.image.seals == (SEAL,), "its layers are sealed still"
    stored = step(ImageOp.IMPORT, IMAGE, None, {"image": plain(coming)})
    assert stored.image.known_as == ("old:1", "web:1", "web:2", "new:1")
    assert stored.before == image_digest(IMAGE)
    nothing = TrashItem(id=MANIFEST, kind="image", name="x", txn="t", removed=1, deadline=2)
    assert step(ImageOp.IMPORT, None, nothing, {"image": plain(coming)}).image.known_as == ("new:1",)


def test_an_unimport_puts_the_image_into_the_trash_and_knows_who_vouched() -> None:
    made = step(ImageOp.UNIMPORT, IMAGE)
    assert (made.image, made.before, made.after) == (None, image_digest(IMAGE), None)
    assert made.writes == {KEYS["image"]: None, KEYS["trash"]: plain(item(IMAGE))}
    assert made.inverse == Inverse("reimport", SAID, Fidelity.EXACT)


def test_a_nameless_image_lies_in_the_trash_under_its_digest() -> None:
    bare = replace(IMAGE, names=())
    assert step(ImageOp.UNIMPORT, bare).writes[KEYS["trash"]]["name"] == MANIFEST


def test_a_reimport_brings_back_the_files_of_the_trash_with_the_names_of_when_it_was_removed() -> None:
    said = {"names": ["web:3"], "evidence": [], "origin": "published"}
    made = step(ImageOp.REIMPORT, None, item(IMAGE), said)
    after = replace(IMAGE, names=("web:3",), evidence=(), origin="published", known_as=("old:1", "web:3"))
    assert (made.image, made.before, made.after) == (after, None, image_digest(after))
    assert made.writes == {KEYS["image"]: plain(after), KEYS["trash"]: None}
    assert made.inverse == Inverse("unimport", {}, Fidelity.EXACT)


def test_a_reimport_of_what_another_import_brought_back_keeps_the_names_of_both() -> None:
    stored = replace(IMAGE, names=("other:1",), known_as=("other:0", "other:1"))
    made = step(ImageOp.REIMPORT, stored, item(IMAGE))
    assert made.image.known_as == ("old:1", "other:0", "other:1", "web:1", "web:2")
    assert made.before == image_digest(stored)


@pytest.mark.parametrize("trashed", [
    None, TrashItem(id=MANIFEST, kind="image", name="x", txn="t", removed=1, deadline=2)])
def test_what_has_left_the_trash_cannot_be_reimported(trashed: TrashItem | None) -> None:
    with pytest.raises(ImageNotFound, match="not in the trash any more") as refusal:
        step(ImageOp.REIMPORT, None, trashed)
    assert "vordr pull" in (refusal.value.remedy or "")


def test_a_description_changes_what_it_names_and_its_inverse_names_the_same() -> None:
    made = step(ImageOp.DESCRIBE, IMAGE, None, {"names": ["new:1"], "bundle": None})
    after = replace(
        IMAGE, names=("new:1",), bundle=None, known_as=("old:1", "web:1", "web:2", "new:1"))
    assert (made.image, made.before, made.after) == (after, image_digest(IMAGE), image_digest(after))
    assert made.writes == {KEYS["image"]: plain(after)}
    assert made.inverse == Inverse(
        "describe", {"names": ("web:1", "web:2"), "bundle": "sha256:bundle"}, Fidelity.EXACT)


def test_a_description_may_bring_other_seals_and_keeps_them_where_it_does_not() -> None:
    other = replace(SEAL, stamp="new")
    assert step(ImageOp.DESCRIBE, IMAGE, seals=(other,)).image.seals == (other,)
    assert step(ImageOp.DESCRIBE, IMAGE).image.seals == (SEAL,)


@pytest.mark.parametrize("op", [ImageOp.UNIMPORT, ImageOp.DESCRIBE])
def test_an_image_that_is_not_in_the_store_is_not_found(op: ImageOp) -> None:
    with pytest.raises(ImageNotFound, match=f"cannot {op}: the image is not in the store"):
        step(op, None, item(IMAGE))


def test_the_digest_is_of_what_the_image_is_its_names_and_who_vouches() -> None:
    said = {"manifest": MANIFEST, "names": ["web:1", "web:2"], "bundle": "sha256:bundle", "origin": "adopted"}
    assert image_digest(IMAGE) == canonical.digest({**said, "evidence": ["sha256:e"]})
    assert image_digest(replace(IMAGE, evidence=())) == canonical.digest(said)
    assert image_digest(replace(IMAGE, seals=(), imported=9, known_as=())) == image_digest(IMAGE)
    assert image_digest(None) is None


@pytest.mark.parametrize(("op", "before", "trashed", "args"), [
    (ImageOp.UNIMPORT, IMAGE, None, {}),
    (ImageOp.DESCRIBE, IMAGE, None, {"names": ["new:1"], "origin": "published", "evidence": []}),
])
def test_the_inverse_brings_back_the_digest(
    op: ImageOp, before: ImageState, trashed: TrashItem | None, args: dict[str, Any]
) -> None:
    there = step(op, before, trashed, args)
    back = step(ImageOp(there.inverse.operation), there.image, item(before), dict(there.inverse.args))
    assert back.after == image_digest(before)
