"""SIGKILL at every durable step of every operation on images, packages and trust.

As test_every_step, which see; here nothing runs, so each life has a copy of a root folder for itself. What is
declared afterwards is what some transaction of the act had left when it ended, or what was before it; undo,
redo and the act itself still work.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from failpoint import beside_it, choice, composition, holding_scenes, holdings, soundness
from failpoint.holding_scenes import HoldingScene, Place
from failpoint.points import Fatal
from failpoint.stage import Stage, Told, gone_after
from images_world import entry as tar_entry
from images_world import gzip_layer, image_blobs, tar_of
from integration.registry_world import registry

from vordr.engine.local import LocalEngine
from vordr.images.layout import OCI_MANIFEST
from vordr.model.lifecycle import TABLE
from vordr.model.paths import Paths

pytestmark = pytest.mark.timeout(7200) if choice.SOAK else []


@dataclass(frozen=True)
class Played:
    points: tuple[str, ...]
    stands: tuple[Any, ...]
    """What was declared before it and after each of its transactions."""


@dataclass(frozen=True)
class Gallery:
    """Scenes, and the root folders that they begin with."""

    stage: Stage
    place: Place
    scenes: dict[str, HoldingScene]

    def root(self, scene: HoldingScene) -> Path:
        """A fresh root folder for ``scene``."""
        root = self.stage.home / "play"
        if root.exists():
            holdings.remove_root(root)
        if not scene.bare:
            shutil.copytree(self.stage.paths.root, root)
        for package in self.place.outputs.iterdir():
            package.unlink()
        return root

    def live(self, scene: HoldingScene, fatal: Fatal | None) -> tuple[Path, Told]:
        root = self.root(scene)
        return root, self.stage.live(
            do="act", root=str(root), before=scene.before, act=scene.act, fatal=fatal,
            outputs=str(self.place.outputs))


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    with gone_after(Stage()) as stage, registry(tmp_path_factory.mktemp("hub") / "registry") as hub:
        stage.home.joinpath("outputs").mkdir()
        layer = gzip_layer(tar_of(tar_entry("etc/marker", b"pulled")))
        manifest, blobs = image_blobs([layer])
        hub.push("pulled", "latest", manifest, blobs, OCI_MANIFEST)
        place = Place(
            spare=holdings.root_folder(stage.home / "spare", "spare"),
            package=stage.home / "package.ctp", pulled=f"{hub.address}/pulled:latest",
            outputs=stage.home / "outputs")
        with stage.engine() as engine:
            soundness.call(engine, "trust_init", owner="Crash")
            update = holdings.trust_update(engine)
            beside = beside_it.layout(engine, stage.home / "beside", manifest, blobs)
            packed = holdings.root_folder(stage.home / "packed", "packed")
            soundness.call(engine, "pack", source=str(packed), output=str(place.package), name="packed")
        place = replace(place, update=update, beside=beside)
        yield Gallery(stage, place, {scene.name: scene for scene in holding_scenes.holding_scenes(place)})


@pytest.fixture(scope="module")
def played(gallery: Gallery) -> dict[str, Played]:
    """Every scene, uninterrupted."""
    found = {}
    for name, scene in gallery.scenes.items():
        _, told = gallery.live(scene, None)
        found[name] = Played(told.points, tuple(map(json.loads, told.all("stands"))))
        assert found[name].stands[0] != found[name].stands[-1], f"{name} changes nothing"
    return found


def test_every_operation_on_images_and_trust_is_interrupted(gallery: Gallery) -> None:
    acts = {scene.act[0] for scene in gallery.scenes.values()}
    assert {operation.name for operation in holding_scenes.operations()} <= acts


def test_a_crash_at_any_step_leaves_images_packages_and_trust_before_or_after(
    gallery: Gallery, played: dict[str, Played]
) -> None:
    elsewhere = {f"{step} {row.op}" for row in TABLE for step in ("intent", "done")}  # by test_every_step
    chosen = choice.chosen({name: one.points for name, one in played.items()}, elsewhere=elsewhere)
    for name, fatals in chosen.items():
        for fatal in fatals:
            try:
                _crash(gallery, gallery.scenes[name], played[name], fatal,
                       go_on=choice.SOAK or fatal == fatals[-1])
            except AssertionError as error:
                raise AssertionError(f"{name}, killed at {fatal}: {error}") from error


def _crash(
    gallery: Gallery, scene: HoldingScene, whole: Played, fatal: Fatal, *, go_on: bool
) -> None:
    root, told = gallery.live(scene, fatal)
    assert told.signal or told.points.count(fatal[0]) < fatal[1], f"{fatal} did not end it"
    outputs = gallery.place.outputs
    expected = whole.stands[-1:] if told.has("acted") else whole.stands
    with opened(root) as first:
        holdings.assert_usable(first, outputs)
        stands = holdings.declared(first, outputs)
        assert stands in expected, (stands, expected)
        assert [recovered.left for recovered in first.recovered if recovered.left] == []
        size = first.host.journal.last()
    with opened(root) as second:
        assert second.recovered == []
        assert second.host.journal.last() == size
        assert holdings.declared(second, outputs) == stands
        if go_on:
            _go_on(second, scene, whole, stands, outputs)
            holdings.assert_usable(second, outputs)


def _go_on(engine: LocalEngine, scene: HoldingScene, whole: Played, stands: Any, outputs: Path) -> None:
    """The act still can be done, and taken back, and done again."""
    act, back = scene.again
    before, after = whole.stands[0], whole.stands[-1]
    if stands != after:
        soundness.call(engine, act[0], **act[1])
        assert holdings.declared(engine, outputs) == after
    if scene.reversible:
        for call, wanted in ((back, None), (("redo" if back[0] == "undo" else "undo", {}), after)):
            soundness.call(engine, call[0], **call[1])
            assert wanted is None or holdings.declared(engine, outputs) == wanted
        if len(whole.stands) == 2:  # an act of one transaction is taken back as one
            soundness.call(engine, back[0], **back[1])
            assert holdings.declared(engine, outputs) == before


def opened(root: Path) -> contextlib.closing[LocalEngine]:
    return contextlib.closing(LocalEngine.open_on(composition.production(), Paths.of(root)))
