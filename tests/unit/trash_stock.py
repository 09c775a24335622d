"""Containers and images that lie in the trash of a whole engine, for tests of what becomes of them."""

from __future__ import annotations

from pathlib import Path

from whole_engine import LAYER_TYPE, Whole, image_of, import_by

from vordr.actors.stores import Made
from vordr.formats.digests import sha256_digest
from vordr.model.state import ContainerState, ImageState, Layer, Seal

DIFF = sha256_digest(b"diff")


def removed(whole: Whole, name: str = "web") -> ContainerState:
    container = whole.run(name)
    whole.do("remove", name, force=True)
    return container


def lying(whole: Whole) -> list[str]:
    return sorted(item.name for item in whole.call("trash").items)


def files_of(whole: Whole, container: ContainerState) -> Path:
    """As the real world leaves them in the trash: the fake one has no folders."""
    folder = whole.paths.trashed(container.id)
    (folder / "gen" / "1").mkdir(parents=True)
    (folder / "gen" / "1" / "note").write_text("precious")
    return folder


def stocked(whole: Whole, name: str = "one") -> ImageState:
    """An image whose blobs and sealed layer are in the store; all have the same layer."""
    manifest, config, image = image_of(
        f"docker.io/library/{name}:latest", [Layer(DIFF, sha256_digest(b"strata"), 6, LAYER_TYPE)],
        Labels={"name": name})
    for digest, content in ((image.manifest, manifest), (image.config_digest, config)):
        whole.host.store.add_bytes(content, digest)
    whole.host.store.add_bytes(b"strata", image.layers[0].blob)
    whole.paths.layers.mkdir(exist_ok=True)
    whole.paths.layer(DIFF).write_bytes(b"sealed")
    seal = Seal(diff_id=DIFF, sha256="0", size=6, stamp="")
    import_by(whole, image, lambda: Made(seals=(seal,)))
    return image


def held(whole: Whole, image: ImageState) -> set[bool]:
    """Whether the store has what the image is made of."""
    blobs = (image.manifest, image.config_digest, image.layers[0].blob)
    return {*(whole.host.store.has(blob) for blob in blobs), whole.paths.layer(DIFF).exists()}
