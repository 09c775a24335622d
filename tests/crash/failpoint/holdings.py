"""What a root folder holds beside running containers: images, packages, trust."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from failpoint import soundness
from vordr.engine import beside
from vordr.engine.finding import all_acts, all_images
from vordr.engine.library import subject_of
from vordr.engine.local import LocalEngine
from vordr.formats import canonical
from vordr.formats.signature import PrivateKey, Suite
from vordr.gatekeeper import trust, trust_updates
from vordr.images.seal import open_sealed
from vordr.model.errors import TrustStoreMissing
from vordr.model.paths import Paths
from vordr.model.state import ImageState


def root_folder(folder: Path, marker: str = "") -> Path:
    """A root file system with a shell; ``marker`` makes it another image."""
    (folder / "bin").mkdir(parents=True)
    for name in ("etc", "proc", "sys", "dev", "tmp"):
        (folder / name).mkdir()
    (folder / "etc" / "marker").write_text(marker)
    shutil.copy("/bin/busybox", folder / "bin" / "busybox")
    for applet in ("sh", "sleep", "true"):
        (folder / "bin" / applet).symlink_to("busybox")
    return folder


def remove(folder: Path) -> None:
    """Remove a folder in which layers were sealed."""
    subprocess.run(["chattr", "-R", "-f", "-i", str(folder)], check=False, capture_output=True)
    shutil.rmtree(folder)


def remove_root(root: Path) -> None:
    """Remove a root folder on which nothing ran, and its folders in /run."""
    paths = Paths.of(root)
    remove(root)
    for folder in (paths.run / "c", paths.run / "runc", paths.run):
        with contextlib.suppress(FileNotFoundError):
            folder.rmdir()


def declared(engine: LocalEngine, outputs: Path) -> dict[str, Any]:
    """What stands, without what is different each time; ``outputs`` is where packages are written to."""
    journal = engine.host.journal
    return {
        "images": sorted((_image(image) for image in all_images(journal)), key=str),
        "trust": _trust(engine.host.paths),
        "containers": soundness.declared(soundness.since(engine, 0)),
        "packages": sorted(name for name in os.listdir(outputs) if not name.startswith(".")),
    }


def _image(image: ImageState) -> dict[str, Any]:
    return {
        "manifest": image.manifest, "names": list(image.names), "origin": image.origin,
        "attested": image.bundle is not None, "evidence": list(image.evidence)}


def _trust(paths: Paths) -> Any:
    try:
        store = trust.load(paths.trust_store)
    except TrustStoreMissing:
        return None
    revoked = [(one.key_id, one.reason) for one in store.revocations]
    return [[key.owner, list(key.roles), [reason for ident, reason in revoked if ident == key.id]]
            for key in store.keys]


def trust_update(engine: LocalEngine) -> str:
    """Make an updater, and by it an update in which one more key is trusted; its text."""
    updater = PrivateKey.from_seeds(Suite.ED25519, b"u" * 32)
    more = PrivateKey.from_seeds(Suite.ED25519, b"m" * 32).public
    soundness.call(engine, "trust_add", role=trust.UPDATERS, owner="Una",
                   public_key=updater.public.to_spki_base64())
    now = engine.host.now_us()
    key = trust.TrustedKey(more, (), now, None, "Mo")
    store = trust.add_key(trust.load(engine.host.paths.trust_store), trust.BUILDERS, key, now)
    return trust_updates.sign(canonical.dumps(store.to_document()), updater).decode()


def assert_usable(engine: LocalEngine, outputs: Path) -> None:
    """Every image can be used as it is declared, every package is whole, trust was changed by nobody else."""
    host = engine.host
    soundness.rest(engine)
    for image in all_images(host.journal):
        for seal in image.seals:
            os.close(open_sealed(host.paths, seal))
        for layer in image.layers:
            assert host.store.has(layer.blob)
        host.library.read_contents(image.manifest)
        assert beside.read(host.paths, image).lost == ()
        if image.bundle is not None:
            bundle = host.library.bundle(image)
            assert host.gatekeeper.judge(subject_of(image), bundle).origin == image.origin
    assert [act.summary for act in all_acts(host.journal) if act.act == "trust_changed"] == []
    assert sorted(path.name for path in host.paths.root.glob(".*")) == []
    for name in declared(engine, outputs)["packages"]:
        told = soundness.call(engine, "verify", image=str(outputs / name), package=True)
        assert told.decision == "ALLOW", told
    if host.paths.trust_store.exists():
        assert soundness.call(engine, "trust_show").keys
    assert soundness.call(engine, "audit", model=True).ok
