"""Operations on images, packages and trust as scenes, each on a root folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from failpoint import scenes
from failpoint.choice import SOAK
from failpoint.scenes import Call
from vordr.formats.signature import PrivateKey, Suite
from vordr.model.operations import REGISTRY, Operation

_KEY: Final = PrivateKey.from_seeds(Suite.ED25519, bytes(range(32))).public
SPARE: Final = "spare"


@dataclass(frozen=True)
class Place:
    """Where things are: ``spare`` a root file system, ``package`` one packed, ``pulled`` a reference that a
    registry has, ``beside`` a layout with what refers to it, ``outputs`` the folder for packages, ``update``
    the text of a signed trust store."""

    spare: Path
    package: Path
    pulled: str
    outputs: Path
    beside: Path = Path()
    update: str = ""


@dataclass(frozen=True)
class HoldingScene:
    """``before`` brings about where ``act`` is interrupted; ``bare``: on a folder without trust."""

    name: str
    before: tuple[Call, ...]
    act: Call
    bare: bool = False

    @property
    def again(self) -> tuple[Call, Call]:
        """What does the act once more where it had not happened, and what takes it back where it had."""
        undo: Call = ("undo", {})
        if self.act[0] == "undo":
            return undo, ("redo", {})
        return self.act, undo

    @property
    def reversible(self) -> bool:
        return REGISTRY[self.act[0]].inverse is not None


def operations() -> tuple[Operation, ...]:
    """The mutating operations that are no scene of containers."""
    covered = set().union(*(scene.covers for scene in scenes.scenes()))
    return tuple(op for op in REGISTRY.values() if op.mutating and op.name not in covered)


def holding_scenes(place: Place) -> Iterator[HoldingScene]:
    """A scene of each of :func:`operations`, and of what brings an image in as a package; with undo and redo,
    the latter for adopt alone without VORDR_SOAK."""
    variants = _variants(place)
    for operation in operations():
        for name, before, args in variants[operation.name]:
            yield from _with_reversals(name, before, (operation.name, args), operation)
    create = {"image": str(place.package), "package": True, "name": "web", "command": ["true"]}
    yield from _with_reversals("create of a package", (), ("create", create), REGISTRY["create"])


def _with_reversals(
    name: str, before: tuple[Call, ...], act: Call, operation: Operation
) -> Iterator[HoldingScene]:
    yield HoldingScene(name, before, act, bare=act[0] == "trust_init")
    if operation.inverse is not None:
        undo: Call = ("undo", {})
        yield HoldingScene(f"undo {name}", (*before, act), undo)
        if SOAK or act[0] == "adopt":
            yield HoldingScene(f"redo {name}", (*before, act, undo), ("redo", {}))


_Variant = tuple[str, tuple[Call, ...], dict[str, object]]


def _variants(place: Place) -> dict[str, tuple[_Variant, ...]]:
    """How each is asked; one that is missing here is a KeyError of the test."""
    adopt: Call = ("adopt", {"image": str(place.spare), "name": SPARE})
    pull: Call = ("pull", {"reference": place.pulled})
    key = {"role": "builders", "owner": "Bo", "public_key": _KEY.to_spki_base64()}
    return {
        "pull": (("pull", (), pull[1]),),
        "remove_image": (("remove_image", (adopt,), {"image": SPARE}),),
        "pack": (("pack", (), {
            "source": str(place.spare), "output": str(place.outputs / "made.ctp"), "name": SPARE}),),
        "adopt": (("adopt of a folder", (), adopt[1]), ("adopt of a pulled one", (pull,), {
            "image": place.pulled})),
        "gather": (("gather", (pull,), {"image": place.pulled, "layout": str(place.beside)}),),
        "trust_init": (("trust_init", (), {"owner": "Crash"}),),
        "trust_add": (("trust_add", (), key),),
        "trust_revoke": (("trust_revoke", (("trust_add", key),), {
            "key": _KEY.key_id, "reason": "key_compromise"}),),
        "trust_update": (("trust_update", (), {"document": place.update}),),
    }
