"""Handler of verdicts: which containers hold a verdict that a start would not be given now.

Each is judged as its start would be, by the same functions, from gatekeeper to sealed layers. A trust epoch
that moved is no reason by itself: a start gets a new verdict in it, and so it is asked for here. Nothing is
stopped, kept or journalled by it.
"""

from __future__ import annotations

from typing import Final

from vordr.engine.finding import all_containers, container_by_id
from vordr.engine.handlers.verifying import target_of
from vordr.engine.host import Call, Host
from vordr.engine.judging import start_verdict
from vordr.engine.protocol import Reply
from vordr.formats.typed import convert
from vordr.gatekeeper.cures import Target, code_of, cures_of
from vordr.model import answers, arguments
from vordr.model.errors import (
    ConfigInvalid,
    ConfigUnparsable,
    ImageNotFound,
    ImageUnreadable,
    PolicyDenied,
    SealBroken,
    TrustStoreInvalid,
    VerificationRejected,
    VordrError,
)
from vordr.model.lifecycle import State
from vordr.model.records import image_key
from vordr.model.spec import NetworkMode
from vordr.model.state import ContainerState, ImageState

HELD: Final = (State.CREATED, State.RUNNING, State.PAUSED)
"""What holds a verdict: a process, or the promise of one. A stopped container has neither."""
_REFUSALS: Final = (
    PolicyDenied, TrustStoreInvalid, ConfigInvalid, ConfigUnparsable, SealBroken, ImageNotFound,
    ImageUnreadable)
"""What a start is refused with. Any other error is the engine's, and then nothing is known of verdicts."""


def verdicts(host: Host, call: Call, args: arguments.NoArgs) -> Reply:
    """Judge every container that runs, or is held created or paused, as if it were started now."""
    held = sorted((c for c in all_containers(host.journal) if c.state in HELD), key=lambda c: c.name)
    judged: dict[tuple[str, NetworkMode], VordrError | None] = {}
    lapsed = []
    for container in held:
        same = container.image, container.spec.network
        if same not in judged:
            judged[same] = _refusal(host, container)
        refused = judged[same]
        if refused is not None and _still_held(host, container):
            lapsed.append(_lapse(host, container, refused))
    return Reply(answers.VerdictsAnswer(judged=len(held), lapsed=tuple(lapsed), epoch=_epoch(host)))


def _refusal(host: Host, container: ContainerState) -> VordrError | None:
    """What a start of the container would be refused with now."""
    try:
        host.world.require_bytes(container, start_verdict(host, container))
    except _REFUSALS as refused:
        return refused
    return None


def _still_held(host: Host, container: ContainerState) -> bool:
    """Whether it is there yet: its image may have gone with it while it was being judged."""
    now = container_by_id(host.journal, container.id)
    return now is not None and now.state in HELD


def _lapse(host: Host, container: ContainerState, refused: VordrError) -> answers.LapsedVerdict:
    return answers.LapsedVerdict(
        id=container.id, name=container.name, state=str(container.state), image=container.image_name,
        manifest=container.image, code=code_of(refused), message=refused.message,
        step=refused.step if isinstance(refused, VerificationRejected) else None,
        cures=cures_of(refused, _target(host, container)))


def _target(host: Host, container: ContainerState) -> Target:
    value = host.journal.get(image_key(container.image))
    if value is None:
        return Target(container.image_name, manifest=container.image)
    return target_of(convert(value, ImageState))


def _epoch(host: Host) -> int | None:
    try:
        return host.gatekeeper.trusted().epoch
    except (TrustStoreInvalid, ConfigInvalid, ConfigUnparsable):
        return None
