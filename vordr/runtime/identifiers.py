"""The only ids that may become path components and command words of a runtime."""

from __future__ import annotations

import re
from typing import Final

from vordr.model.errors import UsageError

CONTAINER_ID: Final = re.compile(r"[0-9a-f]{64}")
_SESSION: Final = re.compile(r"[0-9a-zA-Z-]{1,64}")


def check_id(container: str) -> str:
    """Return ``container`` when it is 64 lower-case hex digits; raises UsageError."""
    if CONTAINER_ID.fullmatch(container) is None:
        raise UsageError(f"invalid container id {container[:80]!r}")
    return container


def check_session(session: str) -> str:
    """Return ``session`` when it may name an exec session (letters, digits, '-'); raises UsageError."""
    if _SESSION.fullmatch(session) is None:
        raise UsageError(f"invalid exec session {session[:80]!r}")
    return session
