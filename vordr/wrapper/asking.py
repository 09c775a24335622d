"""Asking Vörðr's service for its word, and the deadline over everything the gate does."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from vordr.wrapper.refusal import Malformed, Refusal, Unreachable

if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from vordr.wrapper.config import Config
    from vordr.wrapper.identity import Identity


def begin_deadline(seconds: int) -> None:
    """From now on :class:`Unreachable` is raised after so many seconds, wherever the program is."""

    def over(number: int, frame: FrameType | None) -> None:
        raise Unreachable(f"no decision within {seconds} seconds", "vordr doctor")

    signal.signal(signal.SIGALRM, over)
    signal.alarm(seconds)


def end_deadline() -> None:
    signal.alarm(0)


def ask(config: Config, identity: Identity, ident: str, *, sandbox: bool) -> dict[str, Any]:
    """The service's admission of a container. Raises Refusal; Unreachable when nobody answers: no service is
    started from here, for its environment would be the caller's."""
    from vordr.cli import fastwire

    try:
        request = fastwire.frame("admit", {
            "engine": identity.engine, "container": ident, "chain": identity.chain, "config": identity.config,
            "manifest": identity.manifest, "sandbox": sandbox})
    except UnicodeEncodeError:
        raise Malformed("the container's id is not text") from None
    line = fastwire.dial(config.root)
    if line is None:
        raise Unreachable(f"no Vörðr service answers in {config.root}", f"vordr --root {config.root} serve")
    try:
        answer, _ = line.ask(request)
    except fastwire.Refused as refused:
        raise _refusal(refused.told) from None
    except fastwire.Gone:
        raise Unreachable("the Vörðr service went away before it answered", "vordr history") from None
    except fastwire.Garbled as garbled:
        raise Unreachable(f"the Vörðr service {garbled}", "vordr version") from None
    finally:
        line.close()
    if answer.get("decision") != "ALLOW":
        raise Refusal("UNREACHABLE", "the Vörðr service gave an answer that allows nothing")
    return answer


def _refusal(told: dict[str, Any]) -> Refusal:
    details, cures = told.get("details") or {}, told.get("suggestions") or [None]
    return Refusal(str(details.get("code") or told.get("id")), str(told.get("message")), cures[0])
